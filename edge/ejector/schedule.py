"""When each valve opens and closes: pure reckoning with times that are passed in, no thread, no output.

An item is due at its ejector when the belt has moved distance_m since the item crossed the line; the signal goes out
latency_ms earlier. The belt's speed is kept as steps over time, so a change, also one that becomes known afterwards,
moves everything that is on its way.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

from edge.settings import Lane

SAME = 0.002  # a change of speed by less than this share is none
REMEMBER_S = 30.0  # of the belt's speed, though nothing is on its way
MOST_WAITING = 4096
FOREVER = float("inf")

SCHEDULED, FIRED, MERGED, MISSED, DROPPED, FAILED = "scheduled", "fired", "merged", "missed", "dropped", "failed"
# fired: the valve opened for it; merged: it was open already, and stays so for longer; missed: decided too late, or the
# valve was busy for too long; dropped: the run ended first; failed: the output or the process that fires was broken


class Result(NamedTuple):
    """What became of one item's ejection."""

    item: int
    lane: int
    what: str
    error_ms: float  # signal - the moment it was due; of a missed one, how late it was known
    mono_s: float  # of the signal


class Change(NamedTuple):
    """A valve is to be opened or closed now."""

    valve: int
    on: bool


class _Firing:
    """One item on its way to its ejector."""

    __slots__ = ("item", "lane", "line_s", "due_s", "held_until_s")

    def __init__(self, item: int, lane: int, line_s: float):
        self.item, self.lane, self.line_s = item, lane, line_s
        self.due_s = FOREVER
        self.held_until_s = 0.0  # the valve was busy when it was due

    @property
    def start_s(self) -> float:
        """When it will be attempted."""
        return max(self.due_s, self.held_until_s)


class _Valve:
    """What one output does; several lanes may share it."""

    def __init__(self, output: str):
        self.output = output
        self.off_at_s: Optional[float] = None  # None: it is closed
        self.closed_s = -FOREVER


class Speeds:
    """The belt's speed as steps: from a time on it was so much. Before the first, as then."""

    def __init__(self) -> None:
        self._steps: List[Tuple[float, float]] = []

    @property
    def latest(self) -> Optional[float]:
        """The latest, m/s; None: none is known."""
        return self._steps[-1][1] if self._steps else None

    def set(self, speed_mps: float, from_s: float, needed_since_s: float) -> bool:
        """The belt moves so from that time on, which may be past; whether that is news. Older steps than needed go."""
        before = self.latest
        if before is not None and abs(speed_mps - before) <= SAME * max(speed_mps, before):
            return False
        while self._steps and self._steps[-1][0] >= from_s:
            self._steps.pop()
        while len(self._steps) > 1 and self._steps[1][0] < needed_since_s:
            self._steps.pop(0)
        self._steps.append((from_s, speed_mps))
        return True

    def arrival_s(self, line_s: float, distance_m: float) -> float:
        """When what was at the line at line_s is distance_m further; infinite when the belt stands, or is unknown."""
        left_m = distance_m
        for number, (from_s, speed) in enumerate(self._steps):
            begin_s = line_s if number == 0 else max(from_s, line_s)
            end_s = self._steps[number + 1][0] if number + 1 < len(self._steps) else FOREVER
            if end_s <= begin_s:
                continue
            if speed > 0 and left_m <= (end_s - begin_s) * speed:
                return begin_s + left_m / speed
            left_m -= (end_s - begin_s) * speed if speed else 0.0
        return line_s if distance_m == 0 else FOREVER


class Schedule:
    """All that is on its way, and the state of each valve."""

    def __init__(self, lanes: Sequence[Lane], min_gap_s: float = 0.02, overlap: str = "merge", late_s: float = 0.02):
        """late_s: a firing whose moment is longer over is missed, for the next item may be there by now.

        overlap: merge, or queue: a pulse that overlaps another of its valve begins min_gap_s after that one, unless
        that would be later than its own length.
        """
        self.lanes, self._min_gap_s, self._overlap, self._late_s = tuple(lanes), min_gap_s, overlap, late_s
        self.speeds = Speeds()
        self.outputs: List[str] = []  # one for each valve
        for lane in lanes:
            if lane.output not in self.outputs:
                self.outputs.append(lane.output)
        self._valve_of = [self.outputs.index(lane.output) for lane in lanes]
        self._valves = [_Valve(output) for output in self.outputs]
        self._waiting: List[_Firing] = []

    @property
    def busy(self) -> bool:
        """Whether something is on its way on a moving belt, or a valve is open."""
        return any(firing.start_s < FOREVER for firing in self._waiting) or any(
            valve.off_at_s is not None for valve in self._valves)

    def belt(self, speed_mps: float, from_s: float) -> None:
        """The belt moves at speed_mps from that monotonic time on; 0: it stands, and so does what is on it."""
        oldest_s = min([firing.line_s for firing in self._waiting] + [from_s - REMEMBER_S])
        if self.speeds.set(speed_mps, from_s, oldest_s):
            for firing in self._waiting:
                self._time(firing)

    def _time(self, firing: _Firing) -> None:
        lane = self.lanes[firing.lane]
        firing.due_s = self.speeds.arrival_s(firing.line_s, lane.distance_m) - lane.latency_ms / 1000

    def add(self, item: int, lane: int, line_s: float, now_s: float) -> Optional[Result]:
        """An item crossed the line at line_s and shall be ejected there; its result when it is too late already."""
        firing = _Firing(item, lane, line_s)
        self._time(firing)
        if now_s - firing.due_s > self._late_s:
            return Result(item, lane, MISSED, (now_s - firing.due_s) * 1000, now_s)
        self._waiting.append(firing)
        if len(self._waiting) > MOST_WAITING:  # a belt that stands for ever while items are decided
            lost = self._waiting.pop(0)
            return Result(lost.item, lost.lane, MISSED, 0.0, now_s)
        return None

    def next_s(self) -> float:
        """When something is to be done next; infinite: nothing is."""
        times = [firing.start_s for firing in self._waiting]
        times += [valve.off_at_s for valve in self._valves if valve.off_at_s is not None]
        return min(times) if times else FOREVER

    def due(self, now_s: float) -> Tuple[List[Change], List[Result]]:
        """What is to be done now: valves to close, then valves to open, and what became of the items."""
        changes = [Change(number, False) for number in range(len(self._valves)) if self._close(number, now_s)]
        results = []
        for firing in sorted((f for f in self._waiting if f.start_s <= now_s), key=lambda f: f.due_s):
            result = self._fire(firing, now_s)
            if result is None:
                continue  # held until its valve is free
            self._waiting.remove(firing)
            results.append(result)
            if result.what == FIRED:
                changes.append(Change(self._valve_of[firing.lane], True))
        return changes, results

    def _close(self, number: int, now_s: float) -> bool:
        valve = self._valves[number]
        if valve.off_at_s is None or valve.off_at_s > now_s:
            return False
        if self._overlap == "merge":  # one that is due before the valve could open again keeps it open
            soon = [f.start_s for f in self._waiting if self._valve_of[f.lane] == number
                    and f.start_s <= now_s + self._min_gap_s]
            if soon:
                valve.off_at_s = max(soon)  # until then, when _fire finds it open
                return False
        valve.off_at_s, valve.closed_s = None, now_s
        return True

    def _fire(self, firing: _Firing, now_s: float) -> Optional[Result]:
        valve = self._valves[self._valve_of[firing.lane]]
        pulse_s, error_s = self.lanes[firing.lane].pulse_ms / 1000, now_s - firing.due_s
        if error_s > (pulse_s if firing.held_until_s else self._late_s):
            return Result(firing.item, firing.lane, MISSED, error_s * 1000, now_s)
        if valve.off_at_s is not None and self._overlap == "merge":
            valve.off_at_s = max(valve.off_at_s, now_s + pulse_s)
            return Result(firing.item, firing.lane, MERGED, error_s * 1000, now_s)
        free_s = (valve.closed_s if valve.off_at_s is None else valve.off_at_s) + self._min_gap_s
        if valve.off_at_s is not None or now_s < free_s:
            firing.held_until_s = free_s
            return None
        valve.off_at_s = now_s + pulse_s
        return Result(firing.item, firing.lane, FIRED, error_s * 1000, now_s)

    def drop(self, now_s: float) -> List[Result]:
        """Forget all that is on its way and count every valve as closed; what became of the items."""
        results = [Result(firing.item, firing.lane, DROPPED, 0.0, now_s) for firing in self._waiting]
        self._waiting = []
        for valve in self._valves:
            valve.off_at_s, valve.closed_s = None, now_s
        return results

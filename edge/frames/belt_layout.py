"""What lies on a simulated belt and how the belt moves: the truth that a run can be judged by."""

import math
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

LANE_M = 0.005  # where shapes meet is looked for in lanes so wide along the belt


class Travel:
    """How far the belt has moved, in metres, over time: a speed from each of some moments on."""

    def __init__(self, steps: Sequence[Tuple[float, float]]):
        """steps: (from_s, speed_mps), the first from 0, in order; a negative speed is a belt in reverse."""
        if not steps or steps[0][0] != 0 or any(a[0] >= b[0] for a, b in zip(steps, steps[1:])):
            raise ValueError("steps {!r}: (seconds, metres a second) are needed, from 0 s on, in order".format(steps))
        self._steps: List[Tuple[float, float, float]] = []  # from_s, speed_mps, travelled until then
        travelled = 0.0
        for number, (from_s, speed_mps) in enumerate(steps):
            if number:
                before_s, before_mps = steps[number - 1]
                travelled += (from_s - before_s) * before_mps
            self._steps.append((from_s, speed_mps, travelled))

    def _step_at(self, time_s: float) -> Tuple[float, float, float]:
        for step in reversed(self._steps):
            if time_s >= step[0]:
                return step
        return self._steps[0]

    def at(self, time_s: float) -> float:
        """Metres travelled at time_s."""
        from_s, speed_mps, travelled = self._step_at(time_s)
        return travelled + (time_s - from_s) * speed_mps

    def speed_at(self, time_s: float) -> float:
        """Metres a second at time_s."""
        return self._step_at(time_s)[1]

    def when(self, travel_m: float) -> float:
        """The first time at which the belt has travelled so far; infinite when it never does."""
        ends = [step[0] for step in self._steps[1:]] + [math.inf]
        for (from_s, speed_mps, travelled), end_s in zip(self._steps, ends):
            if speed_mps > 0 and travelled <= travel_m:
                time_s = from_s + (travel_m - travelled) / speed_mps
                if time_s <= end_s:
                    return time_s
            elif travelled == travel_m:
                return from_s
        return math.inf


class Thing(NamedTuple):
    """What can be laid on the belt: its class, where it is from, and its size before it is turned."""

    class_name: str
    source: str  # a picture's path, or the name of a drawing
    number: int  # of the drawing
    length_m: float
    width_m: float
    shape: Optional[np.ndarray] = None  # (n, 2) float: points that it covers, from its middle, in m; None: all of it


def shape_of(cover: np.ndarray, length_m: float) -> np.ndarray:
    """Points for Thing.shape. cover: (h, w) bool, of a picture that is w pixels and length_m metres long."""
    height, width = cover.shape
    rows, columns = np.nonzero(cover)
    return np.stack([columns - (width - 1) / 2, rows - (height - 1) / 2], axis=1) * (length_m / width)


class BeltItem(NamedTuple):
    """One item on the belt. Its middle crosses the line when the belt has travelled along_m."""

    number: int
    thing: Thing
    along_m: float
    across_m: float  # from the belt's middle line, positive to the right of the direction of travel
    turn_rad: float
    half_along_m: float  # half of what it covers along the belt, as it is turned
    touching: bool  # it touches the item before it


class Spacing(NamedTuple):
    """How things are strewn."""

    belt_m: float  # width of the belt
    gap_m: float  # the least free belt between two items; up to three times as much
    touching: float  # share of the items that touch the one before
    turn_deg: float  # turned by up to so much either way


def lay(things: Callable[[int], Thing], spacing: Spacing, start_m: float, rng: np.random.RandomState,
        items: int = 0) -> Iterator[BeltItem]:
    """Items along the belt, the first with its front edge at start_m; items 0: without end."""
    front_m, number = start_m, 0
    last: Optional[BeltItem] = None
    while not items or number < items:
        thing = things(number)
        if last is not None and not last.touching and rng.rand() < spacing.touching:
            item = _against(last, thing, number, rng)
        else:
            turn = math.radians(rng.uniform(-spacing.turn_deg, spacing.turn_deg))
            along, across = _extent(thing, turn)
            room = max(0.0, spacing.belt_m / 2 - across)
            item = BeltItem(number, thing, front_m + along, rng.uniform(-room, room), turn, along, False)
        yield item
        end_m = item.along_m + item.half_along_m
        if last is not None:
            end_m = max(end_m, last.along_m + last.half_along_m)
        front_m = end_m + spacing.gap_m * rng.uniform(1.0, 3.0)
        last = item
        number += 1


def _against(last: BeltItem, thing: Thing, number: int, rng: np.random.RandomState) -> BeltItem:
    """A thing that lies behind the last one, turned like it, a little under its edge."""
    apart = _contact(last.thing, thing, last.turn_rad) * rng.uniform(0.88, 0.98)
    return BeltItem(number, thing, last.along_m + apart, last.across_m, last.turn_rad,
                    _extent(thing, last.turn_rad)[0], True)


def _contact(ahead: Thing, behind: Thing, turn: float) -> float:
    """How far apart the middles of two things are that are turned alike and just touch, one behind the other."""
    if ahead.shape is None or behind.shape is None:
        cos, sin = max(abs(math.cos(turn)), 1e-9), max(abs(math.sin(turn)), 1e-9)
        return min((ahead.length_m + behind.length_m) / 2 / cos, (ahead.width_m + behind.width_m) / 2 / sin)
    rear, head = _farthest(ahead.shape, turn, -1), _farthest(behind.shape, turn, 1)
    room = [rear[lane] + head[lane] for lane in rear if lane in head]
    return max(room) if room else _extent(ahead, turn)[0] + _extent(behind, turn)[0]


def _farthest(shape: np.ndarray, turn: float, way: int) -> Dict[int, float]:
    """How far a turned thing reaches along the belt, forwards or (way -1) backwards, in each lane that it covers."""
    along = way * (shape[:, 0] * math.cos(turn) - shape[:, 1] * math.sin(turn))
    lanes = np.floor((shape[:, 0] * math.sin(turn) + shape[:, 1] * math.cos(turn)) / LANE_M).astype(int)
    return {int(lane): float(along[lanes == lane].max()) for lane in np.unique(lanes)}


def _extent(thing: Thing, turn: float) -> Tuple[float, float]:
    """Half of what a turned thing covers along and across the belt, in metres."""
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    return ((thing.length_m * cos + thing.width_m * sin) / 2, (thing.length_m * sin + thing.width_m * cos) / 2)

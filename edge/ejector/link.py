"""The loop's end of the ejector: hands items over to the process that fires, and never waits for it.

A process that has died or hangs is replaced, and what is still on its way is handed to the new one. As long as the loop
works or waits for frames the process hears so; when the loop is stuck in one frame for STUCK_S, or its process is
stopped or killed, the process closes all valves.
"""

import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from edge import settings
from edge.clock import Clock
from edge.ejector.process import END_S, HUNG_S, Process
from edge.ejector.schedule import DROPPED, FAILED, FIRED, MERGED, MISSED, Result
from edge.errors import OutputError
from edge.health import State
from edge.logs import fields, log

STUCK_S = 3.0  # a frame takes no longer, unless the loop hangs
DEAD_S = 2.0  # the process closes all valves when it has heard nothing for so long
PING_S = 0.25
AGAIN_S = 0.5
FINISH_S = 60.0
HURRY_S = 2.5  # for closing the valves when the run was stopped: a PLC that does not answer takes that long
GIVE_UP_S = 120.0  # what crossed the line so long ago is not on the belt any more
SILENT_S = 1.0  # an encoder that says nothing for so long is not listened to
REVIEW = "review"  # the class of a lane for what nobody is sure of
Told = Callable[[Result], None]


class NoEjector:
    """Nothing is ejected."""

    counts: Dict[str, int] = {}  # of what became of the items; empty: there is no ejector

    def belt(self, speed_mps: Optional[float], mono_s: float) -> None:
        """Ignored."""

    def schedule(self, item: int, class_name: str, line_mono_s: float) -> Optional[int]:
        """None: it goes to no bin."""
        return None

    def working(self, on: bool) -> None:
        """Ignored."""

    def close(self, finish: bool, stop: threading.Event) -> None:
        """Nothing to close."""


class Ejector(NoEjector):
    """Schedules items; told(result) is called for each, from a thread of its own."""

    def __init__(self, wishes: settings.Ejector, told: Told, conditions: State, clock: Clock = Clock()):
        """Raises OutputError when an output cannot be opened."""
        self._wishes, self._told, self._conditions, self._clock = wishes, told, conditions, clock
        self._lane_of = {lane.class_name: number for number, lane in enumerate(wishes.lane)}
        self._wheel_s = float("-inf")
        self._speeds: List[Tuple[float, float]] = []  # (m/s, since), as they were told
        self._waiting: Dict[int, Tuple[int, float]] = {}  # item -> lane, time at the line
        self._lock = threading.RLock()
        self._busy_since_s: Optional[float] = None
        self._closing = threading.Event()
        self._said_s, self._unsaid = float("-inf"), 0
        self._missed: Optional[Result] = None  # the latest that no line was written for
        self.counts = {FIRED: 0, MERGED: 0, MISSED: 0, DROPPED: 0, FAILED: 0}
        try:
            process = Process(self._hello(), self._hear)
        except OSError as os_error:
            raise OutputError("[ejector] the process that fires does not start: {}".format(os_error))
        self._process: Optional[Process] = process
        error = process.wait_ready()
        if error is not None:
            process.close(True)
            raise OutputError("[ejector] {}".format(error))
        conditions.condition("ejector")
        conditions.counters("ejector", lambda: dict(self.counts, waiting=len(self._waiting)))
        self._watch_thread = threading.Thread(target=self._watch, name="ejector", daemon=True)
        self._watch_thread.start()

    def _hello(self) -> Dict[str, Any]:
        wishes = self._wishes
        return {"lanes": [list(lane) for lane in wishes.lane], "min_gap_ms": wishes.min_gap_ms,
                "overlap": wishes.overlap, "late_ms": wishes.late_ms, "dead_s": DEAD_S}

    def belt(self, speed_mps: Optional[float], mono_s: float) -> None:
        """The gate sees the belt move so at that time; None: it does not know. An encoder's word comes before."""
        if speed_mps is not None and self._clock.mono_s() - self._wheel_s > SILENT_S:
            self._set_speed(speed_mps, mono_s)

    def wheel(self, speed_mps: float, mono_s: float) -> None:
        """The encoder says that the belt moves so from that time on."""
        self._wheel_s = self._clock.mono_s()
        self._set_speed(speed_mps, mono_s)

    def _set_speed(self, speed_mps: float, mono_s: float) -> None:
        with self._lock:
            if self._speeds and self._speeds[-1][0] == speed_mps:
                return
            while len(self._speeds) > 1 and self._speeds[1][1] < mono_s - GIVE_UP_S:
                self._speeds.pop(0)
            self._speeds.append((speed_mps, mono_s))
            self._say({"speed": speed_mps, "from_s": mono_s})

    @property
    def speed_mps(self) -> Optional[float]:
        """The speed by which it fires; None: not known."""
        return self._speeds[-1][0] if self._speeds else None

    def schedule(self, item: int, class_name: str, line_mono_s: float) -> Optional[int]:
        """Eject an item that crossed the line then, if its class has a lane; its bin, or None."""
        lane = self._lane_of.get(class_name)
        if lane is None:
            return None
        with self._lock:
            self._waiting[item] = lane, line_mono_s
            self._say({"item": item, "lane": lane, "line_s": line_mono_s})
        return self._wishes.lane[lane].bin

    def working(self, on: bool) -> None:
        """The loop begins (True) or ends (False) its work on a frame."""
        self._busy_since_s = self._clock.mono_s() if on else None

    def _say(self, message: Dict[str, Any]) -> None:
        """To the process, if there is one; a new one is told all that counts."""
        if self._process is not None:
            self._process.say(message)

    def _hear(self, message: Dict[str, Any]) -> None:
        """A line of the process, in its listening thread."""
        if "output" in message:
            self._conditions.condition("output {}".format(message["output"]), message["trouble"])
        elif "what" in message:
            with self._lock:
                if self._waiting.pop(message["item"], None) is None:
                    return  # of a process that was given up
            self._tell(Result(message["item"], message["lane"], message["what"], message["error_ms"],
                              message["mono_s"]))

    def _tell(self, result: Result) -> None:
        self.counts[result.what] += 1
        if result.what in (MISSED, FAILED):
            self._say_missed(result)
        self._told(result)

    def _say_missed(self, result: Result) -> None:
        """A line for it; when many are missed, one a second says how many it stands for."""
        self._unsaid += 1
        self._missed = result
        if self._clock.mono_s() - self._said_s >= 1.0:
            self._say_unsaid()

    def _say_unsaid(self) -> None:
        """The line for those that were missed since the last."""
        with self._lock:
            result, unsaid = self._missed, self._unsaid
            if result is None or not unsaid:
                return
            self._said_s, self._unsaid = self._clock.mono_s(), 0
        lane = self._wishes.lane[result.lane]
        why = "missed by {:.0f} ms: decided too late, or its valve was busy".format(result.error_ms) \
            if result.what == MISSED else "its output {} is broken".format(lane.output)
        log.warning("ejector: item %d not ejected to bin %d (%s): %s%s", result.item, lane.bin, lane.class_name, why,
                    "; {} more since the last such line".format(unsaid - 1) if unsaid > 1 else "",
                    extra=fields(item=result.item))

    def _watch(self) -> None:
        """Ping as long as the loop is well; replace a process that is not."""
        looked_s = self._clock.mono_s()
        while not self._closing.wait(PING_S):
            now_s, before_s, looked_s = self._clock.mono_s(), looked_s, self._clock.mono_s()
            busy_since_s = self._busy_since_s
            if busy_since_s is None or now_s - busy_since_s < STUCK_S:
                self._say({})
                if self._conditions.trouble("loop"):
                    self._conditions.condition("loop")
            elif not self._conditions.trouble("loop"):
                self._say({"stuck": True})
                self._conditions.condition("loop", "stuck in one frame for more than {:g} s; all valves are closed, "
                                                   "and what was on its way is dropped".format(STUCK_S))
            if now_s - self._said_s >= 1.0:
                self._say_unsaid()
            process = self._process
            # After a pause of our own (SIGSTOP, a swapping machine) its words are still to be read
            if process is None or (not process.alive and now_s - before_s < HUNG_S / 2):
                self._replace(process)

    def _replace(self, old: Optional[Process]) -> None:
        """One attempt to start a new process in place of one that is no use any more."""
        if old is not None:
            self._process = None
            self._conditions.condition("ejector", "the process that fires {}; another is started, its "
                                                  "valves closed".format(old.what_happened))
            old.close(True)
        try:
            process = Process(self._hello(), self._hear)
            error = process.wait_ready()
            if error is not None:
                process.close(True)
        except OSError as os_error:  # no memory or no descriptors for it
            error = "the process that fires does not start: {}".format(os_error)
        if error is not None:
            self._conditions.condition("ejector", error)
            self._give_up_old_ones()
            self._closing.wait(AGAIN_S)
            return
        with self._lock:
            self._process = process
            for speed_mps, from_s in self._speeds:
                process.say({"speed": speed_mps, "from_s": from_s})
            for item, (lane, line_s) in self._waiting.items():
                process.say({"item": item, "lane": lane, "line_s": line_s})
        self._conditions.condition("ejector")

    def _give_up_old_ones(self) -> None:
        """Tell what crossed the line long ago as failed: nobody will eject it."""
        with self._lock:
            old = [(item, lane) for item, (lane, line_s) in self._waiting.items()
                   if self._clock.mono_s() - line_s > GIVE_UP_S]
            for item, _ in old:
                del self._waiting[item]
        for item, lane in old:
            self._tell(Result(item, lane, FAILED, 0.0, self._clock.mono_s()))

    def close(self, finish: bool, stop: threading.Event) -> None:
        """Close all valves. finish: first let what is on its way come to its ejector, unless stop is set or it
        takes longer than FINISH_S. The rest is told as dropped."""
        if self._closing.is_set():
            return
        self._busy_since_s = None
        if finish:
            self._say({"finish": True})
        until_s = self._clock.mono_s() + FINISH_S
        while finish and not stop.is_set() and self._process is not None and self._clock.mono_s() < until_s:
            if self._process.ended.wait(PING_S):
                break
        self._closing.set()
        self._watch_thread.join(HURRY_S if stop.is_set() else None)  # it may be waiting for a new process
        if self._process is not None:
            self._process.close(not self._process.alive, HURRY_S if stop.is_set() else END_S)
        with self._lock:
            left, self._waiting = self._waiting, {}
        for item, (lane, _) in left.items():
            self._tell(Result(item, lane, DROPPED, 0.0, self._clock.mono_s()))
        self._say_unsaid()
        if self.counts[DROPPED]:
            log.warning("ejector: %d items that were on their way are not ejected, for the run ended or the loop hung "
                        "first", self.counts[DROPPED])

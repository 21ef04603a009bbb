"""The machine's temperature beside a run: how much may still be sorted, and what is said of heat and throttling.

Beyond [health] max_temp_c less and less is sorted, step by step, until it cools; 5 C beyond it nothing is. The figures
are read by a thread of its own; the loop only looks at `share`. No sensor that fails stops a belt.
"""

import logging
import threading
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from edge import board
from edge.clock import Clock
from edge.health.state import State
from edge.health.telemetry import Reading, Telemetry

log = logging.getLogger("scrapsort")

EVERY_S = 2.0
SHARES = (1.0, 0.5, 0.25, 0.0)  # of what comes; a step further each STEP_S that it stays too hot
STEP_S = 20.0  # the time in which a heat sink shows what less work does
FAR_BEYOND_C = 5.0  # at once the last step
COOL_BELOW_C = 3.0  # a step back each STEP_S once it is so much below the limit
UNKNOWN_S = 60.0  # without any temperature for so long, all is sorted again
CLOSE_S = 2.0
MUTE = "the sensors have not answered for {:.0f} s: sorted without a limit".format(UNKNOWN_S)
QUIET_S = 30.0  # throttling counts as over after so long without


class Heat:
    """share is what the loop looks at; look is one turn of the thread that start starts."""

    def __init__(self, conditions: State, max_temp_c: float, read: Callable[[], Reading], clock: Clock = Clock(),
                 acts: bool = True):
        """max_temp_c: 0, as acts = False: temperatures are only told, nothing is done. """
        self._max_temp_c, self._acts = max_temp_c, acts
        self._conditions, self._read, self._clock = conditions, read, clock
        self._reading, self._zone, self._temp_c = Reading(), "", None  # type: Reading, str, Optional[float]
        self._step, self._stepped_s, self._known_s = 0, float("-inf"), clock.mono_s()
        self._hot_before: Optional[float] = None  # the reading before: one alone may be a sensor's slip
        self._events: Optional[Dict[str, int]] = None
        self._slowed_s = float("-inf")
        self._looked_s = clock.mono_s()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heat", daemon=True)
        conditions.counters("machine", self.machine)

    @property
    def share(self) -> float:
        """Of what comes, how much may be sorted: 1 to 0."""
        if self._step and self._clock.mono_s() - self._looked_s > UNKNOWN_S:  # a sensor hangs
            self._step = 0
            self._conditions.condition("temperature", MUTE)
        return SHARES[self._step]

    @property
    def temp_c(self) -> Optional[float]:
        """Of the hottest zone; None where the machine tells none."""
        return self._temp_c

    @property
    def text(self) -> str:
        """gpu 91 C, limit 90 C."""
        known = "no temperature" if self._temp_c is None else "{} {:.0f} C".format(self._zone, self._temp_c)
        return "{}, limit {:g} C".format(known, self._max_temp_c)

    def limit(self, max_temp_c: float) -> None:
        """Another limit from the next look on."""
        self._max_temp_c = max_temp_c

    def start(self) -> "Heat":
        """Look, and go on doing so."""
        self._thread.start()
        return self

    def close(self) -> None:
        """May be called twice. A sensor that hangs is left to itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    @property
    def is_alive(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def machine(self) -> Dict[str, Any]:
        """For the status: what is known of the machine's temperatures, power, clocks and memory."""
        reading = self._reading
        found: Dict[str, Any] = {"{}_c".format(name): round(value, 1)
                                 for name, value in sorted(reading.temperatures_c.items())}
        if reading.total_mw is not None:
            found["power_w"] = round(reading.total_mw / 1000.0, 1)
        found.update({name + "_mhz": clock.now_hz // 1000000 for name, clock in sorted(reading.clocks.items())
                      if clock.now_hz is not None})
        found.update({name: round(value, 2) for name, value in (("gpu_load", reading.gpu_load), ("fan", reading.fan))
                      if value is not None})
        if reading.memory_mb:
            found["memory_available_mb"] = reading.memory_mb["MemAvailable"]
        return dict(found, **({"power_mode": reading.nvpmodel} if reading.nvpmodel else {}))

    def look(self) -> None:
        """Read once; move a step, and tell what has changed."""
        try:
            reading = self._read()
        except Exception as error:  # whatever a driver or another's library does
            log.debug("temperatures: %r", error)
            reading = Reading()
        now_s = self._clock.mono_s()
        self._reading, self._looked_s = reading, now_s
        zones = reading.temperatures_c
        self._zone = max(zones, key=lambda name: zones[name]) if zones else ""
        self._temp_c = zones[self._zone] if zones else None
        self._step_for(now_s)
        self._tell_heat()
        self._tell_throttling(now_s)

    def _step_for(self, now_s: float) -> None:
        temp_c, before_c = self._temp_c, self._hot_before
        self._hot_before = temp_c
        if not self._max_temp_c or not self._acts:
            self._step = 0
        elif temp_c is None:
            if now_s - self._known_s >= UNKNOWN_S:
                self._step = 0
        else:
            self._known_s = now_s
            surely_c = temp_c if before_c is None else min(temp_c, before_c)
            step, is_due = self._step, now_s - self._stepped_s >= STEP_S
            if surely_c >= self._max_temp_c + FAR_BEYOND_C:
                step = len(SHARES) - 1
            elif surely_c >= self._max_temp_c and is_due:
                step = min(step + 1, len(SHARES) - 1)
            elif temp_c < self._max_temp_c - COOL_BELOW_C and is_due:
                step = max(step - 1, 0)
            if step != self._step:
                self._step, self._stepped_s = step, now_s

    def _tell_heat(self) -> None:
        """The condition's words change with the step alone: a figure that moves would fill the log."""
        if not self._step:
            self._conditions.condition("temperature")
        else:
            self._conditions.condition("temperature", "above {:g} C ([health] max_temp_c): {}; cool the board: fan, "
                                       "dust, sun, a lower power mode".format(self._max_temp_c, _what(self.share)))

    def _tell_throttling(self, now_s: float) -> None:
        """What slows the machine down now, and what was counted since the run began."""
        reading, before = self._reading, self._events
        self._events = dict(reading.events)
        grown = [] if before is None else sorted(name for name, count in reading.events.items()
                                                 if count > before.get(name, 0))
        causes = _causes(reading.throttling, grown)
        if causes:
            self._slowed_s = now_s
            self._conditions.condition("throttling", "the machine is slowed down by {}; heat or a weak power supply: "
                                       "`scrapsort status` shows temperatures and power".format(", ".join(causes)))
        elif now_s - self._slowed_s >= QUIET_S:
            self._conditions.condition("throttling")

    def _work(self) -> None:
        self.look()
        while not self._stop.wait(EVERY_S):
            self.look()


@contextmanager
def watched(conditions: State, max_temp_c: float, clock: Clock = Clock()) -> Iterator[Heat]:
    """That of this machine while the block runs. Others than a Jetson protect themselves: there it only tells."""
    opened: List[Telemetry] = []

    def read() -> Reading:
        if not opened:
            opened.append(Telemetry())  # in the thread: what hangs there hangs nobody else
        return opened[0].read()

    heat = Heat(conditions, max_temp_c, read, clock, board.read().is_jetson)
    try:
        yield heat.start()
    finally:
        heat.close()
        if opened and not heat.is_alive:
            opened[0].close()


def _what(share: float) -> str:
    return "nothing is sorted until it has cooled" if not share else "{:.0f} % of what comes is sorted".format(
        100 * share)


def _causes(throttling: Tuple[str, ...], grown: List[str]) -> List[str]:
    return sorted(set(throttling)) + ["{} (counted again)".format(name) for name in grown]

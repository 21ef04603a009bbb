"""Telemetry beside a measurement, and whether the measurement may be believed."""

import os
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from edge.health.telemetry import Reading, Telemetry

PERIOD_S = 0.5
CLOCKS_MAY_MOVE = 0.03  # of the highest seen; more, and the figures are of no one speed
MIN_SAMPLES = 100  # fewer have no 99th percentile
OTHERS_MAY_TAKE = 0.1  # of the processors' time
MIN_LOOKS = 3  # at the clocks; fewer say nothing about whether they moved
UNKNOWN = "unknown"

Samples = Sequence[Tuple[float, Reading]]  # (seconds since the start, what was read)


class Sampler:
    """Reads telemetry twice a second from its own thread, and at the start and the end of the `with` block."""

    def __init__(self, telemetry: Telemetry, period_s: float = PERIOD_S):
        self._telemetry, self._period_s = telemetry, period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._started_s = 0.0
        self.samples: List[Tuple[float, Reading]] = []

    def __enter__(self) -> "Sampler":
        self._started_s = time.monotonic()
        self._look()  # what counts up is compared with this
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _work(self) -> None:
        while not self._stop.wait(self._period_s):
            self._look()

    def _look(self) -> None:
        reading = self._telemetry.read()
        self.samples.append((time.monotonic() - self._started_s, reading))


class OtherLoad:
    """What share of all processors' time other processes, or other guests of the same host, take from now on."""

    def __init__(self, root: str = "/"):
        self._path = os.path.join(root, "proc/stat")
        self._before = self._now()

    def share(self) -> Optional[float]:
        """From 0 to 1 since this was made; None where there is no /proc."""
        now = self._now()
        if now is None or self._before is None or now[1] <= self._before[1]:
            return None
        busy, whole, own = (after - before for after, before in zip(now, self._before))
        return max(0.0, busy - own) / whole

    def _now(self) -> Optional[Tuple[float, float, float]]:
        """Seconds of busy time, of all time, and of this process's, of all processors together."""
        try:
            with open(self._path) as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]  # user nice system idle iowait irq …
            hertz = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return None
        return (sum(ticks) - ticks[3] - ticks[4]) / hertz, sum(ticks) / hertz, time.process_time()


class Verdict(NamedTuple):
    """valid: True, False, or None where the machine does not tell its clocks."""

    valid: Optional[bool]
    reasons: Sequence[str]  # why not, or why it is not known
    notes: Sequence[str]  # what a reader of the figures should know

    @property
    def word(self) -> str:
        """valid, INVALID or unknown, with the reasons."""
        word = {True: "valid", False: "INVALID", None: UNKNOWN}[self.valid]
        return "{}: {}".format(word, "; ".join(self.reasons)) if self.reasons else word


def judge(samples: Samples, trips_c: Dict[str, float], measured: int, on_gpu: bool,
          others: Optional[float] = None) -> Verdict:
    """Whether figures of so many items may be believed, by what the telemetry beside them says.

    on_gpu: a GPU did the work, so its clock counts, too; else it idles, and may. others: the share of the processors'
    time that other processes took.
    """
    readings = [reading for _, reading in samples]
    reasons = _slowed(readings, trips_c)
    if others is not None and others > OTHERS_MAY_TAKE:
        reasons.append("other processes took {:.0%} of the processors' time".format(others))
    if measured < MIN_SAMPLES:
        reasons.append("{} items were measured: {} are needed for a 99th percentile".format(measured, MIN_SAMPLES))
    counted = {name: [reading.clocks[name] for reading in readings if name in reading.clocks]
               for name in sorted({name for reading in readings for name in reading.clocks})
               if on_gpu or name.startswith("cpu")}
    for name, clocks in counted.items():
        hz = [clock.now_hz or 0 for clock in clocks]
        if max(hz) - min(hz) > CLOCKS_MAY_MOVE * max(hz):
            reasons.append("the clocks moved: {} from {:.0f} to {:.0f} MHz".format(name, min(hz) / 1e6, max(hz) / 1e6))
    if not any(name.startswith("gpu" if on_gpu else "cpu") for name in counted):
        unknown = "the GPU's clock cannot be read here" if on_gpu else "clocks cannot be read here"
        return Verdict(False if reasons else None, reasons + [unknown], [])
    if len(readings) < MIN_LOOKS:
        reasons.append("only {} look(s) at the clocks: measure for longer (--seconds)".format(len(readings)))
    return Verdict(not reasons, reasons, _notes(readings[-1], on_gpu) if readings else [])


def _slowed(readings: Sequence[Reading], trips_c: Dict[str, float]) -> List[str]:
    """Signs that the machine was slowed down."""
    reasons = sorted({"throttled by {}".format(name) for reading in readings for name in reading.throttling})
    if readings:
        first, last = readings[0].events, readings[-1].events
        reasons += ["{} went up by {}".format(name, last[name] - first[name]) for name in sorted(first)
                    if last.get(name, 0) > first[name]]
    for name, trip_c in sorted(trips_c.items()):
        hottest = max([reading.temperatures_c.get(name, 0.0) for reading in readings] or [0.0])
        if hottest >= trip_c:
            reasons.append("{} reached {:.1f} C; from {:.1f} C on it is slowed down".format(name, hottest, trip_c))
    modes = sorted({reading.nvpmodel for reading in readings})
    if len(modes) > 1:
        reasons.append("the power mode changed: {}".format(", ".join(mode or "none" for mode in modes)))
    return reasons


def _notes(reading: Reading, on_gpu: bool) -> List[str]:
    notes = []
    if reading.jetson_clocks is False:
        notes.append("jetson_clocks is off: sudo jetson_clocks")
    moving = sorted(name for name, clock in reading.clocks.items() if clock.governor and clock.pinned is False
                    and clock.governor != "performance" and (on_gpu or name != "gpu"))
    if moving and reading.jetson_clocks is None:
        notes.append("the governor of {} is {}, not performance".format(
            ", ".join(moving), reading.clocks[moving[0]].governor))
    if reading.nvpmodel and not reading.nvpmodel.upper().startswith("MAXN"):
        notes.append("the power mode is {}, not MAXN".format(reading.nvpmodel))
    return notes


def summarise(samples: Samples) -> Dict[str, Any]:
    """Mean power by rail and of the whole in mW, highest temperatures, clocks' bounds, power mode: what was known."""
    readings = [reading for _, reading in samples]
    rails = _by_name(reading.power_mw for reading in readings)
    totals = [reading.total_mw for reading in readings if reading.total_mw is not None]
    clocks = _by_name({name: clock.now_hz for name, clock in reading.clocks.items()} for reading in readings)
    last = readings[-1] if readings else Reading()
    values = {
        "looks": len(readings), "source": last.source, "nvpmodel": last.nvpmodel, "jetson_clocks": last.jetson_clocks,
        "total_mw": sum(totals) / len(totals) if totals else None,
        "power_mw": {name: sum(values) / len(values) for name, values in rails.items()},
        "hottest_c": {name: max(values) for name, values in _by_name(r.temperatures_c for r in readings).items()},
        "clocks_hz": {name: [min(values), max(values)] for name, values in clocks.items()},
        "gpu_load": max([reading.gpu_load for reading in readings if reading.gpu_load is not None] or [None])}
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def _by_name(dictionaries: Any) -> Dict[str, List[Any]]:
    found: Dict[str, List[Any]] = {}
    for one in dictionaries:
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return found

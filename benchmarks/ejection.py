"""Which bin each item of a simulated belt ends in, when the valves open as a run's journal says they did."""

import os
import sqlite3
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from benchmarks.figures import percent, percentiles, share
from edge.errors import UsageError
from edge.journal.schema import FILE
from edge.settings import Lane

FIRST_M, APART_M = 0.5, 0.15  # from the line to the first ejector, and from each to the next
LATENCY_MS, PULSE_MS = 12.0, 60.0
HIT = 0.5  # an item is blown out when so much of a pulse falls on it


class Ejected(NamedTuple):
    """A row of the journal about an item that has an ejector."""

    bin: int
    what: str
    error_ms: float
    mono_s: float  # of the signal
    line_mono_s: float


def lanes(classes: Sequence[str]) -> Tuple[Lane, ...]:
    """One ejector for each class, in the order of the classes."""
    return tuple(Lane(name, number + 1, "log:" + name, round(FIRST_M + number * APART_M, 3), LATENCY_MS, PULSE_MS)
                 for number, name in enumerate(classes))


def write_settings(wanted: Sequence[Lane], folder: str, config: Optional[str]) -> str:
    """The path of settings with these lanes. Raises UsageError when there are settings already."""
    if config:
        raise UsageError("--eject: brings settings of its own; leave out --config {}".format(config))
    path = os.path.join(folder, "scrapsort.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("[ejector]\nenabled = true\n")
        for lane in wanted:
            file.write('[[ejector.lane]]\nclass = "{}"\nbin = {}\noutput = "{}"\ndistance_m = {}\nlatency_ms = {}\n'
                       'pulse_ms = {}\n'.format(*lane))
    return path


def read(state: str) -> List[Ejected]:
    """The ejections of a journal, in its order."""
    connection = sqlite3.connect(os.path.join(state, FILE))
    try:
        return [Ejected(*row) for row in connection.execute(
            "SELECT bin, ejection, coalesce(ejection_error_ms, 0), coalesce(ejected_mono_s, 0), line_mono_s FROM items "
            "WHERE ejection IS NOT NULL ORDER BY id")]
    finally:
        connection.close()


def judge(truth: Sequence[Any], ejected: Sequence[Ejected], wanted: Sequence[Lane], speed: float) -> Dict[str, Any]:
    """truth: of benchmarks.belt, with the times at each of the wanted lanes. Every item goes where the air blows it."""
    counts: Dict[str, int] = {}
    for one in ejected:
        counts[one.what] = counts.get(one.what, 0) + 1
    pulses: List[List[Tuple[float, float]]] = [[] for _ in wanted]
    off_ms, own_lane = [], {}
    for one in ejected:
        if one.what not in ("fired", "merged"):
            continue
        number = next(k for k, lane in enumerate(wanted) if lane.bin == one.bin)
        opens_s = one.mono_s + wanted[number].latency_ms / 1000
        pulses[number].append((opens_s, opens_s + wanted[number].pulse_ms / 1000))
        item = min(truth, key=lambda item: abs(item.line_mono_s - one.line_mono_s))
        if abs(item.line_mono_s - one.line_mono_s) * speed <= item.length_m / 2:
            off_ms.append(abs(opens_s - item.ejectors_mono_s[number]) * 1000)
            own_lane[item.number] = number
    ends = {item.number: _ends_in(item, pulses, wanted, speed) for item in truth}
    return {"counts": counts, "signal_error_ms": percentiles([abs(one.error_ms) for one in ejected
                                                               if one.what in ("fired", "merged")]),
            "arrival_error_ms": percentiles(off_ms), "arrival_error_mm": percentiles([ms * speed for ms in off_ms]),
            "right_bin": sum(ends[i.number] is not None and wanted[ends[i.number]].class_name == i.class_name
                             for i in truth),
            "wrong_bin": sum(ends[i.number] is not None and wanted[ends[i.number]].class_name != i.class_name
                             for i in truth),
            "by_anothers_pulse": sum(ends[i.number] is not None and own_lane.get(i.number) != ends[i.number]
                                     for i in truth),
            "not_hit": sum(number in own_lane and ends[number] is None for number in ends),
            "end_of_belt": sum(end is None for end in ends.values()),
            "per_bin": {lane.class_name: _bin(truth, ends, number, lane.class_name)
                        for number, lane in enumerate(wanted)}}


def _ends_in(item: Any, pulses: Sequence[Sequence[Tuple[float, float]]], wanted: Sequence[Lane],
             speed: float) -> Optional[int]:
    """The number of the first lane whose air hits the item; None: it stays on the belt."""
    half_s = item.length_m / 2 / speed
    for number in sorted(range(len(wanted)), key=lambda number: wanted[number].distance_m):
        middle_s = item.ejectors_mono_s[number]
        on_it_s = sum(max(0.0, min(end_s, middle_s + half_s) - max(start_s, middle_s - half_s))
                      for start_s, end_s in pulses[number])
        if on_it_s >= HIT * wanted[number].pulse_ms / 1000:
            return number
    return None


def _bin(truth: Sequence[Any], ends: Dict[int, Optional[int]], number: int, class_name: str) -> Dict[str, Any]:
    inside = [item for item in truth if ends[item.number] == number]
    return {"purity": share(item.class_name == class_name for item in inside),
            "recovery": share(ends[item.number] == number for item in truth if item.class_name == class_name)}


def lines(figures: Optional[Dict[str, Any]]) -> List[str]:
    """The ejection of a run for people; none without."""
    if figures is None:
        return []

    def spread(name: str, unit: str, digits: int) -> str:
        return ", ".join("{} {:.{}f} {}".format(key, value, digits, unit) for key, value in figures[name].items())
    text = ["  ejectors: " + ", ".join("{} {}".format(*one) for one in figures["counts"].items()),
            "  ejection error: signal against its due time " + spread("signal_error_ms", "ms", 3),
            "    air against the item's true arrival " + spread("arrival_error_ms", "ms", 1) + " (" + spread(
                "arrival_error_mm", "mm", 1) + ")",
            "  where the items ended: right bin {right_bin}, wrong bin {wrong_bin} (by another's pulse "
            "{by_anothers_pulse}), end of the belt {end_of_belt} (fired at, not hit: {not_hit})".format(**figures)]
    for name, one in figures["per_bin"].items():
        text.append("    bin {:<10s} purity {:>8s}  recovery {:>8s}".format(
            name, percent(one["purity"]), percent(one["recovery"])))
    return text

"""The judge of ejections is judged: where each item ends, by whose air, and what the figures say of it."""

import pytest

from benchmarks import ejection
from benchmarks.belt import TrueItem
from benchmarks.ejection import LATENCY_MS, PULSE_MS, Ejected, judge, lanes, lines
from edge import settings
from edge.errors import UsageError
from edge.journal import Ejection, Journal

SPEED = 0.5
LANES = lanes(("glass", "metal"))
AFTER_S = {lane.class_name: lane.distance_m / SPEED for lane in LANES}  # the line: 1.0 and 1.3 s
# Items 0.2 m long, so 0.4 s long in front of a valve; nothing is meant for paper
TRUTH = [TrueItem(number, name, "", at, False, 0.2, [at + AFTER_S["glass"], at + AFTER_S["metal"]])
         for number, (name, at) in enumerate([("glass", 10.0), ("metal", 12.0), ("glass", 14.0), ("paper", 16.0)])]


def ejected(line_s, name, late_s=0.0, what="fired", error_ms=0.5):
    """What the journal says of an item that crossed then, taken for name; its pulse begins so late."""
    bin_number = next(lane.bin for lane in LANES if lane.class_name == name)
    return Ejected(bin_number, what, error_ms, line_s + AFTER_S[name] + late_s - LATENCY_MS / 1000, line_s)


FIRST, SECOND, THIRD = RIGHT = [ejected(10.0, "glass"), ejected(12.0, "metal"), ejected(14.0, "glass")]
# A pulse is 60 ms, and half of it must fall on the item: it may begin up to 170 ms after the item's middle came


@pytest.mark.parametrize("word, records, expected", [
    ("all right", RIGHT, {}),
    ("merged with the pulse before", [FIRST, SECOND, ejected(14.0, "glass", what="merged")],
     {"counts": {"fired": 2, "merged": 1}}),
    ("late, and hit all the same", [FIRST, SECOND, ejected(14.0, "glass", 0.165)], {}),
    ("early, and hit all the same", [FIRST, SECOND, ejected(14.0, "glass", -0.225)], {}),
    ("too late", [FIRST, SECOND, ejected(14.0, "glass", 0.175)], {"right_bin": 2, "end_of_belt": 2, "not_hit": 1}),
    ("too early", [FIRST, SECOND, ejected(14.0, "glass", -0.235)], {"right_bin": 2, "end_of_belt": 2, "not_hit": 1}),
    ("too early and too late together", [FIRST, SECOND, ejected(14.0, "glass", 0.175), ejected(14.0, "glass", -0.235)],
     {"counts": {"fired": 4}}),
    ("taken for another class", [FIRST, ejected(12.0, "glass"), THIRD], {"right_bin": 2, "wrong_bin": 1}),
    ("what has no bin in one", RIGHT + [ejected(16.0, "metal")],
     {"counts": {"fired": 4}, "wrong_bin": 1, "end_of_belt": 0}),
    ("into another's bin by another's pulse", [FIRST, SECOND, ejected(14.0, "glass", 2.0)],
     {"right_bin": 2, "wrong_bin": 1, "by_anothers_pulse": 1, "not_hit": 1}),
    ("into its own bin by another's pulse", [SECOND, ejected(14.0, "glass", -4.0)],
     {"counts": {"fired": 2}, "right_bin": 2, "by_anothers_pulse": 1, "end_of_belt": 2, "not_hit": 1}),
    ("by the lane before its own", [FIRST, ejected(11.9, "glass", 0.1), SECOND, THIRD],
     {"counts": {"fired": 4}, "right_bin": 2, "wrong_bin": 1, "by_anothers_pulse": 1}),
    ("a pulse for nothing", RIGHT + [ejected(20.0, "glass")], {"counts": {"fired": 4}}),
    ("missed", [FIRST, SECOND, ejected(14.0, "glass", what="missed")],
     {"counts": {"fired": 2, "missed": 1}, "right_bin": 2, "end_of_belt": 2}),
    ("failed", [FIRST, SECOND, ejected(14.0, "glass", what="failed")],
     {"counts": {"fired": 2, "failed": 1}, "right_bin": 2, "end_of_belt": 2}),
    ("nothing at all", [], {"counts": {}, "right_bin": 0, "end_of_belt": 4}),
])
def test_each_item_goes_where_the_air_blows_it(word, records, expected):
    figures = judge(TRUTH, records, LANES, SPEED)
    usual = {"counts": {"fired": 3}, "right_bin": 3, "wrong_bin": 0, "by_anothers_pulse": 0, "not_hit": 0,
             "end_of_belt": 1}
    assert {key: figures[key] for key in usual} == dict(usual, **expected)
    assert figures["right_bin"] + figures["wrong_bin"] + figures["end_of_belt"] == len(TRUTH)


def test_errors_of_signal_and_air():
    records = [ejected(10.0, "glass", error_ms=-3.0), ejected(12.0, "metal", 0.1, error_ms=2.0),
               ejected(20.0, "glass", error_ms=1.0), ejected(14.0, "glass", 9.0, "missed", 9000.0)]
    figures = judge(TRUTH, records, LANES, SPEED)
    assert figures["signal_error_ms"] == {"p50": 2.0, "p99": 3.0, "max": 3.0}  # of those that were fired
    assert figures["arrival_error_ms"]["max"] == pytest.approx(100.0)
    assert figures["arrival_error_mm"]["max"] == pytest.approx(50.0)
    assert min(figures["arrival_error_ms"].values()) > 0  # what was fired at nothing has no arrival: two are left
    assert judge(TRUTH, [], LANES, SPEED)["arrival_error_ms"] == {}


def test_purity_and_recovery_and_how_they_read():
    figures = judge(TRUTH, [FIRST, ejected(12.0, "glass")], LANES, SPEED)
    assert figures["per_bin"] == {"glass": {"purity": 0.5, "recovery": 0.5}, "metal": {"purity": None, "recovery": 0.0}}
    text = "\n".join(lines(figures))
    assert "right bin 1, wrong bin 1 (by another's pulse 0), end of the belt 2 (fired at, not hit: 0)" in text
    assert "bin glass      purity   50.00%  recovery   50.00%" in text and "ejectors: fired 2" in text
    assert "bin metal      purity        -  recovery    0.00%" in text and lines(None) == []


def test_the_settings_of_a_run_are_those_it_is_judged_by(tmp_path):
    path = ejection.write_settings(LANES, str(tmp_path), None)
    found = settings.load(path).ejector
    assert found.enabled and found.lane == LANES
    assert [lane.bin for lane in LANES] == [1, 2] and {lane.pulse_ms for lane in LANES} == {PULSE_MS}
    with pytest.raises(UsageError, match="--config mine.toml"):
        ejection.write_settings(LANES, str(tmp_path), "mine.toml")


def test_ejections_are_read_from_a_journal(tmp_path, make_record, run_of):
    journal = Journal(str(tmp_path))
    journal.begin("sim:", run_of)
    journal.record(make_record(1, bin=1, ejection="scheduled", line_mono_s=10.0))
    journal.record(make_record(2))  # goes on to the end of the belt
    journal.record(make_record(3, bin=2, ejection="scheduled", line_mono_s=12.0))
    journal.note(Ejection(1, "fired", 0.25, 10.988))
    journal.close()
    assert ejection.read(str(tmp_path)) == [Ejected(1, "fired", 0.25, 10.988, 10.0),
                                            Ejected(2, "scheduled", 0.0, 0.0, 12.0)]

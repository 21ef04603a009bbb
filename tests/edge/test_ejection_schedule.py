"""When valves open and close, by reckoning alone: no thread, no sleep."""

import pytest

from edge.ejector.schedule import DROPPED, FIRED, FOREVER, MERGED, MISSED, Schedule
from edge.settings import Lane

LANE = Lane("metal", 1, "log:a", 0.8, 12.0, 60.0)


def schedule(*lanes, **options):
    return Schedule(lanes or (LANE,), **options)


def play(one, until_s, from_s=0.0):
    """Do everything at its very moment; [(time, valve, on)], {item: (what, error in ms)}."""
    changes, results, now_s = [], {}, from_s
    for _ in range(10000):
        now_s = max(now_s, one.next_s())
        if now_s > until_s:
            return changes, results
        changed, told = one.due(now_s)
        changes += [(round(now_s, 6), change.valve, change.on) for change in changed]
        results.update({result.item: (result.what, round(result.error_ms, 3)) for result in told})
    raise AssertionError("it never rests")


def test_it_fires_when_the_item_is_there_less_the_latency():
    one = schedule()
    one.belt(0.5, 0.0)
    assert one.add(7, 0, 10.0, 10.05) is None and one.busy
    assert one.next_s() == pytest.approx(10.0 + 0.8 / 0.5 - 0.012)
    changes, results = play(one, 20.0)
    assert changes == [(11.588, 0, True), (11.648, 0, False)]
    assert results == {7: (FIRED, 0.0)} and not one.busy and one.next_s() == FOREVER


def test_decided_too_late_is_missed_and_by_how_much_is_told():
    one = schedule(late_s=0.02)
    one.belt(1.0, 0.0)
    due_s = 10.0 + 0.8 - 0.012
    assert one.add(1, 0, 10.0, due_s + 0.019) is None
    late = one.add(2, 0, 10.0, due_s + 0.021)
    assert (late.what, round(late.error_ms, 3)) == (MISSED, 21.0)


def test_a_thread_that_wakes_too_late_misses_too():
    one = schedule(late_s=0.02)
    one.belt(1.0, 0.0)
    one.add(1, 0, 10.0, 10.0)
    changes, results = one.due(10.788 + 0.03)
    assert changes == [] and results[0].what == MISSED and results[0].error_ms == pytest.approx(30.0)


@pytest.mark.parametrize("word, steps, expected_s", [
    ("twice as fast half way", [(0.5, 0.0), (1.0, 10.8)], 10.8 + 0.4),
    ("slower half way", [(0.5, 0.0), (0.25, 10.8)], 10.8 + 1.6),
    ("stands for two seconds", [(0.5, 0.0), (0.0, 10.8), (0.5, 12.8)], 13.6),
    ("known only afterwards", [(0.5, 10.4)], 11.6),
    ("a change that was told late", [(0.5, 0.0), (1.0, 11.0), (0.25, 10.8)], 10.8 + 1.6),
    ("no change worth the name", [(0.5, 0.0), (0.5005, 10.8)], 11.6),
])
def test_a_change_of_speed_moves_what_is_on_its_way(word, steps, expected_s):
    one = schedule(LANE._replace(latency_ms=0.0))
    one.add(1, 0, 10.0, 10.0)
    for speed, from_s in steps:
        one.belt(speed, from_s)
    assert one.next_s() == pytest.approx(expected_s), word


def test_on_a_belt_that_stands_nothing_is_due():
    one = schedule()
    one.belt(0.5, 0.0)
    one.add(1, 0, 10.0, 10.0)
    one.belt(0.0, 10.5)
    assert one.next_s() == FOREVER and not one.busy
    assert [result.what for result in one.drop(60.0)] == [DROPPED]


def test_without_a_speed_only_what_is_at_the_line_is_fired():
    one = schedule(LANE, LANE._replace(class_name="glass", output="log:b", distance_m=0.0, latency_ms=0.0))
    assert one.add(1, 0, 10.0, 10.0) is None and one.add(2, 1, 10.0, 10.0) is None
    assert one.next_s() == 10.0
    assert play(one, 100.0, 10.0)[1] == {2: (FIRED, 0.0)}


@pytest.mark.parametrize("word, overlap, second_s, expected, error", [
    ("apart", "merge", 10.2, [(10.0, True), (10.06, False), (10.2, True), (10.26, False)], (FIRED, 0.0)),
    ("overlapping: one longer pulse", "merge", 10.04, [(10.0, True), (10.1, False)], (MERGED, 0.0)),
    ("within the gap: it stays open", "merge", 10.07, [(10.0, True), (10.13, False)], (MERGED, 0.0)),
    ("overlapping: one after the other", "queue", 10.04, [(10.0, True), (10.06, False), (10.08, True),
                                                         (10.14, False)], (FIRED, 40.0)),
    ("within the gap: after it", "queue", 10.07, [(10.0, True), (10.06, False), (10.08, True), (10.14, False)],
     (FIRED, 10.0)),
    ("so early that it would hit another", "queue", 10.001, [(10.0, True), (10.06, False)], (MISSED, 79.0)),
])
def test_pulses_to_one_valve(word, overlap, second_s, expected, error):
    one = schedule(LANE._replace(distance_m=0.0, latency_ms=0.0), overlap=overlap, min_gap_s=0.02)
    one.add(1, 0, 10.0, 9.0)
    one.add(2, 0, second_s, 9.0)
    changes, results = play(one, 20.0)
    assert [(time_s, on) for time_s, _, on in changes] == [(pytest.approx(t), on) for t, on in expected], word
    assert results[1][0] == FIRED and results[2] == (error[0], pytest.approx(error[1], abs=0.01)), word


def test_decided_right_after_its_valve_closed_it_waits_for_the_gap():
    one = schedule(LANE._replace(distance_m=0.0, latency_ms=0.0), min_gap_s=0.02)
    one.add(1, 0, 10.0, 9.0)
    changes, _ = play(one, 10.061)
    assert changes[-1] == (10.06, 0, False)
    one.add(2, 0, 10.065, 10.065)
    changes, results = play(one, 20.0, 10.065)
    assert changes[0] == (10.08, 0, True) and results[2] == (FIRED, 15.0)


def test_lanes_may_share_a_valve():
    glass = LANE._replace(class_name="glass", distance_m=0.4)
    one = schedule(LANE, glass, LANE._replace(class_name="paper", output="log:b"))
    assert one.outputs == ["log:a", "log:b"]
    one.belt(1.0, 0.0)
    for item, (lane, line_s) in enumerate([(0, 10.0), (1, 10.41), (2, 10.0)]):
        one.add(item, lane, line_s, 10.0)
    changes, results = play(one, 20.0)
    assert results == {0: (FIRED, 0.0), 1: (MERGED, 0.0), 2: (FIRED, 0.0)}
    assert sorted(changes) == [(10.788, 0, True), (10.788, 1, True), (10.848, 1, False), (10.858, 0, False)]


def test_a_stop_and_go_of_hours_is_remembered_only_as_far_as_needed():
    one = schedule()
    for second in range(10000):
        one.belt(0.5 + 0.1 * (second % 2), float(second))
    assert len(one.speeds._steps) < 50

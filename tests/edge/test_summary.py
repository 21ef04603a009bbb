"""Counts and latencies of a run."""

import numpy as np
import pytest

from edge.journal.record import Override
from edge.summary import Percentiles, Summary

CLASSES = ("glass", "metal", "paper", "plastic")


@pytest.mark.parametrize("word, durations", [
    ("a normal spread", lambda rng: np.abs(rng.normal(20, 5, 20000)) + 0.01),
    ("a long tail", lambda rng: rng.lognormal(2, 1.5, 20000)),
    ("from microseconds to minutes", lambda rng: 10 ** rng.uniform(-2, 5, 20000)),
    ("all the same", lambda rng: np.full(1000, 8.25)),
    ("two kinds", lambda rng: np.where(rng.rand(20000) < 0.97, 5.0, 500.0)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_percentiles_are_within_one_percent(word, durations):
    values = durations(np.random.RandomState(1))
    percentiles = Percentiles()
    for value in values:
        percentiles.add(float(value))
    for percent in (1, 5, 25, 50, 75, 90, 95, 99, 99.9, 100):
        at = int(np.ceil(len(values) * percent / 100.0)) - 1  # the nearest rank
        exact = np.sort(values)[max(0, at)]
        assert abs(percentiles.at(percent) / exact - 1) <= 0.01, percent
        if word == "a normal spread":  # where neighbours are close, numpy's interpolation says the same
            assert abs(percentiles.at(percent) / np.percentile(values, percent) - 1) <= 0.01 or percent == 100
    assert percentiles.count == len(values)


def test_few_durations():
    percentiles = Percentiles()
    assert [percentiles.at(p) for p in (0, 50, 100)] == [0.0, 0.0, 0.0]
    percentiles.add(10.0)
    assert [percentiles.at(p) for p in (0, 50, 100)] == pytest.approx([10.0] * 3, rel=0.01)
    percentiles.add(20.0)
    assert [percentiles.at(p) for p in (0, 50, 51, 100)] == pytest.approx([10.0, 10.0, 20.0, 20.0], rel=0.01)


def test_durations_beyond_the_range_are_counted_at_its_ends():
    percentiles = Percentiles()
    for value in (0.0, -5.0, 1e-9, 1e12):
        percentiles.add(value)
    assert percentiles.count == 4
    assert percentiles.at(75) == pytest.approx(0.001, rel=0.01)
    assert percentiles.at(100) == pytest.approx(1e6, rel=0.01)


def test_memory_does_not_grow():
    percentiles = Percentiles()
    bins = len(percentiles._counts)
    for value in (0.001, 1.0, 1e3, 1e6, 1e9):
        percentiles.add(value)
    assert len(percentiles._counts) == bins


def summary_of(make_record):
    summary = Summary(CLASSES, 100.0)
    right, wrong = Override("metal", "me", 1.0), Override("paper", "me", 1.0)
    for record in (
            make_record(1, total_ms=10.0),
            make_record(2, class_name="glass", total_ms=10.0),
            make_record(3, decision="review", queue_reason="low_confidence", total_ms=20.0),
            make_record(4, override=right, total_ms=10.0),  # confirmed, not overridden
            make_record(5, override=wrong, queue_reason="override", total_ms=10.0),
            make_record(6, decision="error", class_name=None, confidence=None, error="truncated", total_ms=9999.0)):
        summary.add(record)
    return summary


def test_what_a_run_adds_up_to(make_record):
    values = summary_of(make_record).as_dict(110.0)
    latency_ms = values.pop("latency_ms")
    assert values == {"items": 6, "by_class": {"glass": 1, "metal": 4, "paper": 0, "plastic": 0}, "items_not_kept": 0,
                      "pictures_not_kept": 0, "low_confidence": 1,
                      "strangers": 0, "clusters": 0, "overrides": 1,
                      "queued": 2, "errors": 1, "ejections": {}, "seconds": 10.0, "items_per_s": 0.6}
    assert list(values["by_class"]) == list(CLASSES)
    assert values["items"] == sum(values["by_class"].values()) + values["errors"]
    assert latency_ms == {"p50": pytest.approx(10, rel=0.01), "p95": pytest.approx(20, rel=0.01),
                          "p99": pytest.approx(20, rel=0.01)}  # bad pictures do not count


def test_nothing_at_all():
    values = Summary(CLASSES, 100.0).as_dict(100.0)
    assert values["items"] == 0 and values["items_per_s"] == 0.0
    assert values["latency_ms"] == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


def test_lines_for_people(make_record):
    lines = summary_of(make_record).lines(110.0)
    assert lines[0] == "6 items in 10.0 s, 0.6 items/s"
    assert lines[1] == "by class: glass 1  metal 4"
    assert lines[2] == "low confidence 1, overrides 1, queued 2, errors 1"
    assert lines[3].startswith("latency p50 10.0 ms, p95 ")
    assert Summary(CLASSES, 0.0).lines(1.0)[1] == "by class: none"


def test_strangers_and_clusters_are_counted_among_what_goes_to_review(make_record):
    summary = Summary(CLASSES, 0.0)
    for sequence, reason in enumerate(["stranger", "low_confidence", "stranger", "cluster", ""], 1):
        summary.add(make_record(sequence, decision="review" if reason else "accept", review_reason=reason))
    values = summary.as_dict(1.0)
    assert (values["low_confidence"], values["strangers"]) == (4, 2)  # the first as the flag: whatever the reason
    assert values["clusters"] == 1
    assert summary.lines(1.0)[2] == "low confidence 4 (strangers 2, clusters 1), overrides 0, queued 0, errors 0"

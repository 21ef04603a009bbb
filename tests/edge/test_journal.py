"""Recorded means committed: each field, and in groups. Real files, real SQLite."""

import json
import os
import threading

import pytest
from helpers import one_line, rows, until

from edge.errors import JournalError
from edge.journal import Ejection, Journal
from edge.journal.record import Override
from edge.journal.writer import Committed


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


# ---------------------------------------------------------------- what is recorded

def test_every_field_of_an_item_and_its_run(state, clock, make_record, run_of):
    journal = Journal(state, clock=clock)
    run = journal.begin("/belt", run_of)
    override = Override("paper", "ann", 1763802950.5)
    journal.record(make_record(1, override=override, queue_reason="override", picture=b"bytes", picture_suffix=".png"))
    journal.record(make_record(2, decision="error", class_name=None, confidence=None, probabilities=(),
                               threshold=None, error="truncated"))
    clock.move(60.0)
    journal.close("limit reached")
    first, second = (dict(row) for row in rows(state))
    assert first == {
        "id": 1, "run": run, "sequence": 1, "captured_mono_s": 6.0, "captured_utc": "2025-11-22T09:15:01.000Z",
        "clock_synchronised": 1, "source": "/belt/1.jpg", "source_key": "/belt/1.jpg|10|20", "class": "metal",
        "probabilities": "[0.1, 0.75, 0.1, 0.05]", "confidence": 0.75, "decision": "accept", "threshold": 0.7,
        "model_version": "2026.11-a", "backend": "onnxruntime", "precision": "int8", "decode_ms": 1.0,
        "preprocess_ms": 2.0, "infer_ms": 3.0, "decide_ms": 0.5, "total_ms": 6.5, "bin": None,
        "ejection_error_ms": None, "override_class": "paper", "override_by": "ann",
        "override_utc": "2025-11-22T09:15:50.500Z", "picture": "queue/1-1.png", "error": None,
        "stranger_score": None, "review_reason": None, "line_mono_s": None, "belt_speed_mps": None, "views": 0,
        "ejection": None, "ejected_mono_s": None}
    assert (second["decision"], second["class"], second["confidence"], second["probabilities"], second["error"]) == (
        "error", None, None, None, "truncated")
    only, = (dict(row) for row in rows(state, "SELECT * FROM runs"))
    assert only.pop("boot_id") is not None and only.pop("scrapsort_version") and only.pop("key")
    assert only.pop("ran_s") == 60.0
    assert only == {
        "id": run, "started_utc": "2025-11-22T09:15:00.000Z", "ended_utc": "2025-11-22T09:16:00.000Z",
        "ended_by": "limit reached", "source": "/belt", "classes": '["glass", "metal", "paper", "plastic"]',
        "model_name": "tiny", "model_version": "2026.11-a", "backend": "onnxruntime",
        "device": "CPUExecutionProvider", "precision": "int8"}


def ejections(state):
    return [(row["sequence"], row["bin"], row["ejection"], row["ejection_error_ms"], row["ejected_mono_s"])
            for row in rows(state)]


def test_what_became_of_an_ejection_goes_to_its_item(state, make_record, run_of):
    journal = Journal(state, commit_s=0.05)
    for _ in range(2):  # a second run begins its sequence anew
        journal.begin("/belt", run_of)
        journal.note(Ejection(2, "missed", 31.5, 9.0))  # told before its record was handed over
        for sequence in (1, 2, 3):
            journal.record(make_record(sequence, bin=7, ejection="scheduled"))
        journal.record(make_record(4))
        until(lambda: len(rows(state)) % 4 == 0 and rows(state))
        journal.note(Ejection(1, "fired", 0.25, 8.0))  # and long after it was committed
        until(lambda: ejections(state)[-4][2] == "fired")
        journal.note(Ejection(3, "dropped", 0.0, 9.5))  # and at the very end
        journal.close()
        assert ejections(state)[-4:] == [(1, 7, "fired", 0.25, 8.0), (2, 7, "missed", 31.5, 9.0),
                                         (3, 7, "dropped", 0.0, 9.5), (4, None, None, None, None)]
        journal = Journal(state, commit_s=0.05)
    journal.close()


def test_what_was_on_its_way_when_a_run_was_killed_is_unknown(state, make_record, run_of):
    killed = Journal(state, commit_s=0.05)
    killed.begin("/belt", run_of)
    killed.record(make_record(1, bin=7, ejection="scheduled"))
    killed.record(make_record(2))
    until(lambda: killed.committed == 2)
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.close()
    assert ejections(state) == [(1, 7, "unknown", None, None), (2, None, None, None, None)]
    killed.close()


def test_stranger_score_and_reason_of_review(state, make_record, run_of):
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, decision="review", stranger_score=-2.5, review_reason="stranger"))
    journal.record(make_record(2, decision="review", threshold=None, review_reason="always_review"))
    journal.record(make_record(3, stranger_score=-9.25))
    journal.close()
    assert [(row["decision"], row["threshold"], row["stranger_score"], row["review_reason"])
            for row in rows(state)] == [
        ("review", 0.7, -2.5, "stranger"), ("review", None, None, "always_review"), ("accept", 0.7, -9.25, None)]


def test_when_an_item_crossed_the_line_at_which_speed_and_in_how_many_views(state, make_record, run_of):
    journal = Journal(state)
    journal.begin("sim:", run_of)
    journal.record(make_record(1, line_mono_s=12.345678, belt_speed_mps=0.5, views=3))
    journal.close()
    only, = rows(state)
    assert (only["line_mono_s"], only["belt_speed_mps"], only["views"]) == (12.345678, 0.5, 3)


def test_the_queue_and_its_pictures(state, make_record, run_of):
    picture = bytes(bytearray(range(256))) * 50
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, queue_reason="low_confidence", picture=picture))
    journal.record(make_record(2, queue_reason="asked"))  # queued, no picture asked for
    journal.record(make_record(3))
    journal.close()
    queued = rows(state, "SELECT item, reason FROM queue ORDER BY item")
    assert [tuple(row) for row in queued] == [(1, "low_confidence"), (2, "asked")]
    assert [row["picture"] for row in rows(state)] == ["queue/1-1.jpg", None, None]
    assert os.listdir(os.path.join(state, "queue")) == ["1-1.jpg"]  # and no temporary file
    with open(os.path.join(state, "queue", "1-1.jpg"), "rb") as file:
        assert file.read() == picture


def test_runs_are_numbered_and_their_sequences_are_their_own(state, make_record, run_of):
    for expected in (1, 2):
        journal = Journal(state)
        assert journal.begin("/belt", run_of) == expected
        journal.record(make_record(1))
        journal.close()
    assert [(row["id"], row["run"], row["sequence"]) for row in rows(state)] == [(1, 1, 1), (2, 2, 1)]


def test_a_sequence_twice_in_a_run_is_refused_and_nothing_of_its_group_stays(state, make_record, run_of):
    done = threading.Event()
    journal = Journal(state, commit_items=2, on_commit=lambda group: done.set())
    journal.begin("/belt", run_of)
    journal.record(make_record(1)), journal.record(make_record(2))
    assert done.wait(10)
    journal.record(make_record(3)), journal.record(make_record(2))
    with pytest.raises(JournalError) as caught:
        journal.close()
    one_line(caught, "UNIQUE", journal.path)
    assert [row["sequence"] for row in rows(state)] == [1, 2]


def test_whether_a_picture_was_recorded_is_known_across_runs_and_threads(state, make_record, run_of):
    done = threading.Event()
    journal = Journal(state, commit_items=1, on_commit=lambda group: done.set())
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    assert done.wait(10)
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(
        journal.is_recorded(key) for key in ("/belt/1.jpg|10|20", "/belt/1.jpg|10|21", "' OR 1")))
    thread.start()
    thread.join()
    journal.close()
    assert answers == [True, False, False]
    later = Journal(state)
    assert later.is_recorded("/belt/1.jpg|10|20")
    later.close()


# ---------------------------------------------------------------- groups

def test_what_is_said_to_be_committed_is_there_for_others(state, make_record, run_of):
    seen = []

    def on_commit(group):
        known = {row["id"]: row["sequence"] for row in rows(state)}
        seen.extend(known.get(one.item) == one.record.sequence for one in group)
        assert len(known) == len(seen)
    journal = Journal(state, commit_items=3, on_commit=on_commit)
    journal.begin("/belt", run_of)
    for sequence in range(1, 21):
        journal.record(make_record(sequence))
    journal.close()
    assert seen == [True] * 20 and journal.committed == 20


@pytest.mark.parametrize("commit_items, count, groups", [
    (1, 3, [1, 1, 1]), (4, 8, [4, 4]), (4, 10, [4, 4, 2]), (32, 70, [32, 32, 6]), (32, 1, [1]), (5, 0, []),
])
def test_sizes_of_groups(state, make_record, run_of, commit_items, count, groups):
    sizes = []
    journal = Journal(state, 60.0, commit_items, on_commit=lambda group: sizes.append(len(group)))
    journal.begin("/belt", run_of)
    for sequence in range(1, count + 1):
        journal.record(make_record(sequence))
    journal.close()
    assert sizes == groups and journal.committed == count == len(rows(state))


@pytest.mark.parametrize("commit_s", [0.0, 0.02])
def test_a_group_is_committed_in_time_though_it_is_not_full(state, make_record, run_of, commit_s):
    done = threading.Event()
    journal = Journal(state, commit_s, 32, on_commit=lambda group: done.set())
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    assert done.wait(10)  # nothing but the time does it: no second record, no close
    assert len(rows(state)) == 1
    journal.close()


def test_the_time_counts_from_the_first_of_a_group(state, make_record, run_of, clock):
    """With the clock beyond the deadline after each record, each is a group of its own."""
    sizes, go = [], threading.Event()

    def mono_s():
        clock.mono += 2.0
        return clock.mono
    clock.mono_s = mono_s
    journal = Journal(state, 1.0, 32, clock=clock, on_commit=lambda group: (sizes.append(len(group)), go.wait(10)))
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    go.set()
    journal.close()
    assert sizes == [1]


def test_records_and_numbers_of_a_group(state, make_record, run_of):
    groups = []
    journal = Journal(state, 60.0, 2, on_commit=groups.append)
    journal.begin("/belt", run_of)
    records = [make_record(sequence) for sequence in (1, 2, 3)]
    for record in records:
        journal.record(record)
    journal.close()
    assert groups == [[Committed(1, records[0]), Committed(2, records[1])], [Committed(3, records[2])]]


# ---------------------------------------------------------------- failures

def test_a_run_that_never_began_leaves_no_run(state):
    Journal(state).close()
    assert rows(state, "SELECT * FROM runs") == []


# ---------------------------------------------------------------- one run at a time

def test_probabilities_are_short_but_exact_enough(state, make_record, run_of):
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, probabilities=(1 / 3.0, 2 / 3.0, 0.0, 1e-9)))
    journal.close()
    kept = json.loads(rows(state)[0]["probabilities"])
    assert kept == [0.333333, 0.666667, 0.0, 0.0]

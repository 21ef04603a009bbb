"""Recorded means committed: groups, failures, other processes, full and read-only disks. Real files, real SQLite."""

import glob
import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from edge.errors import JournalError
from edge.journal import Ejection, Journal, StateLock, aside, backlog, pictures, schema, writer
from edge.journal.record import Override
from edge.journal.repair import repair
from edge.journal.writer import Committed

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def rows(state, query="SELECT * FROM items ORDER BY id", parameters=()):
    """Read with a connection of our own, as any other program would."""
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()


def one_line(caught, *names):
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    for name in names:
        assert name in message, message


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


def test_an_ejection_that_cannot_be_written_is_a_failure_of_the_journal(state, make_record, run_of):
    journal = Journal(state, commit_s=0.05)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, bin=7, ejection="scheduled"))
    until(lambda: journal.committed == 1)
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.note(Ejection(1, "fired", 0.25, 8.0))
    with pytest.raises(JournalError) as caught:
        journal.close()
    other.close()
    one_line(caught, "locked")


def until(what, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "did not happen within {} s".format(within_s)
        time.sleep(0.01)


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


# ---------------------------------------------------------------- durability

def test_the_writing_connection_is_durable(state):
    journal = Journal(state)
    pragma = {name: journal._connection.execute("PRAGMA " + name).fetchone()[0]
              for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
    journal.close()
    assert pragma["journal_mode"] == "wal" and pragma["synchronous"] == 2  # FULL
    assert pragma["foreign_keys"] == 1 and pragma["busy_timeout"] >= 1000


def test_sql_stays_within_sqlite_3_22():
    """JetPack 4 has 3.22: no UPSERT (3.24), window functions (3.25), RETURNING (3.35) and their like."""
    newer = re.compile(r"\bRETURNING\b|\bON CONFLICT\b[^;]*\bDO\b|\bOVER\s*\(|\bRENAME COLUMN\b|\bDROP COLUMN\b"
                       r"|->>?\s*'|\bFILTER\s*\(|\bNULLS (FIRST|LAST)\b|\bGENERATED ALWAYS\b|\bVACUUM INTO\b"
                       r"|\bMATERIALIZED\b|\bUPDATE\b[^;\"]*\bSET\b[^;\"]*\bFROM\b|\)\s*STRICT\b|\biif\(",
                       re.IGNORECASE)
    paths = glob.glob(os.path.join(REPOSITORY, "edge", "journal", "*.py"))
    assert len(paths) >= 6
    for path in paths:
        with open(path, encoding="utf-8") as file:
            assert newer.search(file.read()) is None, path
    assert newer.search("INSERT INTO a VALUES (1) ON CONFLICT (a) DO NOTHING") and newer.search("x RETURNING id")


def test_pictures_are_on_disk_before_the_rows_that_name_them(state, make_record, run_of, monkeypatch):
    kept = []
    write = pictures.write_durably

    def watched(path, data):
        kept.append((len(rows(state)), os.path.basename(path)))
        write(path, data)
    monkeypatch.setattr(pictures, "write_durably", watched)
    journal = Journal(state, 60.0, 2)
    journal.begin("/belt", run_of)
    for sequence in range(1, 5):
        journal.record(make_record(sequence, queue_reason="asked", picture=b"x"))
    journal.close()
    assert kept == [(0, "1-1.jpg"), (0, "1-2.jpg"), (2, "1-3.jpg"), (2, "1-4.jpg")]


# ---------------------------------------------------------------- versions

def user_version(state):
    return rows(state, "PRAGMA user_version")[0][0]


@pytest.mark.parametrize("word, before", [
    ("no folder", None), ("empty file", b""),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_new_journal_gets_the_newest_version(state, word, before):
    if before is not None:
        os.makedirs(state)
        with open(os.path.join(state, "journal.db"), "wb") as file:
            file.write(before)
    Journal(state).close()
    assert user_version(state) == len(schema.MIGRATIONS)
    assert rows(state) == []


def test_an_older_journal_is_migrated_in_order_and_keeps_its_items(state, make_record, run_of, monkeypatch):
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    journal.close()
    before = len(schema.MIGRATIONS)
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS + (
        "ALTER TABLE items ADD COLUMN colour TEXT", "UPDATE items SET colour = 'red'; CREATE TABLE more (id INTEGER)"))
    Journal(state).close()
    assert user_version(state) == before + 2
    assert [(row["sequence"], row["colour"]) for row in rows(state)] == [(1, "red")]
    Journal(state).close()  # and not once more
    assert user_version(state) == before + 2


def test_a_journal_of_version_1_keeps_every_row(state, make_record, run_of):
    """The file is made by the first migration, which must never change, and by an INSERT as it was then."""
    assert hashlib.sha256(schema.MIGRATIONS[0].encode()).hexdigest()[:16] == "74588cdcd21e6b50"
    os.makedirs(state)
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    connection.executescript("PRAGMA journal_mode = WAL;" + schema.MIGRATIONS[0] + "PRAGMA user_version = 1;")
    connection.execute("INSERT INTO runs (started_utc, boot_id, source, classes, model_name, model_version, backend, "
                       "device, precision, scrapsort_version) VALUES ('2025', 'b', '/belt', ?, 'tiny', '1', 'o', 'c', "
                       "'int8', '0.1.0')", (json.dumps(run_of.bundle.classes),))
    connection.executemany(
        "INSERT INTO items (run, sequence, captured_mono_s, captured_utc, source, source_key, class, probabilities, "
        "confidence, decision, threshold, model_version, backend, precision, decode_ms, preprocess_ms, infer_ms, "
        "decide_ms, total_ms, override_class, error) VALUES (1, ?, 1.5, '2025', '/belt/x.jpg', ?, ?, '[1, 0, 0, 0]', "
        "?, ?, 0.7, '1', 'o', 'int8', 1, 2, 3, 4, 10, ?, ?)",
        [(1, "k1", "glass", 0.9, "accept", None, None), (2, "k2", "metal", 0.4, "review", "paper", None),
         (3, "k3", None, None, "error", None, "truncated")])
    connection.execute("INSERT INTO queue VALUES (2, 'low_confidence', '2025')")
    connection.commit()
    connection.close()
    before = [dict(row) for row in rows(state)]
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, decision="review", stranger_score=0.5, review_reason="stranger"))
    journal.close()
    assert user_version(state) == len(schema.MIGRATIONS) >= 2
    after = [dict(row) for row in rows(state)]
    added = [(row.pop("stranger_score"), row.pop("review_reason")) for row in after]
    assert [[row.pop(name) for name in ("line_mono_s", "belt_speed_mps", "ejection", "ejected_mono_s", "views")]
            for row in after] == [[None] * 5] * 3 + [[None] * 4 + [0]]
    assert after[:3] == before and len(after) == 4
    assert added == [(None, None), (None, "low_confidence"), (None, None), (0.5, "stranger")]
    assert [tuple(row) for row in rows(state, "SELECT * FROM queue")] == [(2, "low_confidence", "2025")]


def test_a_migration_that_fails_changes_nothing(state, monkeypatch):
    Journal(state).close()
    before = user_version(state)
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS + ("CREATE TABLE more (id INTEGER); NONSENSE",))
    with pytest.raises(JournalError) as caught:
        Journal(state)
    one_line(caught, "NONSENSE")
    assert user_version(state) == before
    assert rows(state, "SELECT name FROM sqlite_master WHERE name = 'more'") == []


def test_a_newer_journal_is_refused_and_left_alone(state):
    Journal(state).close()
    newer = len(schema.MIGRATIONS) + 1
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    connection.execute("PRAGMA user_version = {}".format(newer))
    connection.close()
    with pytest.raises(JournalError) as caught:
        Journal(state)
    one_line(caught, "schema version {}".format(newer), "up to {}".format(newer - 1), "--state")
    assert user_version(state) == newer


def test_many_may_create_a_journal_at_once(tmp_path):
    for attempt in range(5):
        state, start, failures = str(tmp_path / str(attempt)), threading.Barrier(6), []

        def create(state=state, start=start, failures=failures):
            start.wait()
            try:
                schema.connect(state).close()
            except Exception as error:
                failures.append(error)
        threads = [threading.Thread(target=create) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [] and user_version(state) == len(schema.MIGRATIONS)


def test_two_processes_may_write_in_turn(state, make_record, run_of):
    """A label from another process between the commits of a run."""
    done = threading.Event()
    journal = Journal(state, commit_items=1, on_commit=lambda group: done.set())
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    assert done.wait(10)
    subprocess.check_call([sys.executable, "-c", "import sys; from edge.journal.review import label; "
                           "label(sys.argv[1], 1, 'pap', 'ann')", state], cwd=REPOSITORY)
    journal.record(make_record(2))
    journal.close()
    assert [row["override_class"] for row in rows(state)] == ["paper", None]


# ---------------------------------------------------------------- failures

class Told:
    """What a journal says of its conditions."""

    def __init__(self):
        self.now, self.ever = {}, []

    def __call__(self, name, trouble=""):
        if self.now.get(name, "") != trouble:
            self.ever.append((name, trouble))
        self.now[name] = trouble


def say_no(journal, make_record, **changes):
    """Record until the disk says no; how many records that took."""
    for sequence in range(1, 100000):
        journal.record(make_record(sequence, source="/belt/" + "x" * 500, **changes))
        if journal.backlog.trouble:
            return sequence
    raise AssertionError("it never said no")


def test_a_full_disk_is_said_and_what_waits_is_caught_up(state, make_record, run_of):
    confirmed, told = [], Told()
    journal = Journal(state, 0.0, 4, on_commit=lambda group: confirmed.extend(one.record.sequence for one in group),
                      condition=told)
    journal.begin("/belt", run_of)
    journal._connection.execute("PRAGMA max_page_count = 60")  # SQLite's own full disk
    handed_over = say_no(journal, make_record)
    assert "full" in told.now["journal"] and "free some space" in told.now["journal"]
    assert 0 < len(confirmed) == journal.committed < handed_over
    assert [row["sequence"] for row in rows(state)] == confirmed == list(range(1, len(confirmed) + 1))
    for sequence in range(handed_over + 1, handed_over + 601):  # more than may wait for a disk that is well
        journal.record(make_record(sequence))
    journal._connection.execute("PRAGMA max_page_count = 100000")
    until(lambda: journal.committed == handed_over + 600)
    journal.close()
    assert told.now["journal"] == "" and journal.backlog.lost == 0
    kept = rows(state)
    assert [row["sequence"] for row in kept] == confirmed == list(range(1, handed_over + 601))
    assert [row["captured_mono_s"] for row in kept] == [5.0 + row["sequence"] for row in kept]  # their own times
    assert rows(state, "PRAGMA integrity_check")[0][0] == "ok" and rows(state, "SELECT * FROM losses") == []


def test_a_disk_that_is_full_to_the_end_is_a_failure_that_says_how_many_are_lost(small_disk, make_record, run_of):
    confirmed, told = [], Told()
    journal = Journal(small_disk.path, 0.0, 32, condition=told,
                      on_commit=lambda group: confirmed.extend(one.record.sequence for one in group))
    journal.begin("/belt", run_of)
    handed_over = say_no(journal, make_record)
    with pytest.raises(JournalError) as caught:
        journal.close()
    one_line(caught, "free some space", "{} decided items are not recorded".format(handed_over - len(confirmed)))
    assert [row["sequence"] for row in rows(small_disk.path)] == confirmed == list(range(1, len(confirmed) + 1))
    assert len(confirmed) > 100 and journal.backlog.lost == handed_over - len(confirmed)


def test_a_belt_loses_the_oldest_of_what_memory_does_not_hold_and_the_journal_says_so(
        state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(backlog, "HANDOVER", 20)
    monkeypatch.setattr(backlog, "ROWS", 50)
    journal = Journal(state, 0.0, 4)
    journal.begin("sim:", run_of)
    journal._connection.execute("PRAGMA max_page_count = 60")
    handed_over = say_no(journal, make_record)
    journal.backlog.patient = False
    for sequence in range(handed_over + 1, handed_over + 201):
        journal.record(make_record(sequence))  # and never waits
    assert len(journal.backlog) == 50 and journal.counters()["items not kept"] == journal.backlog.lost >= 145
    journal._connection.execute("PRAGMA max_page_count = 100000")
    until(lambda: len(journal.backlog) == 0)
    journal.close()
    kept = [row["sequence"] for row in rows(state)]
    loss, = rows(state, "SELECT * FROM losses")
    lost = list(range(loss["first_sequence"], loss["last_sequence"] + 1))
    assert sorted(kept + lost) == list(range(1, handed_over + 201)) and kept == sorted(kept)
    assert loss["items"] == len(lost) == journal.backlog.lost and "full" in loss["reason"]
    assert loss["from_utc"] < loss["to_utc"]
    assert kept[-50:] == list(range(handed_over + 151, handed_over + 201))


def test_a_source_that_can_wait_loses_nothing_and_a_signal_ends_the_wait(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(backlog, "HANDOVER", 20)
    monkeypatch.setattr(backlog, "ROWS", 50)
    stop = threading.Event()
    journal = Journal(state, 0.0, 4, hurry=stop.is_set)
    journal.begin("/belt", run_of)
    journal._connection.execute("PRAGMA max_page_count = 60")
    handed_over = say_no(journal, make_record)
    feeder = threading.Thread(target=lambda: [journal.record(make_record(handed_over + 1 + number))
                                              for number in range(60)])
    feeder.start()
    until(lambda: len(journal.backlog) == 50)
    feeder.join(0.3)
    assert feeder.is_alive() and journal.backlog.lost == 0
    stop.set()
    feeder.join(10)
    assert not feeder.is_alive() and journal.backlog.lost > 0
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.close()


def test_pictures_are_shed_before_rows(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(backlog, "PICTURE_BYTES", 100)
    journal = Journal(state, 0.0, 4)
    journal.begin("/belt", run_of)
    journal._connection.execute("PRAGMA max_page_count = 60")
    handed_over = say_no(journal, make_record)
    for sequence in range(handed_over + 1, handed_over + 11):
        journal.record(make_record(sequence, queue_reason="asked", picture=b"x" * 30))
    assert journal.pictures_not_kept == 7
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.close()
    assert [row["sequence"] for row in rows(state)] == list(range(1, handed_over + 11))
    assert [row["picture"] is not None for row in rows(state)[-10:]] == [True] * 3 + [False] * 7
    assert [(row["items"], row["pictures"]) for row in rows(state, "SELECT * FROM losses")] == [(0, 7)]


def test_a_commit_of_unknown_outcome_is_not_repeated(state, make_record, run_of):
    """It reached the disk and an error was reported all the same, as a failed fsync does."""
    confirmed = []
    journal = Journal(state, 0.0, 4, on_commit=lambda group: confirmed.extend(one.item for one in group))
    journal.begin("/belt", run_of)

    class Failing:
        """The connection, whose next COMMIT is done and then reported as failed."""

        def __init__(self, connection):
            self.connection, self.failed = connection, False

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def execute(self, statement, *values):
            result = self.connection.execute(statement, *values)
            if statement == "COMMIT" and not self.failed:
                self.failed = True
                raise sqlite3.OperationalError("disk I/O error")
            return result
    failing = journal._connection = Failing(journal._connection)
    for sequence in range(1, 10):
        journal.record(make_record(sequence, queue_reason="asked"))
    until(lambda: journal.committed == 9)
    journal.close()
    assert failing.failed and [row["sequence"] for row in rows(state)] == list(range(1, 10))
    assert confirmed == list(range(1, 10)) and len(rows(state, "SELECT * FROM queue")) == 9


def test_no_space_for_a_picture(small_disk, make_record, run_of):
    told = Told()
    journal = Journal(small_disk.path, 0.0, 1, condition=told)
    journal.begin("/belt", run_of)
    for sequence in range(1, 41):
        journal.record(make_record(sequence, queue_reason="asked", picture=b"x" * 200000))
    journal.close()
    assert journal.committed == 40 and journal.pictures_not_kept >= 35 and journal.backlog.lost == 0
    assert any(name == "pictures" and "No space" in trouble for name, trouble in told.ever)
    folder = os.path.join(small_disk.path, "queue")
    assert all(os.path.getsize(os.path.join(folder, name)) == 200000 for name in os.listdir(folder))  # whole or not
    kept = {row["picture"] for row in rows(small_disk.path)}
    assert None in kept and kept - {None} <= {"queue/" + name for name in os.listdir(folder)}


def test_a_picture_folder_that_is_none_costs_the_pictures_alone(state, make_record, run_of):
    os.makedirs(state)
    with open(os.path.join(state, "queue"), "w"):
        pass
    told = Told()
    journal = Journal(state, 0.0, 1, condition=told)
    journal.begin("/belt", run_of)
    for sequence in range(1, 4):
        journal.record(make_record(sequence, queue_reason="asked", picture=b"x"))
    until(lambda: journal.committed == 3)
    assert len([one for one in told.ever if one[0] == "pictures"]) == 1  # one line, not one a picture
    assert os.path.join(state, "queue") in told.now["pictures"]
    os.unlink(os.path.join(state, "queue"))
    journal.record(make_record(4, queue_reason="asked", picture=b"x"))
    journal.close()
    assert told.now["pictures"] == "" and journal.pictures_not_kept == 3
    assert [row["picture"] for row in rows(state)] == [None] * 3 + ["queue/1-4.jpg"]


def test_pictures_are_not_kept_when_space_is_short_but_records_are(small_disk, make_record, run_of):
    journal = Journal(small_disk.path, 0.0, 1, keep_free_mb=1)  # of 1.05 MB the empty journal has taken some
    journal.begin("/belt", run_of)
    for sequence in (1, 2):
        journal.record(make_record(sequence, queue_reason="low_confidence", picture=b"x"))
    journal.close()
    assert journal.pictures_not_kept == 2 and journal.committed == 2
    assert [row["picture"] for row in rows(small_disk.path)] == [None, None]
    assert len(rows(small_disk.path, "SELECT * FROM queue")) == 2
    assert not os.path.exists(os.path.join(small_disk.path, "queue"))


def test_a_read_only_state_folder(small_disk, make_record, run_of):
    journal = Journal(small_disk.path)
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    journal.close()
    small_disk.read_only()
    with pytest.raises(JournalError) as caught:
        Journal(small_disk.path).begin("/belt", run_of)
    one_line(caught, small_disk.path, "--state")
    with pytest.raises(JournalError) as caught:
        StateLock(small_disk.path)
    one_line(caught, small_disk.path, "Read-only", "--state DIR")
    with pytest.raises(JournalError) as caught:
        Journal(os.path.join(small_disk.path, "below"))
    one_line(caught, "Read-only", "--state DIR")


@pytest.mark.parametrize("word, content", [
    ("no database", b"this is no database, but long enough to be read as one" * 40),
    ("a header and noise", b"SQLite format 3\0" + b"\x5a" * 5000),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_damaged_journal_is_kept_and_a_new_one_begun(state, make_record, run_of, word, content):
    os.makedirs(os.path.join(state, "queue"))
    with open(os.path.join(state, "queue", "7-1.jpg"), "wb") as file:
        file.write(b"of the seventh run")
    with open(os.path.join(state, "journal.db"), "wb") as file:
        file.write(content)
    told = Told()
    journal = Journal(state, condition=told)
    assert journal.begin("/belt", run_of) == 8  # never a number, and a picture's name, for the second time
    journal.record(make_record(1))
    journal.close()
    kept, = aside.find_aside(state)
    with open(kept, "rb") as file:
        assert file.read() == content
    text = told.now["old journal"]
    assert os.path.basename(kept) in text and "not a database" in text and "scrapsort journal repair" in text
    assert len(rows(state)) == 1 and "\n" not in text
    with pytest.raises(JournalError) as caught:  # who only reads puts nothing aside
        os.replace(kept, os.path.join(state, "journal.db"))
        schema.connect_existing(state)
    one_line(caught, "not a database", "scrapsort journal repair")


def test_damage_while_a_run_goes_on(state, make_record, run_of):
    told, confirmed = Told(), []
    journal = Journal(state, 0.0, 8, condition=told, on_commit=confirmed.extend)
    journal.begin("/belt", run_of)
    for sequence in range(1, 501):
        journal.record(make_record(sequence, source="/belt/" + "x" * 300))
    until(lambda: journal.committed == 500)
    journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = os.path.getsize(journal.path)
    with open(journal.path, "r+b") as file:
        file.seek(size // 2 // 4096 * 4096)  # the first half can be read
        file.write(b"\x5a" * (size - file.tell()))
    journal._connection.execute("PRAGMA cache_size = 0")
    for sequence in range(501, 601):
        journal.record(make_record(sequence))
    until(lambda: journal.committed == 600)
    journal.close()
    assert told.now["old journal"] and [one.record.sequence for one in confirmed] == list(range(1, 601))
    numbers = [one.item for one in confirmed]
    assert len(set(numbers)) == 600
    new = [row["sequence"] for row in rows(state)]
    assert new == list(range(new[0], 601)) and 400 < new[0] <= 501
    kept, = aside.find_aside(state)
    done = repair(kept, journal.path)
    assert done.read >= 150 and done.merged == done.read - done.known and done.lost >= 100
    present = [(row["run"], row["sequence"]) for row in rows(state)]
    assert len(set(present)) == len(present) and len(rows(state, "SELECT * FROM runs")) == 1
    assert repair(kept, journal.path).merged == 0  # once more changes nothing
    assert [(row["run"], row["sequence"]) for row in rows(state)] == present
    assert rows(state, "PRAGMA integrity_check")[0][0] == "ok"


def test_a_journal_that_somebody_takes_away(state, make_record, run_of):
    journal = Journal(state, 0.0, 1)
    journal.begin("/belt", run_of)
    journal.record(make_record(1))
    until(lambda: journal.committed == 1)
    os.replace(journal.path, journal.path + ".taken")
    journal.record(make_record(2))
    journal.close()
    assert [row["sequence"] for row in rows(state)] == [2] and len(rows(state, "SELECT * FROM runs")) == 1


def test_a_service_goes_on_in_memory_and_catches_up(small_disk, make_record, run_of):
    small_disk.read_only()
    told = Told()
    with StateLock(small_disk.path, must_write=False):
        journal = Journal(small_disk.path, 0.0, 4, condition=told, must_open=False)
        assert journal.begin("/belt", run_of) == 0
        for sequence in range(1, 101):
            journal.record(make_record(sequence))
        until(lambda: told.now.get("journal"))
        assert "wait in memory" in told.now["journal"]
        subprocess.check_call(["mount", "-o", "remount,rw", small_disk.path])
        until(lambda: journal.committed == 100)
        journal.close()
    assert [row["sequence"] for row in rows(small_disk.path)] == list(range(1, 101)) and told.now["journal"] == ""


def test_a_state_folder_that_is_a_file(tmp_path):
    path = tmp_path / "state"
    path.write_text("x")
    for use in (Journal, StateLock):
        with pytest.raises(JournalError) as caught:
            use(str(path))
        one_line(caught, str(path), "--state DIR")


def test_a_journal_that_another_program_holds(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(writer, "BUSY_S", 0.05)
    journal = Journal(state, 0.0, 1)
    journal.begin("/belt", run_of)
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.record(make_record(1))
    until(lambda: journal.backlog.trouble)
    assert "locked" in journal.backlog.trouble and "another program" in journal.backlog.trouble
    assert rows(state) == [] and journal.committed == 0
    other.close()
    journal.close()
    assert len(rows(state)) == 1


def test_a_listener_that_fails_stops_the_run_but_not_what_is_recorded(state, make_record, run_of):
    def on_commit(group):
        raise ZeroDivisionError("report")
    journal = Journal(state, 0.0, 1, on_commit=on_commit)
    journal.begin("/belt", run_of)
    with pytest.raises(JournalError) as caught:
        for sequence in range(1, 100000):
            journal.record(make_record(sequence))
    one_line(caught, "ZeroDivisionError")
    with pytest.raises(JournalError):
        journal.close()
    assert len(rows(state)) == journal.committed == 1


def test_the_loop_waits_for_a_slow_disk_and_loses_nothing(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(backlog, "HANDOVER", 2)
    release = threading.Event()
    journal = Journal(state, 0.0, 1, on_commit=lambda group: release.wait(10))
    journal.begin("/belt", run_of)
    feeder = threading.Thread(target=lambda: [journal.record(make_record(number)) for number in range(1, 11)])
    feeder.start()
    feeder.join(0.3)
    assert feeder.is_alive() and len(journal.backlog) == 2
    release.set()
    feeder.join()
    journal.close()
    assert [row["sequence"] for row in rows(state)] == list(range(1, 11))


def test_a_run_that_never_began_leaves_no_run(state):
    Journal(state).close()
    assert rows(state, "SELECT * FROM runs") == []


def test_no_journal_yet(tmp_path):
    with pytest.raises(JournalError) as caught:
        schema.connect_existing(str(tmp_path))
    one_line(caught, str(tmp_path), "scrapsort run", "--state")
    assert os.listdir(str(tmp_path)) == []  # asking creates nothing


# ---------------------------------------------------------------- one run at a time

HOLDER = ("import sys; from edge.journal import StateLock\n"
          "with StateLock(sys.argv[1]):\n"
          "    sys.stdout.write('held\\n'); sys.stdout.flush(); sys.stdin.read()\n")


def hold(state):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, state], cwd=REPOSITORY, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def finish(process):
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_with_the_first_ones_number(state):
    process = hold(state)
    try:
        for _ in range(2):  # asking does not free it
            with pytest.raises(JournalError) as caught:
                StateLock(state)
            one_line(caught, state, "in use by process {};".format(process.pid), "--state")
        StateLock(state + "2").close()  # another folder is another lock
    finally:
        finish(process)
    StateLock(state).close()


def test_the_lock_is_free_once_its_holder_was_killed(state):
    process = hold(state)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with StateLock(state) as lock, open(lock.path) as file:
        assert file.read() == "{}\n".format(os.getpid())  # the dead one's number is gone
    finish(process)


def test_within_one_process_too(state):
    with StateLock(state):
        with pytest.raises(JournalError) as caught:
            StateLock(state)
        one_line(caught, "in use by process {}".format(os.getpid()))
    StateLock(state).close()


def test_probabilities_are_short_but_exact_enough(state, make_record, run_of):
    journal = Journal(state)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, probabilities=(1 / 3.0, 2 / 3.0, 0.0, 1e-9)))
    journal.close()
    kept = json.loads(rows(state)[0]["probabilities"])
    assert kept == [0.333333, 0.666667, 0.0, 0.0]


def test_waiting_pictures_are_bounded_in_bytes(tmp_path, make_record, run_of, monkeypatch):
    """A slow disk must not fill the memory with pictures: the loop waits instead."""
    monkeypatch.setattr(backlog, "PICTURE_BYTES", 10)
    disk_is_slow, go_on = threading.Event(), threading.Event()

    def on_commit(group):
        disk_is_slow.set()
        go_on.wait(10)

    journal = Journal(str(tmp_path), 0.0, 1, on_commit=on_commit)
    journal.begin("/belt", run_of)
    keep = {"queue_reason": "asked", "picture": b"12345678"}
    journal.record(make_record(1, **keep))
    assert disk_is_slow.wait(10)
    journal.record(make_record(2, **keep))  # 8 of 10 bytes wait
    third = threading.Thread(target=lambda: journal.record(make_record(3, **keep)))
    third.start()
    third.join(0.3)
    assert third.is_alive(), "handed over beyond the bound"
    go_on.set()
    third.join(10)
    journal.close()
    assert not third.is_alive() and journal.committed == 3

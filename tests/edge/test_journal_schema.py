"""What a journal is on the disk: durable, of a version, migrated from older ones, shared by processes."""

import glob
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading

import pytest
from helpers import REPOSITORY, one_line, rows

from edge.errors import JournalError
from edge.journal import Journal, pictures, schema


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


# ---------------------------------------------------------------- durability

def test_the_writing_connection_is_durable(state):
    journal = Journal(state)
    pragma = {name: journal._connection.execute("PRAGMA " + name).fetchone()[0]
              for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
    journal.close()
    assert pragma["journal_mode"] == "wal" and pragma["synchronous"] == 2  # FULL
    assert pragma["foreign_keys"] == 1 and pragma["busy_timeout"] >= 1000


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="NOT tried: only root makes others' files")
def test_a_journal_that_root_makes_belongs_to_whom_the_folder_belongs_to(tmp_path):
    """sudo scrapsort journal repair, while the service is stopped."""
    os.chown(str(tmp_path), 54321, 54322)
    connection = schema.connect(str(tmp_path))
    connection.execute("INSERT INTO queue (item, reason, queued_utc) SELECT 1, '', '' WHERE 0")
    found = {name: os.stat(str(tmp_path / name)) for name in os.listdir(str(tmp_path))}
    connection.close()
    assert set(found) == {"journal.db", "journal.db-wal", "journal.db-shm"}
    assert {(one.st_uid, one.st_gid) for one in found.values()} == {(54321, 54322)}


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

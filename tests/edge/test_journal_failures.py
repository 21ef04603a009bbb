"""What goes wrong with a journal: full, slow and read-only disks, damage, other programs. Nothing recorded is lost."""

import os
import sqlite3
import threading

import pytest
from helpers import one_line, rows, until

from edge.errors import JournalError
from edge.journal import Ejection, Journal, StateLock, schema, writer


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


def test_an_ejection_that_cannot_be_written_is_a_failure_of_the_journal(small_disk, make_record, run_of):
    journal = Journal(small_disk.path, commit_s=0.05)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, bin=7, ejection="scheduled"))
    until(lambda: journal.committed == 1)
    filler = os.open(os.path.join(small_disk.path, "filler"), os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError):
        while True:
            os.write(filler, b"x" * 1024)
    os.close(filler)
    for _ in range(2000):
        journal.note(Ejection(1, "fired", 0.25, 8.0))
    with pytest.raises(JournalError) as caught:
        journal.close()
    one_line(caught, "full")


def fill(journal, make_record, **changes):
    """Record until the journal says no; the error, and how many records it took."""
    for sequence in range(1, 100000):
        try:
            journal.record(make_record(sequence, source="/belt/" + "x" * 500, **changes))
        except JournalError as error:
            return error, sequence - 1
    raise AssertionError("it never said no")


def test_a_full_disk_is_said_and_loses_nothing_that_was_recorded(state, make_record, run_of):
    confirmed = []
    journal = Journal(state, 0.0, 4, on_commit=lambda group: confirmed.extend(one.record.sequence for one in group))
    journal.begin("/belt", run_of)
    journal._connection.execute("PRAGMA max_page_count = 60")  # SQLite's own full disk
    error, handed_over = fill(journal, make_record)
    assert "full" in str(error) and "free some space" in str(error) and "\n" not in str(error)
    with pytest.raises(JournalError):  # for good
        journal.record(make_record(100000))
    with pytest.raises(JournalError) as caught:
        journal.close()
    one_line(caught, "full", journal.path)
    assert 0 < len(confirmed) == journal.committed < handed_over
    assert [row["sequence"] for row in rows(state)] == confirmed == list(range(1, len(confirmed) + 1))
    assert rows(state, "PRAGMA integrity_check")[0][0] == "ok"


def test_a_disk_that_is_really_full(small_disk, make_record, run_of):
    confirmed = []
    journal = Journal(small_disk.path, 0.0, 32,
                      on_commit=lambda group: confirmed.extend(one.record.sequence for one in group))
    journal.begin("/belt", run_of)
    error, _ = fill(journal, make_record)
    assert "free some space; nothing that was recorded is lost" in str(error)
    with pytest.raises(JournalError):
        journal.close()
    assert [row["sequence"] for row in rows(small_disk.path)] == confirmed == list(range(1, len(confirmed) + 1))
    assert len(confirmed) > 100


def test_no_space_for_a_picture(small_disk, make_record, run_of):
    journal = Journal(small_disk.path, 0.0, 1, keep_free_mb=0)
    journal.begin("/belt", run_of)
    error, _ = fill(journal, make_record, queue_reason="asked", picture=b"x" * 200000)
    # pictures give way first; the records went on until the disk was full for them, too
    assert journal.pictures_not_kept > 0 and "full" in str(error) and "free some space" in str(error)
    with pytest.raises(JournalError):
        journal.close()
    folder = os.path.join(small_disk.path, "queue")
    assert all(name.startswith("1-") and os.path.getsize(os.path.join(folder, name)) == 200000
               for name in os.listdir(folder))  # whole or not at all
    kept = {row["picture"] for row in rows(small_disk.path)}
    assert None in kept and kept - {None} <= {"queue/" + name for name in os.listdir(folder)}


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
def test_a_damaged_journal_is_refused_and_kept(state, word, content):
    os.makedirs(state)
    path = os.path.join(state, "journal.db")
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(JournalError) as caught:
        Journal(state)
    one_line(caught, path, "not a database", "keep the file")
    with open(path, "rb") as file:
        assert file.read() == content


def test_a_state_folder_that_is_a_file(tmp_path):
    path = tmp_path / "state"
    path.write_text("x")
    for use in (Journal, StateLock):
        with pytest.raises(JournalError) as caught:
            use(str(path))
        one_line(caught, str(path), "--state DIR")


def test_a_journal_that_another_program_holds(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_S", 0.05)
    journal = Journal(state, 0.0, 1)
    journal.begin("/belt", run_of)
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        error, _ = fill(journal, make_record)
    finally:
        other.close()
    assert "locked" in str(error) and "another program" in str(error)
    with pytest.raises(JournalError):
        journal.close()
    assert rows(state) == [] and journal.committed == 0


def test_a_listener_that_fails_stops_the_run_but_not_what_is_recorded(state, make_record, run_of):
    def on_commit(group):
        raise ZeroDivisionError("report")
    journal = Journal(state, 0.0, 1, on_commit=on_commit)
    journal.begin("/belt", run_of)
    error, _ = fill(journal, make_record)
    assert "ZeroDivisionError" in str(error)
    with pytest.raises(JournalError):
        journal.close()
    assert len(rows(state)) == journal.committed == 1


def test_the_loop_waits_for_a_slow_disk_and_loses_nothing(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(writer, "HANDOVER", 2)
    release = threading.Event()
    journal = Journal(state, 0.0, 1, on_commit=lambda group: release.wait(10))
    journal.begin("/belt", run_of)
    feeder = threading.Thread(target=lambda: [journal.record(make_record(number)) for number in range(1, 11)])
    feeder.start()
    assert journal._waiting.maxsize == 2
    release.set()
    feeder.join()
    journal.close()
    assert [row["sequence"] for row in rows(state)] == list(range(1, 11))


def test_no_journal_yet(tmp_path):
    with pytest.raises(JournalError) as caught:
        schema.connect_existing(str(tmp_path))
    one_line(caught, str(tmp_path), "scrapsort run", "--state")
    assert os.listdir(str(tmp_path)) == []  # asking creates nothing


def test_waiting_pictures_are_bounded_in_bytes(tmp_path, make_record, run_of, monkeypatch):
    """A slow disk must not fill the memory with pictures: the loop waits instead."""
    monkeypatch.setattr(writer, "PICTURE_BYTES", 10)
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

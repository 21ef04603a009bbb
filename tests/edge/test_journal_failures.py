"""What goes wrong with a journal: full, slow and read-only disks, damage, other programs. Nothing recorded is lost."""

import os
import sqlite3
import subprocess
import threading

import pytest
from helpers import one_line, rows, until

from edge.errors import JournalError
from edge.journal import Ejection, Journal, StateLock, aside, backlog, schema, writer
from edge.journal.repair import repair


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


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


def test_no_journal_yet(tmp_path):
    with pytest.raises(JournalError) as caught:
        schema.connect_existing(str(tmp_path))
    one_line(caught, str(tmp_path), "scrapsort run", "--state")
    assert os.listdir(str(tmp_path)) == []  # asking creates nothing


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


@pytest.mark.long
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

"""What is thrown away and in which order; clocks that jump; what can be read of a damaged journal; doctor's advice."""

import os
import sqlite3
import subprocess
import sys

import pytest

from edge.clock import Clock, utc_text
from edge.errors import JournalError
from edge.journal import Journal, Limits, advice, aside, retention, schema
from edge.journal.repair import Damaged, repair

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DAY_S = 86400.0


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


def rows(state, query="SELECT sequence FROM items ORDER BY id"):
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def write(state, run_of, records, clock, **options):
    """One run of these records."""
    journal = Journal(state, 60.0, 32, clock=clock, **options)
    journal.begin("/belt", run_of)
    for record in records:
        journal.record(record)
    journal.close()
    return journal


def clean(state, clock, run=99, **limits):
    """All that retention throws away by itself; how many steps it took."""
    connection, steps = schema.connect(state), 0
    kept = retention.Retention(Limits(**limits), retention.Pictures(state, 0), clock)
    while kept.step(connection, run):
        steps += 1
    connection.close()
    return steps


# ---------------------------------------------------------------- limits

def test_old_rows_go_and_what_waits_for_review_stays(state, make_record, run_of, clock):
    old, new = clock.wall_s() - 100 * DAY_S, clock.wall_s()
    write(state, run_of, [
        make_record(1, captured_wall_s=old), make_record(2, captured_wall_s=old, decision="review"),
        make_record(3, captured_wall_s=old, queue_reason="asked", picture=b"x"),
        make_record(4, captured_wall_s=old), make_record(5, captured_wall_s=new - 89 * DAY_S),
        make_record(6, captured_wall_s=new)], clock)
    clean(state, clock, days=90)
    assert rows(state) == [(2,), (3,), (5,), (6,)]
    assert os.listdir(os.path.join(state, "queue")) == ["1-3.jpg"]
    clean(state, clock, days=0)
    assert len(rows(state)) == 4


@pytest.mark.parametrize("word, labels_days, synchronised, now_days, kept", [
    ("a boot in 1970 before the clock was set", [("1970", 0), (0, 1)], True, 0, 2),
    ("a boot in 1970 that says it is synchronised", [("1970", 1), (0, 1)], True, 0, 2),
    ("a clock that was months back amid good ones", [(0, 1), (-200, 1), (0, 1)], True, 0, 3),
    ("a clock that was days ahead and came back", [(0, 1), (50, 1), (0, 1)], True, 0, 3),
    ("a clock that was years back amid good ones", [(0, 1), (-3000, 1), (0, 1)], True, 0, 3),
    ("a clock that is years ahead and says that it is not synchronised", [(0, 1), (0, 1)], False, 3000, 2),
    ("a clock that is back in 1970", [(0, 1), (0, 1)], True, "1970", 2),
    ("old ones, then a boot in 1970, then good ones", [(-200, 1), ("1970", 0), (0, 1)], True, 0, 2),
    ("a clock years ahead of which nobody says whether it is right", [(0, 1), (0, 1)], None, 3000, 2),
    ("really old, and nobody says whether the clock is right", [(-200, 1), (-190, 1), (0, 1)], None, 0, 1),
    ("a boot in 1970, and nobody says anything", [(-200, 1), ("1970", 0)], None, 0, 2),
    ("really old, and the clock is right", [(-200, 1), (-190, 1), (0, 1)], True, 0, 1),
], ids=lambda value: value if isinstance(value, str) and len(value) > 5 else "")
def test_a_clock_that_jumps_throws_away_nothing_that_is_young(state, make_record, run_of, clock, word, labels_days,
                                                              synchronised, now_days, kept):
    real = clock.wall
    for number, (days, told) in enumerate(labels_days):
        clock.wall = 5000.0 if days == "1970" else real + days * DAY_S
        clock.synchronised = lambda told=told: bool(told)
        write(state, run_of, [make_record(1, captured_wall_s=clock.wall, source=str(number))], clock)
    clock.wall, clock.synchronised = (5000.0 if now_days == "1970" else real + now_days * DAY_S), lambda: synchronised
    clean(state, clock, days=90)
    assert len(rows(state)) == kept


def test_a_run_of_months_lets_go_of_what_came_before_it_also_where_nobody_says_what_time_it_is(
        state, make_record, run_of, clock):
    write(state, run_of, [make_record(1, captured_wall_s=clock.wall)], clock)
    write(state, run_of, [make_record(1, captured_wall_s=clock.wall, captured_mono_s=clock.mono)], clock)
    clock.synchronised = lambda: None
    clock.move(80 * DAY_S)
    clean(state, clock, run=2, days=90)
    assert len(rows(state)) == 2
    clock.move(20 * DAY_S)
    clean(state, clock, run=2, days=90)
    assert len(rows(state)) == 0


def test_rows_of_this_run_are_as_old_as_the_monotonic_clock_says(state, make_record, run_of, clock):
    clock.mono = 100 * DAY_S
    write(state, run_of, [make_record(1, captured_mono_s=9 * DAY_S), make_record(2, captured_mono_s=11 * DAY_S,
                                                                                captured_wall_s=0.0)], clock)
    clock.wall, clock.synchronised = 0.0, lambda: False
    clean(state, clock, run=1, days=90)
    assert rows(state) == [(2,)]


def test_a_journal_that_is_too_large_loses_its_oldest_rows_in_small_steps(state, make_record, run_of, clock,
                                                                          monkeypatch):
    monkeypatch.setattr(retention, "LATEST", 500)
    monkeypatch.setattr(retention, "PAGES", 50)
    write(state, run_of, [make_record(n, decision="review" if n in (5, 1000) else "accept", source="x" * 400)
                          for n in range(1, 6001)], clock)
    steps = clean(state, clock, rows_mb=2)
    kept = [row[0] for row in rows(state)]
    assert kept[:2] == [5, 1000] and kept[2:] == list(range(kept[2], 6001)) and len(kept) > 1500
    assert steps >= (6000 - len(kept)) // retention.ROWS
    before = os.path.getsize(os.path.join(state, "journal.db"))
    assert rows(state, "PRAGMA integrity_check") == [("ok",)]
    clean(state, clock, rows_mb=1)
    kept = [row[0] for row in rows(state)]
    assert kept[:2] == [5, 1000]
    assert before > 3.5e6 and os.path.getsize(os.path.join(state, "journal.db")) < 2.2e6  # pages were given back, too
    monkeypatch.setattr(retention, "LATEST", 3000)
    write(state, run_of, [make_record(n, decision="review", source="y" * 400) for n in range(1, 6001)], clock)
    clean(state, clock, rows_mb=1)  # nothing but what waits for review is left: the oldest of that go, never the latest
    assert [row[0] for row in rows(state)] == list(range(3001, 6001))


def test_pictures_beyond_their_limit_go_oldest_first_and_no_row_names_them(state, make_record, run_of, clock):
    for _ in range(2):
        write(state, run_of, [make_record(n, queue_reason="asked", picture=b"x" * 40000) for n in range(1, 41)], clock)
    clean(state, clock, pictures_mb=1)
    named = [row[0] for row in rows(state, "SELECT picture FROM items WHERE picture IS NOT NULL ORDER BY id")]
    assert len(rows(state)) == 80 and sorted(named) == sorted(
        "queue/" + name for name in os.listdir(os.path.join(state, "queue")))
    assert named == ["queue/2-{}.jpg".format(n) for n in range(41 - len(named), 41)] and 8 <= len(named) <= 25


def test_retention_goes_on_while_a_run_writes(state, make_record, run_of, monkeypatch):
    monkeypatch.setattr(retention, "LATEST", 100)
    monkeypatch.setattr(retention, "EVERY_S", 0.01)
    journal = write(state, run_of, [make_record(n, source="x" * 400) for n in range(1, 8001)], Clock(),
                    limits=Limits(rows_mb=1))
    kept = [row[0] for row in rows(state)]
    assert journal.committed == 8000 and kept == list(range(kept[0], 8001)) and len(kept) < 4000


# ---------------------------------------------------------------- clocks

def test_order_and_durations_are_right_however_the_wall_clock_jumps(state, make_record, run_of, clock):
    journal = Journal(state, 60.0, 1, clock=clock)
    journal.begin("/belt", run_of)
    walls = [clock.wall, clock.wall + 40 * DAY_S, clock.wall - 40 * DAY_S, 0.0, -5.0, clock.wall]
    for number, wall in enumerate(walls, 1):
        clock.mono, clock.wall = 100.0 + number, wall
        journal.record(make_record(number, captured_mono_s=clock.mono_s(), captured_wall_s=clock.wall_s()))
    journal.close()
    assert rows(state, "SELECT sequence, captured_mono_s, captured_utc FROM items ORDER BY id") == [
        (number, 100.0 + number, utc_text(wall)) for number, wall in enumerate(walls, 1)]
    assert rows(state, "SELECT ran_s FROM runs") == [(6.0,)]


# ---------------------------------------------------------------- repair

def damaged_copy(state, pages):
    """The journal put aside, with some of its pages overwritten."""
    path = aside.put_aside(state)
    with open(path, "r+b") as file:
        for page in pages:
            file.seek(4096 * page)
            file.write(b"\x5a" * 4096)
    return path


def journal_of(state, make_record, run_of, clock):
    write(state, run_of, [make_record(n, source="x" * 300, decision="review" if n % 10 == 0 else "accept",
                                      queue_reason="asked" if n % 10 == 0 else "") for n in range(1, 1001)], clock)


def test_repair_reads_around_bad_pages(state, make_record, run_of, clock):
    journal_of(state, make_record, run_of, clock)
    before = rows(state, "SELECT * FROM items ORDER BY id")
    size = os.path.getsize(os.path.join(state, "journal.db"))
    path = damaged_copy(state, [size // 4096 // 3, size // 4096 // 2])
    with open(path, "rb") as file:
        content = file.read()
    done = repair(path, os.path.join(state, "journal.db"))
    after = rows(state, "SELECT * FROM items ORDER BY id")
    assert done.read == done.merged == len(after) >= 950 and set(after) <= set(before)
    assert done.known == 0 and 1000 - done.read <= done.lost <= 50
    assert rows(state, "SELECT count(*) FROM queue")[0][0] == sum(row[0] % 10 == 0 for row in after)
    with open(path, "rb") as file:
        assert file.read() == content, "the damaged file is not touched"
    assert repair(path, os.path.join(state, "journal.db"))._replace(lost=0) == (done.read, 0, done.read, 0)


def test_repair_when_the_runs_cannot_be_read(state, make_record, run_of, clock):
    journal_of(state, make_record, run_of, clock)
    root, = rows(state, "SELECT rootpage FROM sqlite_master WHERE name = 'runs'")
    path = damaged_copy(state, [root[0] - 1])
    done = repair(path, os.path.join(state, "journal.db"))
    assert done.merged == 1000 and rows(state, "SELECT source FROM runs") == [("unknown",)]


def test_repair_of_what_is_no_journal_at_all(state, tmp_path):
    (tmp_path / "noise").write_bytes(b"\x5a" * 9000)
    with pytest.raises(JournalError, match="nothing of it can be read"):
        Damaged(str(tmp_path / "noise"))
    with pytest.raises(JournalError, match="no such file"):
        Damaged(str(tmp_path / "missing"))


def scrapsort(*arguments):
    process = subprocess.Popen([sys.executable, "-m", "edge"] + list(arguments), cwd=REPOSITORY,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out.decode(), err.decode()


def test_the_command_repairs_what_lies_in_the_state_folder(state, make_record, run_of, clock):
    journal_of(state, make_record, run_of, clock)
    assert scrapsort("journal", "repair", "--state", state)[:2] == (
        0, "{}: nothing to repair\n".format(os.path.join(state, "journal.db")))
    size = os.path.getsize(os.path.join(state, "journal.db"))
    path = damaged_copy(state, [size // 4096 // 2])
    assert [one[3] for one in advice.findings(state) if "put aside" in one[2]] == ["scrapsort journal repair"]
    write(state, run_of, [make_record(1)], clock)  # the belt went on meanwhile
    code, out, err = scrapsort("journal", "repair", "--state", state)
    assert code == 0 and err == "" and "items read" in out and "at most" in out, out + err
    assert not os.path.exists(path) and os.path.exists(path.replace(aside.MARK, aside.DONE))
    assert len(rows(state)) > 950 and advice.findings(state, "/nowhere") == []
    assert rows(state, "SELECT count(*) FROM runs") == [(2,)]


def test_the_command_repairs_the_present_journal_when_nobody_sorts(state, make_record, run_of, clock):
    journal_of(state, make_record, run_of, clock)
    with open(os.path.join(state, "journal.db"), "r+b") as file:
        file.seek(os.path.getsize(os.path.join(state, "journal.db")) // 8192 * 4096)
        file.write(b"\x5a" * 4096)
    code, out, err = scrapsort("journal", "repair", "--state", state)
    assert code == 0 and "taken into" in out, out + err
    assert len(rows(state)) > 950 and rows(state, "PRAGMA integrity_check") == [("ok",)]
    write(state, run_of, [make_record(1)], clock)
    assert rows(state, "SELECT max(id) FROM items")[0][0] > 1000  # no number a second time
    code, _, err = scrapsort("journal", "repair", os.path.join(state, "journal.db"), "--state", state)
    assert code == 2 and "into itself" in err


# ---------------------------------------------------------------- advice

@pytest.mark.parametrize("word, mount, journald, expected", [
    ("a disk", "/dev/nvme0n1p1 / ext4 rw,relatime 0 0", "", []),
    ("a card", "/dev/mmcblk0p1 / ext4 rw,relatime 0 0", "", ["noatime", "journald"]),
    ("a card with noatime", "/dev/mmcblk0p1 / ext4 rw,noatime 0 0", "#SystemMaxUse=\n", ["journald"]),
    ("a card, all well", "/dev/mmcblk0p1 / ext4 rw,noatime 0 0", "[Journal]\nSystemMaxUse=64M\n", []),
    ("a card, in memory", "/dev/mmcblk0p1 / ext4 rw,noatime 0 0", "[Journal]\nStorage=volatile\n", []),
    ("a disk on a card", "/dev/mmcblk0p1 / ext4 rw 0 0\n/dev/sda1 {} ext4 rw 0 0", "", []),
], ids=lambda value: value if isinstance(value, str) and len(value) < 25 else "")
def test_advice_for_cards(tmp_path, word, mount, journald, expected):
    (tmp_path / "mounts").write_text(mount.format(tmp_path))
    (tmp_path / "journald.conf").write_text(journald)
    found = advice.findings(str(tmp_path), str(tmp_path / "mounts"), str(tmp_path))
    assert len(found) == len(expected)
    for one, word_of_it in zip(found, expected):
        assert word_of_it in one[3] and one[0] == "note"

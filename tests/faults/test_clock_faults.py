"""The wall clock jumps by days, starts in 1970, changes its zone: order, durations and what is kept stay right."""

import glob
import os
import signal
import struct
import subprocess
import sys
import time

import pytest
from journal_bed import ROOT, Belt, need, rows
from service_bed import DRAWN, is_whole, start
from table import write_row

ITEMS, DAY_S = 10, 86400.0
BEDS = os.path.join(ROOT, "tests", "beds")
# Looks for what is too old each half second, instead of each five minutes
HOOK = "from edge.journal import retention\nretention.AGE_EVERY_S = 0.5\n"


class WallClock:
    """That of the processes which are given its environment."""

    def __init__(self, folder):
        self._path, library = os.path.join(str(folder), "shift"), os.path.join(str(folder), "shifted_clock.so")
        subprocess.check_call(["cc", "-shared", "-fPIC", "-o", library, os.path.join(BEDS, "shifted_clock.c"), "-ldl"])
        hooks = os.path.join(str(folder), "hooks")
        os.mkdir(hooks)
        with open(os.path.join(hooks, "sitecustomize.py"), "w") as file:
            file.write(HOOK)
        with open(self._path, "wb") as file:
            file.write(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": library, "SHIFTED_CLOCK": self._path,
                            "PYTHONPATH": "{}:{}".format(hooks, ROOT)}

    def days(self, days):
        """It is so many days ahead of the real one from now on."""
        with open(self._path, "r+b", 0) as file:
            file.write(struct.pack("q", int(days * DAY_S * 1e9)))
        return time.monotonic()

    def in_1970(self):
        """It was never set."""
        return self.days(-time.time() / DAY_S)


def pythons():
    """This one, and the oldest that scripts/test has made an environment for: a lock's time-out is another's there."""
    return [sys.executable] + (sorted(glob.glob(os.path.join(ROOT, ".venv", "test-py3.[678]", "bin", "python"))) or [
        ""])[:1]


@pytest.mark.parametrize("python", pythons(), ids=["this Python", "the oldest Python"])
def test_jumps_while_a_belt_is_sorted(tmp_path, python):
    need("cc")
    if not python:
        pytest.skip("on an old Python the clock was NOT set back: no .venv/test-py3.6; scripts/test makes it")
    clock = WallClock(tmp_path)
    began = time.monotonic()
    belt = Belt(tmp_path / "state", tmp_path, environment=clock.environment, python=python)
    longest_s = 0.0
    try:
        belt.hear("source sim:", within_s=60.0)
        belt.sort(ITEMS)
        sorting = time.monotonic()
        before = len(rows(belt.state))
        for days in (400.0, -400.0, 0.0, -time.time() / DAY_S, 0.0):
            jumped = clock.days(days)
            belt.fire(ITEMS)
            belt.sort(ITEMS)
            longest_s = max(longest_s, time.monotonic() - jumped)
        sorted_s = time.monotonic() - sorting
        code = belt.end()
        ended = time.monotonic()
    finally:
        if belt.process.poll() is None:
            belt.end(signal.SIGKILL)
    found = rows(belt.state, "SELECT sequence, captured_mono_s, captured_utc, ejection FROM items ORDER BY id")
    ran_s = rows(belt.state, "SELECT ran_s FROM runs")[0][0]
    assert code == 0
    assert [row[0] for row in found] == list(range(1, belt.summary["items"] + 1))
    assert [row[1] for row in found] == sorted(row[1] for row in found)
    assert sorted_s < ran_s < ended - began
    assert {row[2][:4] for row in found} >= {"1970"}
    assert len({row[2][:4] for row in found}) >= 3  # the labels did jump
    ejections = [row[3] for row in found]
    assert set(ejections) <= {"fired", "merged", "dropped", "missed"}
    said = [text for _, text in belt.said if "ejector: " in text or "journal: " in text]
    assert not [text for text in said if "hangs" in text or "died" in text], said
    version = subprocess.check_output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).decode()
    write_row("clock jumps by +400, -400 days, to 1970 and back, Python " + version.strip(),
              "a moved clock_gettime and sem_timedwait (tests/beds/shifted_clock.c)", before, len(found), 0, None,
              slowest_ten_items_s=round(longest_s, 1), missed=ejections.count("missed"), ran_s=round(ran_s, 1),
              really_s=round(ended - began, 1))


@pytest.mark.parametrize("when", ["starts in 1970", "jumps 400 days ahead"])
def test_retention_throws_nothing_away_that_is_young(tmp_path, when):
    """keep_days is 90: rows of an earlier run, and what a run with a wrong clock has added, are all kept."""
    need("cc")
    clock, state = WallClock(tmp_path), tmp_path / "state"

    def run(*days):
        belt = Belt(state, tmp_path, environment=clock.environment)
        try:
            belt.hear("source sim:", within_s=60.0)
            for shift in days:
                belt.sort(ITEMS)
                clock.days(shift)
            belt.sort(2 * ITEMS)
            time.sleep(2.0)  # four looks at what is too old
            assert belt.end() == 0
        finally:
            if belt.process.poll() is None:
                belt.end(signal.SIGKILL)
        return belt.summary["items"]
    recorded = before = run()
    if when == "starts in 1970":
        clock.in_1970()
        recorded += run()
        clock.days(0)
        recorded += run()
    else:
        recorded += run(400.0)
        clock.days(0)
    kept = rows(state, "SELECT run, sequence FROM items")
    assert len(kept) == len(set(kept)) == recorded
    write_row("clock {}, keep_days = 90".format(when), "a moved clock_gettime (tests/beds/shifted_clock.c)", before,
              len(kept), recorded - len(kept), None)


def test_another_time_zone(sorter):
    """/etc/localtime is replaced while it sorts, and again between two runs: labels are UTC, in order."""
    def zone(hours):
        """A zone file of one type and no changes (tzfile(5))."""
        with open(sorter.bed.path("/etc/localtime.new"), "wb") as file:
            file.write(b"TZif" + b"\0" * 16 + struct.pack(">6l", 0, 0, 0, 0, 1, 4) +
                       struct.pack(">lBB", hours * 3600, 0, 0) + b"XYZ\0")
        sorter.bed.run("mv", "-f", "/etc/localtime.new", "/etc/localtime")
    start(sorter, DRAWN.format(0.1))
    before = sorter.items
    zone(13)
    sorter.items_come()
    assert sorter.bed.run("date", "+%z")[1].strip() == "+1300"
    sorter.systemctl("restart", "scrapsort")
    sorter.items_come()
    zone(-11)
    recover_s = sorter.items_come()
    sorter.systemctl("restart", "scrapsort")
    sorter.items_come()
    is_whole(sorter)
    labels = [row[0] for row in sorter.rows("SELECT captured_utc FROM items ORDER BY id")]
    assert labels == sorted(labels)
    assert labels[-1][:13] == time.strftime("%Y-%m-%dT%H", time.gmtime())
    write_row("time zone changes from UTC to +13 to -11", "/etc/localtime replaced, then a restart", before,
              sorter.items, 0, recover_s)

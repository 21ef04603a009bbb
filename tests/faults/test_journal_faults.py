"""The journal's disk fails in each way that can be made to happen here, under `scrapsort run` as a process."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from journal_bed import ROOT, Belt, Disk, go_through, need, rows, write_row

ITEMS = 30  # sorted before, during and after a fault


@pytest.fixture
def disk(tmp_path):
    """disk(kind) -> a small file system: tmpfs or ext4."""
    need("mount")
    made = []

    def make(kind, options="size=24m"):
        if kind == "ext4":
            need("mkfs.ext4")
        made.append(Disk(str(tmp_path / "disk"), options, str(tmp_path / "image") if kind == "ext4" else None))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_that_another_program_fills(disk, tmp_path, kind):
    place = disk(kind)
    row = go_through(Belt(place.path, tmp_path), "disk full, " + kind, "a program takes each byte that is free",
                     place.fill, place.free, ITEMS)
    assert row["lost"] == row["said_lost"] == 0


def test_a_disk_that_goes_read_only(disk, tmp_path):
    """As after an error of the card: the kernel makes it read-only, and nothing but checking it makes it well."""
    place, state = disk("ext4"), tmp_path / "state"
    need("e2fsck")
    os.symlink(place.path, str(state))
    with open("/proc/mounts") as file:
        device = next(line.split()[0] for line in file if line.split()[1] == place.path)

    def inject():
        subprocess.check_call(["mount", "-o", "remount,errors=remount-ro", place.path])
        with open("/sys/fs/ext4/{}/trigger_fs_error".format(os.path.basename(device)), "w") as file:
            file.write("scrapsort")

    def mend():
        shutil.copyfile(str(tmp_path / "image"), str(tmp_path / "checked"))
        subprocess.call(["e2fsck", "-fy", str(tmp_path / "checked")], stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL)
        os.mkdir(str(tmp_path / "well"))
        subprocess.check_call(["mount", "-o", "loop", str(tmp_path / "checked"), str(tmp_path / "well")])
        os.symlink(str(tmp_path / "well"), str(tmp_path / "link"))
        os.replace(str(tmp_path / "link"), str(state))
    try:
        row = go_through(Belt(state, tmp_path), "read-only, ext4", "trigger_fs_error with errors=remount-ro; e2fsck",
                         inject, mend, ITEMS)
    finally:
        subprocess.call(["umount", "-l", str(tmp_path / "well")])
    assert row["lost"] == row["said_lost"] == 0


@pytest.mark.parametrize("call", ["fsync,fdatasync", "pwrite64"])
def test_a_disk_that_reports_errors(tmp_path, call):
    need("strace")
    state, tracers = tmp_path / "state", []
    belt = Belt(state, tmp_path)

    def inject():
        tracers.append(subprocess.Popen(
            ["strace", "-f", "-qq", "-o", str(tmp_path / "strace.log"), "-e", "trace=" + call, "-e",
             "inject={}:error=EIO".format(call), "-p", str(belt.process.pid)], stderr=subprocess.DEVNULL))

    def mend():
        tracers[0].send_signal(signal.SIGINT)
        tracers[0].wait()
    row = go_through(belt, "EIO of " + call, "strace -e inject=…:error=EIO", inject, mend, ITEMS)
    assert "(INJECTED)" in (tmp_path / "strace.log").read_text()
    assert row["lost"] == row["said_lost"] == 0


def test_no_name_is_left_on_the_disk(disk, tmp_path):
    """Rows need none; pictures do."""
    place = disk("tmpfs", "size=24m,nr_inodes=64")

    def inject():
        for number in range(100):
            try:
                open(os.path.join(place.path, "f{}".format(number)), "w").close()
            except OSError:
                return

    def mend():
        for name in os.listdir(place.path):
            if re.match(r"f\d+$", name):
                os.unlink(os.path.join(place.path, name))
    row = go_through(Belt(place.path, tmp_path), "no inodes, tmpfs", "mount -o nr_inodes", inject, mend, ITEMS,
                     alarm="pictures: ", well="pictures: well again")
    assert row["lost"] == row["said_lost"] == 0


def test_kill_9_while_the_disk_is_full(disk, tmp_path):
    place = disk("tmpfs")
    belt = Belt(place.path, tmp_path)
    try:
        belt.hear("source sim:", within_s=60.0)
        belt.sort(ITEMS)
        place.fill()
        belt.hear("journal: journal ", within_s=20.0)
        belt.fire(ITEMS)
    finally:
        belt.end(signal.SIGKILL)
    confirmed = [one["sequence"] for one in belt.receipts]
    with_full_disk = Belt(place.path, tmp_path, environment={"NOTIFY_SOCKET": "/nonexistent"})  # as a service
    try:
        with_full_disk.fire(5, 60.0)
        freed = time.monotonic()
        place.free()
        with_full_disk.hear("journal: well again", freed, 30.0)
        recover_s = time.monotonic() - freed
        with_full_disk.sort(5)
    finally:
        code = with_full_disk.end()
    kept = rows(place.path, "SELECT run, sequence FROM items ORDER BY id")
    first = [sequence for run, sequence in kept if run == 1]
    second = [sequence for run, sequence in kept if run != 1]
    write_row({"fault": "kill -9 while the disk is full", "injected": "tmpfs, SIGKILL", "items_before": len(confirmed),
               "items_after": len(kept), "lost": "what waited in memory", "doubled": len(kept) - len(set(kept)),
               "recover_s": round(recover_s, 2)})
    assert code == 0 and set(confirmed) <= set(first) and first == list(range(1, len(first) + 1))
    assert second == list(range(1, with_full_disk.summary["items"] + 1)) and len(set(kept)) == len(kept)


def test_a_service_starts_on_a_disk_that_is_read_only(disk, tmp_path):
    place = disk("tmpfs")
    place.remount("ro")
    belt = Belt(place.path, tmp_path, environment={"NOTIFY_SOCKET": "/nonexistent"})
    try:
        belt.hear("wait in memory", within_s=60.0)
        belt.fire(ITEMS, 60.0)
        mended = time.monotonic()
        place.remount("rw")
        recover_s = belt.hear("journal: well again", mended) - mended
        belt.sort(5)
    finally:
        code = belt.end()
    kept = [row[0] for row in rows(place.path)]
    write_row({"fault": "read-only at the start of the service", "injected": "mount -o ro", "items_before": 0,
               "items_after": len(kept), "lost": belt.summary["items"] - len(kept), "doubled": 0,
               "recover_s": round(recover_s, 2)})
    assert code == 0 and kept == list(range(1, belt.summary["items"] + 1))


def test_pages_of_the_journal_are_overwritten_between_two_runs(tmp_path):
    """While it is open SQLite may go on from its memory; who opens it anew meets the damage."""
    state = tmp_path / "state"
    belt = Belt(state, tmp_path)
    belt.sort(2 * ITEMS, 120.0)
    assert belt.end() == 0
    before = len(rows(state))
    root, = rows(state, "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_items_1'")[0]
    with open(str(state / "journal.db"), "r+b") as file:
        for page in (root - 1, file.seek(0, 2) // 4096 - 4):
            file.seek(4096 * page)
            file.write(b"\x5a" * 4096)
    started = time.monotonic()
    belt = Belt(state, tmp_path)
    try:
        alarm_s = belt.hear("old journal: .*is begun", started, 60.0) - started
        belt.sort(ITEMS)
    finally:
        code = belt.end()
    new = [row[0] for row in rows(state)]
    assert code == 0 and new == list(range(1, belt.summary["items"] + 1))
    out = subprocess.check_output([sys.executable, "-m", "edge", "journal", "repair", "--state", str(state)],
                                  cwd=ROOT).decode("utf-8")
    after = rows(state, "SELECT run, sequence FROM items")
    write_row({"fault": "pages of the journal overwritten", "injected": "two pages of 4 KB, then a start; repair",
               "items_before": before, "items_after": len(after) - len(new), "lost": before + len(new) - len(after),
               "doubled": len(after) - len(set(after)), "recover_s": round(alarm_s, 2)})
    assert len(after) == len(set(after)) and len(after) - len(new) >= before - 40, out

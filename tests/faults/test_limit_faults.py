"""Too little memory, too few file numbers: under `scrapsort run` as a process, and in the unit."""

import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from journal_bed import LANE, ROOT, Belt, need, rows
from processes import child
from service_bed import DRAWN
from table import write_row

ITEMS = 10
MB = 1024 * 1024


def limit(pid, **limits):
    """Limits of a running process, which can be raised again: nofile=, as_mb=."""
    arguments = ["--{}={}:".format("as" if name == "as_mb" else name, value * MB if name == "as_mb" else value)
                 for name, value in limits.items()]
    subprocess.check_call(["prlimit", "--pid", str(pid)] + arguments)


def used_mb(pid):
    """Of the address space."""
    with open("/proc/{}/status".format(pid)) as file:
        return int(re.search(r"VmSize:\s+(\d+)", file.read()).group(1)) // 1024


def big_picture(path, width=8000, height=7900):
    """63 million pixels, which are decoded to 190 MB; a file of little."""
    image = np.zeros((height, width, 3), np.uint8)
    image[::64] = 200
    cv2.imwrite(str(path), image)


def small_pictures(folder, first, count):
    from edge.frames.drawn import draw_named
    for number in range(first, first + count):
        path = os.path.join(str(folder), ".new.jpg")
        cv2.imwrite(path, draw_named("glass", number, 192, 256))
        os.rename(path, os.path.join(str(folder), "p{}.jpg".format(number)))


def test_a_picture_for_which_there_is_no_memory_costs_its_own_item(tmp_path):
    need("prlimit")
    folder, state = tmp_path / "in", tmp_path / "state"
    folder.mkdir()
    small_pictures(folder, 0, 5)
    config = tmp_path / "folder.toml"
    config.write_text("[journal]\nkeep_free_mb = 0\n")
    belt = Belt(state, tmp_path, ["--config", str(config), "--source", str(folder), "--watch"])
    try:
        belt.hear("source /", within_s=60.0)
        belt.sort(5)
        before = len(rows(state))
        limit(belt.process.pid, as_mb=used_mb(belt.process.pid) + 100)
        started = time.monotonic()
        big_picture(tmp_path / "big.png")
        os.rename(str(tmp_path / "big.png"), str(folder / "q.png"))
        belt.sort(1)
        small_pictures(folder, 5, 5)
        belt.sort(5)
        recover_s = time.monotonic() - started
        limit(belt.process.pid, as_mb=used_mb(belt.process.pid) + 2000)
        os.rename(str(folder / "q.png"), str(folder / "r.png"))  # as if it came once more
        belt.sort(1)
        code = belt.end()
    finally:
        if belt.process.poll() is None:
            belt.end(signal.SIGKILL)
    found = rows(state, "SELECT sequence, decision, error FROM items ORDER BY id")
    assert code == 0
    assert [row[0] for row in found] == list(range(1, 13))
    assert "memory" in found[5][2], found[5]
    assert [row[1] == "error" for row in found] == [number == 5 for number in range(12)]
    write_row("no memory to decode a picture of 63 million pixels", "prlimit --as, 100 MB above what is used", before,
              len(found), 0, recover_s, said=found[5][2])


def outcome(arguments, state, tmp_path):
    """One line that says why it does not start, or "sorts" where it does."""
    process = subprocess.Popen(
        ["prlimit"] + arguments + [sys.executable, "-m", "edge", "run", "--source", "sim:?items=2&width=320&height=240",
                                   "--state", str(state), "--precision", "int8", "--config",
                                   str(tmp_path / "scrapsort.toml")],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return process.returncode, "hangs", err.decode("utf-8", "replace")
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    return process.returncode, "sorts" if process.returncode == 0 else (lines or ["?"])[-1], "\n".join(lines)


@pytest.mark.parametrize("what, values", [("nofile", (12, 16, 20, 24, 28, 32, 40)),
                                          ("as", (500, 1000, 1500, 2000, 3000, 6000))])
def test_a_limit_that_is_too_low_for_a_start_is_said(tmp_path, what, values):
    need("prlimit")
    (tmp_path / "scrapsort.toml").write_text(
        "[ejector]\nenabled = true\n" + LANE.format("glass", 1, "a"))
    seen = []
    for value in values:
        code, said, all_said = outcome(["--{}={}".format(what, value * MB if what == "as" else value)],
                                       tmp_path / str(value), tmp_path)
        seen.append((value, code, said))
        print(value, code, said, all_said, sep="\n")
        if code:
            assert "Traceback" not in all_said, all_said
            assert said != "hangs"
    refused = [(value, said) for value, code, said in seen if code]
    assert refused
    assert seen[-1][1] == 0, seen
    sorts = [str(value) for value, code, _ in seen if not code]
    unit = "MB of address space" if what == "as" else "file numbers"
    write_row("a start with few " + unit, "prlimit --" + what, 0, 0, 0, None, said=refused[-1][1],
              tried=", ".join(str(value) for value in values), sorts_with=", ".join(sorts) or "none of them")


def test_a_belt_that_runs_out_of_file_numbers_sorts_on_and_replaces_what_dies_as_soon_as_it_can(tmp_path):
    """No new one is to be had; then the process that fires dies. All valves are closed, items are recorded."""
    need("prlimit")
    state = tmp_path / "state"
    belt = Belt(state, tmp_path)
    try:
        belt.hear("source sim:", within_s=60.0)
        belt.sort(ITEMS)
        before = len(rows(state))
        started = time.monotonic()
        limit(belt.process.pid, nofile=3)  # what is open stays so
        belt.sort(ITEMS)
        worker = child(belt.process.pid, "edge.ejector.worker")
        os.kill(worker, signal.SIGKILL)
        belt.hear("ejector: .*Too many open files", started)
        belt.sort(ITEMS)
        fired = belt.fired()
        raised = time.monotonic()
        limit(belt.process.pid, nofile=4096)
        belt.hear("ejector: well again", raised)
        belt.wait_for(lambda: belt.fired() > fired, 30.0, "nothing fired")
        recover_s = time.monotonic() - raised
        belt.sort(ITEMS)
        code = belt.end()
    finally:
        if belt.process.poll() is None:
            belt.end(signal.SIGKILL)
    found = rows(state, "SELECT sequence FROM items ORDER BY id")
    assert code == 0
    assert [row[0] for row in found] == list(range(1, belt.summary["items"] + 1))
    failed = rows(state, "SELECT count(*) FROM items WHERE ejection IN ('failed', 'missed')")[0][0]
    write_row("no file number is left, and the process that fires dies", "prlimit --nofile=3 while it sorts, kill -9",
              before, len(found), 0, recover_s, not_ejected=failed,
              said=next(text for _, text in belt.said if re.search("ejector: .*Too many", text)).partition("tor: ")[2])


def test_a_unit_with_too_little_memory_says_so_and_sorts_once_it_has_more(sorter):
    sorter.settings(DRAWN.format(0.1))
    sorter.drop_in("[Service]\nLimitAS=300M\n")
    sorter.systemctl("start", "--no-block", "scrapsort")
    sorter.wait(lambda: int(sorter.show("NRestarts")) >= 2, 120)
    said = [one["MESSAGE"] for one in sorter.log() if one.get("SYSLOG_IDENTIFIER") == "scrapsort"]
    sorter.drop_in("")
    recover_s = sorter.items_come()
    assert said
    assert all("memory" in line and "LimitAS=" in line for line in said), said
    write_row("too little memory for a start, then more", "LimitAS=300M in a drop-in", 0, sorter.items, 0, recover_s,
              said=said[-1])

"""How a run ends, and how the next goes on: signals, limits, closed pipes, watched folders, a second run."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from helpers import REPOSITORY, json_lines, scrapsort, start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_item_in_hand(belt, state, number):
    process = start("run", "--source", "drawn:", "--state", state, "--format", "json", "--interval", "0.05",
                    stderr=subprocess.DEVNULL)
    first = process.stdout.readline()
    process.send_signal(number)
    rest = process.stdout.read()  # not communicate, which would pass over what readline has buffered
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    lines = json_lines((first + rest).decode("utf-8"))
    assert lines[-1]["ended_by"] == "stopped" and lines[-1]["items"] == len(lines) - 1


@pytest.mark.long
def test_watch_takes_files_as_they_arrive_and_a_restart_goes_on(belt, state, tmp_path):
    def watch():
        return start("run", "--source", belt, "--watch", "--state", state, "--format", "json",
                     stderr=subprocess.DEVNULL)

    def names(process, count):
        return [os.path.basename(json.loads(process.stdout.readline().decode("utf-8"))["image_path"])
                for _ in range(count)]

    first = watch()
    assert names(first, 12) == ["item{}.jpg".format(n) for n in range(1, 13)]
    data = (belt / "item1.jpg").read_bytes()
    with open(str(belt / "slow.jpg"), "wb") as file:  # arrives in two parts: only the whole is sorted
        file.write(data[:len(data) // 2])
        file.flush()
        time.sleep(1.5)
        file.write(data[len(data) // 2:])
    assert names(first, 1) == ["slow.jpg"]
    first.terminate()
    assert first.wait(timeout=30) == 0
    first.stdout.close()
    shutil.copy(str(belt / "item1.jpg"), str(belt / "later.jpg"))
    second = watch()
    assert names(second, 1) == ["later.jpg"]
    second.terminate()
    rest = second.stdout.read()
    second.stdout.close()
    assert second.wait(timeout=30) == 0
    assert [json.loads(line)["event"] for line in rest.decode("utf-8").splitlines()] == ["summary"]


def test_a_limit_ends_a_watched_folder_too(belt, state):
    code, out, _ = scrapsort("run", "--source", belt, "--watch", "--limit", "12", "--state", state, "--format", "json")
    assert code == 0 and json_lines(out)[-1]["ended_by"] == "limit reached" and json_lines(out)[-1]["items"] == 12


def test_a_closed_pipe_ends_the_run_and_keeps_what_is_recorded(belt, state):
    command = "{} -m edge run --source drawn: --limit 200 --state {} --format json | head -n 1".format(
        sys.executable, state)
    subprocess.check_call(command, shell=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    connection = sqlite3.connect(str(state / "journal.db"))
    count, = connection.execute("SELECT count(*) FROM items").fetchone()
    ended, = connection.execute("SELECT ended_by FROM runs").fetchone()
    connection.close()
    assert 1 <= count < 200 and ended == "stopped"


def test_a_second_run_on_the_same_state_is_refused(belt, state):
    first = start("run", "--source", "drawn:", "--state", state, "--format", "json", stderr=subprocess.DEVNULL)
    first.stdout.readline()
    code, _, err = scrapsort("run", "--source", belt, "--state", state)
    assert code == 1 and "in use by process {}".format(first.pid) in err
    first.kill()
    first.stdout.close()
    first.wait()
    assert scrapsort("run", "--source", belt, "--state", state)[0] == 0

"""kill -9 at random moments: every recorded item is there exactly once, and nothing that was printed is lost."""

import csv
import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import time

import cv2

from edge.frames.drawn import MATERIALS, draw_named

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KILLS = int(os.environ.get("SCRAPSORT_KILLS", "50"))  # scripts/test gives the older lines fewer
FILES = KILLS * 60  # more than the killed runs get through, of which each sorts a second or so
INTERVAL_S = "0.01"  # so that no machine gets through them
PICTURES = 12


def start(belt, state, receipts):
    """`scrapsort run` on a watched folder; its JSON lines are appended to receipts."""
    command = [sys.executable, "-m", "edge", "run", "--source", str(belt), "--watch", "--state", str(state),
               "--format", "json", "--precision", "int8", "--active-learning", "--interval", INTERVAL_S]
    with open(str(receipts), "ab") as out:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE)


def recorded(state):
    path = os.path.join(str(state), "journal.db")
    if not os.path.exists(path):
        return 0
    connection = sqlite3.connect(path, timeout=10)
    try:
        return connection.execute("SELECT count(*) FROM items").fetchone()[0]
    except sqlite3.OperationalError:  # killed before the tables were there
        return 0
    finally:
        connection.close()


def whole_receipts(receipts):
    """Item lines that were printed whole; a kill may have cut the last one of a run short."""
    items = []
    for line in receipts.read_bytes().decode("utf-8").splitlines():
        for part in line.replace('}{"event"', '}\n{"event"').splitlines():
            try:
                value = json.loads(part)
            except ValueError:
                continue
            if value["event"] == "item":
                items.append(value)
    return items


def test_every_recorded_item_survives_kill_9_exactly_once(tmp_path):
    belt, state, receipts = tmp_path / "belt", tmp_path / "state", tmp_path / "receipts"
    belt.mkdir()
    for number in range(PICTURES):
        image_bgr = draw_named(MATERIALS[number % len(MATERIALS)], number, 96, 128)
        cv2.imwrite(str(tmp_path / "p{}.jpg".format(number)), image_bgr)
    for number in range(FILES):
        os.symlink(str(tmp_path / "p{}.jpg".format(number % PICTURES)), str(belt / "{:05d}.jpg".format(number)))

    chance = random.Random(20261122)
    interrupted = 0
    for kill in range(KILLS):
        before = recorded(state)
        process = start(belt, state, receipts)
        until = time.monotonic() + 60
        while kill % 2 and recorded(state) == before and time.monotonic() < until:
            time.sleep(0.05)  # every other one hits a run that sorts, however slow the machine is
        time.sleep(chance.uniform(0.0, 1.0 if kill % 2 else 3.0))  # else from before the first line of Python on
        assert process.poll() is None, process.stderr.read().decode("utf-8")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        interrupted += recorded(state) > before
    assert interrupted >= KILLS // 2, "hardly any kill hit a run that was sorting: the test proves nothing"

    process = start(belt, state, receipts)
    assert b"source" in process.stderr.readline()  # ready for signals
    deadline = time.monotonic() + 300
    while recorded(state) < FILES and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 0, errors.decode("utf-8")

    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT id, source, run, sequence, decision, picture FROM items").fetchall()
    assert sorted(row[1] for row in rows) == [str(belt / "{:05d}.jpg".format(n)) for n in range(FILES)]
    assert len({(row[2], row[3]) for row in rows}) == FILES
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert connection.execute("SELECT count(*) FROM queue").fetchone()[0] == sum(r[4] == "review" for r in rows)
    connection.close()

    by_number = {row[0]: row for row in rows}
    printed = whole_receipts(receipts)
    assert len(printed) > FILES // 2
    assert [r["image_path"] for r in printed] == [by_number[r["item"]][1] for r in printed]
    assert len({r["item"] for r in printed}) == len(printed)
    for row in rows:
        assert (row[4] == "review") == (row[5] is not None)
        if row[5]:
            assert (state / row[5]).read_bytes() == pathlib.Path(row[1]).read_bytes()

    export = tmp_path / "results.csv"
    subprocess.check_call([sys.executable, "-m", "edge", "export", "results", "--state", str(state), "-o",
                           str(export)], cwd=ROOT, stdout=subprocess.DEVNULL)
    with open(str(export), newline="", encoding="utf-8") as file:
        assert sorted(row["image_path"] for row in csv.DictReader(file)) == sorted(row[1] for row in rows)

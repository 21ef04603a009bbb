"""Short forms of tests/faults: a disk that fails under a `scrapsort run` with ejectors, and a clock that jumps."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from journal_bed import ROOT, Belt, Disk, go_through, need, rows

# libfaketime breaks time.sleep on Python 3.11 and newer; this moves what Python knows of the wall clock, live
CLOCK = """import os, time
real = time.time
def jumped():
    try:
        return real() + float(open(os.environ["TEST_CLOCK"]).read())
    except (OSError, ValueError):
        return real()
time.time = jumped
"""
DAY_S = 86400


@pytest.fixture
def disk(tmp_path):
    need("mount")
    made = Disk(str(tmp_path / "disk"), "size=24m")
    yield made
    made.close()


@pytest.mark.long("newest")
def test_a_full_disk_stops_neither_the_belt_nor_the_ejectors(disk, tmp_path):
    row = go_through(Belt(disk.path, tmp_path), "disk full, tmpfs", "a program takes each byte that is free",
                     disk.fill, disk.free)
    assert row["lost"] == row["said_lost"] == 0 and row["fired_meanwhile"] > 0


@pytest.mark.long("newest")
def test_days_that_the_clock_jumps_change_neither_order_nor_durations(tmp_path):
    offset, state = tmp_path / "offset", tmp_path / "state"
    (tmp_path / "sitecustomize.py").write_text(CLOCK)

    def jump(seconds):
        (tmp_path / "next").write_text(str(seconds))
        os.replace(str(tmp_path / "next"), str(offset))
    belt = Belt(state, tmp_path, environment={"PYTHONPATH": str(tmp_path), "TEST_CLOCK": str(offset),
                                              "TZ": "Pacific/Auckland"})
    try:
        belt.hear("source sim:", within_s=60.0)
        belt.sort(3)
        for seconds in (10 * DAY_S, -10 * DAY_S, 10 - time.time()):  # the last one: 1970
            jump(seconds)
            belt.fire(3)
            belt.sort(3)
    finally:
        code = belt.end()
    kept = rows(state, "SELECT sequence, captured_mono_s, captured_utc, total_ms FROM items ORDER BY id")
    assert code == 0 and [row[0] for row in kept] == list(range(1, belt.summary["items"] + 1))
    assert [row[1] for row in kept] == sorted(row[1] for row in kept)
    days = [row[2][:10] for row in kept]
    assert len(set(days)) >= 4 and any(day.startswith("1970") for day in days), sorted(set(days))
    assert all(0 <= row[3] < 10000 for row in kept) and 0 < belt.summary["seconds"] < 120
    (ran_s,), = rows(state, "SELECT ran_s FROM runs")
    assert 0 < ran_s < 120


@pytest.mark.long
def test_a_short_soak_is_flat(tmp_path):
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    done = subprocess.run([sys.executable, "-m", "benchmarks", "soak", "--items", "20000", "--keep-rows-mb",  # noqa: UP022  # 3.6 has no capture_output
                           "8"],
                          cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    out = done.stdout.decode()
    assert done.returncode == 0 and "lost 0, doubled 0, integrity ok" in out and "flat: " in out, out + str(done.stderr)


def test_a_soak_that_is_not_flat_says_so():
    code = ("import types; from benchmarks import soak\n"
            "one = dict(resident_mb=50.0, descriptors=9, journal_mb=1.0, written_mb=1.0)\n"
            "def judge(leak=0, **wrong):\n"
            "    values = dict(samples=[dict(one, resident_mb=50.0 + leak * n) for n in range(50)],\n"
            "                  seconds=1.0, confirmed=9, rows=9, reviews=0, lost=0, doubled=0, integrity='ok')\n"
            "    values.update(wrong)\n"
            "    try:\n"
            "        soak._judge(values, types.SimpleNamespace(items=9, classifier='null', commit_items=1,\n"
            "                                                  keep_rows_mb=1))\n"
            "    except soak.BackendError as error:\n"
            "        return str(error)\n"
            "    return ''\n"
            "assert judge() == '', judge()\n"
            "assert 'memory grew' in judge(leak=1.0) and 'lost' in judge(lost=1) and 'lost' in judge(confirmed=8)\n"
            "assert 'twice' in judge(doubled=1) and 'grew to' in judge(samples=[dict(one, journal_mb=99.0)])\n"
            "assert 'descriptors' in judge(samples=[dict(one, descriptors=n) for n in range(50)])\n")
    subprocess.check_call([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.long
def test_a_watched_folder_that_goes_away_is_waited_for(tmp_path):
    import json
    import threading

    import cv2

    from edge.frames.drawn import draw_named
    folder, state = tmp_path / "belt", tmp_path / "state"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), draw_named("glass", 1, 96, 128))
    process = subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", str(folder), "--watch", "--state",
                                str(state), "--format", "json", "--precision", "int8"], cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = []
    reader = threading.Thread(target=lambda: said.extend(line.decode() for line in process.stderr))
    reader.start()
    try:
        assert json.loads(process.stdout.readline().decode())["image_path"].endswith("a.jpg")
        shutil.move(str(folder), str(tmp_path / "away"))
        waiting = threading.Event()
        for _ in range(100):
            if any("cannot be read" in line for line in said):
                break
            waiting.wait(0.1)
        shutil.move(str(tmp_path / "away"), str(folder))
        cv2.imwrite(str(folder / "b.jpg"), draw_named("metal", 2, 96, 128))
        assert json.loads(process.stdout.readline().decode())["image_path"].endswith("b.jpg")
    finally:
        process.terminate()
        process.stdout.read()
        code = process.wait(30)
        reader.join()
        process.stdout.close()
        process.stderr.close()
    assert code == 0 and len([line for line in said if "cannot be read" in line]) == 1

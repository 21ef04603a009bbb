"""A simulated belt from its frames to journal and ejectors, on the command line."""

import json
import signal
import sqlite3

import pytest
from helpers import json_lines, scrapsort, start


def test_a_simulated_belt_from_frames_to_the_journal(state, tmp_path):
    truth_path = tmp_path / "truth.jsonl"
    code, out, err = scrapsort("run", "--source", "sim:?pace=fast&items=12&seed=3&width=960&height=540&truth={}".format(
        truth_path), "--state", state, "--format", "json")
    items = json_lines(out)[:-1]
    with open(str(truth_path)) as file:
        truth = [json.loads(line) for line in file]
    assert code == 0, err
    assert json_lines(out)[-1]["ended_by"] == "end of source" and len(truth) == 12
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT line_mono_s, belt_speed_mps, views, source FROM items ORDER BY id").fetchall()
    connection.close()
    assert len(rows) == len(items) and abs(len(items) - 12) <= 1  # drawn glass may fall apart into two
    for true in truth:
        assert min(abs(row[0] - true["line_mono_s"]) for row in rows) < 0.1
    assert all(row[2] >= 1 and row[3].startswith("sim:#") for row in rows)
    assert all(0.4 < row[1] < 0.6 for row in rows)  # estimated, of the first two from how they themselves move


def test_a_frame_every_so_often_of_a_belt(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[gate]\nmode = 'interval'\n")
    code, out, _ = scrapsort("run", "--source", "sim:?pace=fast&width=320&height=180", "--state", state, "--format",
                             "json", "--limit", "3", "--interval", "0.5", "--config", config)
    items = json_lines(out)[:-1]
    assert code == 0 and [item["image_path"] for item in items] == ["sim:#1", "sim:#16", "sim:#31"]


LANES = """
[ejector]
enabled = true
late_ms = 1000.0
[[ejector.lane]]
class = "review"
bin = 9
output = "log:review"
distance_m = 0.5
"""


def test_a_simulated_belt_with_an_ejector_to_its_last_item(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text(LANES)
    code, out, err = scrapsort("run", "--source", "sim:?items=5&seed=3&speed=1&width=640&height=360&fps=15", "--state",
                               state, "--format", "json", "--threshold", "1.0", "--config", config)
    lines = json_lines(out)
    assert code == 0, err
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT decision, bin, ejection, line_mono_s, ejected_mono_s, belt_speed_mps FROM items "
                              "ORDER BY id").fetchall()
    connection.close()
    assert len(rows) == len(lines) - 1 >= 4 and {row[:3] for row in rows} == {("review", 9, "fired")}
    for _, _, _, line_s, ejected_s, speed in rows:
        assert ejected_s - line_s == pytest.approx(0.5, abs=0.15) and 0.8 < speed < 1.2
    assert [line["bin"] for line in lines[:-1]] == [9] * len(rows)
    assert lines[-1]["ejections"]["fired"] == len(rows)
    assert err.count("output log:review on") == err.count("output log:review off") == len(rows)
    with open(str(state / "status.json")) as file:
        status = json.load(file)
    assert status["state"] == str(state)  # where another terminal finds the lock
    assert status["ejector"]["fired"] == len(rows) and status["ended_by"] == "end of source"
    assert status["conditions"]["output log:review"]["ok"] and status["conditions"]["ejector"]["ok"]


@pytest.mark.long
def test_a_stop_drops_what_is_on_its_way_and_says_so(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text(LANES.replace("0.5", "50"))
    process = start("run", "--source", "sim:?seed=3&speed=1&width=640&height=360", "--state", state, "--format", "json",
                    "--threshold", "1.0", "--config", config)
    assert json.loads(process.stdout.readline().decode())["bin"] == 9  # the first is recorded, and on its way
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT ejection FROM items").fetchall()
    connection.close()
    assert rows and set(rows) == {("dropped",)}
    assert json.loads(out.decode().splitlines()[-1])["ejections"]["dropped"] == len(rows)
    assert b"output log:review on" not in err


def test_an_ejector_needs_real_time(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text(LANES)
    code, _, err = scrapsort("run", "--source", "sim:?items=5&pace=fast", "--state", state, "--config", config)
    assert code == 2 and "[ejector]" in err and "real time" in err and len(err.splitlines()) == 1

"""Conditions of a run: logged when they change, in a file that another terminal reads."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest

from edge.health import State, read, status_path
from edge.journal import StateLock

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def until(what, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "did not happen within {} s".format(within_s)
        time.sleep(0.02)


class Lines(logging.Handler):
    """What is written to the log, by this handler alone."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@pytest.fixture
def lines():
    logger, handler = logging.getLogger("scrapsort"), Lines()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.texts
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_condition_is_logged_once_and_stands_in_the_file(tmp_path, lines):
    path = str(tmp_path / "status.json")
    state = State(path, source="sim:")
    state.counters("frames", lambda: {"taken": 3})
    state.start()
    state.condition("camera")
    for _ in range(3):
        state.condition("camera", "no frame for 5 s")
    until(lambda: not read(path)["conditions"].get("camera", {"ok": True})["ok"])
    assert read(path)["conditions"]["camera"]["trouble"] == "no frame for 5 s"
    assert read(path)["frames"] == {"taken": 3} and read(path)["source"] == "sim:"
    state.condition("camera")
    until(lambda: read(path)["conditions"]["camera"]["ok"])
    state.close("stopped")
    assert lines == ["camera: no frame for 5 s", "camera: well again"]
    assert read(path)["ended_by"] == "stopped"
    assert os.listdir(str(tmp_path)) == ["status.json"]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path):
    state = State(str(tmp_path / "missing" / "status.json")).start()
    state.condition("camera", "gone")
    state.close()
    assert state.trouble("camera") == "gone" and not (tmp_path / "missing").exists()


@pytest.mark.parametrize("environ, expected", [({}, "/s/status.json"), ({"RUNTIME_DIRECTORY": "/run/x:/y"},
                                                                         "/run/x/status.json")])
def test_where_the_file_is(environ, expected):
    assert status_path("/s", environ) == expected


@pytest.mark.parametrize("text", [None, "", "{", "[1]"])
def test_what_cannot_be_read_is_none(tmp_path, text):
    path = tmp_path / "status.json"
    if text is not None:
        path.write_text(text)
    assert read(str(path)) is None


def status(state, *arguments):
    environ = {key: value for key, value in os.environ.items() if key != "RUNTIME_DIRECTORY"}
    done = subprocess.run(  # noqa: UP022  # Python 3.6
        [sys.executable, "-m", "edge", "status", "--state", state] + list(arguments), env=environ, cwd=REPOSITORY,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_status_from_another_terminal(tmp_path):
    folder = str(tmp_path)
    code, _, errors = status(folder)
    assert code == 1 and "nothing has run there" in errors
    with StateLock(folder):
        state = State(status_path(folder, {}), source="sim:", backend="onnxruntime")
        state.condition("camera")
        state.close()
        code, out, _ = status(folder)
        assert code == 0 and "sorting, process" in out and "backend onnxruntime" in out
        state.condition("output gpio:17", "pin is taken")
        state.close()
        code, out, _ = status(folder, "--format", "json")
        assert code == 1
        values = json.loads(out)
        assert values["running"] is True and values["conditions"]["output gpio:17"]["trouble"] == "pin is taken"
    code, out, _ = status(folder)
    assert code == 1 and "not running; the last run ended: killed" in out


@pytest.mark.parametrize("silent_s, expected", [(5.0, 0), (45.0, 0), (75.0, 1), (-3600.0, 0)])
def test_a_run_that_is_not_heard_of_is_not_well(tmp_path, clock, silent_s, expected):
    folder, clock.wall = str(tmp_path), time.time() - silent_s
    with StateLock(folder):
        State(status_path(folder, {}), clock).close()
        code, out, _ = status(folder)
    assert code == expected and ("nothing was heard of the run" in out) == bool(expected)

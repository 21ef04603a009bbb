"""Conditions of a run: logged when they change, in a file that another terminal reads."""

import json
import logging
import os
import time

import pytest
from helpers import scrapsort, start, until

from edge import cli, logs
from edge.commands import status as status_command
from edge.health import State, read, status_path
from edge.health import state as health_state
from edge.journal import StateLock, lock


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
    return scrapsort("status", "--state", state, *arguments)


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


# -------------------------------------------------------------------- the run before, and the latest trouble

def after(path, monkeypatch, pid, boot="b1"):
    """The status of another process' run."""
    monkeypatch.setattr(health_state.os, "getpid", lambda: pid)
    monkeypatch.setattr(health_state, "boot_id", lambda: boot)
    return State(str(path / "status.json"))


def test_what_became_of_the_run_before(tmp_path, monkeypatch):
    first = after(tmp_path, monkeypatch, 1)
    first.counters("last_error", lambda: {"utc": "2026", "level": "warning", "text": "camera: gone"})
    first.start()  # and killed: it closes nothing
    first._stop.set()
    assert first.as_dict()["restarts"] == 0 and "before" not in first.as_dict()
    second = after(tmp_path, monkeypatch, 2).as_dict()
    assert second["restarts"] == 1
    assert second["before"]["ended_by"] == "killed" and second["before"]["last_error"]["text"] == "camera: gone"
    third = after(tmp_path, monkeypatch, 2)  # the next belt of the same process
    third.close("failed: no camera")
    assert third.as_dict()["restarts"] == 1  # still the one after the first
    fourth = after(tmp_path, monkeypatch, 4)
    fourth.close("stopped")
    assert fourth.as_dict()["restarts"] == 2 and fourth.as_dict()["before"]["ended_by"] == "failed: no camera"
    fifth = after(tmp_path, monkeypatch, 5)
    assert fifth.as_dict()["restarts"] == 2  # a stop is no crash
    assert after(tmp_path, monkeypatch, 6, boot="b2").as_dict()["restarts"] == 0


def test_the_latest_warning_is_kept(lines):
    one = logs.Latest()
    logger = logging.getLogger("scrapsort")
    logger.addHandler(one)
    try:
        assert one.get() == {}
        logger.warning("camera: %s", "gone")
        logger.info("camera: well again")
        assert (one.get()["level"], one.get()["text"]) == ("warning", "camera: gone")
    finally:
        logger.removeHandler(one)


@pytest.mark.long
def test_the_status_says_rate_restarts_errors_disk_and_what_waits(tmp_path):
    folder, config = str(tmp_path), tmp_path / "scrapsort.toml"
    config.write_text("[ejector]\nenabled = true\n[[ejector.lane]]\nclass = \"glass\"\ndistance_m = 0.5\n"
                      "output = \"modbus:127.0.0.1:1/coil/1\"\n")

    def said(name):
        return (read(status_path(folder, {})) or {}).get(name, {})

    killed = start("run", "--source", "drawn:", "--interval", "0.05", "--state", tmp_path, "--threshold", "1.0")
    until(lambda: (said("items") or {"items": 0})["items"] > 0, 60)
    killed.kill()
    killed.communicate()
    running = start("run", "--source", "sim:", "--config", config, "--state", tmp_path)
    try:
        until(lambda: said("restarts") == 1 and "modbus" in str(said("last_error")), 60)
        code, out, _ = status(folder)
        assert code == 1 and "WRONG  output modbus:127.0.0.1:1" in out
        assert "note   restarts             1 since the machine started; the latest after a run that ended: k" in out
        assert "note   last warning         output modbus:127.0.0.1:1" in out
        values = json.loads(status(folder, "--format", "json")[1])
        assert values["run"]["items_per_s"] == 0 and values["run"]["uptime_s"] >= 0
        assert values["review"]["waiting"] >= 1
        assert values["disk"]["free_mb"] > 0 and values["disk"]["journal_mb"] >= 0.1
        assert "memory_available_mb" in values["machine"]
    finally:
        running.kill()
        running.communicate()


@pytest.fixture
def service(tmp_path, monkeypatch):
    """The machine's service: it has said so in its folder; service.state holds its lock, while it runs."""
    (tmp_path / "run").mkdir()
    service_state = str(tmp_path / "var")
    monkeypatch.setattr(health_state, "SERVICE", str(tmp_path / "run"))
    for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY", "SCRAPSORT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    with StateLock(service_state):
        State(str(tmp_path / "run" / "status.json"), source="service", state=service_state).close()
        yield service_state


def printed(monkeypatch, capsys, *arguments):
    """(exit code, stdout or stderr) of scrapsort status, in this process: no test writes to /run."""
    monkeypatch.setattr(cli, "_tolerant_output", lambda: None)  # it takes pytest's own stdout apart on Python 3.6
    code = cli.main(["status"] + list(arguments))
    out, err = capsys.readouterr()
    return code, out or err


def test_a_plain_shell_finds_the_service(service, monkeypatch, capsys):
    code, text = printed(monkeypatch, capsys)
    assert code == 0 and text.startswith("sorting, process {} (source service)".format(os.getpid()))


@pytest.mark.parametrize("running, expected", [(True, "own"), (False, "service")])
def test_what_runs_in_the_own_folder_comes_first(service, tmp_path, monkeypatch, capsys, running, expected):
    own = tmp_path / "home" / "scrapsort"
    held = StateLock(str(own))
    State(str(own / "status.json"), source="own").close()
    if not running:
        held.close()
    code, text = printed(monkeypatch, capsys)
    held.close()
    assert code == 0 and "(source {})".format(expected) in text


def test_broken_settings_keep_nobody_from_asking_after_the_service(service, tmp_path, monkeypatch, capsys):
    config = tmp_path / "broken.toml"
    config.write_text("[sorce]\n")
    code, text = printed(monkeypatch, capsys, "--config", str(config))
    assert code == 0 and "(source service)" in text and "note   settings             {}: unknown".format(config) in text
    assert printed(monkeypatch, capsys, "--config", str(config), "--state", str(tmp_path))[0] == 2


def test_a_user_who_may_not_look_into_the_service_s_folder_is_told_how_it_is(service, monkeypatch, capsys):
    before = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(service) and before(path, mode))
    monkeypatch.setattr(status_command, "holder", lambda state: None)  # what comes of a lock that cannot be opened
    assert printed(monkeypatch, capsys)[1].startswith("sorting, process {}".format(os.getpid()))
    path = os.path.join(health_state.SERVICE, "status.json")
    values = dict(read(path), pid=2 ** 22 + 1)
    with open(path, "w") as file:
        json.dump(values, file)
    assert printed(monkeypatch, capsys)[1].startswith("not running")


def test_the_service_s_status_is_for_all_users(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    before = os.umask(0o077)
    try:
        State(str(tmp_path / "status.json")).close()
    finally:
        os.umask(before)
    assert os.stat(str(tmp_path / "status.json")).st_mode & 0o777 == 0o644


def test_a_stopped_service_is_started_with_systemctl(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(status_command, "SERVICE_STATE", str(tmp_path))
    assert "`sudo systemctl start scrapsort`" in printed(monkeypatch, capsys, "--state", str(tmp_path))[1]


@pytest.mark.parametrize("word", ["--state", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"])
def test_who_names_a_folder_is_told_of_that_alone(service, tmp_path, monkeypatch, capsys, word):
    arguments = [word, str(tmp_path / "other")] if word == "--state" else []
    if not arguments:
        monkeypatch.setenv(word, str(tmp_path / "other"))
    code, text = printed(monkeypatch, capsys, *arguments)
    assert code == 1 and "nothing has run there" in text


def test_a_service_that_was_killed_does_not_run(service, monkeypatch, capsys):
    monkeypatch.setattr("edge.commands.status.holder", lambda state: None if state == service else os.getpid())
    code, text = printed(monkeypatch, capsys)
    assert code == 1 and text.startswith("not running")


def test_the_lock_of_another_users_run_may_be_asked_about(tmp_path, monkeypatch):
    def refusing(path, mode="r"):  # root, as which tests may run, is refused nothing
        if "+" in mode:
            raise PermissionError(13, "Permission denied", path)
        return open(path, mode)
    with StateLock(str(tmp_path)):
        monkeypatch.setattr(lock, "open", refusing, raising=False)
        assert lock.holder(str(tmp_path)) == os.getpid()
    assert lock.holder(str(tmp_path)) is None


@pytest.mark.parametrize("silent_s, expected", [(5.0, 0), (45.0, 0), (75.0, 1), (-3600.0, 0)])
def test_a_run_that_is_not_heard_of_is_not_well(tmp_path, clock, silent_s, expected):
    folder, clock.wall = str(tmp_path), time.time() - silent_s
    with StateLock(folder):
        State(status_path(folder, {}), clock).close()
        code, out, _ = status(folder)
    assert code == expected and ("nothing was heard of the run" in out) == bool(expected)

"""A run under a service manager, without one: a socket that listens as systemd would, signals, settings anew."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import pytest
from helpers import REPOSITORY, is_alive, one_line, rows, start, until

from edge import service
from edge.clock import Clock
from edge.commands import run as commands_run
from edge.errors import ScrapsortError, SettingsError, SourceError, UsageError
from edge.frames import open_source, outline
from edge.frames.base import Prefetch
from edge.health.notify import Notifier
from edge.health.pulse import Pulse

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or os.name == "nt", reason="systemd is Linux's")


class Manager:
    """Listens where $NOTIFY_SOCKET points."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setblocking(False)
        self.said = []  # (when, {key: value})

    def listen(self):
        """All that was said so far."""
        try:
            while True:
                text = self._socket.recv(65536).decode("utf-8")
                self.said.append((time.monotonic(), dict(line.split("=", 1) for line in text.splitlines())))
        except OSError:
            return self.said

    def heard(self, key, value=None):
        """The values said for key, or whether this one was."""
        values = [one[key] for _, one in self.listen() if key in one]
        return values if value is None else value in values

    def environment(self, watchdog_s=0.0):
        values = {"NOTIFY_SOCKET": self.path}
        return dict(values, WATCHDOG_USEC=str(int(watchdog_s * 1e6))) if watchdog_s else values

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def notifier(manager, clock):
    """notifier(environment=…, watchdog_s=0) -> one that speaks to the manager."""
    made = []

    def make(environment=None, watchdog_s=0.0):
        made.append(Notifier(environment or manager.environment(watchdog_s), clock))
        return made[-1]
    yield make
    for one in made:
        one.close()


# -------------------------------------------------------------------- the words

def test_ready_status_and_the_end_are_said_as_systemd_reads_them(manager, notifier):
    one = notifier()
    one.ready("sorting\n3 items/s")
    one.status("sorting 4 items/s")
    one.status("sorting 4 items/s")
    one.reloading()
    one.ready("sorting 5 items/s")
    one.stopping("stopped")
    said = [one for _, one in manager.listen()]
    assert said[0] == {"READY": "1", "STATUS": "sorting 3 items/s"}
    assert said[1] == {"STATUS": "sorting 4 items/s"}
    assert said[2] == {"RELOADING": "1", "MONOTONIC_USEC": "100000000"}
    assert said[3:] == [{"READY": "1", "STATUS": "sorting 5 items/s"}, {"STOPPING": "1", "STATUS": "stopped"}]


def test_the_watchdog_is_fed_four_times_in_its_time_however_often_the_loop_turns(manager, notifier, clock):
    one = notifier(watchdog_s=2.0)
    for _ in range(100):
        one.ping()
        manager.listen()  # a queue of ten is all that some systems have
        clock.move(0.1)
    assert 15 <= len(manager.heard("WATCHDOG")) <= 20


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "many"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_a_watchdog_that_is_not_there_or_not_ours_is_not_fed(manager, notifier, more):
    one = notifier(dict(manager.environment(), **more))
    one.ping()
    assert not one.watchdog_s
    assert manager.listen() == []


def test_a_manager_that_is_gone_or_reads_nothing_stops_no_belt(manager, notifier):
    one = notifier(watchdog_s=0.001)
    for number in range(2000):  # its queue is full long before
        one.status(str(number))
    manager.close()
    os.unlink(manager.path)
    one.ready("well")


def test_an_abstract_address_and_patience(notifier):
    name = "\0scrapsort-test-{}".format(os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name)
        one = notifier({"NOTIFY_SOCKET": "@" + name[1:], "WATCHDOG_USEC": "15000000"})
        one.patience(300.0)
        one.patience()
        assert listening.recv(100) == b"WATCHDOG_USEC=300000000\nWATCHDOG=1"
        assert listening.recv(100) == b"WATCHDOG_USEC=15000000\nWATCHDOG=1"


# -------------------------------------------------------------------- the line for people

def make_pulse(notifier, clock, troubles=None, temperature=61.4):
    counted = types.SimpleNamespace(items=0)
    pulse = Pulse(notifier, lambda: counted.items, lambda: "trashnet-resnet18 1.2.0, tensorrt fp16",
                  lambda: troubles or {}, clock, lambda: temperature)
    return pulse, counted


def test_the_status_line_tells_the_rate_of_the_latest_minute(manager, notifier, clock):
    pulse, counted = make_pulse(notifier(), clock)
    for second in range(300):
        counted.items += 10 if second < 200 else 3
        clock.move(1.0)
        pulse.beat()
        manager.listen()
    said = manager.heard("STATUS")
    assert said[-1] == "sorting 3.0 items/s, trashnet-resnet18 1.2.0, tensorrt fp16, 61 C"
    assert "sorting 10.0 items/s, trashnet-resnet18 1.2.0, tensorrt fp16, 61 C" in said
    assert len(said) <= 60  # at most every five seconds


def test_what_is_wrong_comes_first_and_settings_before_all(notifier, clock):
    troubles = {"ejector": "hangs", "camera": "/dev/video0: no frame for 5 s"}
    pulse, _ = make_pulse(notifier(), clock, troubles, temperature=None)
    assert pulse.line() == ("degraded: camera: /dev/video0: no frame for 5 s (and 1 more); sorting 0.0 items/s, "
                            "trashnet-resnet18 1.2.0, tensorrt fp16")
    troubles["settings"] = "refused"
    assert pulse.line().startswith("degraded: settings: refused (and 2 more); ")


# -------------------------------------------------------------------- the loop lets know that it turns

def test_a_source_that_gives_nothing_still_lets_the_loop_turn(monkeypatch):
    from edge.frames import base
    monkeypatch.setattr(base, "TICK_S", 0.02)
    ticks, stop = [], threading.Event()

    def frames():
        stop.wait(10)
        yield "frame"

    def tick():
        ticks.append(threading.current_thread())
        if len(ticks) == 5:
            stop.set()
    assert list(Prefetch(frames(), tick=tick)) == ["frame"]
    assert len(ticks) >= 5
    assert set(ticks) == {threading.current_thread()}  # a helper's word would say nothing of the loop


# -------------------------------------------------------------------- a whole run

class Run:
    """`scrapsort run` as a service."""

    def __init__(self, manager, folder, settings, watchdog_s=8.0, **environment):
        self.manager, self.state, self.file = manager, folder / "state", folder / "scrapsort.toml"
        self.write(settings)
        (folder / "run").mkdir()
        self.log = folder / "log"
        with open(str(self.log), "wb") as log:
            self.process = start("run", "--quiet", "--config", self.file, "--state", self.state, stderr=log,
                                 stdout=subprocess.DEVNULL, env=dict(manager.environment(watchdog_s),
                                                                     RUNTIME_DIRECTORY=str(folder / "run"),
                                                                     **environment))

    def write(self, text):
        self.file.write_text("[model]\nbackend = \"onnxruntime\"\nprecision = \"int8\"\n" + text)

    def hangup(self, text):
        """New settings, and the signal for it."""
        self.write(text)
        self.process.send_signal(signal.SIGHUP)

    def says(self, text):
        """Wait for a line of the log."""
        until(lambda: text in self.log.read_text() or self.process.poll() is not None, 60)
        assert text in self.log.read_text(), self.log.read_text()

    def ready(self, times=1):
        until(lambda: len(self.manager.heard("READY")) >= times or self.process.poll() is not None, 60)
        assert self.process.poll() is None, self.log.read_text()

    def conditions(self):
        """As `scrapsort status` reads them."""
        with open(str(self.log.parent / "run" / "status.json")) as file:
            return json.load(file)["conditions"]

    def items(self):
        return len(rows(str(self.state)))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def run(manager, tmp_path):
    made = []

    def make(settings, **keywords):
        made.append(Run(manager, tmp_path, settings, **keywords))
        return made[-1]
    yield make
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


DRAWN = "[source]\nuri = \"drawn:\"\ninterval_s = {}\n"


def test_ready_comes_with_the_first_answer_and_a_loop_that_waits_feeds_the_watchdog(run, manager):
    one = run(DRAWN.format(3600), watchdog_s=1.0)  # after the first item it waits for an hour
    one.ready()
    assert "sorting" in manager.heard("STATUS")[0]
    until(lambda: len(manager.heard("WATCHDOG")) >= 5)
    assert one.end() == 0
    assert manager.heard("STOPPING", "1")
    assert rows(str(one.state), "SELECT ended_by FROM runs")[0]["ended_by"] == "stopped"


def test_without_the_watchdog_systemd_waits_for_days_until_the_settings_say_otherwise(run, manager):
    one = run(DRAWN.format(0.1) + "[health]\nwatchdog = false\n", watchdog_s=8.0)
    one.ready()
    until(lambda: manager.heard("WATCHDOG_USEC", "1000000000000"))
    one.hangup(DRAWN.format(0.1))
    one.ready(2)
    until(lambda: manager.heard("WATCHDOG_USEC")[-1] == "8000000")
    assert one.end() == 0
    assert manager.heard("WATCHDOG_USEC") == ["1000000000000", "8000000"]
    assert "changed from the next item on: health.watchdog" in one.log.read_text()


@pytest.mark.long
def test_a_watched_folder_in_which_nothing_comes_feeds_it_too_and_a_stopped_process_does_not(run, manager, tmp_path):
    (tmp_path / "belt").mkdir()
    one = run("[source]\nuri = \"{}\"\nwatch = true\n".format(tmp_path / "belt"), watchdog_s=1.0)
    one.ready()
    until(lambda: len(manager.heard("WATCHDOG")) >= 4)
    one.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    before = len(manager.heard("WATCHDOG"))
    time.sleep(1.5)
    assert len(manager.heard("WATCHDOG")) == before
    one.process.send_signal(signal.SIGCONT)
    assert one.end() == 0


@pytest.mark.long
def test_a_camera_that_is_not_there_yet_is_a_degraded_state_and_no_failed_start(run, manager):
    one = run("[source]\nuri = \"/dev/video-not-there\"\n", watchdog_s=1.0)
    one.ready()
    one.says("camera: /dev/video-not-there: ")
    until(lambda: len(manager.heard("WATCHDOG")) >= 4)
    until(lambda: one.conditions().get("camera", {}).get("ok") is False)
    assert one.end() == 0


def test_a_threshold_is_changed_between_two_items_of_one_run(run, manager):
    one = run(DRAWN.format(0.05))
    one.ready()
    until(lambda: one.items() > 3)
    one.hangup(DRAWN.format(0.05) + "[decision]\nthreshold = 0.123\n")
    one.says("settings: changed from the next item on: decision.threshold")
    one.ready(times=2)
    until(lambda: rows(str(one.state))[-1]["threshold"] == 0.123)
    assert manager.heard("RELOADING", "1")
    assert one.end() == 0
    thresholds = [row["threshold"] for row in rows(str(one.state))]
    first = thresholds.index(0.123)
    assert set(thresholds[first:]) == {0.123}
    assert 0.123 not in thresholds[:first]
    assert len(rows(str(one.state), "SELECT * FROM runs")) == 1


def test_bad_settings_are_refused_with_the_reason_and_the_old_ones_stay_until_good_ones_come(run, manager):
    one = run(DRAWN.format(0.05))
    one.ready()
    one.hangup(DRAWN.format(0.05) + "[decision]\nthreshold = 7\n")
    one.says("threshold = 7.0: from 0.0 to 1.0 is allowed")
    one.ready(times=2)
    assert "degraded: settings: refused" in manager.heard("STATUS")[-1]
    before = one.items()
    until(lambda: one.items() > before)
    one.hangup(DRAWN.format(0.05) + "[gate]\nmode = \"belt\"\n")  # allowed words, but not together
    one.says("shows no moving belt")
    one.hangup(DRAWN.format(0.05))
    one.says("settings: well again")
    one.ready(times=4)
    assert manager.heard("STATUS")[-1].startswith("sorting")
    assert one.end() == 0
    assert len(rows(str(one.state), "SELECT * FROM runs")) == 1


@pytest.mark.long
def test_another_source_begins_the_belt_anew_in_the_same_process_and_loses_nothing_recorded(run, manager):
    one = run(DRAWN.format(0.05))
    one.ready()
    until(lambda: one.items() > 3)
    one.hangup(DRAWN.format(0.04) + "[journal]\ncommit_items = 5\n")
    one.says("the belt begins anew with them")
    one.ready(times=2)
    one.says("the belt is sorted again after")
    until(lambda: rows(str(one.state))[-1]["run"] == 2)
    assert one.end() == 0
    ended = [row["ended_by"] for row in rows(str(one.state), "SELECT ended_by FROM runs ORDER BY id")]
    assert ended == ["new settings", "stopped"]
    for number in (1, 2):
        sequences = [row["sequence"] for row in rows(str(one.state), "SELECT sequence FROM items WHERE run = ? "
                                                     "ORDER BY id", (number,))]
        assert sequences == list(range(1, len(sequences) + 1))
    assert {"WATCHDOG_USEC": "300000000", "WATCHDOG": "1"} in [said for _, said in manager.said]
    assert {"WATCHDOG_USEC": "8000000", "WATCHDOG": "1"} in [said for _, said in manager.said]


@pytest.mark.long
def test_settings_that_only_opening_finds_wrong_bring_the_old_ones_back(run, manager):
    one = run("[source]\nuri = \"sim:?width=320&height=240&fps=10\"\n")
    one.ready()
    one.hangup("[source]\nuri = \"sim:?width=320&height=240&fps=10\"\n[ejector]\nenabled = true\n[[ejector.lane]]\n"
               "class = \"plastic\"\noutput = \"gpiod:/dev/gpiochip-not-there/3\"\ndistance_m = 0.5\n")
    one.says("settings: refused, those before stay in use: ")
    one.ready(times=2)
    assert "degraded: settings" in manager.heard("STATUS")[-1]
    assert one.end() == 0


def test_a_start_with_bad_settings_says_so_once_and_the_next_ones_are_spaced(run, manager, tmp_path):
    one = run("[source]\nurl = 3\n")
    assert one.process.wait(60) == 2
    lines = one.log.read_text().splitlines()
    assert len(lines) == 1
    assert "unknown key source.url" in lines[0]
    assert any(text.startswith("failed: ") for text in manager.heard("STATUS"))
    assert (tmp_path / "run" / "failures").read_text() == "1\n"
    status = json.loads((tmp_path / "run" / "status.json").read_text())  # what `scrapsort status` shows
    assert "unknown key source.url" in status["ended_by"] and status["ended_by"].startswith("failed: ")
    assert "unknown key source.url" in status["last_error"]["text"]


def test_the_pause_before_another_start_grows_and_ends_when_the_file_changes(manager, monkeypatch, tmp_path, clock):
    path = tmp_path / "scrapsort.toml"
    path.write_text("x")
    (tmp_path / "run").mkdir()
    for key, value in dict(manager.environment(), RUNTIME_DIRECTORY=str(tmp_path / "run")).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(service.time, "sleep", clock.move)
    waited = []
    for _ in range(7):
        before = clock.mono_s()
        assert service.hold_back(SettingsError("wrong"), str(path), clock)
        waited.append(round(clock.mono_s() - before))
    assert waited == [0, 5, 15, 35, 60, 60, 60]
    monkeypatch.setattr(service.time, "sleep", lambda seconds: (clock.move(seconds), path.write_text("mended")))
    before = clock.mono_s()
    service.hold_back(SettingsError("wrong"), str(path), clock)
    assert clock.mono_s() - before <= 1.0
    service.forget_failures()
    assert service._count_failure() == 1


def test_what_nobody_has_foreseen_is_held_back_too_and_told_in_full(manager, monkeypatch, tmp_path):
    """Else a service writes its traceback every two seconds, for weeks."""
    for key, value in dict(manager.environment(), RUNTIME_DIRECTORY=str(tmp_path)).items():
        monkeypatch.setenv(key, value)

    def fail(arguments):
        raise RuntimeError("no room")
    monkeypatch.setattr(commands_run, "_run", fail)
    with pytest.raises(RuntimeError):
        commands_run.run(types.SimpleNamespace(config=None))
    assert (tmp_path / "failures").read_text() == "1\n"
    assert any("unexpected: RuntimeError('no room'" in text for text in manager.heard("STATUS"))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_too_little_memory_is_one_line(monkeypatch, error):
    def fail(arguments):
        raise error
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(commands_run, "_run", fail)
    with pytest.raises(ScrapsortError, match="^not enough memory; "):
        commands_run.run(types.SimpleNamespace(config=None))


def test_at_a_terminal_nothing_is_held_back(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not service.hold_back(SettingsError("wrong"), "", Clock())


@pytest.mark.parametrize("uri", ["sim:?line=0.3&direction=up&view=0.5&pace=fast", "sim:", "drawn:?seed=3"])
def test_an_outline_of_a_source_is_what_it_says_of_itself_when_open(uri):
    said, opened = outline(uri, False), open_source(uri, False, threading.Event(), lambda key: False, Clock())
    assert said.moving == getattr(opened, "moving", False)
    assert said.in_real_time == getattr(opened, "in_real_time", True)
    assert getattr(said, "geometry", None) == getattr(opened, "geometry", None)


@pytest.mark.parametrize("uri, watch", [("sim:?speeed=1", False), ("/nowhere/at/all", False), ("rtsp://", False),
                                        ("/dev/video0", True), ("drawn:?seed=x", False), ("", False)])
def test_an_outline_refuses_what_cannot_be_opened(uri, watch):
    with pytest.raises((SourceError, UsageError)) as caught:
        outline(uri, watch)
    one_line(caught)


# -------------------------------------------------------------------- out in time

HANGS = """
import sys, time
sys.path.insert(0, {root!r})
from edge.classifier import onnxruntime
from edge import cli
{what}
sys.exit(cli.main(sys.argv[1:]))
"""


def start_hanging(manager, tmp_path, what, settings):
    """A service in which something never comes back."""
    (tmp_path / "run").mkdir()
    (tmp_path / "settings.toml").write_text(settings)
    with open(str(tmp_path / "log"), "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", HANGS.format(root=REPOSITORY, what=what), "run", "--quiet", "--config",
             str(tmp_path / "settings.toml"), "--state", str(tmp_path / "state")], cwd=REPOSITORY, stderr=log,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env=dict(os.environ, RUNTIME_DIRECTORY=str(tmp_path / "run"), **manager.environment(60.0)))


def end_hanging(process, manager):
    """SIGTERM once it sorts: (seconds until it was gone, exit code)."""
    until(lambda: manager.heard("READY") or process.poll() is not None, 60)
    assert process.poll() is None
    time.sleep(0.5)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(30)
    return time.monotonic() - started, code


@pytest.mark.long
def test_a_model_that_does_not_close_keeps_nobody(manager, tmp_path):
    what = "onnxruntime.OnnxRuntimeClassifier._close = lambda self: time.sleep(600)"
    process = start_hanging(manager, tmp_path, what, DRAWN.format(0.05) + "[model]\nprecision = \"int8\"\n")
    try:
        seconds, code = end_hanging(process, manager)
    finally:
        process.kill()
        process.wait()
    assert code == 0  # nothing is lost by that
    assert 3.5 < seconds < 8
    assert "left without" in (tmp_path / "log").read_text()
    assert rows(str(tmp_path / "state"), "SELECT ended_by FROM runs")[0]["ended_by"] == "stopped"


@pytest.mark.long
def test_a_loop_that_hangs_in_a_library_is_left_and_what_is_recorded_stays(manager, tmp_path):
    what = ("import ctypes, os\nbefore = onnxruntime.OnnxRuntimeClassifier._infer\nlibc = ctypes.CDLL(None)\n"
            "def infer(self, row):\n    while os.path.exists({!r}): libc.pthread_mutex_lock(mutex)\n"
            "    before(self, row)\nonnxruntime.OnnxRuntimeClassifier._infer = infer\n"
            "mutex = ctypes.create_string_buffer(256)").format(str(tmp_path / "hang"))  # locked twice: for ever
    process = start_hanging(manager, tmp_path, what, DRAWN.format(0.01) + "[model]\nprecision = \"int8\"\n")
    try:
        until(lambda: manager.heard("READY") or process.poll() is not None, 60)
        until(lambda: rows(str(tmp_path / "state")))
        (tmp_path / "hang").write_text("")
        seconds, code = end_hanging(process, manager)
    finally:
        process.kill()
        process.wait()
    assert code == 1
    assert seconds < 8
    log = (tmp_path / "log").read_text()
    assert "not at the end 4 s after the signal" in log
    assert "in infer" in log  # where it hangs
    recorded = [row["sequence"] for row in rows(str(tmp_path / "state"))]
    assert recorded == list(range(1, len(recorded) + 1))
    assert recorded
    assert not is_alive(process.pid)


def test_refused_settings_are_one_line(clock):
    with pytest.raises(SettingsError) as caught:
        raise SettingsError(service.text_of(SettingsError("a\nb")))
    assert one_line(caught) == "a b"

"""The ejector with its real process: it fires on time, and whatever dies or hangs, the valves close."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from helpers import until
from test_outputs import Plc

from edge import settings as settings_module
from edge.ejector import Ejector, NoEjector, link, open_ejector
from edge.ejector.schedule import DROPPED, FAILED, FIRED, MISSED
from edge.errors import OutputError, SettingsError
from edge.health import State
from edge.settings import Lane, Settings

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NEVER = threading.Event()


@pytest.fixture
def plc():
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    server = Plc()
    yield server
    server.kill()


class Told:
    """What became of the items."""

    def __init__(self):
        self.results = {}

    def __call__(self, result):
        assert result.item not in self.results, "told twice"
        self.results[result.item] = result

    def what(self, item):
        return self.results[item].what if item in self.results else None


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def conditions(tmp_path):
    return State(str(tmp_path / "status.json"))


def wishes(*lanes, **options):
    return settings_module.Ejector(True, lane=lanes, **options)


LANE = Lane("metal", 3, "log:a", 0.2, 10.0, 60.0)


def test_it_fires_on_time_and_tells(told, conditions, caplog):
    ejector = Ejector(wishes(LANE, Lane("glass", 4, "log:b", 0.1, 0.0, 60.0)), told, conditions)
    try:
        now = time.monotonic()
        ejector.belt(0.5, now)
        assert ejector.schedule(1, "metal", now) == 3
        assert ejector.schedule(2, "glass", now) == 4
        assert ejector.schedule(3, "paper", now) is None
        assert ejector.schedule(4, "glass", now - 1.0) == 4  # long past its ejector
        until(lambda: len(told.results) == 3)
    finally:
        ejector.close(False, NEVER)
    assert (told.what(1), told.what(2), told.what(4)) == (FIRED, FIRED, MISSED)
    for item, due_s in ((1, now + 0.39), (2, now + 0.2)):
        assert told.results[item].mono_s == pytest.approx(due_s, abs=0.02)  # of the real clock, on a busy machine
        assert told.results[item].mono_s - due_s == pytest.approx(told.results[item].error_ms / 1000, abs=1e-4)
    assert told.results[4].error_ms > 790
    assert ejector.counts[FIRED] == 2 and ejector.counts[MISSED] == 1
    assert any("item 4 not ejected to bin 4 (glass): missed by " in r.getMessage() for r in caplog.records)


def test_the_encoders_word_comes_before_the_gates(told, conditions):
    ejector = Ejector(wishes(LANE), told, conditions)
    try:
        now = time.monotonic()
        ejector.wheel(0.5, now)
        ejector.belt(0.1, now)
        assert ejector.speed_mps == 0.5
        ejector._wheel_s -= 2 * link.SILENT_S
        ejector.belt(0.1, now)
        assert ejector.speed_mps == 0.1
    finally:
        ejector.close(False, NEVER)


def test_at_the_end_what_is_on_its_way_is_let_through(told, conditions):
    ejector = Ejector(wishes(LANE._replace(distance_m=0.5)), told, conditions)
    ejector.belt(0.5, time.monotonic())
    ejector.schedule(1, "metal", time.monotonic())
    ejector.close(True, NEVER)
    assert told.what(1) == FIRED


def test_a_stop_waits_for_nothing(told, conditions):
    ejector = Ejector(wishes(LANE._replace(distance_m=5.0)), told, conditions)
    ejector.belt(0.1, time.monotonic())
    ejector.schedule(1, "metal", time.monotonic())
    stop = threading.Event()
    stop.set()
    started = time.monotonic()
    ejector.close(True, stop)
    assert told.what(1) == DROPPED and time.monotonic() - started < 15
    ejector.close(True, stop)  # twice is once


def test_a_process_that_dies_is_replaced_and_nothing_is_forgotten(told, conditions):
    ejector = Ejector(wishes(LANE._replace(distance_m=1.5)), told, conditions)
    try:
        ejector.belt(0.5, time.monotonic())
        ejector.schedule(1, "metal", time.monotonic())
        first = ejector._process._process.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: conditions.trouble("ejector"))
        assert "has died" in conditions.trouble("ejector")
        until(lambda: not conditions.trouble("ejector"))
        assert ejector._process._process.pid != first
        until(lambda: told.what(1))
        assert told.what(1) == FIRED
    finally:
        ejector.close(False, NEVER)


def test_a_new_process_knows_how_the_belt_moved_before(told, conditions):
    ejector = Ejector(wishes(LANE._replace(distance_m=1.0, latency_ms=0.0)), told, conditions)
    try:
        now = time.monotonic()
        ejector.belt(0.1, now - 2.0)
        ejector.belt(0.4, now - 1.0)
        ejector.schedule(1, "metal", now - 2.0)  # 0.5 m are behind it: due in 1.25 s
        ejector._process._process.kill()
        until(lambda: told.what(1), within_s=20)
        late_s = told.results[1].mono_s - (now + 1.25)
        assert told.results[1].error_ms / 1000 == pytest.approx(late_s, abs=1e-3)
    finally:
        ejector.close(False, NEVER)


@pytest.mark.long
def test_when_no_process_can_be_started_it_goes_on_trying_and_says_so(told, conditions, monkeypatch):
    ejector = Ejector(wishes(LANE), told, conditions)
    try:
        real, tried = link.Process, []

        def fails(*arguments):
            tried.append(1)
            raise OSError(12, "Cannot allocate memory")
        monkeypatch.setattr(link, "Process", fails)
        ejector._process._process.kill()
        until(lambda: len(tried) > 1)
        assert "Cannot allocate memory" in conditions.trouble("ejector")
        ejector.belt(0.5, time.monotonic())
        ejector.schedule(1, "metal", time.monotonic() - 200.0)  # long off the belt
        until(lambda: told.what(1) == FAILED)
        monkeypatch.setattr(link, "Process", real)
        until(lambda: not conditions.trouble("ejector"), within_s=20)
    finally:
        ejector.close(False, NEVER)


@pytest.mark.long
def test_a_process_that_hangs_is_replaced(told, conditions, monkeypatch):
    ejector = Ejector(wishes(LANE), told, conditions)
    try:
        os.kill(ejector._process._process.pid, signal.SIGSTOP)
        started = time.monotonic()
        for item in range(3000):  # more than a pipe holds; none may wait, and none is lost
            ejector.schedule(item, "metal", time.monotonic())
        assert time.monotonic() - started < 5
        until(lambda: conditions.trouble("ejector"))
        until(lambda: not conditions.trouble("ejector"), within_s=30)
        ejector.belt(0.5, time.monotonic())
        ejector.schedule(5000, "metal", time.monotonic())
        until(lambda: told.what(5000) == FIRED, within_s=30)
        until(lambda: len(told.results) == 3001, within_s=30)
    finally:
        ejector.close(False, NEVER)


def test_an_output_that_cannot_be_had_is_an_error_at_start(told, conditions, monkeypatch):
    monkeypatch.setenv("JETSON_TESTING_MODEL_NAME", "")
    with pytest.raises(OutputError) as caught:
        Ejector(wishes(LANE, Lane("glass", 1, "gpiod:/dev/no-such-chip/3")), told, conditions)
    assert "[ejector] gpiod:/dev/no-such-chip/3" in str(caught.value) and "\n" not in str(caught.value)


def test_a_broken_output_shows_in_the_state_and_in_the_items(told, conditions, plc):
    uri = "modbus:127.0.0.1:{}/coil/5".format(plc.port)
    ejector = Ejector(wishes(LANE._replace(output=uri)), told, conditions)
    try:
        until(lambda: conditions.as_dict()["conditions"].get("output " + uri, {}).get("ok"))
        plc.kill()
        killed = time.monotonic()
        until(lambda: conditions.trouble("output " + uri), within_s=6.0)
        assert time.monotonic() - killed < 6.0  # 2 s are promised
        ejector.belt(0.5, time.monotonic())
        ejector.schedule(1, "metal", time.monotonic())
        until(lambda: told.what(1))
        assert told.what(1) == FAILED
        plc.start()
        until(lambda: not conditions.trouble("output " + uri))
    finally:
        ejector.close(False, NEVER)


LOOP = """
    import signal, sys, threading, time
    from edge import settings
    for name in ("SIGHUP", "SIGQUIT"):  # a shell that runs the tests in the background has them ignored
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    from edge.ejector import Ejector
    from edge.health import State
    lane = settings.Lane("metal", 1, sys.argv[1], 0.0, 0.0, 60000.0)  # longer than anything here
    ejector = Ejector(settings.Ejector(True, late_ms=1000.0, lane=(lane,)), print, State(sys.argv[2]))
    ejector.working(True)
    ejector.working(False)
    ejector.schedule(1, "metal", time.monotonic())
    sys.stdin.readline()
    ejector.working(True)  # and never comes back
    while True:  # while an encoder goes on talking
        ejector.wheel(0.5 + time.monotonic() % 0.1, time.monotonic())
        time.sleep(0.05)
"""


@pytest.fixture
def loop(plc, tmp_path):
    """A process that has opened a valve for 60 s: (process, whether the valve is open)."""
    uri = "modbus:127.0.0.1:{}/coil/5".format(plc.port)
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(LOOP), uri, str(tmp_path / "status.json")],
                               cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: plc.coil(5), within_s=20)
    yield process, lambda: plc.coil(5)
    process.kill()
    process.wait()
    process.stdin.close()


def test_when_the_loop_is_killed_the_valves_close(loop):
    process, is_open = loop
    process.send_signal(signal.SIGKILL)
    until(lambda: not is_open(), within_s=6)


def test_when_the_loop_is_stopped_the_valves_close(loop):
    process, is_open = loop
    process.send_signal(signal.SIGSTOP)
    until(lambda: not is_open(), within_s=3 * link.DEAD_S)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGSTOP"])
def test_when_the_terminal_does_it_to_both_the_valves_close(loop, name):
    process, is_open = loop
    os.killpg(process.pid, getattr(signal, name))
    until(lambda: not is_open(), within_s=3 * link.DEAD_S)


def test_when_the_watchdog_of_systemd_aborts_both_the_valves_close(loop):
    """It sends SIGABRT to each process of the service, while the loop may hang where no frame is worked on."""
    process, is_open = loop
    worker = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]).split()[0])
    for pid in (worker, process.pid):
        os.kill(pid, signal.SIGABRT)
    until(lambda: not is_open(), within_s=6)


@pytest.mark.long
def test_when_the_loop_hangs_in_a_frame_the_valves_close(loop):
    process, is_open = loop
    process.stdin.write(b"\n")
    process.stdin.flush()
    until(lambda: not is_open(), within_s=3 * (link.STUCK_S + link.DEAD_S))


def test_a_library_that_prints_does_not_disturb(told, conditions, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(1, b'GST_ARGUS: Setup Complete\\n')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ejector = Ejector(wishes(LANE), told, conditions)
    ejector.close(False, NEVER)
    assert not conditions.trouble("ejector")


def test_what_a_plc_did_not_do_is_not_called_fired(told, conditions, plc):
    uri = "modbus:127.0.0.1:{}/coil/5".format(plc.port)
    ejector = Ejector(wishes(LANE._replace(output=uri, distance_m=0.0, latency_ms=0.0, pulse_ms=200.0), late_ms=500.0),
                      told, conditions)
    try:
        until(lambda: conditions.as_dict()["conditions"].get("output " + uri, {}).get("ok"))
        ejector.schedule(1, "metal", time.monotonic())
        until(lambda: told.what(1))
        os.kill(plc.process.pid, signal.SIGSTOP)  # it goes silent without a word
        now = time.monotonic()
        ejector.schedule(2, "metal", now)
        ejector.schedule(3, "metal", now + 0.1)
        until(lambda: len(told.results) == 3)
        os.kill(plc.process.pid, signal.SIGCONT)
        assert [told.what(item) for item in (1, 2, 3)] == [FIRED, FAILED, FAILED]
    finally:
        ejector.close(False, NEVER)


# ---------------------------------------------------------------- settings

def settings_of(*lanes, **changes):
    gate = settings_module.Gate(**changes)
    return Settings(ejector=wishes(*lanes), gate=gate)


@pytest.mark.parametrize("word, settings, names", [
    ("no lane", settings_of(), ["no [[ejector.lane]]"]),
    ("an unknown class", settings_of(Lane("metall")), ["lane 1", "'metall'", "did you mean metal", "review"]),
    ("a wrong output", settings_of(Lane("metal", 1, "gpio:x")), ["lane 1: output", "gpio:17"]),
    ("no speed", settings_of(Lane("metal", 1, "log:", 0.5)), ["pixels_per_metre", "encoder"]),
    ("an encoder without its wheel", settings_of(Lane("metal", 1, "log:", 0.5), encoder="gpio:4"),
     ["encoder_pulses_per_metre"]),
    ("an encoder that is none", settings_of(Lane("metal"), encoder="wheel"), ["gpio:PIN or gpiod"]),
    ("one wire under two names", settings_of(Lane("metal", 1, "gpio:17"), Lane("glass", 2, "gpio:017")),
     ["lane 2", "gpio:017", "write both the same"]),
    ("a PLC under two names", settings_of(Lane("metal", 1, "modbus:p/5"), Lane("glass", 2, "modbus:p:502/coil/5")),
     ["lane 2", "write both the same"]),
    ("an input as an output", settings_of(Lane("metal", 1, "gpio:7"), trigger="gpio:7"), ["lane 1", "[gate] trigger"]),
    ("a speed that nobody measures", settings_of(Lane("metal", 1, "log:", 0.5), mode="trigger", pixels_per_metre=100.0),
     ["belt_speed_mps"]),
    ("an encoder at a coil", settings_of(Lane("metal"), encoder="modbus:plc/coil/1"), ["register|input"]),
])
def test_settings_that_cannot_be_are_one_line(word, settings, names, told, conditions):
    with pytest.raises((SettingsError, OutputError, settings_module.SettingsError.__mro__[1])) as caught:
        open_ejector(settings, object(), ("metal", "glass"), told, conditions)
    assert all(name in str(caught.value) for name in names) and "\n" not in str(caught.value)


def test_frames_that_come_too_fast_are_refused(told, conditions):
    class Fast:
        in_real_time = False
    with pytest.raises(SettingsError, match="real time"):
        open_ejector(settings_of(Lane("metal")), Fast(), ("metal",), told, conditions)


def test_not_enabled_is_no_ejector(told, conditions):
    ejector = open_ejector(Settings(), object(), ("metal",), told, conditions)
    assert type(ejector) is NoEjector and ejector.schedule(1, "metal", 0.0) is None

"""Outputs: the log, pins by doubles, a PLC by a real Modbus server."""

import logging
import os
import socket
import subprocess
import sys
import time

import gpio_doubles
import pytest
from helpers import scrapsort, until

from edge.errors import OutputError, UsageError
from edge.outputs import open_output, probe_output
from edge.outputs.address import Modbus
from edge.outputs.modbus import Connection

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.parametrize("uri, names", [
    ("", ["log:NAME"]), ("17", ["log:NAME"]), ("gpoi:17", ["gpio:PIN"]), ("gpio:", ["gpio:17"]), ("gpio:x", ["BCM"]),
    ("gpiod:17", ["gpioinfo"]), ("gpiod:gpiochip0/x", ["gpioinfo"]), ("modbus:", ["modbus:HOST"]),
    ("modbus:plc", ["NUMBER"]), ("modbus:plc/x", ["NUMBER"]), ("modbus:plc:99999/1", ["NUMBER"]),
    ("modbus:plc/70000", ["65535"]), ("modbus:plc/input/1", ["coil|register"]), ("modbus:plc/1?unit=999", ["unit"]),
])
def test_a_wrong_address_is_one_line(uri, names):
    with pytest.raises(UsageError) as caught:
        open_output(uri)
    assert all(name in str(caught.value) for name in names) and "\n" not in str(caught.value)


@pytest.mark.parametrize("uri, expected", [
    ("modbus:plc/7", Modbus("plc", 502, "coil", 7, 1)),
    ("modbus:10.0.0.5:1502/coil/0", Modbus("10.0.0.5", 1502, "coil", 0, 1)),
    ("modbus:[fd00::1]:1502/register/40?unit=17", Modbus("fd00::1", 1502, "register", 40, 17)),
])
def test_addresses_of_a_plc(uri, expected):
    from edge.outputs.address import modbus
    assert modbus(uri, "coil", ("coil", "register")) == expected


def test_the_log_has_a_line_for_each_change(caplog):
    with caplog.at_level(logging.INFO, "scrapsort"):
        output = open_output("log:blast")
        for on in (False, True, True, False):
            output.set(on)
        output.close()
    assert [r.getMessage() for r in caplog.records] == ["output log:blast on", "output log:blast off"]
    assert output.trouble == ""


# ---------------------------------------------------------------- pins

@pytest.fixture
def pins():
    return gpio_doubles.Pins()


@pytest.fixture(params=["jetson", "gpiod_1", "gpiod_2"])
def a_pin(request, pins, monkeypatch):
    """(uri, pins), with each of the three modules in turn."""
    modules = getattr(gpio_doubles, request.param)(pins)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return "gpio:17" if request.param == "jetson" else "gpiod:gpiochip0/17"


def test_a_pin_is_off_at_first_and_at_last(a_pin, pins):
    output = open_output(a_pin)
    assert pins.written == [(17, 0)] and pins.open == {17}
    output.set(True)
    output.set(False)
    output.set(True)
    output.close()
    assert pins.written[1:] == [(17, 1), (17, 0), (17, 1), (17, 0)] and not pins.open
    output.close()  # twice is once


def test_a_pin_that_fails_says_so_and_recovers(a_pin, pins):
    output = open_output(a_pin)
    pins.broken.add(17)
    output.set(True)
    assert output.trouble.startswith(a_pin + ": ") and "\n" not in output.trouble
    pins.broken.clear()
    output.set(True)
    assert output.trouble == ""
    output.close()


def test_a_pin_that_is_taken_is_an_error(a_pin, pins):
    pins.broken.add(17)
    with pytest.raises(OutputError) as caught:
        open_output(a_pin)
    assert a_pin in str(caught.value) and "group gpio" in str(caught.value)


@pytest.mark.parametrize("uri, module, remedy", [
    ("gpio:17", "Jetson", "pip install Jetson.GPIO"), ("gpiod:gpiochip0/17", "gpiod", "python3-libgpiod")])
def test_a_missing_module_is_an_error_with_a_remedy(uri, module, remedy, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OutputError) as caught:
        open_output(uri)
    assert remedy in str(caught.value) and "\n" not in str(caught.value)


def test_another_module_of_the_same_name_is_not_taken_for_libgpiod(monkeypatch):
    import types
    monkeypatch.setitem(sys.modules, "gpiod", types.ModuleType("gpiod"))
    with pytest.raises(OutputError, match="not libgpiod's"):
        open_output("gpiod:gpiochip0/17")


# ---------------------------------------------------------------- a PLC

class Plc:
    """A server of ours that can be killed and started again."""

    def __init__(self, *registers):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self._registers, self.process, self._client = registers, None, None
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "modbus_server.py"), str(self.port)]
                                        + list(self._registers), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self):
        if self._client is not None:
            self._client.close()
            self._client = None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def coil(self, number):
        """As the PLC has it."""
        if self._client is None:
            self._client = Connection("127.0.0.1", self.port)
        client = self._client.connect()
        return bool(client.read_coils(number, count=1).bits[0])

    def register(self, number):
        if self._client is None:
            self._client = Connection("127.0.0.1", self.port)
        return self._client.read(Modbus("", 1, "register", number, 1))


@pytest.fixture
def plc():
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    server = Plc("40=1234")
    yield server
    server.kill()


def test_coils_and_registers_follow(plc):
    coil = open_output("modbus:127.0.0.1:{}/coil/5".format(plc.port))
    register = open_output("modbus:127.0.0.1:{}/register/6".format(plc.port))
    until(lambda: not coil.trouble)
    coil.set(True)
    until(lambda: plc.coil(5))
    register.set(True)
    until(lambda: plc.register(6) == 1)
    assert not plc.coil(6)
    coil.close()
    until(lambda: not plc.coil(5))
    assert plc.register(6) == 1
    register.close()
    until(lambda: plc.register(6) == 0)


def test_a_plc_that_goes_and_comes_delays_nobody_and_is_told(plc):
    output = open_output("modbus:127.0.0.1:{}/5".format(plc.port))
    until(lambda: not output.trouble)
    plc.kill()
    until(lambda: output.trouble, within_s=6.0)  # 2 s are promised
    assert "127.0.0.1:{}".format(plc.port) in output.trouble and "is the PLC on" in output.trouble
    started = time.monotonic()
    for number in range(1000):
        output.set(number % 2 == 0)
    assert time.monotonic() - started < 1.0  # a thousand of them: none waits for the network
    output.set(True)
    time.sleep(0.3)
    output.set(False)  # a pulse that nobody saw
    plc.start()
    until(lambda: not output.trouble)
    assert not plc.coil(5)
    output.set(True)
    until(lambda: plc.coil(5))
    output.close()


def test_a_plc_that_hangs_is_told(plc):
    import signal
    output = open_output("modbus:127.0.0.1:{}/5".format(plc.port))
    until(lambda: not output.trouble)
    os.kill(plc.process.pid, signal.SIGSTOP)
    until(lambda: output.trouble, within_s=6.0)
    os.kill(plc.process.pid, signal.SIGCONT)
    until(lambda: not output.trouble)
    output.close()


def test_a_wrong_number_spoils_no_other_place(plc):
    good = open_output("modbus:127.0.0.1:{}/coil/5".format(plc.port))
    bad = open_output("modbus:127.0.0.1:{}/coil/5000".format(plc.port))
    until(lambda: "coil 5000" in bad.trouble and not good.trouble)
    asked = []
    for _ in range(10):
        asked.append(time.monotonic())
        good.set(True)
        bad.set(True)
        until(lambda: plc.coil(5), within_s=3)
        good.set(False)
        until(lambda: not plc.coil(5), within_s=3)
    assert not good.lost(asked[0] - 1, time.monotonic())
    until(lambda: bad.lost(asked[0] - 1, time.monotonic()))
    good.set(True)
    until(lambda: plc.coil(5))
    good.close()
    bad.close()
    assert not plc.coil(5)


def test_a_coil_that_is_not_there_is_told(plc):
    output = open_output("modbus:127.0.0.1:{}/coil/5000".format(plc.port))
    until(lambda: "coil 5000" in output.trouble)
    output.close()


def test_nobody_there(monkeypatch):
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    output = open_output("modbus:127.0.0.1:{}/5".format(port))
    until(lambda: "no connection" in output.trouble)
    output.close()


def test_without_pymodbus_there_is_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymodbus", None)
    for name in [name for name in sys.modules if name.startswith("pymodbus.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(OutputError, match="pip install pymodbus"):
        open_output("modbus:127.0.0.1:1/5")


# ---------------------------------------------------------------- what doctor says

@pytest.mark.parametrize("uri, expected", [
    ("log:x", "writes lines"), ("gpiod:/dev/null/3", "may be used")])
def test_an_output_is_looked_at_without_switching_it(uri, expected, monkeypatch, pins):
    for name, module in gpio_doubles.gpiod_2(pins).items():
        monkeypatch.setitem(sys.modules, name, module)
    assert expected in probe_output(uri) and pins.written == []


def test_a_chip_that_is_not_there(monkeypatch, pins):
    for name, module in gpio_doubles.gpiod_2(pins).items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(OutputError, match="there is no /dev/no-chip"):
        probe_output("gpiod:no-chip/3")


def test_a_plc_is_asked_for_a_connection_alone(plc):
    uri = "modbus:127.0.0.1:{}/coil/5".format(plc.port)
    assert probe_output(uri) == "the PLC answers" and not plc.coil(5)
    plc.kill()
    assert probe_output(uri) == ""
    plc.start()


def test_doctor_tells_each_output(tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[ejector]\nenabled = true\n[[ejector.lane]]\nclass = 'glass'\noutput = 'log:a'\n"
                      "[[ejector.lane]]\nclass = 'metal'\noutput = 'gpiod:no-chip/3'\n")
    code, out, _ = scrapsort("doctor", "--config", config, "--state", tmp_path)
    lines = [line for line in out.splitlines() if line.split()[1:2] == ["ejector"]]
    assert code == 1 and [line.split()[0] for line in lines] == ["wrong", "ok"]
    assert "gpiod:no-chip/3" in lines[0] and "log:a: writes lines" in lines[1]

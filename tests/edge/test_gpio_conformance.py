"""The doubles of the pins follow the real packages: names and signatures."""

import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys

import gpio_doubles
import pytest

JETSON = ("setwarnings", "setmode", "setup", "output", "cleanup", "add_event_detect", "remove_event_detect")
CONSTANTS = ("BCM", "OUT", "IN", "LOW", "HIGH", "RISING")
# It asks for the chip's file when it is imported, which is not there; nothing else of it is changed
REAL_JETSON = """
import inspect, json, os
os.access = lambda *args, **keywords: True
from Jetson import GPIO
print(json.dumps([{n: list(inspect.signature(getattr(GPIO, n)).parameters) for n in %r},
                  {n: getattr(GPIO, n) for n in %r}]))
"""


def test_jetson_gpio():
    if importlib.util.find_spec("Jetson") is None:
        pytest.skip("Jetson.GPIO is not installed")
    out = subprocess.check_output([sys.executable, "-c", REAL_JETSON % (JETSON, CONSTANTS)],
                                  env=dict(os.environ, JETSON_TESTING_MODEL_NAME="JETSON_ORIN_NANO"))
    signatures, constants = json.loads(out.decode())
    double = gpio_doubles.jetson(gpio_doubles.Pins())["Jetson.GPIO"]
    assert {name: list(inspect.signature(getattr(double, name)).parameters) for name in JETSON} == signatures
    assert {name: getattr(double, name) for name in CONSTANTS} == constants


def test_libgpiod_2():
    gpiod = pytest.importorskip("gpiod", reason="gpiod is not installed")
    if not hasattr(gpiod, "request_lines"):
        pytest.skip("the gpiod that is installed is not libgpiod 2")
    double = gpio_doubles.gpiod_2(gpio_doubles.Pins())["gpiod"]

    def names(function):
        return [name for name in inspect.signature(function).parameters if name != "self"]
    assert names(double.request_lines) == names(gpiod.request_lines)
    fields = names(gpiod.LineSettings.__init__)
    assert names(double.LineSettings.__init__) == fields
    for name in ("set_value", "wait_edge_events", "read_edge_events", "release"):
        assert names(getattr(double.LineRequest, name)) == names(getattr(gpiod.LineRequest, name)), name
    for group, member in (("Value", "ACTIVE"), ("Value", "INACTIVE"), ("Direction", "OUTPUT"), ("Direction", "INPUT"),
                          ("Edge", "RISING")):
        assert hasattr(getattr(gpiod.line, group), member)
        assert hasattr(getattr(double.line, group), member)
    assert "timestamp_ns" in names(gpiod.EdgeEvent.__init__)
    with pytest.raises(OSError):  # as the double's lines that are taken
        gpiod.request_lines("/dev/no-such-chip", config={1: gpiod.LineSettings()}, consumer="scrapsort")


REAL_1 = """
import gpiod, json
chip = [n for n in ("get_line", "close") if hasattr(gpiod.Chip, n)]
line = {n: getattr(gpiod.Line, n).__doc__ for n in ("request", "set_value", "event_wait", "event_read", "release")}
event = [n for n in ("sec", "nsec") if hasattr(gpiod.LineEvent, n)]
print(json.dumps([chip, line, event, gpiod.LINE_REQ_DIR_OUT, gpiod.LINE_REQ_EV_RISING_EDGE]))
"""


def test_libgpiod_1():
    python = "/usr/bin/python3"
    if shutil.which(python) is None or subprocess.call(
            [python, "-c", "import gpiod; gpiod.LINE_REQ_DIR_OUT"], stderr=subprocess.DEVNULL):
        pytest.skip("Debian's python3-libgpiod 1.x is not installed")
    chip, line, event, out, rising = json.loads(subprocess.check_output([python, "-c", REAL_1]).decode())
    double = gpio_doubles.gpiod_1(gpio_doubles.Pins())["gpiod"]
    assert chip == ["get_line", "close"] and event == ["sec", "nsec"]
    assert (out, rising) == (double.LINE_REQ_DIR_OUT, double.LINE_REQ_EV_RISING_EDGE)
    assert set(line) <= set(dir(double.Line))
    assert "consumer[, type[, flags[, default_val" in line["request"] and "default_vals" in line["request"]
    assert "nsec" in line["event_wait"]

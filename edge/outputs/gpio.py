"""Pins of a Jetson's header (Jetson.GPIO) and lines of any Linux GPIO chip (libgpiod, versions 1 and 2)."""

from typing import Any

from edge.errors import OutputError
from edge.outputs import address
from edge.outputs.base import Output

GROUP = "is it free, and this user in group gpio?"
GET_JETSON = "on a Jetson run `python3 -m pip install Jetson.GPIO`, elsewhere use gpiod:CHIP/LINE"
GET_GPIOD = "apt-get install python3-libgpiod, or from Python 3.9 on `python3 -m pip install gpiod`"


def jetson_gpio(uri: str) -> Any:
    """The module Jetson.GPIO in BCM numbering. Raises OutputError."""
    try:
        from Jetson import GPIO
    except Exception as error:  # it raises whatever it likes on a board that it does not know
        raise OutputError("{}: Jetson.GPIO is not usable here ({}); {}".format(uri, _first_line(error), GET_JETSON))
    GPIO.setwarnings(False)
    GPIO.setmode(GPIO.BCM)
    return GPIO


def gpiod_module(uri: str) -> Any:
    """The module gpiod. Raises OutputError."""
    try:
        import gpiod
    except ImportError as error:
        raise OutputError("{}: libgpiod's Python module is missing ({}); {}".format(uri, _first_line(error), GET_GPIOD))
    if not hasattr(gpiod, "request_lines") and not hasattr(gpiod, "LINE_REQ_DIR_OUT"):
        raise OutputError("{}: the module gpiod that is here is not libgpiod's; {}".format(uri, GET_GPIOD))
    return gpiod


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class JetsonOutput(Output):
    """gpio:PIN in the BCM numbering of the 40-pin header, which Jetson.GPIO maps to the board."""

    def __init__(self, uri: str):
        """Off from now on. Raises UsageError or OutputError."""
        self.uri, self._pin = uri, address.gpio_pin(uri)
        self._gpio = jetson_gpio(uri)
        try:
            self._gpio.setup(self._pin, self._gpio.OUT, initial=self._gpio.LOW)
        except Exception as error:
            raise OutputError("{}: {}; {}".format(uri, _first_line(error), GROUP))

    def set(self, on: bool) -> None:
        """Some microseconds."""
        try:
            self._gpio.output(self._pin, self._gpio.HIGH if on else self._gpio.LOW)
            self.trouble = ""
        except Exception as error:
            self.trouble = "{}: {}".format(self.uri, _first_line(error))

    def close(self) -> None:
        """Low, then an input again."""
        self.set(False)
        try:
            self._gpio.cleanup(self._pin)
        except Exception:  # it is free already
            pass


class GpiodOutput(Output):
    """gpiod:CHIP/LINE. The kernel lets go of the line when the process ends."""

    def __init__(self, uri: str):
        """Off from now on. Raises UsageError or OutputError."""
        chip, line = address.gpiod_line(uri)
        self.uri = uri
        gpiod = gpiod_module(uri)
        try:
            self._write, self._release = (_request_2 if hasattr(gpiod, "request_lines") else _request_1)(
                gpiod, chip, line)
        except (OSError, ValueError) as error:
            raise OutputError("{}: {}; `gpioinfo` lists chips and lines; {}".format(uri, _first_line(error), GROUP))

    def set(self, on: bool) -> None:
        """Some microseconds."""
        try:
            self._write(on)
            self.trouble = ""
        except Exception as error:  # gpiod has errors of its own for a line that was released
            self.trouble = "{}: {}".format(self.uri, _first_line(error))

    def close(self) -> None:
        """Off, then free."""
        self.set(False)
        try:
            self._release()
        except Exception:  # it is free already
            pass


def _request_2(gpiod: Any, chip: str, line: int) -> Any:
    """(write, release) of libgpiod 2."""
    values = {True: gpiod.line.Value.ACTIVE, False: gpiod.line.Value.INACTIVE}
    settings = gpiod.LineSettings(direction=gpiod.line.Direction.OUTPUT, output_value=values[False])
    request = gpiod.request_lines(chip, consumer="scrapsort", config={line: settings})

    def write(on: bool) -> None:
        request.set_value(line, values[on])
    return write, request.release


def _request_1(gpiod: Any, chip: str, line: int) -> Any:
    """(write, release) of libgpiod 1."""
    opened = gpiod.Chip(chip)
    one = opened.get_line(line)
    one.request(consumer="scrapsort", type=gpiod.LINE_REQ_DIR_OUT, default_vals=[0])

    def write(on: bool) -> None:
        one.set_value(int(on))

    def release() -> None:
        one.release()
        opened.close()
    return write, release

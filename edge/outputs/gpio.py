"""Pins of a Jetson's header (Jetson.GPIO) and lines of any Linux GPIO chip (libgpiod, versions 1 and 2)."""

from typing import Any, Optional

from edge.errors import OutputError
from edge.outputs.base import Output


class JetsonOutput(Output):
    """gpio:PIN in the numbering of the Raspberry Pi's header (BCM), which Jetson.GPIO maps to the board."""

    def __init__(self, pin: int):
        self.uri, self._pin, self._trouble = "gpio:{}".format(pin), pin, None  # type: ignore[var-annotated]
        try:
            import Jetson.GPIO as gpio
        except Exception as error:  # it raises whatever it likes on a board that it does not know
            raise OutputError("output {}: Jetson.GPIO is not usable here ({}); on a Jetson run `python3 -m pip install "
                              "Jetson.GPIO`, elsewhere use gpiod:CHIP/LINE or log:".format(self.uri, error))
        self._gpio: Any = gpio
        try:
            gpio.setwarnings(False)
            gpio.setmode(gpio.BCM)
            gpio.setup(pin, gpio.OUT, initial=gpio.LOW)
        except Exception as error:
            raise OutputError("output {}: {}; is the pin free, and this user in group gpio?".format(self.uri, error))

    def set(self, on: bool) -> None:
        """Some microseconds."""
        try:
            self._gpio.output(self._pin, self._gpio.HIGH if on else self._gpio.LOW)
            self._trouble = None
        except Exception as error:
            self._trouble = "output {}: {}".format(self.uri, error)

    @property
    def trouble(self) -> Optional[str]:
        """The last error, if the last change failed."""
        return self._trouble

    def close(self) -> None:
        """Low, then an input again."""
        self.set(False)
        try:
            self._gpio.cleanup(self._pin)
        except Exception:  # it is free already
            pass


class GpiodOutput(Output):
    """gpiod:CHIP/LINE; CHIP is gpiochip0 or a path. The kernel lets go of the line when the process ends."""

    def __init__(self, chip: str, line: int):
        self.uri, self._line, self._trouble = "gpiod:{}/{}".format(chip, line), line, None  # type: ignore[var-annotated]
        try:
            import gpiod
        except ImportError:
            raise OutputError("output {}: libgpiod's Python module is missing; install python3-libgpiod or "
                              "`python3 -m pip install gpiod`".format(self.uri))
        path = chip if chip.startswith("/") else "/dev/" + chip
        try:
            self._request: Any
            if hasattr(gpiod, "request_lines"):  # 2
                self._on, self._off = gpiod.line.Value.ACTIVE, gpiod.line.Value.INACTIVE
                settings = gpiod.LineSettings(direction=gpiod.line.Direction.OUTPUT, output_value=self._off)
                self._request = gpiod.request_lines(path, consumer="scrapsort", config={line: settings})
                self._write = lambda value: self._request.set_value(line, value)
            else:  # 1
                self._on, self._off = 1, 0
                self._chip = gpiod.Chip(path)  # kept: closing it frees the line
                self._request = self._chip.get_line(line)
                self._request.request(consumer="scrapsort", type=gpiod.LINE_REQ_DIR_OUT, default_vals=[0])
                self._write = self._request.set_value
        except (OSError, ValueError) as error:
            raise OutputError("output {}: {}; `gpioinfo` lists chips and lines; is it free, and this user in group "
                              "gpio?".format(self.uri, error))

    def set(self, on: bool) -> None:
        """Some microseconds."""
        try:
            self._write(self._on if on else self._off)
            self._trouble = None
        except (OSError, ValueError) as error:
            self._trouble = "output {}: {}".format(self.uri, error)

    @property
    def trouble(self) -> Optional[str]:
        """The last error, if the last change failed."""
        return self._trouble

    def close(self) -> None:
        """Off, then free."""
        self.set(False)
        try:
            self._request.release()
        except Exception:  # it is free already
            pass

"""Rising edges of an input: gpio:PIN (Jetson.GPIO) or gpiod:CHIP/LINE (libgpiod, versions 1 and 2)."""

import threading
import time
from typing import Any, Callable, List

from edge.errors import OutputError, UsageError
from edge.outputs import address
from edge.outputs.gpio import GROUP, gpiod_module, jetson_gpio

AGAIN_S = 1.0  # after an input failed
POLL_S = 0.1  # how long a thread waits for an edge before it looks whether it shall end
Told = Callable[[float], None]
Said = Callable[[str], None]


class Edges:
    """Tells of each rising edge with its monotonic time, from a thread of its own, until close."""

    uri = ""
    trouble = ""  # one line about what is wrong; empty: nothing

    def close(self) -> None:
        """No more edges; may be called twice."""
        raise NotImplementedError


def check_edges(uri: str) -> None:
    """Raises UsageError when that is no address of an input; opens nothing."""
    if uri.startswith("gpiod:"):
        address.gpiod_line(uri)
    elif uri.startswith("gpio:"):
        address.gpio_pin(uri)
    else:
        raise UsageError("{}: gpio:PIN or gpiod:CHIP/LINE is allowed".format(uri))


def open_edges(uri: str, told: Told, said: Said = lambda trouble: None) -> Edges:
    """told(mono_s) is called for each rising edge, said(trouble) when the input fails, and with an empty text
    when it is well again.

    Raises UsageError, or OutputError when it cannot be had."""
    check_edges(uri)
    return GpiodEdges(uri, told, said) if uri.startswith("gpiod:") else JetsonEdges(uri, told)


class JetsonEdges(Edges):
    """gpio:PIN. Jetson.GPIO stamps nothing: the time is that at which its thread calls us."""

    def __init__(self, uri: str, told: Told):
        self.uri, self._pin = uri, address.gpio_pin(uri)
        self._gpio = jetson_gpio(uri)
        try:
            self._gpio.setup(self._pin, self._gpio.IN)
            self._gpio.add_event_detect(self._pin, self._gpio.RISING, callback=lambda pin: told(time.monotonic()))
        except Exception as error:
            raise OutputError("{}: {}; {}".format(uri, error, GROUP))

    def close(self) -> None:
        """Free the pin."""
        try:
            self._gpio.remove_event_detect(self._pin)
            self._gpio.cleanup(self._pin)
        except Exception:  # it is free already
            pass


class GpiodEdges(Edges):
    """gpiod:CHIP/LINE. The kernel stamps each edge with the monotonic clock (before Linux 5.7 with the wall clock;
    then the time of reading is taken)."""

    def __init__(self, uri: str, told: Told, said: Said):
        chip, line = address.gpiod_line(uri)
        self.uri, self._told, self._said, self._stop = uri, told, said, threading.Event()
        self._gpiod, self._chip, self._line = gpiod_module(uri), chip, line
        try:
            self._open()
        except (OSError, ValueError) as error:
            raise OutputError("{}: {}; `gpioinfo` lists chips and lines; {}".format(uri, error, GROUP))
        self._thread = threading.Thread(target=self._work, name=uri, daemon=True)
        self._thread.start()

    def _open(self) -> None:
        (self._open_2 if hasattr(self._gpiod, "request_lines") else self._open_1)(self._gpiod, self._chip, self._line)

    def _open_2(self, gpiod: Any, chip: str, line: int) -> None:
        settings = gpiod.LineSettings(direction=gpiod.line.Direction.INPUT, edge_detection=gpiod.line.Edge.RISING)
        request = gpiod.request_lines(chip, consumer="scrapsort", config={line: settings})

        def read() -> List[float]:
            return [event.timestamp_ns / 1e9 for event in request.read_edge_events()] \
                if request.wait_edge_events(POLL_S) else []
        self._read, self._release = read, request.release

    def _open_1(self, gpiod: Any, chip: str, line: int) -> None:
        opened = gpiod.Chip(chip)
        one = opened.get_line(line)
        one.request(consumer="scrapsort", type=gpiod.LINE_REQ_EV_RISING_EDGE)

        def read() -> List[float]:
            if not one.event_wait(nsec=int(POLL_S * 1e9)):
                return []
            event = one.event_read()
            return [event.sec + event.nsec / 1e9]

        def release() -> None:
            one.release()
            opened.close()
        self._read, self._release = read, release

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if self.trouble:
                    self._open()
                times = self._read()
            except Exception as error:  # the chip was taken away: it is opened anew until it is there again
                self._say("{}: {}; is the chip still there?".format(self.uri, error))
                self._let_go()
                self._stop.wait(AGAIN_S)
                continue
            self._say("")
            now_s = time.monotonic()
            for time_s in times:
                self._told(time_s if abs(time_s - now_s) < 10 else now_s)

    def _say(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            self.trouble = trouble
            self._said(trouble)

    def close(self) -> None:
        """Free the line."""
        self._stop.set()
        self._thread.join(2 * AGAIN_S)
        self._let_go()

    def _let_go(self) -> None:
        try:
            self._release()
        except Exception:  # it is free already
            pass

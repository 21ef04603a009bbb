"""Doubles of Jetson.GPIO and of libgpiod's two generations of bindings, for machines without pins.

test_gpio_conformance.py holds their names and signatures against the real packages.
"""

import collections
import types


class Pins:
    """What the doubles did: (name or line, value) in order, and what is set up; pins in broken raise."""

    def __init__(self):
        self.written, self.open, self.broken = [], set(), set()
        self.callbacks = {}


def jetson(pins):
    """The module Jetson.GPIO."""
    gpio = types.ModuleType("Jetson.GPIO")
    gpio.BCM, gpio.OUT, gpio.IN, gpio.LOW, gpio.HIGH, gpio.RISING = 11, 0, 1, 0, 1, 31
    state = {"mode": None}

    def setwarnings(state):
        pass

    def setmode(mode):
        state["mode"] = mode

    def setup(channels, direction, pull_up_down=0, initial=None, consumer="Jetson-gpio"):
        assert state["mode"] == gpio.BCM, "Please set pin numbering mode"
        if channels in pins.broken:
            raise ValueError("Channel {} is invalid".format(channels))
        pins.open.add(channels)
        if direction == gpio.OUT:
            pins.written.append((channels, initial))

    def output(channels, values):
        if channels in pins.broken or channels not in pins.open:
            raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
        pins.written.append((channels, values))

    def cleanup(channel=None):
        pins.open.discard(channel)

    def add_event_detect(channel, edge, callback=None, bouncetime=None, polltime=0.2):
        assert channel in pins.open and edge == gpio.RISING
        pins.callbacks[channel] = callback

    def remove_event_detect(channel, timeout=0.5):
        pins.callbacks.pop(channel)

    for function in (setwarnings, setmode, setup, output, cleanup, add_event_detect, remove_event_detect):
        setattr(gpio, function.__name__, function)
    parent = types.ModuleType("Jetson")
    parent.GPIO = gpio
    return {"Jetson": parent, "Jetson.GPIO": gpio}


class Events:
    """Edges that a test makes, as the kernel would hand them out: stamps in nanoseconds."""

    def __init__(self):
        self.waiting = collections.deque()


def gpiod_2(pins, events=None):
    """The module gpiod of libgpiod 2."""
    gpiod = types.ModuleType("gpiod")
    gpiod.line = types.SimpleNamespace(
        Value=types.SimpleNamespace(ACTIVE="active", INACTIVE="inactive"),
        Direction=types.SimpleNamespace(OUTPUT="output", INPUT="input"), Edge=types.SimpleNamespace(RISING="rising"))

    class LineSettings:
        def __init__(self, direction="as-is", edge_detection=None, bias=None, drive=None, active_low=False,
                     debounce_period=0, event_clock=None, output_value="inactive"):
            self.direction, self.output_value, self.edge_detection = direction, output_value, edge_detection

    class LineRequest:
        def __init__(self, lines):
            self._lines, self._open = lines, True

        def set_value(self, line, value):
            if not self._open or line in pins.broken:
                raise OSError(5, "Input/output error")
            pins.written.append((line, int(value == "active")))

        def wait_edge_events(self, timeout=None):
            import time
            time.sleep(0 if events.waiting else min(timeout, 0.01))
            return bool(events.waiting)

        def read_edge_events(self, max_events=None):
            return [types.SimpleNamespace(timestamp_ns=events.waiting.popleft()) for _ in range(len(events.waiting))]

        def release(self):
            self._open = False
            pins.open.difference_update(self._lines)

    def request_lines(path, config, consumer=None, event_buffer_size=None, output_values=None):
        for line, settings in config.items():
            if line in pins.broken:
                raise OSError(16, "Device or resource busy")
            pins.open.add(line)
            if settings.direction == "output":
                pins.written.append((line, int(settings.output_value == "active")))
        return LineRequest(list(config))

    gpiod.LineSettings, gpiod.LineRequest, gpiod.request_lines = LineSettings, LineRequest, request_lines
    return {"gpiod": gpiod}


def gpiod_1(pins, events=None):
    """The module gpiod of libgpiod 1, whose functions are built in and tell no signatures."""
    gpiod = types.ModuleType("gpiod")
    gpiod.LINE_REQ_DIR_OUT, gpiod.LINE_REQ_EV_RISING_EDGE = 3, 5

    class Line:
        def __init__(self, number):
            self._number = number

        def request(self, consumer="", type=0, flags=0, default_vals=None):
            if self._number in pins.broken:
                raise OSError(16, "Device or resource busy")
            pins.open.add(self._number)
            if type == gpiod.LINE_REQ_DIR_OUT:
                pins.written.append((self._number, default_vals[0]))

        def set_value(self, value):
            if self._number in pins.broken or self._number not in pins.open:
                raise OSError(5, "Input/output error")
            pins.written.append((self._number, value))

        def event_wait(self, sec=0, nsec=0):
            import time
            time.sleep(0 if events.waiting else min(sec + nsec / 1e9, 0.01))
            return bool(events.waiting)

        def event_read(self):
            seconds, nanoseconds = divmod(events.waiting.popleft(), 10 ** 9)
            return types.SimpleNamespace(sec=seconds, nsec=nanoseconds)

        def release(self):
            pins.open.discard(self._number)

    class Chip:
        def __init__(self, path):
            assert path.startswith("/dev/")

        def get_line(self, offset):
            return Line(offset)

        def close(self):
            pass

    gpiod.Chip, gpiod.Line = Chip, Line
    return {"gpiod": gpiod}

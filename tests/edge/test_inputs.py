"""Photo-eye and encoder: edges by doubles of the pins, a PLC's register by a real Modbus server."""

import sys
import threading
import time

import gpio_doubles
import numpy as np
import pytest
from helpers import until
from test_outputs import Plc

from edge.errors import OutputError, SettingsError, UsageError
from edge.frames.base import Frame
from edge.gate.trigger import NO_FRAME, TriggerGate
from edge.health import State
from edge.inputs import check_encoder, open_edges, open_encoder
from edge.inputs.encoder import Counter, Pulses


@pytest.fixture
def conditions(tmp_path):
    return State(str(tmp_path / "status.json"))


# ---------------------------------------------------------------- edges

@pytest.fixture
def events():
    return gpio_doubles.Events()


def use(monkeypatch, modules):
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("generation", ["gpiod_1", "gpiod_2"])
def test_the_kernels_time_of_an_edge_is_told(generation, events, monkeypatch):
    pins = gpio_doubles.Pins()
    use(monkeypatch, getattr(gpio_doubles, generation)(pins, events))
    told = []
    edges = open_edges("gpiod:gpiochip0/4", told.append)
    stamps = [int((time.monotonic() - 0.5) * 1e9), int((time.monotonic() - 0.2) * 1e9)]
    events.waiting.extend(stamps)
    until(lambda: len(told) == 2)
    assert told == pytest.approx([stamp / 1e9 for stamp in stamps], abs=1e-6)
    events.waiting.append(int(time.time() * 1e9))  # an old kernel's wall clock
    until(lambda: len(told) == 3)
    assert told[2] == pytest.approx(time.monotonic(), abs=5)
    edges.close()
    assert not pins.open
    edges.close()  # twice is once


def test_an_edge_of_a_jetsons_pin(monkeypatch):
    pins = gpio_doubles.Pins()
    use(monkeypatch, gpio_doubles.jetson(pins))
    told = []
    edges = open_edges("gpio:4", told.append)
    before = time.monotonic()
    pins.callbacks[4](4)
    assert before <= told[0] <= time.monotonic()
    edges.close()
    assert not pins.open and not pins.callbacks


@pytest.mark.parametrize("uri, make", [("gpio:4", gpio_doubles.jetson), ("gpiod:gpiochip0/4", gpio_doubles.gpiod_1),
                                       ("gpiod:gpiochip0/4", gpio_doubles.gpiod_2)])
def test_a_pin_that_is_taken_is_an_error(uri, make, monkeypatch):
    pins = gpio_doubles.Pins()
    pins.broken.add(4)
    use(monkeypatch, make(pins))
    with pytest.raises(OutputError, match="group gpio"):
        open_edges(uri, print)


@pytest.mark.parametrize("uri", ["", "4", "modbus:plc/4", "log:"])
def test_what_has_no_edges(uri):
    with pytest.raises(UsageError, match="gpio:PIN or gpiod"):
        open_edges(uri, print)


# ---------------------------------------------------------------- speed

def test_speed_from_pulses():
    pulses = Pulses(1000.0)
    assert pulses.speed(10.0) == 0.0
    for number in range(500):
        pulses.add(10.0 + number * 0.002)  # 500 a second
    last_s = 10.0 + 499 * 0.002
    assert pulses.speed(last_s) == pytest.approx(0.5)
    assert pulses.speed(last_s + 0.004) == pytest.approx(0.25)  # it must be slower by now
    assert pulses.speed(last_s + 0.11) == 0.0


def test_a_slow_belt_is_not_a_standing_one():
    pulses = Pulses(100.0)
    for number in range(5):
        pulses.add(10.0 + number * 0.2)  # 5 cm a second
    assert pulses.speed(10.8 + 0.15) == pytest.approx(0.05)
    assert pulses.speed(10.8 + 0.81) == 0.0


def test_speed_from_a_counter_that_starts_again():
    counter = Counter(1000.0)
    assert counter.speed(10.0, 65400) == 0.0
    for step in range(1, 20):
        speed = counter.speed(10.0 + step * 0.05, (65400 + step * 25) % 65536)
    assert speed == pytest.approx(0.5)
    for step in range(20, 30):
        speed = counter.speed(10.0 + step * 0.05, (65400 + 19 * 25) % 65536)
    assert speed == 0.0


@pytest.mark.parametrize("word, counts", [
    ("it trembles", (100, 101, 100, 99, 100)), ("it was reset", (900, 950, 3, 3, 3)),
    ("it runs back", (5, 2, 65534, 65500, 65400))])
def test_a_counter_that_steps_back_is_no_enormous_speed(word, counts):
    counter = Counter(1000.0)
    speeds = [counter.speed(10.0 + 0.05 * step, count) for step, count in enumerate(counts)]
    assert max(speeds) <= 1.0 and min(speeds) >= 0.0 and speeds[-1] <= 0.03, word


def test_an_input_that_fails_is_told_and_opened_anew(events, monkeypatch, conditions):
    pins, told, said = gpio_doubles.Pins(), [], []
    use(monkeypatch, gpio_doubles.gpiod_2(pins, events))
    edges = open_edges("gpiod:gpiochip0/4", told.append, said.append)
    monkeypatch.setattr(edges, "_read", lambda: (_ for _ in ()).throw(OSError(19, "No such device")))
    until(lambda: said)
    assert "No such device" in said[0] and "gpiod:gpiochip0/4" in edges.trouble
    until(lambda: len(said) == 2)
    assert said[1] == "" and edges.trouble == ""
    events.waiting.append(int(time.monotonic() * 1e9))
    until(lambda: told)
    edges.close()


class Told:
    def __init__(self):
        self.speeds, self.lock = [], threading.Lock()

    def __call__(self, speed, mono_s):
        self.speeds.append((speed, mono_s))


def test_an_encoder_at_a_pin(events, monkeypatch, conditions):
    pins, told = gpio_doubles.Pins(), Told()
    use(monkeypatch, gpio_doubles.gpiod_2(pins, events))
    encoder = open_encoder("gpiod:gpiochip0/4", 100.0, told, conditions).start()
    now_ns = int(time.monotonic() * 1e9)
    events.waiting.extend(now_ns + step * 20000000 - 200000000 for step in range(11))  # 50 a second until now
    until(lambda: any(speed > 0 for speed, _ in told.speeds))
    assert max(speed for speed, _ in told.speeds) <= 0.5 + 1e-6
    until(lambda: told.speeds[-1][0] == 0.0)  # no more came
    encoder.close()
    assert not pins.open


def test_a_register_of_a_plc(conditions):
    pytest.importorskip("pymodbus", reason="pymodbus is not installed")
    plc, told = Plc("40=550", "41=7"), Told()
    try:
        encoder = open_encoder("modbus:127.0.0.1:{}/input/40".format(plc.port), 0.0, told, conditions).start()
        until(lambda: told.speeds)
        assert told.speeds[0][0] == 0.55 and conditions.trouble("encoder") == ""
        assert told.speeds[0][1] == pytest.approx(time.monotonic(), abs=5)
        plc.kill()
        until(lambda: conditions.trouble("encoder"))
        assert "/input/40" in conditions.trouble("encoder") and "is the PLC on" in conditions.trouble("encoder")
        said = len(told.speeds)
        plc.start()
        until(lambda: not conditions.trouble("encoder"))
        until(lambda: len(told.speeds) > said)
        encoder.close()
        standing = Told()
        counting = open_encoder("modbus:127.0.0.1:{}/41".format(plc.port), 1000.0, standing, conditions).start()
        until(lambda: len(standing.speeds) > 3)
        counting.close()
        assert {speed for speed, _ in standing.speeds} == {0.0}
    finally:
        plc.kill()


@pytest.mark.parametrize("uri, per_metre, error", [
    ("gpio:4", 0.0, SettingsError), ("wheel", 100.0, UsageError), ("modbus:plc/coil/4", 100.0, UsageError)])
def test_an_encoder_that_cannot_be(uri, per_metre, error):
    with pytest.raises(error):
        check_encoder(uri, per_metre)


# ---------------------------------------------------------------- the photo-eye's gate

def frame(time_s, image=True):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :, 0] = np.arange(96)
    return Frame("cam#1", "", picture if image else None, None, time_s, 0.0, 0.0)


def test_the_first_frame_after_the_signal_shows_it():
    gate = TriggerGate(delay_s=0.1, region=(10, 0, 40, 64), speed_mps=0.5)
    assert gate.offer(frame(10.0)) == []
    gate.signal(10.01)
    assert gate.offer(frame(10.1)) == []
    items = gate.offer(frame(10.12))
    assert [(item.line_mono_s, item.speed_mps, item.views[0].shape) for item in items] == [
        (pytest.approx(10.11), 0.5, (64, 40, 3))]
    assert items[0].views[0][0, 0, 0] == 10
    assert gate.offer(frame(10.2)) == []


def test_several_signals_and_a_bouncing_one():
    gate = TriggerGate()
    for time_s in (10.0, 10.005, 10.011, 10.3, 10.6):
        gate.signal(time_s)
    assert [item.line_mono_s for item in gate.offer(frame(10.4))] == [10.0, 10.3]
    assert [item.line_mono_s for item in gate.offer(frame(10.61))] == [10.6]


def test_without_a_frame_in_time_it_is_an_item_without_a_view():
    gate = TriggerGate()
    gate.signal(10.0)
    items = gate.offer(frame(12.0))
    assert items[0].views == () and items[0].frame.error == NO_FRAME and items[0].line_mono_s == 10.0


def test_a_region_outside_the_picture():
    gate = TriggerGate(region=(90, 0, 40, 64))
    gate.signal(10.0)
    with pytest.raises(SettingsError, match="96 x 64"):
        gate.offer(frame(10.1))

"""Times as text: one form, UTC, that sorts as text in the order of time."""

import os
import signal
import threading
import time

import pytest
from helpers import until

from edge import clock as clock_module
from edge.clock import Clock, parse_utc, utc_text
from edge.jumps import TIMES, Jumps


@pytest.mark.parametrize("wall_s, text", [
    (0.0, "1970-01-01T00:00:00.000Z"),  # the start
    (0.001, "1970-01-01T00:00:00.001Z"),
    (0.0004, "1970-01-01T00:00:00.000Z"),  # rounded down
    (0.9996, "1970-01-01T00:00:01.000Z"),  # rounded up into the next second
    (951782399.9999, "2000-02-29T00:00:00.000Z"),  # and into a leap day
    (1763802900.123, "2025-11-22T09:15:00.123Z"),
    (4102444800.0, "2100-01-01T00:00:00.000Z"),  # beyond 2038
    (-1.5, "1969-12-31T23:59:58.500Z"),  # a clock that was never set
])
def test_utc_text(wall_s, text):
    assert utc_text(wall_s) == text


@pytest.mark.parametrize("text, expected", [
    ("2026-11-22", "2026-11-22T00:00:00.000Z"),
    ("2026-11-22Z", "2026-11-22T00:00:00.000Z"),
    ("2026-11-22T09:15", "2026-11-22T09:15:00.000Z"),
    ("2026-11-22 09:15", "2026-11-22T09:15:00.000Z"),  # a blank for the T
    ("2026-11-22T09:15:07", "2026-11-22T09:15:07.000Z"),
    ("2026-11-22T09:15:07Z", "2026-11-22T09:15:07.000Z"),
    ("2026-11-22 09:15:07.5Z", "2026-11-22T09:15:07.500Z"),
    ("2026-11-22T09:15:07.123456", "2026-11-22T09:15:07.123Z"),  # finer than a millisecond: earlier, nothing missed
    ("  2026-11-22T09:15:07.123Z\n", "2026-11-22T09:15:07.123Z"),
    ("0999-01-01", "0999-01-01T00:00:00.000Z"),  # still four digits, or it would sort behind 2026
])
def test_parse_utc(text, expected):
    assert parse_utc(text) == expected


@pytest.mark.parametrize("text", ["", "Z", "yesterday", "22.11.2026", "2026-13-01", "2026-02-30", "2026-11-22T25:00",
                                  "2026-11-22T09:15:00+01:00", "1763802900", "2026-11-22T09:15:00ZZ"])
def test_parse_utc_refuses_in_one_line(text):
    with pytest.raises(ValueError) as caught:
        parse_utc(text)
    assert repr(text) in str(caught.value) and "2026-11-22T09:15:00Z" in str(caught.value)
    assert "\n" not in str(caught.value).replace(repr(text), "")


@pytest.mark.parametrize("wall_s", [0.0, 0.5, 1.001, 1763802900.999, 4102444799.001])
def test_round_trip(wall_s):
    assert parse_utc(utc_text(wall_s)) == utc_text(wall_s)


def test_text_sorts_in_the_order_of_time():
    times = [-86400.0, 0.0, 0.001, 0.01, 9.999, 10.0, 3600.0, 86399.999, 1763802900.0, 1763802900.001]
    assert sorted(utc_text(time) for time in times) == [utc_text(time) for time in times]


def test_wait_tells_whether_the_event_is_set():
    event = threading.Event()
    assert Clock().wait(event, -1.0) is False  # a deadline already past does not block
    event.set()
    assert Clock().wait(event, 1000.0) is True  # and a set event does not either


def test_the_kernel_is_asked_for_synchronisation_once_in_ten_seconds(monkeypatch):
    answers = [True, False, None]
    monkeypatch.setattr(clock_module, "_ask_kernel", lambda: answers.pop(0))
    clock = Clock()
    now = [50.0]
    monkeypatch.setattr(clock, "mono_s", lambda: now[0])
    assert clock.synchronised() is True
    now[0] += 9.9
    assert clock.synchronised() is True  # as asked before
    now[0] += 0.2
    assert clock.synchronised() is False
    now[0] += 10.1
    assert clock.synchronised() is None


def test_the_real_kernel_says_yes_no_or_nothing():
    assert Clock().synchronised() in (True, False, None)


@pytest.mark.skipif(not hasattr(signal, "SIGURG"), reason="no such signals on this system")
def test_who_waits_is_woken_when_the_wall_clock_is_set_back(clock):
    """Before Python 3.11 its wait would last as long as the clock was set back."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    os.set_blocking(read, False)
    before = signal.set_wakeup_fd(write)
    waiting, end = threading.Thread(target=lambda: end.wait(60), daemon=True), threading.Event()
    waiting.start()

    def woken():
        try:
            return set(os.read(read, 100)) == {signal.SIGURG}
        except BlockingIOError:
            return False
    try:
        with Jumps(clock, lambda seconds: end.wait(60)) as jumps:
            jumps.look()
            clock.wall += 86400.0  # forward only ends waits too early
            jumps.look()
            assert not woken()
            clock.wall -= 86400.0
            jumps.look()
            until(woken)
            for _ in range(TIMES):
                jumps.look()
            until(woken)
            time.sleep(0.5)  # a thread that gets its signal late says so late
            woken()
            jumps.look()
            time.sleep(0.1)
            assert not woken()
    finally:
        end.set()
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)

"""scrapsort fire: test one ejector while the belt is locked out."""

import argparse
import sys
import threading
from typing import List

from edge.clock import Clock
from edge.commands import common
from edge.ejector import Ejector, Result
from edge.ejector.schedule import FIRED
from edge.errors import OutputError, SettingsError, UsageError
from edge.health import State, status_path
from edge.journal.lock import StateLock
from edge.settings import Lane, Settings, nearest


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_config(parser)
    parser.add_argument("lane", metavar="LANE", help="the class of an [[ejector.lane]], or its number from 1 on")
    parser.add_argument("--pulses", type=common.count, default=1, metavar="N", help="default: 1")
    parser.add_argument("--every", type=common.number, default=1.0, metavar="S", help="from one pulse to the next "
                                                                                     "(default: 1.0)")


def run(arguments: argparse.Namespace) -> int:
    """Fire; 1 when the output did not do it, or a belt is being sorted."""
    settings, state = common.load_settings(arguments)
    lane = find_lane(settings, arguments.lane)
    if not 0.05 <= arguments.every <= 60:
        raise UsageError("--every {:g}: from 0.05 to 60 is allowed".format(arguments.every))
    if arguments.every * 1000 < lane.pulse_ms + settings.ejector.min_gap_ms:
        raise UsageError("--every {:g}: shorter than a pulse of {:g} ms and the gap of {:g} ms after it".format(
            arguments.every, lane.pulse_ms, settings.ejector.min_gap_ms))
    common.start_logging()
    with StateLock(state):  # no belt is sorted now, and none can be started meanwhile
        return fire(settings, lane, arguments.pulses, arguments.every, state)


def find_lane(settings: Settings, name: str) -> Lane:
    """The lane of that class or number. Raises SettingsError or UsageError."""
    lanes = settings.ejector.lane
    if not lanes:
        raise SettingsError("{}: there is no [[ejector.lane]] to fire".format(settings.file or "built-in settings"))
    for number, lane in enumerate(lanes, 1):
        if name in (lane.class_name, str(number)):
            return lane
    raise UsageError("lane {!r}: {}".format(name, nearest(name, [lane.class_name for lane in lanes])))


def fire(settings: Settings, lane: Lane, pulses: int, every_s: float, state: str) -> int:
    """The pulses, by the same process that fires when a belt is sorted; its valves close however this one ends."""
    clock, news = Clock(), threading.Condition()
    results: List[Result] = []

    def told(result: Result) -> None:
        with news:
            results.append(result)
            news.notify()
    at_once = lane._replace(class_name="fire", distance_m=0.0, latency_ms=0.0)
    wishes = settings.ejector._replace(lane=(at_once,), late_ms=1000.0)
    ejector = Ejector(wishes, told, State(status_path(state), clock), clock)
    try:
        for number in range(pulses):
            ejector.schedule(number + 1, "fire", clock.mono_s() + (every_s if number else 0.0))
            until_s = clock.mono_s() + every_s + 5
            with news:
                while len(results) <= number:
                    if not news.wait(until_s - clock.mono_s()):
                        raise OutputError("{}: nothing came back from the process that fires".format(lane.output))
            _say(lane, number + 1, results)
        clock.wait(threading.Event(), (lane.pulse_ms + settings.ejector.min_gap_ms) / 1000)
    finally:
        ejector.close(False, threading.Event())
    return 0 if all(result.what == FIRED for result in results) else 1


def _say(lane: Lane, number: int, results: List[Result]) -> None:
    last = results[-1]
    what = "{:g} ms".format(lane.pulse_ms) if last.what == FIRED else last.what.upper()
    sys.stdout.write("pulse {}: lane {}, bin {}, {}: {}\n".format(number, lane.class_name, lane.bin, lane.output, what))
    sys.stdout.flush()

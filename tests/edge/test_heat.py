"""A machine that is too hot: what is said, how much is still sorted, and that no ejector of a class fires wrongly."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from helpers import REPOSITORY, rows, until
from jetson_trees import NANO, ORIN, lay

from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.decision import Decider
from edge.ejector import NoEjector
from edge.frames.base import Frame
from edge.gate import EveryFrame
from edge.health import State, Telemetry, heat
from edge.health.heat import Heat
from edge.intake import Intake
from edge.journal import Journal
from edge.report import Report
from edge.review import Reviewer
from edge.sorter import Sorter
from edge.summary import Summary

ZONE = "sys/class/thermal/thermal_zone2/temp"  # GPU-therm of NANO


class Board:
    """Files of a Nano whose GPU is as warm as said, the thread's turns done by hand."""

    def __init__(self, folder, clock, **options):
        self.root, self.clock = lay(folder, NANO), clock
        self.conditions = State(os.path.join(self.root, "status.json"), clock)
        self.heat = Heat(self.conditions, 90.0, Telemetry(self.root).read, clock, **options)

    def at(self, temp_c, seconds=2.0):
        """So warm for so long; the share that is sorted then."""
        lay(self.root, {ZONE: int(temp_c * 1000)})
        for _ in range(max(1, round(seconds / heat.EVERY_S))):
            self.clock.move(heat.EVERY_S)
            self.heat.look()
        return self.heat.share

    @property
    def trouble(self):
        return self.conditions.trouble("temperature")


@pytest.fixture
def board(tmp_path, clock):
    return Board(tmp_path, clock)


# -------------------------------------------------------------------- how much is sorted

def test_less_and_less_is_sorted_while_it_stays_hot_and_more_and_more_once_it_cools(board):
    assert board.at(89.9, 100) == 1 and board.trouble == ""
    assert board.at(91, 4) == 0.5
    assert board.trouble == ("above 90 C ([health] max_temp_c): 50 % of what comes is sorted; cool the board: fan, "
                             "dust, sun, a lower power mode")
    assert board.at(91, 16) == 0.5
    assert board.at(91, 4) == 0.25 and "25 %" in board.trouble
    assert board.at(91, 20) == 0 and "nothing is sorted until it has cooled" in board.trouble
    assert board.at(88, 100) == 0  # between the two limits nothing changes
    assert board.at(86, 2) == 0.25
    assert board.at(86, 20) == 0.5
    assert board.at(86, 20) == 1 and board.trouble == ""


def test_far_beyond_the_limit_it_stops_at_once(board):
    assert board.at(60) == 1
    assert board.at(95.5) == 1  # one reading may be a sensor's slip
    assert board.at(95.5) == 0
    assert board.heat.text == "gpu 96 C, limit 90 C"


def test_one_odd_reading_changes_nothing(board):
    for temp_c in (60, 125, 60, 125, 60):
        assert board.at(temp_c) == 1
    assert board.trouble == ""


def test_a_sensor_that_is_gone_keeps_what_was_for_a_minute(board):
    board.at(96, 4)
    for number in range(6):
        zone = os.path.join(board.root, "sys/class/thermal/thermal_zone{}/temp".format(number))
        if os.path.isfile(zone):
            os.unlink(zone)
    def later(seconds):
        for _ in range(seconds // 2):
            board.clock.move(2.0)
            board.heat.look()
        return board.heat.share
    assert later(58) == 0
    assert later(4) == 1 and board.heat.temp_c is None


def test_a_sensor_whose_answer_never_comes_or_that_raises_stops_no_belt(tmp_path, clock):
    board, answers = Board(tmp_path, clock), []
    board.at(96, 4)
    board.heat._read = answers.pop  # an IndexError
    for _ in range(29):
        clock.move(2.0)
        board.heat.look()
        assert board.heat.share == 0
    clock.move(2.0)
    board.heat.look()
    assert board.heat.share == 1
    board = Board(tmp_path, clock)
    assert board.at(96, 4) == 0
    clock.move(heat.UNKNOWN_S - 1)  # no look ends any more
    assert board.heat.share == 0
    clock.move(2)
    assert board.heat.share == 1 and board.trouble == heat.MUTE


def test_a_sensor_that_hangs_keeps_nobody_from_starting_or_ending(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(heat, "CLOSE_S", 0.1)
    released = threading.Event()
    monkeypatch.setattr(heat, "Telemetry", lambda: released.wait(20))
    with heat.watched(State(str(tmp_path / "status.json"), clock), 90.0, clock) as one:
        assert one.share == 1 and one.is_alive
    assert one.is_alive  # left to itself
    released.set()


@pytest.mark.parametrize("max_temp_c, acts", [(0.0, True), (90.0, False)])
def test_without_a_limit_or_on_no_jetson_it_is_only_told(tmp_path, clock, max_temp_c, acts):
    board = Board(tmp_path, clock, acts=acts)
    board.heat.limit(max_temp_c)
    assert board.at(99, 100) == 1 and board.trouble == ""
    assert board.heat.machine()["gpu_c"] == 99.0


def test_another_limit_holds_from_the_next_look_on(board):
    board.at(80, 10)
    board.heat.limit(75.0)
    assert board.at(80, 2) == 0
    board.heat.limit(90.0)
    assert board.at(80, 60) == 1


def test_the_words_stay_the_same_while_the_step_does(board):
    board.at(91, 4)
    before = board.trouble
    board.at(93.7, 2)
    assert board.trouble == before != ""  # a figure that moves would be a line of the log each two seconds


# -------------------------------------------------------------------- throttling

def test_throttling_is_told_and_counts_as_over_after_half_a_minute(tmp_path, clock):
    root = lay(tmp_path, dict(ORIN, **{"sys/class/thermal/cooling_device4/cur_state": 0}))
    conditions = State(os.path.join(root, "status.json"), clock)
    one = Heat(conditions, 0.0, Telemetry(root).read, clock)

    def look(**files):
        lay(root, {"sys/class/{}".format(name.replace("__", "/")): value for name, value in files.items()})
        clock.move(2.0)
        one.look()
        return conditions.trouble("throttling")

    assert look() == ""  # 37 events before this run are no news
    said = look(thermal__cooling_device4__cur_state=1)
    assert "slowed down by gpu-throttle-alert;" in said and "scrapsort status" in said
    assert look(thermal__cooling_device4__cur_state=0) == said
    for _ in range(14):
        look()
    assert look() == ""
    assert "oc3_event_cnt (counted again)" in look(hwmon__hwmon3__oc3_event_cnt=38)


def test_the_machine_in_the_status(board):
    board.at(61.4)
    machine = board.conditions.as_dict()["machine"]
    assert machine["gpu_c"] == 61.4 and machine["cpu_c"] == 37.0
    assert machine["power_w"] == 7.3 and machine["gpu_mhz"] == 921 and machine["power_mode"] == "MAXN"
    assert machine["memory_available_mb"] == 2048 and machine["fan"] == 1.0


# -------------------------------------------------------------------- what the loop does

class Noting(NoEjector):
    """Notes what it is asked to fire for."""

    def __init__(self):
        self.asked = []

    def schedule(self, sequence, class_name, line_mono_s):
        self.asked.append((sequence, class_name))


@pytest.fixture
def make_sorter(clock, tmp_path, make_bundle):
    opened = []

    def make(count, intake, takes_s=1.0, stop=None):
        """A sorter of count pictures, each of which takes so long to classify."""
        bundle = Bundle(make_bundle())
        classifier = open_classifier(bundle)
        plain = classifier.classify
        classifier.classify = lambda views: (clock.move(takes_s), plain(views))[1]
        records = []

        class Keeping(Report):
            def item(self, record):
                records.append((clock.mono_s(), record))

        journal = Journal(str(tmp_path / "state"), clock=clock)
        journal.begin("test", classifier)
        opened.extend([journal, classifier])
        frames = (Frame("p", "k{}".format(n), np.full((40, 60, 3), 99, np.uint8), None, clock.mono_s(), 0.0, 1.0)
                  for n in range(count))
        ejector = Noting()
        sorter = Sorter(frames, EveryFrame(), classifier, Decider.from_settings(bundle, 0.01, {}, False),
                        Reviewer(bundle.classes, False, False), journal, Keeping(Summary(bundle.classes, 0.0), clock),
                        stop or threading.Event(), clock=clock, ejector=ejector, intake=intake)
        return sorter, records, ejector
    yield make
    for one in opened:
        one.close()


@pytest.mark.parametrize("share, classified", [(1.0, 8), (0.5, 4), (0.25, 2), (0.0, 0)])
def test_of_a_belt_some_pass_as_not_sorted_and_no_ejector_of_a_class_fires_for_them(make_sorter, share, classified):
    sorter, records, ejector = make_sorter(8, Intake(True, lambda: share, lambda: "gpu 91 C, limit 90 C"))
    assert sorter.run() == "end of source"
    hot = {record.sequence for _, record in records if record.error}
    assert len(records) == 8 and len(hot) == 8 - classified
    assert {record.error for _, record in records if record.error} <= {
        "too hot, not classified: gpu 91 C, limit 90 C"}
    assert all(record.decision == "error" and record.class_name is None
               for _, record in records if record.sequence in hot)
    assert [sequence for sequence, _ in ejector.asked] == list(range(1, 9))
    assert {name for sequence, name in ejector.asked if sequence in hot} <= {"review"}
    assert "review" not in {name for sequence, name in ejector.asked if sequence not in hot}


@pytest.mark.parametrize("share, seconds", [(1.0, 8), (0.5, 15), (0.25, 29)])
def test_what_can_wait_comes_slower_and_all_of_it_is_classified(make_sorter, clock, share, seconds):
    began = clock.mono_s()
    sorter, records, _ = make_sorter(8, Intake(False, lambda: share))
    assert sorter.run() == "end of source"
    assert clock.mono_s() - began == pytest.approx(seconds)
    assert len(records) == 8 and not any(record.error for _, record in records)


def test_what_can_wait_waits_until_it_has_cooled(make_sorter, clock):
    share = [0.0]
    sorter, records, _ = make_sorter(3, Intake(False, lambda: share[0]), takes_s=0.0)
    ticks = []
    sorter.tick = lambda: ticks.append(clock.mono_s())
    clock.during_wait = lambda now: share.__setitem__(0, 1.0) if len(clock.waits) == 100 else None
    assert sorter.run() == "end of source"
    assert len(records) == 3 and records[0][0] >= 199.9
    assert len(ticks) >= 100  # the watchdog is fed meanwhile


def test_a_stop_ends_the_waiting(make_sorter, clock):
    stop = threading.Event()
    sorter, records, _ = make_sorter(3, Intake(False, lambda: 0.0), stop=stop)
    clock.during_wait = lambda now: stop.set() if len(clock.waits) == 5 else None
    assert sorter.run() == "stopped" and records == []


# -------------------------------------------------------------------- the whole of it

RUN = """
    import sys
    from edge import board, cli
    from edge.health import heat
    from edge.health.telemetry import Telemetry
    root = sys.argv.pop(1)
    heat.Telemetry, heat.EVERY_S = lambda: Telemetry(root), 0.05
    heat.board = type("board", (), {"read": staticmethod(lambda: board.read(root))})
    sys.exit(cli.main(sys.argv[1:]))
"""
RELEASE = {"etc/nv_tegra_release": "# R32 (release), REVISION: 7.4, GCID: 1, BOARD: t210ref"}


@pytest.mark.long
def test_a_jetson_that_gets_hot_while_a_belt_runs(tmp_path):
    """The real command with the files of a Nano."""
    root, state = lay(tmp_path / "root", dict(NANO, **RELEASE)), str(tmp_path / "state")
    config = tmp_path / "scrapsort.toml"
    config.write_text("[ejector]\nenabled = true\nlate_ms = 1000.0\n" + "".join(
        "[[ejector.lane]]\nclass = \"{}\"\nbin = {}\noutput = \"log:{}\"\ndistance_m = 0.2\n".format(name, number, name)
        for number, name in enumerate(("review", "cardboard", "glass", "metal", "paper", "plastic"))))
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(RUN), root, "run", "--source",
                                "sim:?seed=3&speed=1&width=640&height=360&gap=0.05", "--state", state, "--threshold",
                                "0.01", "--config", str(config), "--quiet"], cwd=REPOSITORY, stderr=subprocess.PIPE)
    try:
        def decided(decision):
            try:
                return rows(state, "SELECT count(*) FROM items WHERE decision = ?", (decision,))[0][0]
            except sqlite3.OperationalError:  # not made yet
                return 0

        def trouble():
            with open(os.path.join(state, "status.json")) as file:
                return json.load(file)["conditions"].get("temperature", {}).get("trouble", "")

        until(lambda: decided("accept") >= 2, 60)
        assert decided("error") == 0
        lay(root, {ZONE: 99000})
        until(lambda: decided("error") >= 3, 60)
        until(lambda: "nothing is sorted" in trouble(), 20)
        accepted = decided("accept")
        errors = decided("error")
        until(lambda: decided("error") >= errors + 2, 60)
        assert decided("accept") == accepted
        process.send_signal(signal.SIGHUP)  # with other settings it goes on: the steps back take a minute
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err.decode()
    hot = rows(state, "SELECT error, bin, class FROM items WHERE decision = 'error'")
    assert {row["error"] for row in hot} == {"too hot, not classified: gpu 99 C, limit 90 C"}
    assert {(row["bin"], row["class"]) for row in hot} == {(0, None)}  # the lane for review, of no class
    assert b"temperature: above 90 C" in err

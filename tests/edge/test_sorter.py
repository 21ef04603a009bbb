"""The conveyor loop with real parts but for the clock: pacing, limits, and what ends it."""

import threading

import numpy as np
import pytest

from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.decision import Decider
from edge.frames.base import Frame
from edge.gate import EveryFrame
from edge.gate.belt import BeltGate
from edge.journal import Journal
from edge.report import Report
from edge.review import Reviewer
from edge.settings import Gate
from edge.sorter import NO_VIEW, Sorter
from edge.summary import Summary


class Pictures:
    """Frames whose making takes seconds of the fake clock; notes when each was asked for."""

    def __init__(self, clock, takes_s):
        self.clock, self.takes_s, self.at = clock, takes_s, []

    def __iter__(self):
        for number, seconds in enumerate(self.takes_s):
            self.clock.move(seconds)
            image_bgr = None if seconds < 0 else np.full((40, 60, 3), 40 * number, np.uint8)
            yield Frame("p{}".format(number), "k{}".format(number), image_bgr, None, self.clock.mono_s(),
                        self.clock.wall_s(), 1.0, "" if seconds >= 0 else "truncated")


@pytest.fixture
def make_sorter(clock, tmp_path, make_bundle):
    made, records = [], []

    path = make_bundle()

    def make(frames, **options):
        bundle = Bundle(path)
        classifier = open_classifier(bundle)
        starts = []

        class Noting(Report):
            def item(self, record):
                starts.append(clock.mono_s())
                records.append(record)
                super().item(record)

        journal = Journal(str(tmp_path / "state"), clock=clock)
        journal.begin("test", classifier)
        stop = options.pop("stop", threading.Event())
        sorter = Sorter(frames, options.pop("gate", EveryFrame()), classifier, Decider.from_settings(bundle, 0.5, {}),
                        Reviewer(bundle.classes, False, False), journal, Noting(Summary(bundle.classes, 0.0), clock),
                        stop, clock=clock, **options)
        made.append((sorter, journal, classifier))
        sorter.records = records
        return sorter, starts
    yield make
    for _, journal, classifier in made:
        journal.close()
        classifier.close()


def test_starts_of_items_keep_the_interval_and_a_pause_is_not_caught_up(make_sorter, clock):
    began = clock.mono_s()
    sorter, starts = make_sorter(Pictures(clock, [0, 0, 20, 0, 0]), interval_s=5.0)
    assert sorter.run() == "end of source"
    # the third is late by itself; the fourth keeps its distance from it instead of hurrying after the timetable
    assert [round(start - began, 6) for start in starts] == [0, 5, 25, 30, 35]


def test_without_an_interval_nothing_waits(make_sorter, clock):
    sorter, starts = make_sorter(Pictures(clock, [0, 0, 0]))
    sorter.run()
    assert clock.waits == [] and len(starts) == 3


def test_a_limit_ends_it(make_sorter, clock):
    sorter, starts = make_sorter(Pictures(clock, [0] * 10), limit=4)
    assert sorter.run() == "limit reached" and len(starts) == 4


def test_a_stop_ends_it_before_the_next_item(make_sorter, clock):
    stop = threading.Event()
    sorter, starts = make_sorter(Pictures(clock, [0] * 10), interval_s=1.0, stop=stop)
    clock.during_wait = lambda now: stop.set() if len(starts) == 3 else None
    assert sorter.run() == "stopped" and len(starts) == 3


def test_every_frame_is_one_item_and_sequences_have_no_gap(make_sorter, clock):
    sorter, starts = make_sorter(Pictures(clock, [0, 0, 0, 0]))
    sorter.run()
    assert sorter.report.summary.items == 4 == len(starts)


@pytest.mark.long
def test_more_things_at_once_than_there_is_memory_for_are_all_recorded_those_without_a_view_as_errors(make_sorter):
    def frames():  # a column of 60 that crosses the line at once
        for number in range(150):
            image = np.full((1460, 320, 3), 50, np.uint8)
            x = 4 * (number - 80)  # the empty belt comes first
            for y in range(10, 1450, 24):
                if x > -14:
                    image[y:y + 14, max(0, x):max(0, x + 14)] = 190
            yield Frame("f", "f", image, None, number / 30.0, number / 30.0, 0.0)
    sorter, _ = make_sorter(frames(), gate=BeltGate(Gate(direction="right", min_area_px=60, views=1)))
    assert sorter.run() == "end of source"
    errors = [record for record in sorter.records if record.decision == "error"]
    assert len(sorter.records) == 60 and 0 < len(errors) < len(sorter.records)
    assert {record.error for record in errors} == {NO_VIEW}

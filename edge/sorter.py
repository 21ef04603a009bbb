"""The conveyor loop: the way of one item, from frame to journal."""

import threading
import time
from typing import Callable, Iterable, Optional

from edge.classifier.base import Classifier
from edge.clock import Clock
from edge.decision import ACCEPT, ERROR, REVIEW, Decider
from edge.ejector import SCHEDULED, NoEjector
from edge.frames.base import Frame
from edge.gate import Gate, Item
from edge.intake import Intake
from edge.journal import Journal, Record
from edge.journal.record import of_error, of_item
from edge.report import Report
from edge.review import Reviewer

TICK_S = 1.0  # how often tick is called at least while the loop waits
NO_VIEW = "no view of it was kept: too many things on the belt at once; show less of it ([source] region)"


class Sorter:
    """Joins the rooms. Everything is passed in open and ready; nothing is allocated here per item."""

    def __init__(self, frames: Iterable[Frame], gate: Gate, classifier: Classifier, decider: Decider,
                 reviewer: Reviewer, journal: Journal, report: Report, stop: threading.Event,
                 interval_s: float = 0.0, limit: Optional[int] = None, clock: Clock = Clock(),
                 ejector: NoEjector = NoEjector(), tick: Callable[[], None] = lambda: None,
                 intake: Optional[Intake] = None):
        """tick is called as the loop turns, once a frame and while it waits: the watchdog is fed there, and the decider
        or the reviewer may be replaced.
        """
        self.frames, self.gate, self.classifier, self.decider = frames, gate, classifier, decider
        self.reviewer, self.journal, self.report = reviewer, journal, report
        self.stop, self.interval_s, self.limit, self.clock, self.ejector = stop, interval_s, limit, clock, ejector
        self.tick, self.intake = tick, intake or Intake()
        self._due_mono_s = clock.mono_s()

    def run(self) -> str:
        """Sort until the source ends, limit items are done or stop is set; returns which of these it was.

        Raises SourceError, BackendError and JournalError; a bad picture costs only its own item.
        """
        sequence = 0
        for frame in self.frames:
            self.tick()
            self.ejector.working(True)  # a loop that hangs closes all valves
            items = self.gate.offer(frame)
            self.ejector.belt(self.gate.speed_mps, frame.captured_mono_s)
            for item in items:
                if not self._wait_for_turn():
                    return "stopped"
                sequence, began_s = sequence + 1, self.clock.mono_s()
                record = self._sort(sequence, item)  # scheduled for its ejector as soon as it is decided
                self.journal.record(record)  # durable within a group commit; only then it counts as done
                self.report.item(record)
                self._rest(began_s)
                if sequence == self.limit:
                    return "limit reached"
            self.ejector.working(False)
            if self.stop.is_set():
                return "stopped"
        return "stopped" if self.stop.is_set() else "end of source"

    def _sort(self, sequence: int, item: Item) -> Record:
        hot = self.intake.refuses()
        record = of_error(sequence, item, hot) if hot else decide_item(sequence, item, self.classifier, self.decider)
        if self.gate.speed_mps is None:  # of the first items on a belt whose speed is estimated
            self.ejector.belt(item.speed_mps, item.frame.captured_mono_s)
        line_mono_s = item.frame.captured_mono_s if item.line_mono_s is None else item.line_mono_s
        bin_of = self.ejector.schedule(sequence, (record.class_name or REVIEW) if record.decision == ACCEPT else REVIEW,
                                       line_mono_s)
        if bin_of is not None:
            record = record._replace(bin=bin_of, ejection=SCHEDULED)
        if record.decision == ERROR:
            return record
        self.ejector.working(False)  # a person who is asked may take long
        record = self.reviewer.review(record, item)
        self.ejector.working(True)
        return record

    def _wait_for_turn(self) -> bool:
        """Keep interval_s between the starts of two items, and wait while it is too hot; False when stopped."""
        while self._due_mono_s > self.clock.mono_s() or self.intake.is_stopped:
            self.ejector.working(False)
            left_s = self._due_mono_s - self.clock.mono_s()
            if self.clock.wait(self.stop, min(TICK_S, left_s) if left_s > 0 else TICK_S):
                return False
            self.tick()
            self.ejector.working(True)
        self._due_mono_s = max(self._due_mono_s, self.clock.mono_s()) + self.interval_s
        return not self.stop.is_set()

    def _rest(self, began_s: float) -> None:
        """After an item, while the machine shall work less."""
        now_s = self.clock.mono_s()
        rest_s = self.intake.rest_s(now_s - began_s)
        if rest_s:
            self._due_mono_s = max(self._due_mono_s, now_s + rest_s)


def decide_item(sequence: int, item: Item, classifier: Classifier, decider: Decider) -> Record:
    """Classify one item and decide about it; a bad picture becomes a record that says so."""
    if not item.views:
        return of_error(sequence, item, item.frame.error or NO_VIEW)
    try:
        answer = classifier.classify(item.views)
    except ValueError as error:  # of the picture; what is wrong with the backend is a BackendError
        return of_error(sequence, item, str(error))
    started = time.perf_counter()
    call = decider.decide(answer, item.cluster)
    return of_item(sequence, item, classifier, answer, call, (time.perf_counter() - started) * 1000)

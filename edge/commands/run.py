"""scrapsort run: sort a source until it ends."""

import argparse
import os
import signal
import sys
import threading
from contextlib import ExitStack
from typing import Any, Callable, Optional

import edge
from edge import settings as settings_module
from edge.bundles import Bundle
from edge.classifier import Classifier, open_classifier
from edge.clock import Clock
from edge.commands import common
from edge.commands.common import log
from edge.decision import Decider
from edge.ejector import Result, open_ejector
from edge.errors import JournalError
from edge.frames import open_source
from edge.frames.address import shown
from edge.frames.base import Prefetch
from edge.gate import open_gate
from edge.health import State, status_path
from edge.inputs.wires import wire
from edge.journal import Ejection, Journal, Limits, StateLock
from edge.report import JsonReport, Report, TextReport
from edge.review import Reviewer
from edge.settings import Settings
from edge.sorter import Sorter
from edge.summary import Summary


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_config(parser)
    common.add_model(parser)
    parser.add_argument("--source", metavar="SRC", help="a folder, a picture, a video, /dev/videoN, csi://N, "
                        "gst:PIPELINE, rtsp://…, http://… (MJPEG), sim: or sim:FOLDER for a simulated belt, or drawn: "
                        "for drawn items one by one")
    parser.add_argument("--watch", action="store_true", default=None, help="go on with files as they arrive")
    parser.add_argument("--interval", type=common.number, metavar="S", help="seconds between two items; 0 also "
                        "reads a video as fast as it can be sorted")
    parser.add_argument("--threshold", type=common.fraction, metavar="T", help="confidence below which an item goes "
                                                                              "to review, 0 to 1")
    parser.add_argument("--override", action="store_true", default=None, help="ask at the terminal about each item")
    parser.add_argument("--active-learning", action="store_true", default=None, help="keep low-confidence and "
                        "overridden items with their pictures for retraining")
    parser.add_argument("--limit", type=common.count, metavar="N", help="stop after N items")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--quiet", action="store_true", help="the summary alone")


def run(arguments: argparse.Namespace) -> int:
    """Sort; 0 also when stopped by a signal."""
    settings, state = _settings(arguments)
    common.start_logging()
    stop, clock, prompt = threading.Event(), Clock(), _Prompt()
    # An appliance whose disk went read-only still sorts; a person at a terminal is told, and gives another folder
    must_write = "NOTIFY_SOCKET" not in os.environ
    with StateLock(state, must_write), ExitStack() as opened:
        bundle = common.open_bundle(arguments, settings, state)
        decider = Decider.from_settings(bundle, settings.decision.threshold, settings.decision.per_class,
                                        settings.decision.stranger)
        classifier = opened.enter_context(open_classifier(bundle, settings.model.backend, settings.model.precision))
        report = _report(arguments, classifier, clock, stop)
        conditions = State(status_path(state), clock, source=shown(settings.source.uri),
                           model="{} {}".format(bundle.name, bundle.version), backend=classifier.backend,
                           precision=classifier.precision)
        conditions.counters("items", report.summary.counters)
        journal = Journal(state, settings.journal.commit_s, settings.journal.commit_items,
                          settings.journal.keep_free_mb, clock, report.committed, Limits(
                              settings.journal.keep_days, settings.journal.keep_rows_mb,
                              settings.journal.keep_pictures_mb), conditions.condition, must_write, stop.is_set)
        conditions.counters("journal", journal.counters)
        try:
            frames = open_source(settings.source.uri, settings.source.watch, stop, journal.is_recorded, clock,
                                 settings.source, conditions, fast=arguments.interval == 0)
            opened.callback(_close, frames)
            gate = open_gate(settings, frames)
            ejector = open_ejector(settings, frames, bundle.classes, _noting(journal), conditions, clock)
            opened.callback(ejector.close, False, stop)
            wire(settings, gate, ejector, conditions, opened, clock)
            report.summary.ejections = ejector.counts
            reviewer = _reviewer(settings, classifier, report, prompt, clock)
            moving = getattr(frames, "moving", False)  # what moves waits for nobody
            journal.backlog.patient = not moving
            sorter = Sorter(frames if moving else Prefetch(frames, stop=stop), gate, classifier, decider, reviewer,
                            journal, report, stop, 0.0 if moving else settings.source.interval_s, arguments.limit,
                            clock, ejector)
        except BaseException:
            journal.close()
            raise
        with _Signals(stop, prompt):
            _say_start(settings, state, classifier)  # whoever has read it may send a signal
            _sort(sorter, journal, report, settings.source.uri, conditions)
    return 0


def _noting(journal: Journal) -> Callable[[Result], None]:
    """What becomes of an item's ejection goes to its row."""
    return lambda result: journal.note(Ejection(result.item, result.what, result.error_ms, result.mono_s))


def _close(frames: Any) -> None:
    """Let go of a camera; other sources need no closing."""
    if hasattr(frames, "close"):
        frames.close()


def _settings(arguments: argparse.Namespace) -> Any:
    settings, state = common.load_settings(arguments)
    settings = settings_module.override(settings, "source", uri=arguments.source, interval_s=arguments.interval,
                                        watch=arguments.watch)
    settings = settings_module.override(settings, "decision", threshold=arguments.threshold)
    settings = settings_module.override(settings, "review", override=arguments.override,
                                        active_learning=arguments.active_learning)
    return settings, state


def _sort(sorter: Sorter, journal: Journal, report: Report, source: str, conditions: State) -> None:
    """Run the loop; whatever ends it, what was decided is committed before the summary is printed."""
    ended_by = "failed"
    conditions.start()
    journal.begin(shown(source), sorter.classifier)
    try:
        ended_by = sorter.run()
    except BaseException as error:
        ended_by = "failed: {}".format(shown(str(error)))
        raise
    finally:
        sorter.ejector.close(not ended_by.startswith("failed"), sorter.stop)  # its last words go to the journal
        try:
            journal.close(ended_by)
        except JournalError:
            log.error("%d of %d decided items are recorded", journal.committed, report.summary.items)
            raise
        finally:
            report.summary.items_not_kept = journal.backlog.lost
            report.summary.pictures_not_kept = journal.pictures_not_kept
            if journal.backlog.lost:
                log.error("%d items not kept: nothing could be written for too long", journal.backlog.lost)
            if journal.pictures_not_kept:
                log.warning("%d pictures not kept: [journal] keep_free_mb is not free, or STATE/queue cannot be "
                            "written", journal.pictures_not_kept)
            conditions.close(ended_by)
            report.end(ended_by)


def _report(arguments: argparse.Namespace, classifier: Classifier, clock: Clock, stop: threading.Event) -> Report:
    classes = classifier.bundle.classes
    summary = Summary(classes, clock.mono_s())
    if arguments.format == "json":
        return JsonReport(summary, clock, classes, stop, quiet=arguments.quiet)
    return Report(summary, clock) if arguments.quiet else TextReport(summary, clock, classes)


def _reviewer(settings: Settings, classifier: Classifier, report: Report, prompt: "_Prompt",
              clock: Clock) -> Reviewer:
    ask: Optional[Callable[[str], str]] = None
    if settings.review.override:
        if sys.stdin is not None and sys.stdin.isatty():
            ask = prompt.ask
        else:
            log.warning("--override without a terminal: items wait in the review queue (scrapsort review list)")
    show = report.show if isinstance(report, TextReport) else lambda record: None
    return Reviewer(classifier.bundle.classes, settings.review.override, settings.review.active_learning, ask, show,
                    clock)


class _Prompt:
    """Asks on stderr, so that stdout stays clean for machines."""

    waiting = False
    ended = False  # by a signal

    def ask(self, prompt: str) -> str:
        """A line typed at the terminal; raises EOFError at its end, and when a signal ends the run meanwhile."""
        self.waiting = True  # before the prompt: who reads it may press Ctrl-C at once
        try:
            if self.ended:
                raise EOFError
            sys.stderr.write(prompt)
            sys.stderr.flush()
            line = sys.stdin.readline()
        except UnicodeDecodeError:
            return "?"  # names no class: it is asked again
        except OSError:  # the terminal has hung up
            raise EOFError
        finally:
            self.waiting = False
        if not line:
            raise EOFError
        return line


def _say_start(settings: Settings, state: str, classifier: Classifier) -> None:
    bundle = classifier.bundle
    log.info("scrapsort %s: source %s, model %s %s, backend %s (%s), precision %s, strangers %s, state %s, "
             "settings %s",
             edge.__version__, shown(settings.source.uri), bundle.name, bundle.version, classifier.backend,
             classifier.device, classifier.precision, _strangers(settings, bundle), state, settings.file or "built-in")
    for note in classifier.notes:
        log.warning("%s", note)


def _strangers(settings: Settings, bundle: Bundle) -> str:
    """How things that are none of the classes are told, or why they are not."""
    if bundle.stranger is None:
        return "not told (the bundle has no score)"
    if not settings.decision.stranger:
        return "not told ([decision] stranger = false)"
    return "by {} above {:g}".format(bundle.stranger.score, bundle.stranger.threshold)


class _Signals:
    """SIGTERM and Ctrl-C end the loop after the item in hand; a second one ends the process."""

    def __init__(self, stop: threading.Event, prompt: _Prompt):
        self._stop, self._prompt = stop, prompt
        self._before: dict = {}

    def _on_signal(self, number: int, frame: Any) -> None:
        signal.signal(number, self._before[number])
        self._stop.set()
        self._prompt.ended = True
        if self._prompt.waiting:  # else the loop would wait for an answer first
            raise EOFError

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *exc: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

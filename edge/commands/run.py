"""scrapsort run: sort a source until it ends."""

import argparse
import os
import sys
import threading
from contextlib import ExitStack
from typing import IO, Any, Callable, Optional

import edge
from edge import settings as settings_module
from edge.bundles import Bundle
from edge.classifier import Classifier
from edge.classifier.failover import open_for_run
from edge.clock import Clock
from edge.commands import common
from edge.commands.common import log
from edge.decision import Decider
from edge.ejector import Result, check_ejector, open_ejector
from edge.errors import JournalError, ScrapsortError, SettingsError
from edge.frames import open_source, outline
from edge.frames.address import shown
from edge.frames.base import Prefetch
from edge.gate import open_gate
from edge.health import State, heat, journald, status_path
from edge.health.pulse import Pulse
from edge.inputs.wires import wire
from edge.intake import Intake
from edge.journal import Ejection, Journal, Limits, StateLock
from edge.logs import latest
from edge.reload import Asked
from edge.report import JsonReport, Report, TextReport
from edge.review import Reviewer
from edge.service import Service, hold_back
from edge.settings import Settings
from edge.signals import Prompt, Signals
from edge.sorter import Sorter
from edge.summary import Summary

NO_MEMORY = "not enough memory; end other programs, or raise what limits this one (LimitAS= of the unit, ulimit -v)"


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
    try:
        try:
            return _run(arguments)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "start new thread" not in str(error):
                raise
            raise ScrapsortError(NO_MEMORY)
    except ScrapsortError as error:
        if not hold_back(error, settings_module.path_of(arguments.config)):
            raise
        return error.exit_code
    except Exception as error:  # a bug: as seldom as any other start that comes to nothing, but told in full
        hold_back(ScrapsortError("unexpected: {!r}".format(error)), settings_module.path_of(arguments.config))
        raise


def _run(arguments: argparse.Namespace) -> int:
    """Sort belt after belt: each with other settings, the first with those that are there now."""
    first = _ask(arguments)
    common.start_logging()
    asked, before = first, None  # type: Optional[Asked], Optional[Asked]
    with StateLock(first.state, _must_write()), Service(
            lambda: _ask_anew(arguments, first.settings.file)) as service:
        while asked is not None:
            try:
                before, asked = asked, _belt(arguments, asked, service)
            except ScrapsortError as error:
                if before is None or service.sorts:
                    raise
                service.refuse(error)  # what only opening them has told
                before, asked = None, before
    return 0


def _must_write() -> bool:
    """An appliance whose disk went read-only still sorts; a person at a terminal is told, and gives another folder."""
    return "NOTIFY_SOCKET" not in os.environ


def _ask(arguments: argparse.Namespace) -> Asked:
    """The settings as they are now. Raises SettingsError or BundleError."""
    settings, state = _settings(arguments)
    with settings_module.naming(settings):
        bundle = common.open_bundle(arguments, settings, state)
        decider = Decider.from_settings(bundle, settings.decision.threshold, settings.decision.per_class,
                                        settings.decision.stranger)
    return Asked(settings, state, bundle, decider)


def _ask_anew(arguments: argparse.Namespace, file: str) -> Asked:
    """As _ask, for a belt that is being sorted: whatever can be found wrong without opening anything is, too.

    file: from which the settings have come so far; that it is gone asks nobody to sort with built-in ones.
    """
    asked = _ask(arguments)
    settings = asked.settings
    if file and not settings.file:
        raise SettingsError("{}: settings cannot be read: the file is gone".format(file))
    with settings_module.naming(settings):
        asked.bundle.check_any()  # it is opened when the belt that sorts has been put down
        frames = outline(settings.source.uri, settings.source.watch, arguments.interval == 0)
        open_gate(settings, frames)
        if settings.ejector.enabled:
            check_ejector(settings, frames, asked.bundle.classes)
    return asked


def _belt(arguments: argparse.Namespace, asked: Asked, service: Service) -> Optional[Asked]:
    """Sort one belt; returns what the next one shall do, None: there is no next."""
    settings, state, bundle, decider = asked
    stop, clock, prompt = service.next_end(), service.clock, Prompt()
    with settings_module.naming(settings), ExitStack() as opened:
        conditions = State(status_path(state), clock, source=shown(settings.source.uri),
                           model="{} {}".format(bundle.name, bundle.version), state=state)
        warmth = opened.enter_context(heat.watched(conditions, settings.health.max_temp_c, clock))
        classifier = opened.enter_context(open_for_run(bundle, settings.model, state, conditions, clock))
        report = _report(arguments, bundle, clock, stop, service.out)
        conditions.counters("items", report.summary.counters)
        journal = Journal(state, settings.journal.commit_s, settings.journal.commit_items,
                          settings.journal.keep_free_mb, clock, report.committed, Limits(
                              settings.journal.keep_days, settings.journal.keep_rows_mb,
                              settings.journal.keep_pictures_mb), conditions.condition, _must_write(),
                          _hurry(service, stop))
        conditions.counters("journal", journal.counters)
        try:
            frames = open_source(settings.source.uri, settings.source.watch, stop, journal.is_recorded, clock,
                                 settings.source, conditions, fast=arguments.interval == 0, tick=service.tick,
                                 patient=service.notifier.is_asked)
            opened.callback(_close, frames)
            gate = open_gate(settings, frames)
            ejector = open_ejector(settings, frames, bundle.classes, _noting(journal), conditions, clock)
            opened.callback(ejector.close, False, stop)
            wire(settings, gate, ejector, conditions, opened, clock)
            report.summary.ejections = ejector.counts
            reviewer = _reviewer(settings, classifier, report, prompt, clock)
            moving = getattr(frames, "moving", False)  # what moves waits for nobody
            journal.backlog.patient = not moving
            sorter = Sorter(frames if moving else Prefetch(frames, stop=stop, tick=service.tick), gate, classifier,
                            decider, reviewer, journal, report, stop, 0.0 if moving else settings.source.interval_s,
                            arguments.limit, clock, ejector, service.tick,
                            Intake(moving, lambda: warmth.share, lambda: warmth.text))
        except BaseException:
            journal.close()
            raise

        def take(new: Asked) -> None:
            sorter.decider = new.decider
            sorter.reviewer = _reviewer(new.settings, classifier, report, prompt, clock)
            warmth.limit(new.settings.health.max_temp_c)

        pulse = Pulse(service.notifier, lambda: report.summary.items, lambda: _model_text(classifier),
                      conditions.troubles, clock, lambda: warmth.temp_c)
        conditions.counters("run", lambda: {"items_per_s": round(pulse.items_per_s(), 2),
                                            "uptime_s": round(clock.mono_s() - service.began_s)})
        conditions.counters("last_error", latest.get)
        with Signals(service.signalled, prompt):
            _say_start(settings, state, classifier)  # whoever has read it may send a signal
            _sort(sorter, journal, report, settings.source.uri, conditions, service,
                  lambda: service.begin(asked, conditions, pulse, take))
            service.ended()
    return service.following


def _hurry(service: Service, stop: threading.Event) -> Callable[[], bool]:
    """Asked while the loop waits for the journal: the watchdog shall be fed, and whoever is to stop waits no more."""
    def hurry() -> bool:
        service.tick()
        return stop.is_set()
    return hurry


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


def _sort(sorter: Sorter, journal: Journal, report: Report, source: str, conditions: State,
          service: Service, begin: Callable[[], None]) -> None:
    """Run the loop, which begins now; whatever ends it, what was decided is committed before the summary is printed."""
    ended_by = "failed"
    conditions.start()
    number = journal.begin(shown(source), sorter.classifier)
    journald.set_context(log, run=number)
    try:
        begin()
        ended_by = sorter.run()
        if service.following is not None:
            ended_by = "new settings"
    except BaseException as error:
        ended_by = "failed: {}".format(shown(str(error)))
        raise
    finally:
        service.leave(sorter.gate.in_view)
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
        if service.notifier.is_asked:
            log.info("ended: %s; %d items, %d of them not recorded", ended_by, report.summary.items,
                     journal.backlog.lost)


def _report(arguments: argparse.Namespace, bundle: Bundle, clock: Clock, stop: threading.Event,
            out: IO[str]) -> Report:
    summary = Summary(bundle.classes, clock.mono_s())
    if arguments.format == "json":
        return JsonReport(summary, clock, bundle.classes, stop, arguments.quiet, out)
    return Report(summary, clock, out) if arguments.quiet else TextReport(summary, clock, bundle.classes, out)


def _reviewer(settings: Settings, classifier: Classifier, report: Report, prompt: Prompt,
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


def _model_text(classifier: Classifier) -> str:
    """What answers now: trashnet-resnet18 1.2.0, tensorrt fp16."""
    return "{} {}, {} {}".format(classifier.bundle.name, classifier.bundle.version, classifier.backend,
                                 classifier.precision)


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

"""A run under a service manager: what is beside the belt. At a terminal all of this is silent.

The loop calls tick once a frame and while it waits: it feeds the watchdog, says how the run is, and takes new settings.
"""

import faulthandler
import os
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any, Callable, Optional

from edge import logs
from edge.clock import Clock
from edge.errors import JournalError, ScrapsortError
from edge.health import State, read, status_path
from edge.health.notify import Notifier
from edge.health.pulse import Pulse
from edge.jumps import Jumps
from edge.logs import latest, log
from edge.reload import Asked, Reload, differences, takes_at_once, text_of
from edge.signals import Deadline, Hangup

REOPEN_S = 300.0  # for opening camera, model and outputs anew, as TimeoutStartSec gives at the start
LONGEST_PAUSE_S = 60.0
UNWATCHED_S = 1e6  # days: what systemd's watchdog waits without one
FAILURES = "failures"  # in $RUNTIME_DIRECTORY: starts in a row that came to nothing


class Service:
    """Held open over all belts of one process, which follow one another as settings change."""

    def __init__(self, read: Callable[[], Asked], clock: Clock = Clock()):
        """read: the settings anew, checked; raises ScrapsortError."""
        self.clock, self.notifier = clock, Notifier(clock=clock)
        self.began_s = clock.mono_s()
        self.out = sys.stdout  # now: threads that open backends put another in its place meanwhile
        self.following: Optional[Asked] = None  # what the next belt shall do; None: there is no next one
        self.sorts = False  # a loop has begun since the settings were last changed
        self._reload, self._refused = Reload(read), ""
        self._end = threading.Event()
        self._pulse: Optional[Pulse] = None
        self._asked: Optional[Asked] = None
        self._apply: Callable[[Asked], None] = lambda asked: None
        self._conditions: Optional[State] = None
        self._in_view, self._left_s = 0, 0.0
        self._patient = False  # systemd was told to wait longer than at first
        self._deadline = Deadline()
        self._opened = ExitStack()

    def __enter__(self) -> "Service":
        self._opened.enter_context(Jumps(self.clock))
        self._opened.enter_context(Hangup(self._reload.ask, self.notifier.is_asked))
        if self.notifier.is_asked:
            self._opened.enter_context(self._deadline)
            faulthandler.enable()  # the watchdog's SIGABRT then tells where the loop hangs
        return self

    def __exit__(self, *exc: Any) -> None:
        self._opened.close()
        self.notifier.close()
        logs.flush()

    # ---------------------------------------------------------------- one belt

    def next_end(self) -> threading.Event:
        """What ends the next belt: set by a signal, and by settings that need a new one."""
        self._end, self.following, self.sorts = threading.Event(), None, False
        return self._end

    def begin(self, asked: Asked, conditions: State, pulse: Pulse, apply: Callable[[Asked], None]) -> None:
        """All is open, the model has answered: the loop begins. apply: takes new settings of AT_ONCE's sections."""
        self._asked, self._conditions, self._pulse, self._apply = asked, conditions, pulse, apply
        if self._refused:
            conditions.condition("settings", self._refused)
        if self._left_s:
            log.info("settings: the belt is sorted again after %.1f s; up to %d things that were in view then are not "
                     "sorted, and more may have passed", self.clock.mono_s() - self._left_s, self._in_view)
        self._watch(asked)
        self.sorts, self._left_s = True, 0.0
        forget_failures()
        self.notifier.ready(pulse.line())

    def tick(self) -> None:
        """The loop turns."""
        if self._pulse is not None:
            self._pulse.beat()
            if self._reload.is_busy:
                self._look()

    def leave(self, in_view: int) -> None:
        """The loop has ended; when another follows, it may take long to begin."""
        self._pulse = None
        if self.following is not None:
            self._in_view, self._left_s = in_view, self.clock.mono_s()
            if self._asked is None or self._asked.settings.health.watchdog:
                self.notifier.patience(REOPEN_S)
            self._patient = True
            self.notifier.status("begins anew with other settings")

    def ended(self) -> None:
        """Outputs are closed and the journal is flushed."""
        self._deadline.is_safe = self.following is None

    def signalled(self) -> None:
        """A signal ends the run. Called in its handler."""
        self.following = None
        self.notifier.stopping("stopped by a signal")
        self._end.set()

    # ---------------------------------------------------------------- new settings

    def _look(self) -> None:
        news = self._reload.look()
        if news is None:
            if not self.notifier.is_reloading:
                self.notifier.reloading()
            return
        assert self._asked is not None and self._pulse is not None and self._conditions is not None
        if isinstance(news, ScrapsortError):
            self.refuse(news)
            self._conditions.condition("settings", self._refused)
        else:
            self._take(news)
        if self.following is None:
            self.notifier.ready(self._pulse.line())

    def _take(self, new: Asked) -> None:
        assert self._asked is not None and self._conditions is not None
        changed = differences(self._asked, new)
        self._refused = ""
        if self._conditions.trouble("settings"):
            self._conditions.condition("settings")
        if not changed:
            log.info("settings: read anew, nothing has changed")
        elif takes_at_once(changed):
            self._apply(new)
            self._watch(new)
            self._asked = new
            log.info("settings: changed from the next item on: %s", ", ".join(changed))
        elif new.state != self._asked.state:
            self.refuse(JournalError("journal.state: {} is locked by this run; restart it to use another".format(
                self._asked.state)))
            self._conditions.condition("settings", self._refused)
        else:
            log.info("settings: changed: %s; the belt begins anew with them", ", ".join(changed))
            self.following = new
            self._end.set()

    def _watch(self, asked: Asked) -> None:
        """How long the loop may say nothing before systemd starts it anew."""
        watchdog = asked.settings.health.watchdog
        if self._patient or not watchdog:
            self.notifier.patience(0.0 if watchdog else UNWATCHED_S)
        self._patient = not watchdog

    def refuse(self, error: ScrapsortError) -> None:
        """Settings that cannot be used: the ones before stay."""
        self._refused = "refused, those before stay in use: {}".format(text_of(error))
        if self._pulse is None:  # they were found wrong while they were being used: nothing runs that says so
            log.warning("settings: %s", self._refused)


# -------------------------------------------------------------------- starts that come to nothing

def hold_back(error: ScrapsortError, path: str, clock: Clock = Clock()) -> bool:
    """Before a service's start ends with error: say so, and wait the longer the more starts in a row have failed.

    So the log of a belt that cannot start stays short, and it starts at once when the file of settings, path, changes.
    False where no service manager would start it again.
    """
    notifier = Notifier()
    if not notifier.is_asked:
        return False
    logs.start_logging()
    failures = _count_failure()
    pause_s = min(LONGEST_PAUSE_S, 5.0 * 2 ** min(failures - 1, 10) - 5.0)
    again = "; tried again in {:.0f} s, or when {} changes".format(pause_s, path or "the settings") if pause_s else ""
    log.error("%s%s", text_of(error), again)
    notifier.status("failed: {}{}".format(text_of(error), again))
    notifier.close()
    _tell_status(text_of(error), clock)
    until_s, before = clock.mono_s() + pause_s, _stamp(path)
    while clock.mono_s() < until_s and _stamp(path) == before:
        time.sleep(min(1.0, max(0.0, until_s - clock.mono_s())))
    return True


def _tell_status(text: str, clock: Clock) -> None:
    """For `scrapsort status`: what the run before has left there would not tell why nothing runs now."""
    if os.environ.get("RUNTIME_DIRECTORY"):
        path = status_path("")
        before = read(path) or {}
        if before.get("pid") == os.getpid() and before.get("ended_by"):
            return  # a run that had begun has told it itself
        told = State(path, clock, **{key: before[key] for key in ("source", "model", "state") if key in before})
        told.counters("last_error", latest.get)
        told.close("failed: " + text)


def _failures_path() -> str:
    folder = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return os.path.join(folder, FAILURES) if folder else ""


def _count_failure() -> int:
    """This one included; 1 where there is no place to remember them."""
    path, count = _failures_path(), 0
    try:
        with open(path) as file:
            count = int(file.read())
    except (OSError, ValueError):
        pass
    try:
        with open(path, "w") as file:
            file.write("{}\n".format(count + 1))
    except OSError:
        pass
    return count + 1


def forget_failures() -> None:
    """A start has succeeded."""
    try:
        os.unlink(_failures_path())
    except OSError:
        pass


def _stamp(path: str) -> Any:
    """Changes when the file does."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino

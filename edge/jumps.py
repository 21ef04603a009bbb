"""A wall clock that is set back must not make threads wait for days.

Before Python 3.11 the time-outs of locks, and with them of events, conditions and queues, end by the wall clock: a wait
of a second that has begun just before the clock is set back by a day lasts a day (bpo-41710). A signal makes such a
wait look at the monotonic clock, by which it is meant, so a thread that sleeps by that one sends it when the wall clock
has gone back.
"""

import signal
import threading
import time
from typing import Any, Callable

from edge.clock import Clock

LOOK_S = 0.25
BACK_S = 0.1  # less is the clock's own slewing
TIMES = 4  # looks at which it is sent: a thread may be just about to wait


class Jumps:
    """Held open while threads work. From the main thread; elsewhere, and on systems without such signals, it does
    nothing."""

    def __init__(self, clock: Clock = Clock(), sleep: Callable[[float], None] = time.sleep):
        self._clock, self._sleep = clock, sleep
        self._number = getattr(signal, "SIGURG", None)  # ignored by default, so one that comes late does no harm
        self._ahead_s, self._left = 0.0, 0
        self._ended = False

    def __enter__(self) -> "Jumps":
        self._ahead_s = self._clock.wall_s() - self._clock.mono_s()
        if self._number is not None and threading.current_thread() is threading.main_thread():
            signal.signal(self._number, lambda number, frame: None)
            threading.Thread(target=self._watch, name="jumps", daemon=True).start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._ended = True  # the handler stays: a signal may be on its way

    def _watch(self) -> None:
        while not self._ended:
            self._sleep(LOOK_S)  # by the monotonic clock in each version
            self.look()

    def look(self) -> None:
        """Wake all who wait when the wall clock has been set back since the last look."""
        before_s, self._ahead_s = self._ahead_s, self._clock.wall_s() - self._clock.mono_s()
        if self._ahead_s < before_s - BACK_S:
            self._left = TIMES
        if self._left:
            self._left -= 1
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and thread.ident is not None:
                    try:
                        signal.pthread_kill(thread.ident, self._number or 0)
                    except OSError:  # it has just ended
                        pass

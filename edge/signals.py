"""What signals mean to a run, and the way out that is always open."""

import faulthandler
import os
import signal
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

from edge.logs import log

END_S = 4.0  # from SIGTERM: what has not ended in order by then is left as it is
ENDING = ("SIGINT", "SIGTERM")


class Prompt:
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


class Signals:
    """SIGTERM and Ctrl-C end the loop after the item in hand; a second one ends the process."""

    def __init__(self, end: Callable[[], None], prompt: Prompt):
        self._end, self._prompt = end, prompt
        self._before: Dict[int, Any] = {}

    def _on_signal(self, number: int, frame: Any) -> None:
        signal.signal(number, self._before[number])
        self._end()
        self._prompt.ended = True
        if self._prompt.waiting:  # else the loop would wait for an answer first
            raise EOFError

    def __enter__(self) -> None:
        for name in ENDING:
            number = getattr(signal, name)
            self._before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *exc: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Hangup:
    """SIGHUP asks for something while this is open. With a terminal it means that the terminal is gone: as before."""

    def __init__(self, ask: Callable[[], None], always: bool):
        """always: also where SIGHUP is ignored, or there is a terminal."""
        self._ask, self._before = ask, None  # type: Callable[[], None], Any
        self._number: Optional[int] = getattr(signal, "SIGHUP", None)
        if self._number is not None and not always:
            at_terminal = sys.stdin is not None and sys.stdin.isatty()
            if at_terminal or signal.getsignal(self._number) == signal.SIG_IGN:
                self._number = None

    def __enter__(self) -> "Hangup":
        if self._number is not None:
            self._before = signal.signal(self._number, lambda number, frame: self._ask())
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._number is not None:
            signal.signal(self._number, self._before)


class Deadline:
    """Ends a service END_S after SIGTERM, whatever hangs: a camera's driver, an engine that is being opened, a PLC.

    Python's own handlers run when the loop's thread comes back from wherever it is; the byte that the interpreter
    writes for a signal comes at once, to a thread that waits for nothing else.
    """

    def __init__(self, after_s: float = END_S, leave: Callable[[int], Any] = os._exit):
        self._after_s, self._leave = after_s, leave
        self.is_safe = False  # outputs are closed and the journal is flushed: only memory is left to be freed
        self._over = threading.Event()
        self._pipe: List[int] = []
        self._before = -1

    def __enter__(self) -> "Deadline":
        self._pipe = list(os.pipe())
        os.set_blocking(self._pipe[1], False)
        self._before = signal.set_wakeup_fd(self._pipe[1])
        threading.Thread(target=self._watch, args=(self._pipe[0],), name="deadline", daemon=True).start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._over.set()
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe[1])

    def _watch(self, pipe: int) -> None:
        ending = tuple(int(getattr(signal, name)) for name in ENDING)
        while not any(number in ending for number in os.read(pipe, 64) or b"\x02"):
            pass
        if not self._over.is_set():
            # Should a library hang with Python's lock in its hand, not even this thread goes on: that one is C's
            faulthandler.dump_traceback_later(self._after_s + 0.5, exit=True)
            self._over.wait(self._after_s)
            if not self._over.is_set():
                if self.is_safe:
                    log.warning("the model or the camera does not close within %g s; left without", self._after_s)
                else:
                    log.error("not at the end %g s after the signal; left as it is. What is recorded is on the disk",
                              self._after_s)
                    faulthandler.dump_traceback()
                self._leave(0 if self.is_safe else 1)
            faulthandler.cancel_dump_traceback_later()
        os.close(pipe)

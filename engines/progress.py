"""Says how far a build is: one line that is renewed at a terminal, else a line from time to time."""

import sys
import threading
import time
from typing import Any, Dict

RENEW_S, LINE_S = 1.0, 30.0


def say(text: str) -> None:
    """A line for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """While it is entered, time goes by visibly, also where TensorRT does not tell its progress."""

    def __init__(self, what: str):
        self._what, self._phase = what, ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._started_s = time.monotonic()

    def line(self, words: Dict[str, Any]) -> None:
        """A line of a child: {"note": …} is said, {"phase": …, "done": n, "of": m} shown with the next renewal."""
        if "note" in words:
            say(words["note"])
        if "phase" in words:
            self._phase = ", {} {} of {}".format(words["phase"], words["done"], words["of"])

    def __enter__(self) -> "Progress":
        say("{} ...".format(self._what))
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._done.set()
        self._thread.join()

    def _tell(self) -> None:
        terminal = sys.stdout.isatty()
        while not self._done.wait(RENEW_S if terminal else LINE_S):
            text = "{}: {:.0f} s{}".format(self._what, time.monotonic() - self._started_s, self._phase)
            if terminal:
                sys.stdout.write("\r{}\033[K".format(text))
                sys.stdout.flush()
            else:
                say(text)
        if terminal:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

"""systemd's journal: one datagram a line, with fields, to /run/systemd/journal/socket; and a bound on their number.

The format is that of systemd.io/JOURNAL_NATIVE_PROTOCOL: KEY=VALUE lines; a value of several lines follows its key as
eight bytes of length, little-endian, and the bytes.
"""

import logging
import os
import socket
import struct
import sys
import threading
import time
from collections import OrderedDict
from typing import Any, Callable, Dict, List, Mapping, Optional

SOCKET = "/run/systemd/journal/socket"
MOST_BYTES = 48 * 1024  # of a message; what a datagram holds everywhere
EVERY_S = 60.0
LINES = 60  # that may pass in EVERY_S
KNOWN = 64  # different lines that are looked after
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def is_stderr(environ: Mapping[str, str], path: str = SOCKET) -> bool:
    """Whether what this process writes to stderr goes to the journal, as $JOURNAL_STREAM says (device:inode)."""
    try:
        device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
        status = os.fstat(sys.stderr.fileno())
        return (status.st_dev, status.st_ino) == (int(device), int(inode)) and os.path.exists(path)
    except (OSError, ValueError, AttributeError):
        return False


class JournalHandler(logging.Handler):
    """Sends records to the journal. What does not get there goes to fallback, a handler on stderr."""

    def __init__(self, fallback: logging.Handler, identifier: str = "", path: str = SOCKET):
        super().__init__()
        self._fallback, self._path = fallback, path
        self._identifier = identifier or ("scrapsort-engines" if "engines" in sys.argv[0] else "scrapsort")
        self.context: Dict[str, Any] = {}  # fields of each line from now on, such as run=7
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line; never waits."""
        try:
            self._socket.sendto(self._datagram(record), self._path)
        except (OSError, ValueError):  # no journal any more, or its queue is full
            self._fallback.handle(record)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        super().close()

    def _datagram(self, record: logging.LogRecord) -> bytes:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        lines: List[bytes] = [
            _field("PRIORITY", next((number for level, number in _PRIORITIES if record.levelno >= level), 7)),
            _field("MESSAGE", message[:MOST_BYTES]),
            _field("SYSLOG_IDENTIFIER", self._identifier),
            _field("CODE_FILE", record.pathname), _field("CODE_LINE", record.lineno),
            _field("CODE_FUNC", record.funcName), _field("THREAD_NAME", record.threadName)]
        for name, value in dict(self.context, **getattr(record, "fields", {})).items():
            lines.append(_field("SCRAPSORT_" + name.upper(), value))
        return b"".join(lines)


def _field(name: str, value: Any) -> bytes:
    data = str(value).encode("utf-8", "backslashreplace")  # a file's name may hold what is no text
    if b"\n" in data:
        return name.encode("ascii") + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode("ascii") + b"=" + data + b"\n"


class Bounded(logging.Handler):
    """Passes lines on, but equal ones once a minute, and no more than LINES in one: how many were left out is said."""

    def __init__(self, inner: logging.Handler, now_s: Callable[[], float] = time.monotonic):
        super().__init__()
        self._inner, self._now_s = inner, now_s
        self._known: "OrderedDict[str, List[Any]]" = OrderedDict()  # text -> since, how many more, the latest record
        self._passed, self._left_out, self._since_s = 0, 0, now_s()
        self._mine = threading.RLock()

    @property
    def inner(self) -> logging.Handler:
        """What lines are passed to."""
        return self._inner

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on, or count it."""
        text = record.getMessage()
        with self._mine:
            self._expire(self._now_s())
            known = self._known.get(text)
            if known is not None:
                known[1] += 1
                known[2] = record
            elif self._passed >= LINES:
                self._left_out += 1
            else:
                self._passed += 1
                self._known[text] = [self._now_s(), 0, record]
                self._inner.handle(record)
                while len(self._known) > KNOWN:
                    self._say(*self._known.popitem(last=False))

    def flush(self) -> None:
        """Say what is due."""
        with self._mine:
            self._expire(self._now_s())
        self._inner.flush()

    def close(self) -> None:
        """Say what was left out, due or not."""
        with self._mine:
            self._expire(float("inf"))
        self._inner.close()
        super().close()

    def _expire(self, now_s: float) -> None:
        for text, known in list(self._known.items()):
            if now_s - known[0] >= EVERY_S:
                del self._known[text]
                self._say(text, known)
        if now_s - self._since_s >= EVERY_S:
            if self._left_out:
                self._inner.handle(_record(logging.WARNING, "log: {} more lines in {:.0f} s were left out".format(
                    self._left_out, min(now_s, self._now_s()) - self._since_s)))
            self._passed = self._left_out = 0
            self._since_s = min(now_s, self._now_s())

    def _say(self, text: str, known: List[Any]) -> None:
        since_s, more, record = known
        if more:
            said: Any = _record(record.levelno, "{} (... {} more times in {:.0f} s)".format(
                text, more, self._now_s() - since_s))
            said.fields = getattr(record, "fields", {})
            self._inner.handle(said)


def _record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("scrapsort", level, __file__, 0, "%s", (text,), None, "Bounded")


def set_context(logger: logging.Logger, **context: Any) -> None:
    """Fields that each line has from now on; nothing where no journal is."""
    for handler in logger.handlers:
        inner: Optional[Any] = getattr(handler, "inner", handler)
        if isinstance(inner, JournalHandler):
            inner.context.update(context)

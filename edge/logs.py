"""The log: lines for people, to stderr; under systemd, to its journal with fields for machines."""

import logging
import os
import sys
from typing import Any, Dict, Mapping, Optional

from edge.clock import utc_text

log = logging.getLogger("scrapsort")


class Latest(logging.Handler):
    """Remembers the latest warning or error, for the status."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._known: Dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging."""
        try:
            text = record.getMessage()
        except Exception:  # a line whose values do not fit its form; the other handler reports that
            text = str(record.msg)
        self._known = {"utc": utc_text(record.created), "level": record.levelname.lower(), "text": text}

    def get(self) -> Dict[str, Any]:
        """utc, level and text; empty when there was none."""
        return self._known


latest = Latest()


def start_logging(environ: Optional[Mapping[str, str]] = None) -> None:
    """Log lines to stderr, or where stderr is systemd's journal straight to that, bounded in number."""
    from edge.health import journald  # here: edge.health logs, too
    environ = os.environ if environ is None else environ
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    under_systemd = "JOURNAL_STREAM" in environ
    handler.setFormatter(logging.Formatter("%(message)s" if under_systemd else "%(asctime)s %(message)s"))
    if journald.is_stderr(environ):
        handler = journald.JournalHandler(fallback=handler)
    if under_systemd:
        handler = journald.Bounded(handler)
    log.handlers[:] = [handler, latest]
    log.setLevel(logging.INFO)
    log.propagate = False


def fields(**values: Any) -> Dict[str, Any]:
    """For extra= of a log line: condition="camera" is in the journal as SCRAPSORT_CONDITION."""
    return {"fields": values}


def flush() -> None:
    """Say now what was left out of a bounded log."""
    for handler in log.handlers:
        handler.flush()

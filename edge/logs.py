"""The log: lines for people, to stderr."""

import logging
import os
import sys

log = logging.getLogger("scrapsort")


def start_logging() -> None:
    """Log lines to stderr; under systemd without the time, which the journal adds."""
    handler = logging.StreamHandler(sys.stderr)
    under_systemd = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(logging.Formatter("%(message)s" if under_systemd else "%(asctime)s %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False

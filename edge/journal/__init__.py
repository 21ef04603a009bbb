"""SQLite is the truth: every item once, durable before it counts as done. Exports and labels read from it."""

from edge.journal.lock import StateLock
from edge.journal.record import Record
from edge.journal.retention import Limits
from edge.journal.rows import Ejection
from edge.journal.writer import Journal

__all__ = ["Ejection", "Journal", "Limits", "Record", "StateLock"]

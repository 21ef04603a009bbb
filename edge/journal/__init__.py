"""SQLite is the truth: every item once, durable before it counts as done. Exports and labels read from it."""

from edge.journal.lock import StateLock
from edge.journal.record import Record
from edge.journal.writer import Ejection, Journal

__all__ = ["Ejection", "Journal", "Record", "StateLock"]

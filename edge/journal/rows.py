"""How records become rows: one transaction a group, and none of them twice."""

import json
import sqlite3
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from edge.clock import utc_text
from edge.journal.backlog import Loss
from edge.journal.record import Record

INSERT = ("INSERT INTO items (run, sequence, captured_mono_s, captured_utc, clock_synchronised, source, source_key, "
          "class, probabilities, confidence, decision, threshold, model_version, backend, precision, decode_ms, "
          "preprocess_ms, infer_ms, decide_ms, total_ms, override_class, override_by, override_utc, picture, error, "
          "stranger_score, review_reason, line_mono_s, belt_speed_mps, views, bin, ejection) VALUES ("
          + ", ".join("?" * 32) + ")")
UPDATE = "UPDATE items SET ejection = ?, ejection_error_ms = ?, ejected_mono_s = ? WHERE run = ? AND sequence = ?"


class Ejection(NamedTuple):
    """What became of an item's ejection; comes after its record was handed over, or even before."""

    sequence: int
    what: str  # fired, merged, missed, dropped or failed
    error_ms: float
    mono_s: float  # of the signal


def find_run(connection: sqlite3.Connection, key: str) -> int:
    """The number of the run with this key; 0: it is not in this file."""
    row = connection.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def insert_run(connection: sqlite3.Connection, values: Dict[str, Any]) -> int:
    """Its number, also when it stands there already: the outcome of an earlier attempt may be unknown."""
    known = find_run(connection, values["key"])
    if known:
        return known
    connection.execute("UPDATE items SET ejection = 'unknown' WHERE ejection = 'scheduled' AND run IN "
                       "(SELECT id FROM runs WHERE ended_utc IS NULL)")  # they were killed
    names = sorted(values)
    cursor = connection.execute("INSERT INTO runs ({}) VALUES ({})".format(
        ", ".join(names), ", ".join("?" * len(names))), [values[name] for name in names])
    return int(cursor.lastrowid or 0)


def numbers_of(connection: sqlite3.Connection, run: int, group: Sequence[Record]) -> Dict[int, int]:
    """Which of these records are there already: sequence -> number."""
    if not group:
        return {}
    found = connection.execute("SELECT sequence, id FROM items WHERE run = ? AND sequence BETWEEN ? AND ?",
                               (run, group[0].sequence, group[-1].sequence))
    return {int(sequence): int(number) for sequence, number in found}


def insert(connection: sqlite3.Connection, run: int, record: Record, path: Optional[str],
           synchronised: Optional[bool], queued_utc: str) -> int:
    """One record, and its place in the queue; returns its number."""
    number = int(connection.execute(INSERT, row_of(run, record, path, synchronised)).lastrowid or 0)
    if record.queue_reason:
        connection.execute("INSERT INTO queue (item, reason, queued_utc) VALUES (?, ?, ?)",
                           (number, record.queue_reason, queued_utc))
    return number


def update(connection: sqlite3.Connection, run: int, ejections: Sequence[Ejection]) -> List[Ejection]:
    """Note what became of ejections; returns those whose items are not there."""
    return [one for one in ejections if not connection.execute(
        UPDATE, (one.what, one.error_ms, one.mono_s, run, one.sequence)).rowcount]


def insert_loss(connection: sqlite3.Connection, run: int, loss: Loss) -> None:
    """How much was lost, and when; the same loss once."""
    connection.execute("INSERT OR REPLACE INTO losses (run, first_sequence, last_sequence, items, pictures, from_utc, "
                       "to_utc, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       (run, loss.first_sequence, loss.last_sequence, loss.items, loss.pictures, loss.from_utc,
                        loss.to_utc, loss.reason))


def row_of(run: int, record: Record, path: Optional[str], synchronised: Optional[bool]) -> Sequence[Any]:
    """The values of INSERT."""
    override = record.override
    # Six digits: finer than any backend's error, and half the bytes
    probabilities = json.dumps([round(p, 6) for p in record.probabilities]) if record.probabilities else None
    return (run, record.sequence, record.captured_mono_s, utc_text(record.captured_wall_s),
            None if synchronised is None else int(synchronised), record.source, record.source_key,
            record.class_name, probabilities, record.confidence, record.decision, record.threshold,
            record.model_version, record.backend, record.precision, record.decode_ms, record.preprocess_ms,
            record.infer_ms, record.decide_ms, record.total_ms,
            override.class_name if override else None, override.by if override else None,
            utc_text(override.wall_s) if override else None, path, record.error or None, record.stranger_score,
            record.review_reason or None, record.line_mono_s, record.belt_speed_mps, record.views, record.bin,
            record.ejection or None)

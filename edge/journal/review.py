"""What waits for a person, and what a person said."""

import getpass
import json
import os
import sqlite3
from typing import Iterator, Optional, Sequence, Tuple

from edge.clock import Clock, utc_text
from edge.errors import UsageError
from edge.files import path_text
from edge.journal import schema

WAITING = """
    SELECT items.*, CASE WHEN queue.reason IN ('asked', 'override') THEN queue.reason
                         ELSE coalesce(items.review_reason, queue.reason) END AS reason
    FROM items LEFT JOIN queue ON queue.item = items.id
    WHERE items.override_class IS NULL AND items.decision != 'error'
      AND (items.decision = 'review' OR queue.item IS NOT NULL)
    ORDER BY items.id"""

COUNT = """
    SELECT (SELECT count(*) FROM items WHERE decision = 'review' AND override_class IS NULL)
         + (SELECT count(*) FROM queue JOIN items ON items.id = queue.item
            WHERE items.decision = 'accept' AND items.override_class IS NULL)"""


def waiting(state: str) -> Iterator[sqlite3.Row]:
    """Items that nobody has labelled: for review, or queued, with the reason. Raises JournalError."""
    connection = schema.connect_existing(state)
    try:
        yield from connection.execute(WAITING)
    except sqlite3.Error as error:
        raise schema.explain(error, state)
    finally:
        connection.close()


def count_waiting(state: str) -> Optional[int]:
    """How many `waiting` would give, fast also in a large journal; None where it cannot be read now."""
    try:
        connection = sqlite3.connect(schema.read_only_uri(os.path.join(state, schema.FILE)), uri=True)
        try:
            return int(connection.execute(COUNT).fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return None


def label(state: str, item: int, class_name: str, by: Optional[str] = None,
          clock: Clock = Clock()) -> Tuple[str, str]:
    """Note the right class of an item; class_name may be abbreviated. Returns (class as sorted, right class).

    Raises UsageError for an unknown class or item, JournalError when the journal cannot be written.
    """
    connection = schema.connect_existing(state)
    try:
        row = connection.execute("SELECT items.*, runs.classes FROM items JOIN runs ON runs.id = items.run "
                                 "WHERE items.id = ?", (item,)).fetchone()
        if row is None:
            raise UsageError("item {}: not in the journal of {}; `scrapsort review list` shows them".format(
                item, state))
        if row["class"] is None:
            raise UsageError("item {}: was a bad picture ({}), there is nothing to label".format(item, row["error"]))
        full_name = resolve_class(class_name, json.loads(row["classes"]))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE items SET override_class = ?, override_by = ?, override_utc = ? WHERE id = ?",
                           (full_name, path_text(by or user_name()), utc_text(clock.wall_s()), item))
        if full_name != row["class"]:  # corrected, so worth learning from
            connection.execute("INSERT OR IGNORE INTO queue (item, reason, queued_utc) VALUES (?, 'override', ?)",
                               (item, utc_text(clock.wall_s())))
        connection.execute("COMMIT")
        return row["class"], full_name
    except sqlite3.Error as error:
        raise schema.explain(error, state)
    finally:
        connection.close()


def resolve_class(text: str, classes: Sequence[str]) -> str:
    """The class that text names or abbreviates, whatever its case. Raises UsageError when none or several fit."""
    wanted = text.strip().lower()
    exact = [name for name in classes if name.lower() == wanted]
    fits = exact or [name for name in classes if wanted and name.lower().startswith(wanted)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UsageError("class {!r}: could be {}".format(text, " or ".join(fits)))
    raise UsageError("class {!r}: no such class; allowed: {}".format(text, ", ".join(classes)))


def user_name() -> str:
    """Who is at the keyboard, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):  # a user id without a name
        return "unknown"

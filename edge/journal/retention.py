"""What is thrown away, oldest first, in small steps between two commits, so that nothing waits for it.

An SD card wears with what is written, so the file is not rewritten: rows that are gone leave pages that new ones fill.
Only where much more is free than is used (a limit was lowered) are pages given back, some at a time.

Wall clocks jump and may start in 1970, so age is not taken at its word: rows go in the order in which they came, up to
the last that is old by a label that can be trusted, never beyond the first that is not; this run's by the monotonic
clock; and while the system says that its clock is not synchronised, no earlier run's at all. Where it does not say (a
service may not ask the kernel), no more time is believed to have passed than was recorded.
"""

import sqlite3
from typing import Any, List, NamedTuple

from edge.clock import Clock, utc_text
from edge.journal.pictures import FOLDER, Pictures

EVERY_S, AGE_EVERY_S = 1.0, 300.0
ROWS, PICTURES, PAGES = 250, 32, 250  # a step at most
LATEST = 10000  # rows that always stay
SANE_UTC = "2024-01-01"  # a label before this is a clock that was never set
WAITS = ("(EXISTS (SELECT 1 FROM queue WHERE queue.item = items.id) "
         "OR (items.decision = 'review' AND items.override_class IS NULL))")


class Limits(NamedTuple):
    """0: no limit."""

    days: int = 0
    rows_mb: int = 0
    pictures_mb: int = 0


class Retention:
    """Used by the journal's thread alone."""

    def __init__(self, limits: Limits, pictures: Pictures, clock: Clock = Clock()):
        self._limits, self._pictures, self._clock = limits, pictures, clock
        self._due_s = self._age_due_s = float("-inf")
        self._floor_due_s = float("-inf")
        self._floor = 0  # the rest up to this row is gone; what waits for review below it need not be looked at again
        self._to_forget: List[str] = []  # pictures that are gone and may still be named

    def step(self, connection: sqlite3.Connection, run: int) -> bool:
        """Throw a little away if something is beyond its limit; whether it did. Raises sqlite3.Error and OSError."""
        now = self._clock.mono_s()
        if now < self._due_s:
            return False
        did = self._forget(connection) or self._drop_pictures(connection) or self._drop_large(connection)
        if not did and now >= self._age_due_s:
            did = self._drop_old(connection, run)
            if not did:
                self._age_due_s = now + AGE_EVERY_S
        did = did or self._give_back(connection)
        if not did:
            self._due_s = now + EVERY_S
        return did

    def shed_pictures(self) -> int:
        """The disk is full: the oldest pictures go, whatever the limits; how many."""
        oldest = self._pictures.oldest(PICTURES)
        self._pictures.throw_away(len(oldest))  # first: on a full disk no row can be changed
        self._to_forget += [one.name for one in oldest]
        self._due_s = float("-inf")  # their rows are told as soon as they can be
        return len(oldest)

    def _forget(self, connection: sqlite3.Connection) -> bool:
        """No row names the pictures that are gone any more."""
        names, rest = self._to_forget[:ROWS], self._to_forget[ROWS:]
        if names:
            paths = ["{}/{}".format(FOLDER, name) for name in names]
            _at_once(connection, [("UPDATE items SET picture = NULL WHERE picture IN ({})".format(
                ", ".join("?" * len(paths))), paths)])
        self._to_forget = rest
        return bool(names)

    def _drop_pictures(self, connection: sqlite3.Connection) -> bool:
        oldest = self._pictures.oldest(PICTURES)
        limit = self._limits.pictures_mb * 1000000
        if not oldest or not (limit and self._pictures.bytes > limit or self._pictures.free_short()):
            return False
        self._to_forget += [one.name for one in oldest]
        self._forget(connection)
        self._pictures.throw_away(len(oldest))
        return True

    def _drop_large(self, connection: sqlite3.Connection) -> bool:
        """Rows beyond rows_mb: what waits for review comes last."""
        if not self._limits.rows_mb:
            return False
        size, pages, free = (_pragma(connection, name) for name in ("page_size", "page_count", "freelist_count"))
        if (pages - free) * size <= self._limits.rows_mb * 1000000:
            return False
        newest = connection.execute("SELECT max(id) FROM items").fetchone()[0] or 0
        return self._delete_rest(connection, newest - LATEST) or bool(
            self._delete(connection, WAITS, 0, newest - LATEST))

    def _drop_old(self, connection: sqlite3.Connection, run: int) -> bool:
        if not self._limits.days:
            return False
        keep_s = self._limits.days * 86400.0
        synchronised = self._clock.synchronised()
        cutoff = utc_text(max(self._clock.wall_s() - keep_s, 0.0)) if synchronised is not False else ""
        if synchronised is None:
            cutoff = min(cutoff, self._believed(connection, run, keep_s))
        values = {"run": run, "cutoff": cutoff, "mono": self._clock.mono_s() - keep_s, "sane": SANE_UTC}
        young = connection.execute(
            "SELECT id FROM items WHERE CASE WHEN run = :run THEN captured_mono_s >= :mono ELSE "
            "captured_utc >= :cutoff AND coalesce(clock_synchronised, 1) = 1 END ORDER BY id LIMIT 1",
            values).fetchone()
        values["young"] = young[0] if young else 2 ** 62
        old = connection.execute(
            "SELECT id FROM items WHERE id < :young AND (run = :run OR (captured_utc >= :sane "
            "AND captured_utc < :cutoff AND coalesce(clock_synchronised, 1) = 1)) ORDER BY id DESC LIMIT 1",
            values).fetchone()
        return bool(old) and self._delete_rest(connection, old[0])

    def _believed(self, connection: sqlite3.Connection, run: int, keep_s: float) -> str:
        """What is so much older than the last item before this run and the time since this run's first; "": nothing."""
        before = connection.execute("SELECT captured_utc FROM items WHERE run < ? ORDER BY run DESC, sequence DESC "
                                    "LIMIT 1", (run,)).fetchone()
        first = connection.execute("SELECT captured_mono_s FROM items WHERE run = ? ORDER BY sequence LIMIT 1",
                                   (run,)).fetchone()
        passed_s = self._clock.mono_s() - first[0] if first else 0.0
        return before and connection.execute("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?, ?)", (
            before[0], "{:+.0f} seconds".format(passed_s - keep_s))).fetchone()[0] or ""

    def _delete_rest(self, connection: sqlite3.Connection, last: int) -> bool:
        """Some rows that do not wait for review."""
        now_s = self._clock.mono_s()
        if now_s >= self._floor_due_s:
            self._floor, self._floor_due_s = 0, now_s + AGE_EVERY_S  # what was labelled meanwhile waits no more
        deleted = self._delete(connection, "NOT " + WAITS, self._floor, last)
        self._floor = max(self._floor, deleted or last)
        return bool(deleted)

    def _delete(self, connection: sqlite3.Connection, condition: str, floor: int, last: int) -> int:
        """Some rows above number floor, up to last, oldest first; the last one's number, 0: there was none."""
        found = connection.execute("SELECT id, picture FROM items WHERE id > ? AND id <= ? AND {} ORDER BY id "
                                   "LIMIT ?".format(condition), (floor, last, ROWS)).fetchall()
        if not found:
            return 0
        marks, numbers = ", ".join("?" * len(found)), [row[0] for row in found]
        _at_once(connection, (("DELETE FROM queue WHERE item IN ({})".format(marks), numbers),
                              ("DELETE FROM items WHERE id IN ({})".format(marks), numbers)))
        for row in found:
            if row[1]:
                self._pictures.unlink(row[1])
        return int(found[-1][0])

    @staticmethod
    def _give_back(connection: sqlite3.Connection) -> bool:
        if _pragma(connection, "auto_vacuum") != 2:  # made by an earlier version: its pages are used again, no more
            return False
        free = _pragma(connection, "freelist_count")
        if free < 4 * PAGES or 2 * free < _pragma(connection, "page_count"):
            return False
        connection.execute("PRAGMA incremental_vacuum({})".format(PAGES)).fetchall()
        return True


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute("PRAGMA " + name).fetchone()[0])


def _at_once(connection: sqlite3.Connection, statements: Any) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, values in statements:
            connection.execute(statement, values)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

"""What can be read of a damaged journal, row by row around the bad pages, and its way into a whole one.

SQLite reads a table by row number; a bad page makes the query fail when it comes to it. So ranges of numbers are read,
and one that fails is halved until only the numbers that cannot be read are left.
"""

import os
import sqlite3
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from edge.errors import JournalError
from edge.journal import schema

BATCH = 200  # rows a transaction: a run that sorts meanwhile waits for no longer
DECISIONS = ("accept", "review", "error")
PLACEHOLDER = {"started_utc": "", "boot_id": "", "source": "unknown", "classes": "[]", "model_name": "unknown",
               "model_version": "", "backend": "", "device": "", "precision": "", "scrapsort_version": ""}


class Repaired(NamedTuple):
    """What became of the items of a damaged journal."""

    read: int
    merged: int
    known: int  # read, and in the other journal already
    lost: int  # numbers that could not be read, at most so many items


class Damaged:
    """A damaged journal, opened for reading; it is not changed."""

    def __init__(self, path: str):
        """Raises JournalError when not even its first page can be read."""
        if not os.path.isfile(path):
            raise JournalError("journal {}: no such file; `scrapsort journal repair --help` tells more".format(path))
        self.lost: Dict[str, int] = {}
        self._connection: Any = None
        try:
            self._connection = sqlite3.connect(schema.read_only_uri(path), uri=True, isolation_level=None)
            self._connection.execute("PRAGMA cell_size_check = ON")
            self.tables = {str(row[0]): self._columns(str(row[0])) for row in self._connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
            self._pages = int(self._connection.execute("PRAGMA page_count").fetchone()[0])
        except sqlite3.Error as error:
            if self._connection is not None:
                self._connection.close()
            raise JournalError("journal {}: {}; nothing of it can be read".format(path, error))

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()

    def _columns(self, table: str) -> List[str]:
        return [str(row[1]) for row in self._connection.execute("PRAGMA table_info('{}')".format(table))]

    def rows(self, table: str, key: str = "id") -> Iterator[Dict[str, Any]]:
        """Rows that can be read, by number; lost[table] counts the numbers that cannot."""
        self.lost[table] = 0
        if table not in self.tables:
            return
        names = self.tables[table]
        query = "SELECT {} FROM {} WHERE {k} BETWEEN ? AND ? ORDER BY {k}".format(", ".join(names), table, k=key)
        ranges: List[Tuple[int, int]] = [(0, self._highest(table, key))]
        while ranges:
            low, high = ranges.pop()
            try:
                for values in self._connection.execute(query, (low, high)):
                    row = dict(zip(names, values))
                    yield row
                    low = int(row[key]) + 1
            except (sqlite3.Error, UnicodeDecodeError):
                if low >= high:
                    self.lost[table] += 1
                    continue
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]

    def _highest(self, table: str, key: str) -> int:
        """No row has a higher number."""
        counted = "items" if table == "queue" else table
        for query in ("SELECT max({}) FROM {}".format(key, table),
                      "SELECT seq FROM sqlite_sequence WHERE name = '{}'".format(counted)):
            try:
                row = self._connection.execute(query).fetchone()
                if row and row[0] is not None:
                    return int(row[0])
                return 0
            except (sqlite3.Error, ValueError):
                continue
        return 100 * self._pages  # more than fit


def repair(path: str, into: str, progress: Callable[[int], None] = lambda read: None) -> Repaired:
    """Take what can be read of the journal at path into the one at into; rows that are there stay as they are.

    An item is the same if its run and sequence are. progress(read) is called now and then. Raises JournalError.
    """
    damaged = Damaged(path)
    try:
        connection = schema.connect_file(into)
        try:
            return _Merge(damaged, connection, os.path.basename(path)).work(progress)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise schema.explain(error, into)
    finally:
        damaged.close()


class _Merge:
    def __init__(self, damaged: Damaged, connection: sqlite3.Connection, name: str):
        self._damaged, self._connection, self._name = damaged, connection, name
        self._runs: Dict[int, int] = {}  # the damaged journal's number -> the whole one's
        self._queue: Dict[int, Dict[str, Any]] = {}
        self._columns = {table: [str(row[1]) for row in connection.execute("PRAGMA table_info({})".format(table))]
                         for table in ("runs", "items", "losses")}

    def work(self, progress: Callable[[int], None]) -> Repaired:
        read = merged = 0
        self._batch(list(self._damaged.rows("runs")), self._take_run)
        self._queue = {int(row["item"]): row for row in self._damaged.rows("queue", "item") if row["reason"]}
        batch: List[Dict[str, Any]] = []
        for row in self._damaged.rows("items"):
            if not _is_sane(row):
                self._damaged.lost["items"] += 1
                continue
            read += 1
            batch.append(row)
            if len(batch) == BATCH:
                merged += self._batch(batch, self._take_item)
                batch = []
                progress(read)
        merged += self._batch(batch, self._take_item)
        self._batch(list(self._damaged.rows("losses")), self._take_loss)
        return Repaired(read, merged, read - merged, self._damaged.lost["items"])

    def _batch(self, batch: List[Dict[str, Any]], take: Callable[[Dict[str, Any]], int]) -> int:
        """Take rows in one transaction; how many were new."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            taken = sum(take(row) for row in batch)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return taken

    def _take_run(self, row: Dict[str, Any]) -> int:
        key = row.get("key") or "{}/{}/{}".format(row["boot_id"], row["started_utc"], row["id"])  # as migrated
        found = self._connection.execute("SELECT id FROM runs WHERE key = ?", (key,)).fetchone()
        if found:
            self._runs[row["id"]] = found[0]
            return 0
        self._runs[row["id"]] = self._insert("runs", dict(row, key=key), "id")
        return 1

    def _take_item(self, row: Dict[str, Any]) -> int:
        if row["run"] not in self._runs:  # its page could not be read
            self._take_run(dict(PLACEHOLDER, id=row["run"], key="{}/{}".format(self._name, row["run"]),
                                started_utc=row["captured_utc"]))
        run = self._runs[row["run"]]
        if self._connection.execute("SELECT 1 FROM items WHERE run = ? AND sequence = ?",
                                    (run, row["sequence"])).fetchone():
            return 0
        number = self._insert("items", dict(row, run=run), "id")
        queued = self._queue.get(row["id"])
        if queued:
            self._connection.execute("INSERT OR IGNORE INTO queue (item, reason, queued_utc) VALUES (?, ?, ?)",
                                     (number, queued["reason"], queued["queued_utc"]))
        return 1

    def _take_loss(self, row: Dict[str, Any]) -> int:
        if row["run"] not in self._runs:
            return 0
        self._insert("losses", dict(row, run=self._runs[row["run"]], id=None), "", "INSERT OR IGNORE")
        return 1

    def _insert(self, table: str, row: Dict[str, Any], number: str, verb: str = "INSERT") -> int:
        """Insert what both journals have columns for, under the row's own number where that is free."""
        names = [name for name in self._columns[table] if name in row]
        if number and self._connection.execute("SELECT 1 FROM {} WHERE id = ?".format(table), (row["id"],)).fetchone():
            names.remove("id")
        statement = "{} INTO {} ({}) VALUES ({})".format(verb, table, ", ".join(names), ", ".join("?" * len(names)))
        return int(self._connection.execute(statement, [row[name] for name in names]).lastrowid or 0)


def _is_sane(row: Dict[str, Any]) -> bool:
    """Whether a row that could be read is one, and not what a bad page looks like."""
    texts: Tuple[Optional[Any], ...] = (row["source"], row["source_key"], row["captured_utc"], row["model_version"])
    return (row["decision"] in DECISIONS and isinstance(row["sequence"], int) and isinstance(row["run"], int)
            and isinstance(row["captured_mono_s"], float) and all(isinstance(text, str) for text in texts))

"""A damaged journal is never thrown away: it is kept beside the new one as journal.db.corrupt-STAMP."""

import os
import re
import sqlite3
import time
from typing import Any, Dict, List

from edge.clock import Clock
from edge.files import sync_folder
from edge.journal import schema

MARK, DONE = ".corrupt-", ".repaired-"
LOGS = ("-wal", "-shm")


def put_aside(state: str, clock: Clock = Clock()) -> str:
    """Rename STATE/journal.db with its log; the new path. Nobody may have it open for writing. Raises OSError."""
    path = os.path.join(state, schema.FILE)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(max(0.0, clock.wall_s())))
    new, count = path + MARK + stamp, 1
    while os.path.exists(new):  # the clock was put back
        count += 1
        new = "{}{}{}.{}".format(path, MARK, stamp, count)
    for suffix in ("-wal", "", "-shm"):  # the log first: the new journal must never find the old one's
        if os.path.exists(path + suffix):
            os.replace(path + suffix, new + suffix)
    sync_folder(state)
    return new


def find_aside(state: str) -> List[str]:
    """Damaged journals that wait for `scrapsort journal repair`, oldest first."""
    pattern = re.compile(re.escape(schema.FILE + MARK) + r"[0-9TZ.]+$")
    try:
        return sorted(os.path.join(state, name) for name in os.listdir(state) if pattern.match(name))
    except OSError:
        return []


def mark_repaired(path: str) -> str:
    """It waits no more; the new path. Raises OSError."""
    new = path.replace(MARK, DONE)
    for suffix in ("",) + LOGS:
        if os.path.exists(path + suffix):
            os.replace(path + suffix, new + suffix)
    return new


def numbers_given(path: str) -> Dict[str, int]:
    """The highest numbers that a damaged journal has given to runs and items, as far as it can still tell."""
    numbers = {"runs": 0, "items": 0}
    try:
        connection: Any = sqlite3.connect(schema.read_only_uri(path), uri=True)
    except sqlite3.Error:
        return numbers
    try:
        for table, query in [(table, query) for table in ("runs", "items") for query in (
                "SELECT max(id) FROM {}", "SELECT max(seq) FROM sqlite_sequence WHERE name = '{}'")]:
            try:
                numbers[table] = max(numbers[table], int(connection.execute(query.format(table)).fetchone()[0] or 0))
            except (sqlite3.Error, ValueError, TypeError):
                continue
    finally:
        connection.close()
    return numbers


def count_on(connection: sqlite3.Connection, numbers: Dict[str, int]) -> None:
    """A new journal gives no number a second time: pictures and people's notes name them."""
    for table, number in numbers.items():
        if not connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?",
                                  (number, table)).rowcount:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))

"""The tables, and how an older journal becomes a newer one. SQL stays within SQLite 3.22 (JetPack 4)."""

import errno
import os
import sqlite3
import time
import urllib.parse
from typing import Optional, Tuple

from edge.errors import JournalError

FILE = "journal.db"
BUSY_S = 5.0  # how long one process waits for another's commit

# One entry a version, in order; PRAGMA user_version counts those that a file has had. Never edit an old entry.
MIGRATIONS: Tuple[str, ...] = (
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        started_utc TEXT NOT NULL, ended_utc TEXT, ended_by TEXT,
        boot_id TEXT NOT NULL, source TEXT NOT NULL, classes TEXT NOT NULL,
        model_name TEXT NOT NULL, model_version TEXT NOT NULL,
        backend TEXT NOT NULL, device TEXT NOT NULL, precision TEXT NOT NULL, scrapsort_version TEXT NOT NULL);
    CREATE TABLE items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run INTEGER NOT NULL REFERENCES runs (id), sequence INTEGER NOT NULL,
        captured_mono_s REAL NOT NULL, captured_utc TEXT NOT NULL, clock_synchronised INTEGER,
        source TEXT NOT NULL, source_key TEXT NOT NULL,
        class TEXT, probabilities TEXT, confidence REAL, decision TEXT NOT NULL, threshold REAL,
        model_version TEXT NOT NULL, backend TEXT NOT NULL, precision TEXT NOT NULL,
        decode_ms REAL NOT NULL, preprocess_ms REAL NOT NULL, infer_ms REAL NOT NULL, decide_ms REAL NOT NULL,
        total_ms REAL NOT NULL,
        bin INTEGER, ejection_error_ms REAL,
        override_class TEXT, override_by TEXT, override_utc TEXT,
        picture TEXT, error TEXT,
        UNIQUE (run, sequence));
    CREATE INDEX items_by_source_key ON items (source_key);
    CREATE INDEX items_by_time ON items (captured_utc);
    CREATE TABLE queue (
        item INTEGER PRIMARY KEY REFERENCES items (id), reason TEXT NOT NULL, queued_utc TEXT NOT NULL);
    """,
    """
    ALTER TABLE items ADD COLUMN stranger_score REAL;
    ALTER TABLE items ADD COLUMN review_reason TEXT;
    UPDATE items SET review_reason = 'low_confidence' WHERE decision = 'review';
    """,  # until then there was no other reason
    """
    ALTER TABLE items ADD COLUMN line_mono_s REAL;
    ALTER TABLE items ADD COLUMN belt_speed_mps REAL;
    ALTER TABLE items ADD COLUMN views INTEGER;
    """,
    """
    ALTER TABLE items ADD COLUMN ejection TEXT;
    ALTER TABLE items ADD COLUMN ejected_mono_s REAL;
    """,
    """
    ALTER TABLE runs ADD COLUMN key TEXT;
    ALTER TABLE runs ADD COLUMN ran_s REAL;
    UPDATE runs SET key = boot_id || '/' || started_utc || '/' || id;
    CREATE TABLE losses (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs (id),
        first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
        items INTEGER NOT NULL, pictures INTEGER NOT NULL,
        from_utc TEXT NOT NULL, to_utc TEXT NOT NULL, reason TEXT NOT NULL,
        UNIQUE (run, first_sequence));
    CREATE INDEX items_by_picture ON items (picture) WHERE picture IS NOT NULL;
    """,  # key: the same run in whichever file; ran_s: by the monotonic clock, for wall clocks jump
    """
    CREATE INDEX items_to_review ON items (id) WHERE decision = 'review' AND override_class IS NULL;
    """,  # they are counted for each status
)


def connect(state: str, busy_s: Optional[float] = None) -> sqlite3.Connection:
    """Open STATE/journal.db for reading and writing, creating and migrating it as needed.

    Raises JournalError when the folder is read-only or full, or the journal is damaged or from a newer version.
    """
    return connect_file(os.path.join(state, FILE), busy_s)


def connect_file(path: str, busy_s: Optional[float] = None) -> sqlite3.Connection:
    """As connect, of a journal of any name."""
    connection = None
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_S if busy_s is None else busy_s, isolation_level=None,
                                     check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a file that is only now made
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_size_limit = 4194304")  # of the log, once it was larger
        _migrate(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, (sqlite3.Error, OSError)):
            raise explain(error, path)
        raise
    return connection


def _make(path: str) -> None:
    """A new journal is for whom its folder is for. One that root makes, as in `sudo scrapsort journal repair`, belongs
    to the folder's owner: the service could not write another. Where the folder's group may write, it may label, too.
    SQLite gives its log the journal's owner and mode.
    """
    if os.name == "nt" or os.path.exists(path):
        return
    folder = os.stat(os.path.dirname(os.path.abspath(path)))
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        if os.geteuid() == 0:
            os.fchown(file, folder.st_uid, folder.st_gid)
        if folder.st_mode & 0o020:
            os.fchmod(file, os.fstat(file).st_mode & 0o777 | 0o060)
    finally:
        os.close(file)


def read_only_uri(path: str) -> str:
    """What sqlite3.connect(…, uri=True) opens for reading alone, whatever the path is made of."""
    return "file:{}?mode=ro".format(urllib.parse.quote(os.path.abspath(path)))


def connect_existing(state: str) -> sqlite3.Connection:
    """As connect, but raises JournalError when there is no journal yet."""
    if not os.path.isfile(os.path.join(state, FILE)):
        raise JournalError("state folder {}: no {} in it; sort something with `scrapsort run` first, or give "
                           "--state DIR".format(state, FILE))
    return connect(state)


def kind_of(error: BaseException) -> str:
    """What an error of SQLite or the file system comes from: full, damaged, read-only, locked, newer or other."""
    text = str(error)
    if isinstance(error, JournalError):
        return str(getattr(error, "kind", "other"))
    if isinstance(error, OSError):
        return {errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read-only"}.get(error.errno or 0, "other")
    for words, kind in ((("is full", "No space"), "full"), (("malformed", "not a database"), "damaged"),
                        (("readonly", "unable to open"), "read-only"), (("locked",), "locked")):
        if any(word in text for word in words):
            return kind
    return "other"


def explain(error: Exception, path: str) -> JournalError:
    """A JournalError that says what to do about an error of SQLite or the file system; its kind is kind_of's."""
    text, kind = str(error), kind_of(error)
    if isinstance(error, OSError) and kind != "full":
        remedy = "give a folder that can be written with --state DIR"
    elif kind == "read-only":
        remedy = "the folder must be writable: check its owner and mount, or give another with --state DIR"
    elif kind == "full" or "disk I/O" in text:
        remedy = "free some space; nothing that was recorded is lost"
    elif kind == "locked":
        remedy = "another program holds it for long; close that"
    else:
        remedy = "`scrapsort journal repair` keeps the file, and takes what can be read of it into a new one"
    explained = JournalError("journal {}: {}; {}".format(path, text, remedy))
    explained.kind = kind
    return explained


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for others at this one switch, so we do."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        newer = JournalError("journal {}: has schema version {}, this scrapsort knows up to {}; use the newer "
                             "scrapsort or another --state".format(path, version, len(MIGRATIONS)))
        newer.kind = "newer"
        raise newer
    if version == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
        for number in range(version, len(MIGRATIONS)):
            for statement in MIGRATIONS[number].split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute("PRAGMA user_version = {}".format(number + 1))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise

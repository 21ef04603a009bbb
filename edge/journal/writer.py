"""The writing side: records are handed over by the loop and committed in groups by a thread of its own.

A record counts as done when its group is committed (WAL, synchronous = FULL: it survives a power cut). A group is
committed when it has commit_items records or its first one has waited commit_s.
"""

import json
import os
import queue
import shutil
import sqlite3
import threading
from collections import deque
from typing import Any, Callable, Deque, List, NamedTuple, Optional, Sequence

import edge
from edge.classifier.base import Classifier
from edge.clock import Clock, boot_id, utc_text
from edge.errors import JournalError
from edge.files import write_durably
from edge.journal import schema
from edge.journal.record import Record

QUEUE_FOLDER = "queue"
HANDOVER = 256  # records that may wait; beyond that the loop waits too, rather than losing any
IDLE_S = 1.0  # without records, ejections are committed so often
PICTURE_BYTES = 32 * 1024 * 1024  # of kept pictures that may wait; likewise
INSERT = ("INSERT INTO items (run, sequence, captured_mono_s, captured_utc, clock_synchronised, source, source_key, "
          "class, probabilities, confidence, decision, threshold, model_version, backend, precision, decode_ms, "
          "preprocess_ms, infer_ms, decide_ms, total_ms, override_class, override_by, override_utc, picture, error, "
          "stranger_score, review_reason, line_mono_s, belt_speed_mps, views, bin, ejection) VALUES ("
          + ", ".join("?" * 32) + ")")
UPDATE = "UPDATE items SET ejection = ?, ejection_error_ms = ?, ejected_mono_s = ? WHERE run = ? AND sequence = ?"


class Committed(NamedTuple):
    """A record that is on disk, with the number under which it is kept."""

    item: int
    record: Record


class Ejection(NamedTuple):
    """What became of an item's ejection; comes after its record was handed over, or even before."""

    sequence: int
    what: str  # fired, merged, missed, dropped or failed
    error_ms: float
    mono_s: float  # of the signal


class Journal:
    """The journal of one run. record() may be called from one thread; close() commits what is left."""

    def __init__(self, state: str, commit_s: float = 1.0, commit_items: int = 32, keep_free_mb: int = 0,
                 clock: Clock = Clock(), on_commit: Callable[[Sequence[Committed]], None] = lambda group: None):
        """Open or create STATE/journal.db. on_commit is called in the writer's thread. Raises JournalError."""
        self.state, self._clock, self._on_commit = state, clock, on_commit
        self._commit_s, self._commit_items, self._keep_free_mb = commit_s, commit_items, keep_free_mb
        self.path = os.path.join(state, schema.FILE)
        self._connection = schema.connect(state)
        self._waiting: queue.Queue = queue.Queue(maxsize=HANDOVER)
        self._failure: Optional[JournalError] = None
        self._reader: Optional[sqlite3.Connection] = None
        self._waiting_bytes = 0  # of pictures that wait with their records; changed under self._bytes_change
        self._bytes_change = threading.Condition()
        self._run = 0
        self._thread: Optional[threading.Thread] = None
        self._ejections: Deque[Ejection] = deque()  # not written yet; one for an item that the loop handed over
        self.committed = 0
        self.pictures_not_kept = 0

    def is_recorded(self, source_key: str) -> bool:
        """Whether any run has recorded this very picture. For another thread than record()'s: its own connection."""
        try:
            if self._reader is None:
                self._reader = sqlite3.connect(self.path, timeout=schema.BUSY_S, check_same_thread=False)
            found = self._reader.execute("SELECT 1 FROM items WHERE source_key = ? LIMIT 1", (source_key,)).fetchone()
        except sqlite3.Error as error:
            raise schema.explain(error, self.path)
        return found is not None

    def begin(self, source: str, classifier: Classifier) -> int:
        """Record the start of a run and start the writer; returns the run's number. Raises JournalError."""
        bundle = classifier.bundle
        try:
            self._connection.execute("UPDATE items SET ejection = 'unknown' WHERE ejection = 'scheduled' AND run IN "
                                     "(SELECT id FROM runs WHERE ended_utc IS NULL)")  # they were killed
            cursor = self._connection.execute(
                "INSERT INTO runs (started_utc, boot_id, source, classes, model_name, model_version, backend, device, "
                "precision, scrapsort_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (utc_text(self._clock.wall_s()), boot_id(), source, json.dumps(bundle.classes), bundle.name,
                 bundle.version, classifier.backend, classifier.device, classifier.precision, edge.__version__))
        except sqlite3.Error as error:
            raise schema.explain(error, self.path)
        self._run = int(cursor.lastrowid or 0)
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()
        return self._run

    def record(self, record: Record) -> None:
        """Hand a record over; it is committed within a group commit. Raises JournalError once the writer failed."""
        size = len(record.picture or b"")
        with self._bytes_change:
            while self._waiting_bytes and self._waiting_bytes + size > PICTURE_BYTES and self._failure is None:
                self._bytes_change.wait(0.5)
            self._waiting_bytes += size
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                self._waiting.put(record, timeout=0.5)
                return
            except queue.Full:
                continue  # a slow disk; look again whether the writer still lives

    def note(self, ejection: Ejection) -> None:
        """Hand over what became of an item's ejection, from any thread and at any time until close; never waits."""
        self._ejections.append(ejection)

    def close(self, ended_by: str = "end of source") -> None:
        """Commit what waits, note the end of the run, close. Raises JournalError when that fails."""
        if self._thread is not None:
            while self._failure is None:
                try:
                    self._waiting.put(None, timeout=0.5)
                    break
                except queue.Full:
                    continue
            self._thread.join()
            self._thread = None
        try:
            if self._failure is None and self._run:
                self._commit([])
                self._connection.execute("UPDATE runs SET ended_utc = ?, ended_by = ? WHERE id = ?",
                                         (utc_text(self._clock.wall_s()), ended_by, self._run))
        except sqlite3.Error as error:
            self._failure = schema.explain(error, self.path)
        finally:
            self._connection.close()
            if self._reader is not None:
                self._reader.close()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while self._commit_group():
                pass
        except (sqlite3.Error, OSError) as error:
            self._failure = schema.explain(error, self.path)
        except Exception as error:  # whatever it is, the loop must learn of it
            self._failure = JournalError("journal {}: {!r}".format(self.path, error))

    def _commit_group(self) -> bool:
        """Gather one group and commit it; False when the run has ended."""
        try:
            first = self._waiting.get(timeout=self._commit_s or IDLE_S)
        except queue.Empty:
            if self._ejections:
                self._commit([])
            return True
        if first is None:
            return False
        group, more, deadline = [first], True, self._clock.mono_s() + self._commit_s
        while len(group) < self._commit_items:
            try:
                record = self._waiting.get(timeout=max(0.0, deadline - self._clock.mono_s()))
            except queue.Empty:
                break
            if record is None:
                more = False
                break
            group.append(record)
        self._commit(group)
        return more

    def _commit(self, group: List[Record]) -> None:
        paths = [self._keep_picture(record) for record in group]  # before the rows that name them
        with self._bytes_change:
            self._waiting_bytes -= sum(len(record.picture or b"") for record in group)
            self._bytes_change.notify()
        synchronised = self._clock.synchronised()
        numbers = []
        ejections = [self._ejections.popleft() for _ in range(len(self._ejections))]
        if not group and not ejections:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for record, path in zip(group, paths):
                cursor = self._connection.execute(INSERT, self._row(record, path, synchronised))
                numbers.append(int(cursor.lastrowid or 0))
                if record.queue_reason:
                    self._connection.execute("INSERT INTO queue (item, reason, queued_utc) VALUES (?, ?, ?)",
                                             (numbers[-1], record.queue_reason, utc_text(self._clock.wall_s())))
            early = [one for one in ejections if not self._connection.execute(
                UPDATE, (one.what, one.error_ms, one.mono_s, self._run, one.sequence)).rowcount]
            self._connection.execute("COMMIT")
        except BaseException:
            self._ejections.extendleft(reversed(ejections))
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._ejections.extendleft(reversed(early))  # their records are still on the way
        self.committed += len(group)
        if group:
            self._on_commit([Committed(number, record) for number, record in zip(numbers, group)])

    def _row(self, record: Record, path: Optional[str], synchronised: Optional[bool]) -> Sequence[Any]:
        override = record.override
        # Six digits: finer than any backend's error, and half the bytes
        probabilities = json.dumps([round(p, 6) for p in record.probabilities]) if record.probabilities else None
        return (self._run, record.sequence, record.captured_mono_s, utc_text(record.captured_wall_s),
                None if synchronised is None else int(synchronised), record.source, record.source_key,
                record.class_name, probabilities, record.confidence, record.decision, record.threshold,
                record.model_version, record.backend, record.precision, record.decode_ms, record.preprocess_ms,
                record.infer_ms, record.decide_ms, record.total_ms,
                override.class_name if override else None, override.by if override else None,
                utc_text(override.wall_s) if override else None, path, record.error or None, record.stranger_score,
                record.review_reason or None, record.line_mono_s, record.belt_speed_mps, record.views, record.bin,
                record.ejection or None)

    def _keep_picture(self, record: Record) -> Optional[str]:
        """Write a queued item's picture; its path below the state folder. Pictures are not worth a full disk."""
        if record.picture is None:
            return None
        if shutil.disk_usage(self.state).free < self._keep_free_mb * 1000000:
            self.pictures_not_kept += 1
            return None
        folder = os.path.join(self.state, QUEUE_FOLDER)
        name = "{}-{}{}".format(self._run, record.sequence, record.picture_suffix)
        try:
            os.makedirs(folder, exist_ok=True)
            write_durably(os.path.join(folder, name), record.picture)
        except OSError:
            self.pictures_not_kept += 1
            return None
        return "{}/{}".format(QUEUE_FOLDER, name)

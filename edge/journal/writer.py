"""The writing side: records are handed over by the loop and committed in groups by a thread of its own.

A record counts as done when its group is committed (WAL, synchronous = FULL: it survives a power cut). A group is
committed when it has commit_items records or its first one has waited commit_s. While nothing can be written, records
wait in memory (see Backlog), the condition "journal" says why, and the belt goes on.
"""

import json
import os
import sqlite3
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence

import edge
from edge.classifier.base import Classifier
from edge.clock import Clock, boot_id, utc_text
from edge.errors import JournalError
from edge.journal import aside, rows, schema
from edge.journal.backlog import ROWS, Backlog
from edge.journal.pictures import Pictures
from edge.journal.record import Record
from edge.journal.recorded import Recorded
from edge.journal.retention import Limits, Retention
from edge.journal.rows import Ejection
from edge.journal.space import Reserve, is_full

IDLE_S = 1.0  # without records, ejections are committed so often
BUSY_S = 1.0  # how long another program's commit is waited for before there is an alarm
RETRY_S = (0.25, 5.0)  # the first pause between attempts to write, and the longest
SLOW_S = 1.5  # a commit that takes longer is a trouble
CLOSE_S = 2.5  # at the end, what cannot be written is tried for so long
RESERVE_EVERY_S = 5.0  # whether there is room for it again
BUGS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError)
Condition = Callable[[str, str], None]


class Committed(NamedTuple):
    """A record that is on disk, with the number under which it is kept."""

    item: int
    record: Record


class Journal:
    """The journal of one run. record() may be called from one thread; close() commits what is left."""

    def __init__(self, state: str, commit_s: float = 1.0, commit_items: int = 32, keep_free_mb: int = 0,
                 clock: Clock = Clock(), on_commit: Callable[[Sequence[Committed]], None] = lambda group: None,
                 limits: Limits = Limits(), condition: Condition = lambda name, trouble: None, must_open: bool = True,
                 hurry: Callable[[], bool] = lambda: False):
        """Open or create STATE/journal.db; a damaged one is put aside. on_commit is called in the writer's thread.

        condition(name, trouble) is told how writing goes. must_open: raise JournalError where the folder cannot be
        written now; else the run begins in memory. hurry is asked whether a record that waits for the disk may wait.
        """
        self.state, self._clock, self._on_commit = state, clock, on_commit
        self._commit_s, self._commit_items = commit_s, commit_items
        self._condition, self._must_open, self._hurry = condition, must_open, hurry
        self.path = os.path.join(state, schema.FILE)
        self.backlog = Backlog(clock)
        self._pictures, self._reserve = Pictures(state, keep_free_mb), Reserve(state)
        self._recorded = Recorded(self.path)
        self._retention = Retention(limits, self._pictures, clock)
        self._connection: Optional[sqlite3.Connection] = None
        self._file: Any = None  # which file the connection is of
        self._failure: Optional[JournalError] = None
        self._thread: Optional[threading.Thread] = None
        self._give_up = threading.Event()
        self._run, self._run_values, self._began_s = 0, {}, 0.0  # type: int, Dict[str, Any], float
        self._ejections: Deque[Ejection] = deque(maxlen=2 * ROWS)  # not written yet; one for an item of the loop's
        self._in_doubt = False  # whether the latest commit's outcome is unknown
        self._paths: Dict[int, Optional[str]] = {}  # of the pictures of the group in hand
        self._numbers: Dict[str, int] = {}  # that a journal put aside has given
        self._handled = self._last_item = 0  # highest sequence, highest number on the disk
        self._busy_since_s: Optional[float] = None
        self._reserve_due_s = float("-inf")
        self.committed = 0
        try:
            self._open()
        except JournalError as error:
            if schema.kind_of(error) == "damaged":
                self._start_anew(error)
            elif must_open or schema.kind_of(error) == "newer":
                raise
            else:
                self._in_trouble(error)

    @property
    def pictures_not_kept(self) -> int:
        """Of queued items, so far."""
        return self.backlog.pictures_lost

    def counters(self) -> Dict[str, int]:
        """For the status; waits for nobody."""
        return {"committed": self.committed, "waiting": len(self.backlog), "items not kept": self.backlog.lost,
                "pictures not kept": self.backlog.pictures_lost}

    def is_recorded(self, source_key: str) -> bool:
        """Whether any run has recorded this very picture; False also when the journal cannot be read now.

        For another thread than record()'s: its own connection.
        """
        return self._recorded.ask(source_key)

    def begin(self, source: str, classifier: Classifier) -> int:
        """Record the start of a run and start the writer; returns the run's number, 0 while it is in memory alone.

        Raises JournalError when the journal must be written and cannot.
        """
        bundle, now_utc, boot = classifier.bundle, utc_text(self._clock.wall_s()), boot_id()
        self._began_s = self._clock.mono_s()
        self._run_values = {
            "started_utc": now_utc, "boot_id": boot, "source": source, "classes": json.dumps(bundle.classes),
            "model_name": bundle.name, "model_version": bundle.version, "backend": classifier.backend,
            "device": classifier.device, "precision": classifier.precision, "scrapsort_version": edge.__version__,
            "key": "{}/{}".format(now_utc, os.urandom(12).hex())}
        for _ in range(2):  # the second time in a new file, or in the room of the reserve
            try:
                self._begin_run()
                break
            except (sqlite3.Error, OSError, JournalError) as error:
                if not self._mend(error) and self._must_open:
                    raise error if isinstance(error, JournalError) else schema.explain(error, self.path)
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()
        return self._run

    def record(self, record: Record) -> None:
        """Hand a record over; it is committed within a group commit. Raises JournalError once the writer failed."""
        since_s = self._busy_since_s
        if since_s is not None and self._clock.mono_s() - since_s > SLOW_S and not self.backlog.trouble:
            self._condition("journal", "journal {}: the disk does not answer; items wait in memory".format(self.path))
        if self._failure is None:
            self.backlog.put(record, lambda: self._failure is not None or self._hurry())
        if self._failure is not None:
            raise self._failure

    def note(self, ejection: Ejection) -> None:
        """Hand over what became of an item's ejection, from any thread and at any time until close; never waits."""
        self._ejections.append(ejection)

    def close(self, ended_by: str = "end of source") -> None:
        """Commit what waits, note the end of the run, close. Raises JournalError when something is not on the disk."""
        self.backlog.end()
        if self._thread is not None:
            deadline_s = time.monotonic() + CLOSE_S
            while self._thread.is_alive():
                self._thread.join(0.1)
                if self.backlog.trouble and time.monotonic() > deadline_s:
                    self._give_up.set()
            self._thread = None
        try:
            if self._failure is None and self._run and self._connection is not None:
                self._commit([])
                self._connection.execute(
                    "UPDATE runs SET ended_utc = ?, ended_by = ?, ran_s = ? WHERE id = ?",
                    (utc_text(self._clock.wall_s()), ended_by, self._clock.mono_s() - self._began_s, self._run))
        except (sqlite3.Error, OSError, JournalError) as error:
            self._failure = error if isinstance(error, JournalError) else schema.explain(error, self.path)
        finally:
            self._disconnect()
            self._recorded.drop()
        if self._failure is not None:
            raise self._failure

    # -------------------------------------------------------------- the writer's thread

    def _work(self) -> None:
        try:
            while self._commit_group():
                self._keep_house()
        except (sqlite3.Error, OSError) as error:
            self._failure = schema.explain(error, self.path)
        except JournalError as error:
            self._failure = error
        except Exception as error:  # whatever it is, the loop must learn of it
            self._failure = JournalError("journal {}: {!r}".format(self.path, error))

    def _commit_group(self) -> bool:
        """Gather one group and commit it; False when the run has ended."""
        first = self.backlog.take(self._commit_s or IDLE_S)
        if first is None:
            if self.backlog.ended:
                return False
            self._persist([])
            return True
        group, deadline = [first], self._clock.mono_s() + self._commit_s
        while len(group) < self._commit_items:
            record = self.backlog.take(deadline - self._clock.mono_s())
            if record is None:
                break
            group.append(record)
        self._persist(group)
        return True

    def _persist(self, group: List[Record]) -> None:
        """Commit a group, however long that takes; raises JournalError when it is given up at the end of the run."""
        pause_s = RETRY_S[0]
        self._busy_since_s = self._clock.mono_s()
        while True:
            try:
                numbers = self._commit(group)
                break
            except BUGS:  # no disk's fault, and no time mends it
                raise
            except (sqlite3.Error, OSError, JournalError) as error:
                if self._mend(error):
                    continue
                failure = error if isinstance(error, JournalError) else schema.explain(error, self.path)
            if self._give_up.wait(pause_s):
                self._surrender(group, failure)
            pause_s = min(2 * pause_s, RETRY_S[1])
        self._busy_since_s = None
        self._all_well()
        if group:
            self._on_commit([Committed(number, record) for number, record in zip(numbers, group)])

    def _commit(self, group: Sequence[Record]) -> List[int]:
        """One transaction; the records' numbers. What an attempt of unknown outcome has written is not repeated."""
        ejections, loss = [self._ejections.popleft() for _ in range(len(self._ejections))], self.backlog.loss()
        try:
            connection = self._ready()
            if not group and not ejections and loss is None:
                return []
            for record in group:
                if record.picture is not None and record.sequence not in self._paths:  # before the rows that name it
                    self._paths[record.sequence] = self._pictures.keep(self._run, record, self._reserve.spent)
            known = rows.numbers_of(connection, self._run, group) if self._in_doubt else {}
            synchronised, now_utc = self._clock.synchronised(), utc_text(self._clock.wall_s())
            connection.execute("BEGIN IMMEDIATE")
            numbers = [known.get(record.sequence) or rows.insert(
                connection, self._run, record, self._paths.get(record.sequence), synchronised, now_utc)
                for record in group]
            homeless = rows.update(connection, self._run, ejections)
            if loss is not None:
                rows.insert_loss(connection, self._run, loss)
            connection.execute("COMMIT")
        except BaseException:
            self._ejections.extendleft(reversed(ejections))
            if self._connection is not None and self._connection.in_transaction:
                _quietly(self._connection, "ROLLBACK")
            raise
        self._note_committed(group, numbers)
        self.backlog.noted(loss)
        self._ejections.extendleft(reversed([one for one in homeless if one.sequence > self._handled]))
        return numbers

    def _note_committed(self, group: Sequence[Record], numbers: List[int]) -> None:
        self._in_doubt = False
        self.committed += len(group)
        if not group:
            return
        self._handled, self._last_item = group[-1].sequence, numbers[-1]
        without = sum(record.picture is not None and self._paths.get(record.sequence) is None for record in group)
        self.backlog.pictures_lost += without
        if without or self._paths:
            self._condition("pictures", self._pictures.trouble)
        self._paths.clear()
        self.backlog.done(list(group))

    def _ready(self) -> sqlite3.Connection:
        """A connection to the file that is there, with this run in it."""
        if self._connection is not None and _identity(self.path) != self._file:
            self._disconnect()  # somebody took the file away: rows would go where nobody finds them
        if self._connection is None:
            self._open()
        if not self._run:
            self._begin_run()
        assert self._connection is not None
        return self._connection

    def _open(self) -> None:
        connection = schema.connect(self.state, BUSY_S)
        try:
            if self._in_doubt:  # what the log holds may never have reached the disk: write it once more
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if self._numbers:
                aside.count_on(connection, self._numbers)
            self._run = rows.find_run(connection, self._run_values["key"]) if self._run_values else 0
        except BaseException:
            connection.close()
            raise
        self._connection, self._file = connection, _identity(self.path)
        if not self._reserve.spent:
            self._reserve.make()

    def _begin_run(self) -> None:
        if self._connection is None:
            self._open()
        if self._connection is not None and not self._run:
            self._run = rows.insert_run(self._connection, self._run_values)

    def _keep_house(self) -> None:
        """What is beyond its limit goes, a little at a time; a spent reserve is made again."""
        try:
            now_s = self._clock.mono_s()
            if self._reserve.spent and now_s >= self._reserve_due_s:
                self._reserve_due_s = now_s + RESERVE_EVERY_S
                self._reserve.make()
            if self._connection is not None and self._run:
                self._retention.step(self._connection, self._run)
        except BUGS:
            raise
        except (sqlite3.Error, OSError) as error:  # the next commit meets it, too, and does what is to be done
            if schema.kind_of(error) == "damaged":
                self._mend(error)

    # -------------------------------------------------------------- troubles

    def _mend(self, error: Exception) -> bool:
        """After a failure: True when it is worth trying again at once."""
        self._in_doubt, kind = True, schema.kind_of(error)
        if kind == "damaged":
            return self._start_anew(error)
        if kind not in ("full", "locked"):
            self._disconnect()
        self._in_trouble(error)
        if kind == "full" or is_full(self.state):
            if self._empty_log():
                return True
            released = self._reserve.release()
            shed = 0 if released else self._retention.shed_pictures()
            self.backlog.pictures_lost += shed
            if released or shed:
                self._empty_log()  # into the room that this has made
                return True
        return False

    def _empty_log(self) -> bool:
        """Write the log's pages to the journal itself and free its room; whether there was any."""
        try:
            size = os.path.getsize(self.path + "-wal")
            if self._connection is not None and size:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return os.path.getsize(self.path + "-wal") < size
        except (sqlite3.Error, OSError):
            return False

    def _in_trouble(self, error: Exception) -> None:
        text = str(error if isinstance(error, JournalError) else schema.explain(error, self.path))
        self.backlog.set_trouble(text)
        self._condition("journal", "{}; items go on and wait in memory, {} at most".format(text, ROWS))

    def _all_well(self) -> None:
        if self.backlog.trouble:
            self.backlog.set_trouble("")
        self._condition("journal", "journal {}: the disk is full; rows go on in room that was kept for them, pictures "
                        "do not; free some space".format(self.path) if self._reserve.spent else "")

    def _start_anew(self, error: Exception) -> bool:
        """Put a damaged journal aside and begin a new one; whether that could be done."""
        self._disconnect()
        self._recorded.drop()
        try:
            given = aside.numbers_given(self.path)
            self._numbers = {"runs": max(given["runs"], self._run, self._pictures.highest_run()),
                             "items": max(given["items"], self._last_item)}
            kept = aside.put_aside(self.state, self._clock)
            self._in_doubt, self._run = False, 0
            self._open()
        except (sqlite3.Error, OSError, JournalError) as problem:
            self._in_trouble(problem)
            return False
        self._condition("old journal", "{}: damaged ({}); kept as {}, a new one is begun; `scrapsort journal repair` "
                        "brings back what can be read".format(self.path, str(error).split(";")[0].split(": ")[-1],
                                                              os.path.basename(kept)))
        return True

    def _surrender(self, group: Sequence[Record], failure: JournalError) -> None:
        """The run ends and nothing can be written: say what is lost."""
        for record in group:
            self.backlog.lose(record)
        self.backlog.lose_all()
        raise JournalError("{}; {} decided items are not recorded".format(failure, self.backlog.lost))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass  # what is committed is in the log, and the log stays


def _quietly(connection: sqlite3.Connection, statement: str) -> None:
    try:
        connection.execute(statement)
    except sqlite3.Error:
        pass  # the error before it is the one that counts


def _identity(path: str) -> Any:
    """Which file lies there; None: none that can be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino

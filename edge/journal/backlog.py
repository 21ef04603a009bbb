"""What is decided and not yet on the disk: a bounded queue in memory between the loop and the journal's thread."""

import threading
from collections import deque
from typing import Callable, Deque, List, NamedTuple, Optional

from edge.clock import Clock, utc_text
from edge.journal.record import Record

HANDOVER = 256  # records that may wait while the disk is well; beyond that a source that can wait does
ROWS = 20000  # that may wait while it is not: some 40 MB; at two items a second almost three hours
PICTURE_BYTES = 32 * 1024 * 1024  # of kept pictures that may wait


class Loss(NamedTuple):
    """Items of one stretch that could not be kept."""

    items: int
    pictures: int
    first_sequence: int
    last_sequence: int
    from_utc: str  # when the first and the last of them were captured
    to_utc: str
    reason: str


class Backlog:
    """put is called by the loop, take and done by the journal's thread.

    A source that can wait (patient: a folder) waits when the bounds are reached. One that cannot (a belt) loses:
    pictures first, then the oldest records; both are counted.
    """

    def __init__(self, clock: Clock = Clock()):
        self._clock = clock
        self._records: Deque[Record] = deque()
        self._bytes = 0  # of the pictures of all that was put and is not done
        self._change = threading.Condition()
        self._ended = False
        self._loss: Optional[Loss] = None
        self.patient = True
        self.trouble = ""  # why nothing can be written now
        self.lost = self.pictures_lost = 0

    def __len__(self) -> int:
        return len(self._records)

    def put(self, record: Record, hurry: Callable[[], bool] = lambda: False) -> None:
        """Hand over. hurry is asked while it waits: True ends the wait, and what is beyond the bounds is lost."""
        size = len(record.picture or b"")
        with self._change:
            while self.patient and self._is_full(size) and not hurry():
                self._change.wait(0.2)
            if self._bytes and size and self._bytes + size > PICTURE_BYTES:
                record, size = record._replace(picture=None), 0
                self.pictures_lost += 1
                self._note(record, 0, 1)
            if len(self._records) >= ROWS:
                self.lose(self._records.popleft())
            self._bytes += size
            self._records.append(record)
            self._change.notify_all()

    def _is_full(self, size: int) -> bool:
        if self.trouble:  # a picture is not worth waiting for
            return len(self._records) >= ROWS
        return len(self._records) >= HANDOVER or bool(self._bytes and self._bytes + size > PICTURE_BYTES)

    def take(self, timeout_s: float) -> Optional[Record]:
        """The oldest; None when there is none within timeout_s, or will be none any more."""
        with self._change:
            if not self._records and not self._ended:
                self._change.wait_for(lambda: self._records or self._ended, max(0.0, timeout_s))
            if not self._records:
                return None
            record = self._records.popleft()
            self._change.notify_all()
            return record

    @property
    def ended(self) -> bool:
        """Whether nothing waits and nothing will come."""
        return self._ended and not self._records

    def end(self) -> None:
        """Nothing will be put any more."""
        with self._change:
            self._ended = True
            self._change.notify_all()

    def done(self, records: List[Record]) -> None:
        """These are on the disk, or their pictures are."""
        with self._change:
            self._bytes -= sum(len(record.picture or b"") for record in records)
            self._change.notify_all()

    def set_trouble(self, trouble: str) -> None:
        """Why nothing can be written from now on; empty: it can."""
        with self._change:
            self.trouble = trouble
            self._change.notify_all()

    def lose(self, record: Record) -> None:
        """This one will not be kept."""
        with self._change:
            self._bytes -= len(record.picture or b"")
            self.lost += 1
            self.pictures_lost += record.picture is not None
            self._note(record, 1, int(record.picture is not None))

    def lose_all(self) -> None:
        """Nor any that waits."""
        with self._change:
            while self._records:
                self.lose(self._records.popleft())

    def loss(self) -> Optional[Loss]:
        """What was lost and is not noted yet."""
        with self._change:
            return self._loss

    def noted(self, loss: Optional[Loss]) -> None:
        """This much of it stands in the journal now; what was lost meanwhile is a loss of its own."""
        with self._change:
            now = self._loss
            if loss is None or now is None:
                return
            self._loss = None if now == loss else now._replace(
                items=now.items - loss.items, pictures=now.pictures - loss.pictures,
                first_sequence=loss.last_sequence + 1, from_utc=loss.to_utc)

    def _note(self, record: Record, items: int, pictures: int) -> None:
        when = utc_text(record.captured_wall_s)
        before = self._loss or Loss(0, 0, record.sequence, record.sequence, when, when,
                                    self.trouble or "the disk is slower than the belt")
        self._loss = before._replace(
            items=before.items + items, pictures=before.pictures + pictures, to_utc=when,
            first_sequence=min(before.first_sequence, record.sequence),
            last_sequence=max(before.last_sequence, record.sequence))

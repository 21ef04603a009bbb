"""The kept pictures: files STATE/queue/RUN-SEQUENCE.suffix, written before the rows that name them."""

import os
import re
import shutil
from collections import deque
from typing import Deque, List, NamedTuple, Optional

from edge.files import write_durably
from edge.journal.record import Record

FOLDER = "queue"
NAME = re.compile(r"(\d+)-(\d+)(\.\w+)?$")


class Kept(NamedTuple):
    """One file."""

    run: int
    sequence: int
    name: str
    size: int


class Pictures:
    """Written and thrown away by the journal's thread alone."""

    def __init__(self, state: str, keep_free_mb: int):
        self._state, self._folder, self._keep_free = state, os.path.join(state, FOLDER), keep_free_mb * 1000000
        self._kept: Optional[Deque[Kept]] = None  # oldest first; None: the folder was not read yet
        self.bytes = 0
        self.trouble = ""  # why the latest was not kept

    def keep(self, run: int, record: Record, full: bool = False) -> Optional[str]:
        """Write an item's picture; its path below the state folder, or None: pictures are not worth a full disk."""
        name = "{}-{}{}".format(run, record.sequence, record.picture_suffix)
        picture = record.picture or b""
        try:
            if full or self.free_short():
                self.trouble = "{}: items are kept without their pictures".format(
                    "the disk is full" if full else "less than [journal] keep_free_mb is free")
                return None
            os.makedirs(self._folder, exist_ok=True)
            write_durably(os.path.join(self._folder, name), picture)
        except OSError as error:
            self.trouble = "folder {}: cannot be written: {}; items are kept without their pictures".format(
                self._folder, error.strerror or error)
            return None
        self.trouble = ""
        if self._kept is not None:
            self._kept.append(Kept(run, record.sequence, name, len(picture)))
            self.bytes += len(picture)
        return "{}/{}".format(FOLDER, name)

    def free_short(self) -> bool:
        """Whether less is free than is to be kept free. Raises OSError."""
        return shutil.disk_usage(self._state).free < self._keep_free

    def oldest(self, count: int) -> List[Kept]:
        """The next to go."""
        if self._kept is None:
            self._kept = deque(sorted(self._read()))
            self.bytes = sum(one.size for one in self._kept)
        return [self._kept[number] for number in range(min(count, len(self._kept)))]

    def throw_away(self, count: int) -> None:
        """Remove the oldest, whose rows no longer name them."""
        for one in self.oldest(count):
            assert self._kept is not None
            self._kept.popleft()
            self.bytes -= one.size
            self.unlink(one.name)

    def unlink(self, name: str) -> None:
        """Remove one that no row names."""
        try:
            os.unlink(os.path.join(self._folder, os.path.basename(name)))
        except OSError:
            pass  # gone already, or the folder cannot be written: then nothing grows either

    def highest_run(self) -> int:
        """Of the runs that pictures were kept of; 0: none."""
        return max([one.run for one in self._read()] or [0])

    def _read(self) -> List[Kept]:
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    match = NAME.match(entry.name)
                    if match:
                        found.append(Kept(int(match.group(1)), int(match.group(2)), entry.name, entry.stat().st_size))
        except OSError:
            pass  # no folder yet, or one that cannot be read: keep says so
        return found

"""Room for rows on a disk that is full: a file that only takes space, and is given up when the disk strikes."""

import os
import shutil

FILE = "journal.reserve"
BYTES = 8 * 1024 * 1024  # some 5,000 rows with their log; on a small disk less
LEAST = 64 * 1024


class Reserve:
    """The file STATE/journal.reserve."""

    def __init__(self, state: str):
        self._state, self._path = state, os.path.join(state, FILE)
        self.spent = False  # it was there and was given up

    def make(self) -> bool:
        """Have it, of an eighth of what is free at most; whether it is there."""
        try:
            if os.path.exists(self._path) and os.path.getsize(self._path):
                self.spent = False
                return True
            size = min(BYTES, shutil.disk_usage(self._state).free // 8)
            if size < LEAST:
                return False
            with open(self._path, "wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)  # takes the room without writing it
                else:
                    file.write(bytes(size))
                os.fsync(file.fileno())
        except OSError:
            self._remove()
            return False
        self.spent = False
        return True

    def release(self) -> bool:
        """Give it up; whether there was one."""
        freed = self._remove()
        self.spent = self.spent or freed
        return freed

    def _remove(self) -> bool:
        try:
            os.unlink(self._path)
            return True
        except OSError:
            return False


def is_full(state: str) -> bool:
    """Whether the disk has neither a block nor a name left, whatever SQLite calls it."""
    try:
        status = os.statvfs(state)
    except (OSError, AttributeError):  # the latter on Windows
        return False
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)

"""One `run` at a time on a state folder. The system frees the lock when the process dies, however it dies."""

import os
from typing import Any, Optional

from edge.errors import JournalError

LOCK_FILE = "run.lock"


class StateLock:
    """Held from construction to close."""

    def __init__(self, state: str, must_write: bool = True):
        """Raises JournalError when another run holds it, or must_write and the folder cannot be written."""
        self.path = os.path.join(state, LOCK_FILE)
        self._file: Any = None
        try:
            os.makedirs(state, exist_ok=True)
            self._file = open(self.path, "a+")
        except OSError as error:
            if must_write:
                raise JournalError("state folder {}: cannot be written: {}; give another with --state DIR".format(
                    state, error.strerror))
            try:
                self._file = open(self.path)  # a disk that went read-only still keeps a second run off
            except OSError:
                return
        if not _try_lock(self._file):
            self._file.seek(0)
            holder = self._file.read().strip() or "?"
            self._file.close()
            raise JournalError("state folder {}: in use by process {}; stop that run or give another --state".format(
                state, holder))
        if not self._file.writable():
            return
        try:
            self._file.truncate(0)
            self._file.write("{}\n".format(os.getpid()))
            self._file.flush()
        except OSError:
            pass  # who holds it is a courtesy; a full disk is reported by the journal

    def close(self) -> None:
        """Free the lock."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            pass  # the courtesy again: its bytes may not fit on the disk

    def __enter__(self) -> "StateLock":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


def holder(state: str) -> Optional[int]:
    """The process that holds the lock of this state folder now, 0 when it is not known which; None: nobody does."""
    try:
        with _open(os.path.join(state, LOCK_FILE)) as file:
            if _try_lock(file):
                return None
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    except OSError:
        return None


def _open(path: str) -> Any:
    """The lock's file; of another user's run it may only be read, which is enough to ask."""
    try:
        return open(path, "r+")
    except PermissionError:
        return open(path)


def _try_lock(file: Any) -> bool:
    if os.name == "nt":
        import msvcrt
        try:
            file.seek(1 << 20)  # a byte behind the text, so that others may read it
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # Windows only
            return True
        except OSError:
            return False
    import fcntl
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False

"""One process at a time on a thing of the machine. The system frees it when the process dies, however it dies."""

import hashlib
import os
from typing import Optional, Sequence

from edge.files import temporary_folder

FOLDERS = ("/run/lock", temporary_folder())


class HeldError(Exception):
    """Another process holds it; its text is that process' number, or ?."""


class MachineLock:
    """Held from construction to close. Does nothing where the system has no flock, or no folder for it."""

    def __init__(self, kind: str, name: str, folders: Optional[Sequence[str]] = None):
        """kind: camera or output; name tells one from the other, and is not written, for it may hold a password.

        Raises HeldError.
        """
        self._file: Optional[int] = None
        try:
            import fcntl
        except ImportError:  # Windows
            return
        file_name = "scrapsort-{}-{}.lock".format(kind, hashlib.sha256(os.fsencode(name)).hexdigest()[:16])
        for folder in FOLDERS if folders is None else folders:
            self._file = _open(os.path.join(folder, file_name))
            if self._file is not None:
                break
        else:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip() or "?"
            self.close()
            raise HeldError(holder)
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, "{}\n".format(os.getpid()).encode("ascii"), 0)
        except OSError:  # another user's file: who holds it is a courtesy
            pass

    def close(self) -> None:
        """Free the lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: str) -> Optional[int]:
    """The lock's file. Without O_CREAT first: Linux refuses that for other users' files in a folder like /tmp."""
    for flags in (os.O_RDWR, os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        try:
            return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError:
            continue
    return None

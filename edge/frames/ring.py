"""A few frames in memory that two processes share.

Nobody writes where another reads, by this protocol: a slot belongs to the reading process (grab.py) until its line
`F slot …` is sent, to the loop from then until it asks for the next frame, and then to the reading process again. Only
these two messages pass a slot on, so the order of writes to the memory needs no locks: a pipe is between them.
"""

import mmap
import os
import tempfile
from typing import List, Sequence, Tuple

import numpy as np

from edge.files import temporary_folder

SLOTS = 4  # one with the loop, one ready, the one before it (frozen pictures are told by it), one being written
FOLDERS = ("/dev/shm",)  # a memory file system, where there is one; else the folder for temporary files


class Ring:
    """The loop's side: makes the memory. On POSIX the file has no name any more, so nothing is left behind."""

    def __init__(self, slot_bytes: int, folders: Sequence[str] = FOLDERS):
        """Raises OSError when there is no room in any of the folders; all of it is taken now, not frame by frame."""
        self.size = SLOTS * slot_bytes
        candidates = [folder for folder in folders if os.path.isdir(folder) and os.access(folder, os.W_OK)]
        candidates.append(temporary_folder())
        for folder in candidates:
            try:
                self._make(folder)
                return
            except OSError:
                if folder is candidates[-1]:
                    raise

    def _make(self, folder: str) -> None:
        self._file, self.path = tempfile.mkstemp(prefix="scrapsort-", suffix=".frames", dir=folder)
        try:
            if hasattr(os, "posix_fallocate"):  # a sparse file would end the process by SIGBUS when the memory is out
                os.posix_fallocate(self._file, 0, self.size)
            else:
                os.truncate(self._file, self.size)
            self.memory = mmap.mmap(self._file, self.size)
        except BaseException:
            self.close()
            raise
        if os.name == "posix":
            os.unlink(self.path)
            self.path = ""

    @property
    def handles(self) -> Tuple[int, ...]:
        """What the other process must inherit."""
        return () if self.path else (self._file,)

    @property
    def name(self) -> str:
        """What the other process opens it by; see attach."""
        return self.path or str(self._file)

    def close(self) -> None:
        """Let go of the file; views of the memory stay good as long as somebody has them."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self.path:
            try:
                os.unlink(self.path)
            except OSError:  # on Windows as long as it is mapped; it is the system's temporary file then
                pass


def attach(name: str, size: int) -> mmap.mmap:
    """The same memory in the other process."""
    if name.isdigit():
        memory = mmap.mmap(int(name), size)
        os.close(int(name))
        return memory
    with open(name, "r+b") as file:
        return mmap.mmap(file.fileno(), size)


def views(memory: mmap.mmap, height: int, width: int) -> List[np.ndarray]:
    """The slots, SLOTS arrays (height, width, 3) uint8 on the memory itself."""
    size = len(memory) // SLOTS
    return [np.frombuffer(memory, np.uint8, height * width * 3, slot * size).reshape(height, width, 3)
            for slot in range(SLOTS)]

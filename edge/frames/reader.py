"""The loop's side of one reader process (grab.py): starts it, asks it for frames, ends it whatever it is doing."""

import json
import os
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np

from edge import children
from edge.frames import address, ring


class Opened(NamedTuple):
    """What the first frame told."""

    width: int  # of the pictures as they are processed
    height: int
    source_width: int  # as the camera gives them
    source_height: int
    fps: float  # as the camera claims; 0: it does not
    backend: str


class Taken(NamedTuple):
    """One frame. image is the shared memory itself, good until the next one is asked for."""

    number: int  # of all that the camera gave since it was opened, from 1
    mono_s: float
    bad: int  # of those, so many were no pictures
    image: np.ndarray  # (height, width, 3) uint8 BGR


class Reader:
    """One process that reads; close it."""

    def __init__(self, wishes: Dict[str, Any], most_pixels: int, note: Callable[[str], None] = lambda text: None):
        """wishes: for grab.py; most_pixels: of a processed picture. note is told, in another thread, what the camera
        was asked for and does not do. Raises OSError when there is no memory or no process to be had."""
        self.opened: Optional[Opened] = None
        self.end_kind, self.end_text = "", ""
        self.bad = self.bad_in_a_row = 0  # frames that were no pictures
        self._note, self._news, self._ended = note, threading.Condition(), False
        self._asked = False
        self._frame: Optional[List[bytes]] = None
        self._slots: List[np.ndarray] = []
        self._ring = ring.Ring(3 * most_pixels)
        asked = dict(wishes, ring=self._ring.name, ring_size=self._ring.size)
        try:
            self._process = self._start()
            self._send(json.dumps(asked).encode("ascii") + b"\n")
        finally:
            if not self._ring.path:
                self._ring.close()  # the process has it; the memory goes with the last who has it
        self._thread = threading.Thread(target=self._listen, name="camera", daemon=True)
        children.start_threads(self._process, [self._thread])

    def _start(self) -> Any:
        extra = {"pass_fds": self._ring.handles} if os.name == "posix" else {}
        return children.start("edge.frames.grab", stderr=subprocess.DEVNULL, bufsize=0, **extra)

    def _send(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
        except OSError:  # it has ended: _listen tells
            pass

    def _listen(self) -> None:
        with open(self._process.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                words = line.rstrip(b"\n").split(b" ")
                with self._news:
                    self._hear(words)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _hear(self, words: List[bytes]) -> None:
        if words[0] == b"F":
            self._frame, self.bad_in_a_row, self.bad = words, 0, int(words[4])
        elif words[0] == b"B":
            self.bad_in_a_row, self.bad = int(words[1]), int(words[2])
        elif words[0] == b"O":
            width, height, source_width, source_height = map(int, words[1:5])
            self._slots = ring.views(self._ring.memory, height, width)
            self.opened = Opened(width, height, source_width, source_height, float(words[5]),
                                 words[6].decode("ascii", "replace"))
        elif words[0] == b"E":
            self.end_kind, self.end_text = words[1].decode("ascii"), _text(words[2:])
            self._ended = True
        elif words[0] == b"N":
            self._note(_text(words[1:]))

    @property
    def ended(self) -> bool:
        """Whether it gives no more frames: end_kind and end_text may tell why."""
        return self._ended

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid)

    def take(self, within_s: float) -> Optional[Taken]:
        """The newest frame that was not taken yet, where none may be lost the next one; the one before is given back.

        None when there is none within that time, or none any more. Call it again to go on waiting.
        """
        deadline_s = time.monotonic() + within_s
        if not self._asked:
            self._asked = True
            self._send(b"n")
        with self._news:
            while self._frame is None:
                left_s = deadline_s - time.monotonic()
                if self._ended or left_s <= 0:
                    return None
                self._news.wait(left_s)
            words, self._frame, self._asked = self._frame, None, False
            return Taken(int(words[2]), float(words[3]), int(words[4]), self._slots[int(words[1])])

    def wait_opened(self, within_s: float) -> None:
        """Until the first frame is there, the process has ended, or so long."""
        deadline_s = time.monotonic() + within_s
        with self._news:
            while self.opened is None and not self._ended and time.monotonic() < deadline_s:
                self._news.wait(deadline_s - time.monotonic())

    def close(self, patience_s: float = 0.3) -> None:
        """End the process: by asking, for a camera that is let go is ready sooner; after that time by force."""
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                pass  # stuck in a driver where not even SIGKILL reaches it; a new process may fare better
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._process.stdout.close()
        self._ring.close()


def _text(words: List[bytes]) -> str:
    return address.shown(b" ".join(words).decode("utf-8", "replace"))

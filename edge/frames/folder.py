"""A folder of pictures as a belt: in natural order, once each, and with watch as they arrive."""

import os
import re
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from edge.clock import Clock
from edge.errors import PictureError, SourceError
from edge.files import path_text
from edge.frames import pictures
from edge.frames.base import Frame
from edge.health.state import State

POLL_S = 0.25
SETTLE_S = 0.5  # a whole file that has not changed for so long is taken
REMEMBER_S = 60.0  # what was handed out, though it is not to be seen now: its record may not be on the disk yet
GIVE_UP_S = 10.0  # an incomplete one that has not changed for so long is taken for what it is: truncated


class Found(NamedTuple):
    """A picture file in the folder."""

    path: str
    size: int
    mtime_ns: int

    @property
    def key(self) -> str:
        """The same as long as the file is; another after it was rewritten."""
        return "{}|{}|{}".format(path_text(self.path), self.size, self.mtime_ns)


def natural_key(path: str) -> Tuple[Any, ...]:
    """Sorts glass2 before glass10."""
    return tuple((1, int(part), "") if part.isdecimal() else (0, 0, part.lower())
                 for part in re.split(r"([0-9]+)", path))


def list_pictures(folder: str) -> List[Found]:
    """All picture files (by extension) below folder, hidden ones left out, in natural order.

    Raises SourceError when the folder cannot be read.
    """
    def fail(error: OSError) -> None:
        if error.filename != folder:
            return  # a folder below it was taken away meanwhile, or is closed to us (lost+found, say)
        raise SourceError("{}: folder cannot be read: {}".format(error.filename or folder, error.strerror))

    found = []
    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if pictures.format_of_name(name) and not name.startswith("."):
                path = os.path.join(root, name)
                one = _look(path)
                if one is not None:
                    found.append(one)
    return sorted(found, key=lambda one: (natural_key(one.path), one.path))


class FolderFrames:
    """Frames of a folder, or of a single picture file."""

    def __init__(self, path: str, watch: bool = False, stop: threading.Event = threading.Event(),
                 is_done: Callable[[str], bool] = lambda key: False, clock: Clock = Clock(),
                 conditions: Optional[State] = None):
        """Raises SourceError when path is missing, or empty and not watched.

        With watch, is_done tells by a file's key whether an earlier run has recorded it, and conditions is told when
        the folder cannot be read for a while.
        """
        path = os.path.abspath(path)  # a file is the same one from whichever folder the command was given
        self.path, self.watch = path, watch
        self._stop, self._is_done, self._clock, self._conditions = stop, is_done, clock, conditions
        self._handed_out: Dict[str, float] = {}  # key -> when it was last seen
        if not os.path.exists(path):
            raise SourceError("{}: no such file or folder".format(path))
        if watch and not os.path.isdir(path):
            raise SourceError("{}: not a folder; only a folder can be watched".format(path))
        if os.path.isdir(path):
            self._found = list_pictures(path)
            if not self._found and not watch:
                raise SourceError("{}: no pictures in it; put {} files there, or give --watch to wait for "
                                  "them".format(path, ", ".join(sorted(pictures.EXTENSIONS))))
        else:
            status = os.stat(path)
            self._found = [Found(path, status.st_size, status.st_mtime_ns)]

    def __iter__(self) -> Iterator[Frame]:
        files = self._arriving() if self.watch else iter(self._found)
        for found in files:
            if self._stop.is_set():
                return
            frame = read_frame(found.path, found.key, self._clock)
            if self.watch and frame.error and _look(found.path) != found:
                self._handed_out.pop(found.key, None)  # it vanished under our hands, and is new when it comes back
                continue
            yield frame

    def _arriving(self) -> Iterator[Found]:
        """Files as they become complete, for ever; those that an earlier run has recorded are left out."""
        handed_out = self._handed_out
        waiting: Dict[str, float] = {}  # key -> when it was first seen like this
        while not self._stop.is_set():
            now, listing = self._clock.mono_s(), self._list()
            if listing is None:
                self._clock.wait(self._stop, 4 * POLL_S)
                continue
            present = {found.key for found in listing}
            handed_out.update((key, now) for key in present if key in handed_out)
            for key in [key for key, seen_s in handed_out.items() if now - seen_s > REMEMBER_S]:
                del handed_out[key]  # what was taken away needs no remembering
            waiting = {key: since for key, since in waiting.items() if key in present}
            for found in listing:
                if found.key in handed_out:
                    continue
                unchanged_s = now - waiting.setdefault(found.key, now)
                if unchanged_s < SETTLE_S or (unchanged_s < GIVE_UP_S and not _is_whole(found.path)):
                    continue
                if _look(found.path) != found:  # the listing is old by now: it is judged anew in the next one
                    continue
                handed_out[found.key] = now
                del waiting[found.key]
                if not self._is_done(found.key):
                    yield found
                    if self._stop.is_set():
                        return
            # A folder of many thousand files takes long to list: the sorting shall have most of the time
            self._clock.wait(self._stop, max(POLL_S, 4 * (self._clock.mono_s() - now)))

    def _list(self) -> Optional[List[Found]]:
        """What lies in the folder; None while it cannot be read: a share that comes and goes ends no run."""
        trouble, found = "", None
        try:
            found = list_pictures(self.path)
        except SourceError as error:
            trouble = "{}; it is looked for again".format(error)
        if self._conditions is not None and (trouble or self._conditions.trouble("source")):
            self._conditions.condition("source", trouble)
        return found


def read_frame(path: str, key: str, clock: Clock) -> Frame:
    """Read and decode one picture file; what is wrong with it is in the frame's error."""
    captured_mono_s, captured_wall_s = clock.mono_s(), clock.wall_s()
    started = time.perf_counter()
    image_bgr, data, error = None, None, ""
    try:
        data = pictures.read_bytes(path)
        image_bgr = pictures.decode(data)
    except PictureError as problem:
        error = str(problem)
    decode_ms = (time.perf_counter() - started) * 1000
    return Frame(path_text(path), key, image_bgr, data, captured_mono_s, captured_wall_s, decode_ms, error)


def _look(path: str) -> Optional[Found]:
    """The file as it is now; None when it was taken away meanwhile. A dangling link is an item that cannot be read."""
    try:
        status = os.stat(path) if os.path.exists(path) else os.lstat(path)
    except OSError:
        return None
    return Found(path, status.st_size, status.st_mtime_ns)


def _is_whole(path: str) -> bool:
    try:
        return pictures.probe(pictures.read_bytes(path)).complete
    except PictureError:
        return False


"""A process that does nothing but read one camera into shared memory: a read that hangs for ever hangs here.

Started and killed by reader.py (or by hand: `python3 -m edge.frames.grab`). The first line of stdin is JSON: uri, ring
and ring_size (see ring.py), the wishes of [source] and how to hand over; not an argument, for `ps` shows those and
passwords stand in addresses. Then each byte on stdin asks for a frame and gives the one before back; the end of stdin
ends the process. It says on stdout, a line each:

    O width height source_width source_height fps backend   the first frame is there and has this size
    N text                       something the camera was asked for and does not do
    F slot number mono_s bad     the frame that was asked for: the newest, or, where none may be lost, the next one;
                                 number counts all that the camera gave since O, bad those that were no pictures
    B in_a_row bad               so many in a row were no pictures
    E kind text                  the end, and why; see capture.CameraError
"""

import json
import os
import signal
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

import cv2
import numpy as np

from edge.children import words
from edge.frames import address, capture, ring
from edge.frames.capture import CameraError
from edge.frames.damage import Halves, is_same

LEAVE_S = 1.0  # after stdin has ended
NO_FRAME_S = 0.5  # of failing reads, after which a stream is over
ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
ASPECT = 0.02  # two pictures whose shapes differ by less have the same


def main() -> None:
    """Read until the camera ends, fails, or nobody listens any more."""
    for name in ("SIGINT", "SIGTERM"):  # meant for the loop, which ends this process by closing its stdin
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    _WORDS[0] = words()
    wishes = json.loads(sys.stdin.buffer.readline().decode("utf-8"))
    hands = Hands(bool(wishes["keep_all"]), say)
    threading.Thread(target=_listen, args=(hands,), name="asked", daemon=True).start()
    try:
        read(wishes, hands)
    except CameraError as error:
        hands.end(error.kind, str(error))
    except Exception as error:  # whatever a library comes up with: the other side logs it and tries again
        hands.end("gone", "{}: {}".format(type(error).__name__, address.shown(" ".join(str(error).split()))))
    hands.wait_for_leave()
    os._exit(0)  # a thread is blocked in stdin, and drivers may hang when they are torn down


_WORDS = [1]


def say(line: str) -> None:
    """A line to the other process; short enough to be written whole."""
    try:
        os.write(_WORDS[0], line.replace("\n", " ").encode("utf-8", "replace")[:4000] + b"\n")
    except OSError:
        os._exit(0)


def _listen(hands: "Hands") -> None:
    """Serve what is asked on stdin. Its end, also when the loop was killed, ends this process even if a read hangs."""
    while sys.stdin.buffer.read(1):
        hands.ask()
    hands.leave()
    time.sleep(LEAVE_S)
    os._exit(0)


class Hands:
    """Whose each slot is: free, ready to be asked for, or lent to the loop. Any thread may call."""

    def __init__(self, keep_all: bool, tell: Callable[[str], None]):
        """keep_all: no frame may be lost, so writing waits; else a newer frame takes the place of one that is ready."""
        self.keeps_all, self._tell = keep_all, tell
        self._change = threading.Condition()
        self._free: List[int] = list(range(ring.SLOTS))
        self._ready: Deque[Tuple[int, int, float, int]] = deque()
        self._lent: Optional[int] = None
        self._asked = False
        self._end = ""
        self.newest: Optional[int] = None  # the slot published last: never the next to be written
        self.left = False

    def slot(self) -> int:
        """A slot to write in. Raises CameraError when the other side has left."""
        with self._change:
            while not self.left:
                free = [slot for slot in self._free if slot != self.newest or self.keeps_all]
                if free:
                    self._free.remove(free[0])
                    return free[0]
                self._change.wait()
        raise CameraError("nobody listens", "end")

    def put_back(self, slot: int) -> None:
        """Nothing of use was written."""
        with self._change:
            self._free.append(slot)

    def publish(self, slot: int, number: int, mono_s: float, bad: int) -> None:
        """The slot holds a frame."""
        with self._change:
            if self._ready and not self.keeps_all:
                self._free.append(self._ready.popleft()[0])
            self._ready.append((slot, number, mono_s, bad))
            self.newest = slot
            self._serve()

    def ask(self) -> None:
        """The loop gives its frame back and wants another."""
        with self._change:
            if self._lent is not None:
                self._free.append(self._lent)
                self._lent = None
            self._asked = True
            self._serve()
            self._change.notify_all()

    def _serve(self) -> None:
        if self._asked and self._ready:
            slot, number, mono_s, bad = self._ready.popleft()
            self._lent, self._asked = slot, False
            self._tell("F {} {} {:.6f} {}".format(slot, number, mono_s, bad))
        elif self._end and not self._ready:
            self._tell(self._end)
            self._end = ""

    def end(self, kind: str, text: str) -> None:
        """No more frames; said when those that are ready have been asked for."""
        with self._change:
            self._end = "E {} {}".format(kind, text)
            self._serve()

    def leave(self) -> None:
        """The other side has closed stdin."""
        with self._change:
            self.left = True
            self._change.notify_all()

    def wait_for_leave(self) -> None:
        """Until the other side has heard it all and closes stdin."""
        with self._change:
            while not self.left:
                self._change.wait()

    def sleep(self, seconds: float) -> None:
        """Wait so long, or until the other side has left."""
        deadline_s = time.monotonic() + seconds
        with self._change:
            while not self.left and seconds > 0:
                self._change.wait(seconds)
                seconds = deadline_s - time.monotonic()


class Fit:
    """Brings the camera's pictures to the size that is processed: reduced where they are larger, then turned."""

    def __init__(self, height: int, width: int, wishes: Dict[str, Any]):
        """height, width: of the camera's pictures. Raises CameraError (size) when the processed size is fixed, by an
        earlier opening, and has another shape."""
        self.source = (height, width)
        self._turn = ROTATIONS.get(wishes["rotate_deg"])
        turned = wishes["rotate_deg"] in (90, 270)
        scale = min(1.0, wishes["width"] / width, wishes["height"] / height)
        self._before = max(1, int(round(height * scale))), max(1, int(round(width * scale)))
        fixed = wishes.get("fixed")
        if fixed:
            self._before = (fixed[1], fixed[0]) if turned else (fixed[0], fixed[1])
            if abs(self._before[1] * height / (self._before[0] * width) - 1) > ASPECT:
                raise CameraError("its pictures have {} x {} pixels now, another shape than the {} x {} that the "
                                 "settings are for; set the camera back, or set [source] anew and restart".format(
                                     width, height, self._before[1], self._before[0]), "size")
        self.size = (self._before[1], self._before[0]) if turned else self._before
        self._reduced = np.empty(self._before + (3,), np.uint8)
        self.direct = self._turn is None and self._before == self.source
        less = self._before[0] * self._before[1] < height * width
        self._how = cv2.INTER_AREA if less else cv2.INTER_LINEAR

    def put(self, image: np.ndarray, slot: np.ndarray) -> None:
        """image, (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) uint8 of the camera's size, into slot."""
        if image.ndim == 2 or image.shape[2] == 1:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        elif image.shape[2] == 4:
            image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
        if image.shape[:2] != self._before:
            to = self._reduced if self._turn is not None else slot
            cv2.resize(image, (self._before[1], self._before[0]), dst=to, interpolation=self._how)
            image = to
        if self._turn is not None:
            cv2.rotate(image, self._turn, dst=slot)
        elif not np.may_share_memory(image, slot):
            np.copyto(slot, image)


class Times:
    """When the frames of a video are due: by its own time stamps where they grow, else by its rate."""

    def __init__(self, fps: float):
        self._period_s = 1 / fps if 1 <= fps <= 1000 else 1 / 30.0
        self._start_s = time.monotonic()
        self._first_s: Optional[float] = None
        self._last_s = -self._period_s

    def due_s(self, position_s: Optional[float]) -> float:
        """Monotonic time of the next frame, which is at position_s in the video."""
        at_s = self._last_s + self._period_s
        if self._first_s is None:
            self._first_s = position_s or 0.0
        elif position_s is not None and 0 < position_s - self._first_s - self._last_s < 10:
            at_s = position_s - self._first_s
        self._last_s = at_s
        return self._start_s + at_s


def read(wishes: Dict[str, Any], hands: Hands) -> None:
    """Open the camera and hand out its frames. Raises CameraError."""
    is_video = address.kind_of(wishes["uri"]) == address.VIDEO
    camera = capture.open_capture(wishes)
    for note in getattr(camera, "notes", ()):
        say("N " + note)
    times, halves = Times(camera.fps), Halves()
    still = Stillness(wishes["still_s"], wishes["still_first_s"])
    fit: Optional[Fit] = None
    slots: List[np.ndarray] = []
    number = bad = in_a_row = 0
    failing_since_s: Optional[float] = None
    slot = hands.slot()
    while not hands.left:
        mono_s = camera.grab()
        now_s = time.monotonic()
        if mono_s is None:
            failing_since_s = now_s if failing_since_s is None else failing_since_s
            if is_video or now_s - failing_since_s > NO_FRAME_S:
                raise _over(is_video, number, bad)
            hands.sleep(0.02)
            continue
        failing_since_s = None
        number += 1 + camera.skipped
        image = camera.retrieve(slots[slot] if fit is not None and fit.direct else None)
        if image is None or halves.is_half(image):
            bad, in_a_row = bad + 1, in_a_row + 1
            if in_a_row % 10 == 0:
                say("B {} {}".format(in_a_row, bad))
            continue
        in_a_row = 0
        if fit is None:
            fit = Fit(image.shape[0], image.shape[1], wishes)
            slots = ring.views(ring.attach(wishes["ring"], wishes["ring_size"]), *fit.size)
            say("O {} {} {} {} {:g} {}".format(fit.size[1], fit.size[0], image.shape[1], image.shape[0], camera.fps,
                                               camera.backend))
        if image.shape[:2] != fit.source:
            raise CameraError("{} x {} pixels now, {} x {} before".format(
                image.shape[1], image.shape[0], fit.source[1], fit.source[0]))
        fit.put(image, slots[slot])
        if is_video:
            mono_s = times.due_s(camera.position_s())
            if not hands.keeps_all:
                hands.sleep(mono_s - time.monotonic())
        elif hands.newest is not None:
            still.look(slots[slot], slots[hands.newest], now_s)
        hands.publish(slot, number, mono_s, bad)
        slot = hands.slot()
    camera.release()


def _over(is_video: bool, number: int, bad: int) -> CameraError:
    if not is_video:
        return CameraError("opened, but gives no picture" if number == bad else "the stream has ended")
    return CameraError("the end", "end") if number > bad else CameraError("no picture in it; is it a video, and whole?",
                                                                        "wrong")


class Stillness:
    """Notices a camera that gives the same picture over and over."""

    def __init__(self, still_s: float, first_s: float):
        """still_s: how long is too long; first_s: until the picture has changed for the first time."""
        self._still_s, self._limit_s = still_s, first_s
        self._since_s: Optional[float] = None

    def look(self, image: np.ndarray, before: np.ndarray, now_s: float) -> None:
        """Raises CameraError (frozen) when nothing has changed for too long."""
        if not is_same(image, before):
            self._since_s, self._limit_s = None, self._still_s
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s - self._since_s >= self._limit_s:
            raise CameraError("the same picture, to the last pixel, for {:g} s".format(self._limit_s), "frozen")


if __name__ == "__main__":
    main()

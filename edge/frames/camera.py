"""Cameras, streams and videos: a process of its own reads (grab.py), this side hands out the newest frame.

A camera is never given up: no frame for a set time, a frozen picture or a reader that died mean a new reader, after
pauses that grow, while the condition `camera` says why. What was lost is counted.
"""

import logging
import os
import sys
import threading
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from edge.clock import Clock
from edge.errors import SourceError
from edge.frames import address, capture, probe
from edge.frames.base import Frame
from edge.frames.lock import CameraLock
from edge.frames.reader import Opened, Reader, Taken
from edge.health import State
from edge.settings import Source

log = logging.getLogger("scrapsort")

OPEN_S = 15.0  # from the start of a reader to its first frame, at least
TICK_S = 0.25  # how often the loop is let know that time passes while no frame comes
PROBE_S = 1.0
CUT_OFF_S = 20.0  # without a CSI camera, before its daemon's socket is looked at
LONGEST_STILL_S = 600.0
MANY_BAD = 10  # pictures in a row


class Camera:
    """Frames of a camera, a stream or a video, for one loop. A frame's picture is memory shared with the reader: it
    is good until the next frame is asked for."""

    moving = True

    def __init__(self, source: Source, stop: threading.Event, clock: Clock = Clock(),
                 conditions: Optional[State] = None, fast: bool = False, tick: Callable[[], None] = lambda: None,
                 patient: bool = False):
        """fast: a video as fast as its frames are taken and none left out, with stamps as if it had kept its rate.

        tick is called in the loop's thread several times a second while no frame comes. Raises SourceError for what
        waiting does not mend: no such device, an OpenCV without GStreamer, a file that is no video, a camera that
        another run holds. patient: a device that is not there, or not ours yet, is waited for (a service starts
        before its camera).
        """
        self._is_video = address.kind_of(source.uri) == address.VIDEO
        if self._is_video:  # the same one in the journal from whichever folder the command was given
            source = source._replace(uri=os.path.abspath(source.uri))
        self.source, self.name = source, address.shown(source.uri)
        self._stop, self._clock, self._fast, self._tick = stop, clock, fast, tick
        self._conditions = conditions or State("")
        self.counts = {"taken": 0, "dropped": 0, "bad": 0, "frozen": 0, "reopened": 0}
        self.fps = 0.0  # of the camera, as its frames come
        self._rate_from: Optional[Tuple[int, float]] = None
        self._size: Optional[Opened] = None  # of the first opening: all settings in pixels are for it
        self._pause_s, self._still_s = source.reopen_backoff_s[0], source.stall_s
        self._was_there: Optional[bool] = None
        self._patient, self._lost_s = patient, None  # type: bool, Optional[float]
        self._numbered = self._bad_counted = 0  # frames of readers before this one; bad ones of this one
        self._reader: Optional[Reader] = None
        if not (patient and address.kind_of(source.uri) == address.DEVICE):
            check(source.uri)
        self._lock = None if self._is_video else CameraLock(source.uri)
        self._conditions.counters("camera", self.counters)
        if self._is_video:
            self._open_video()

    def counters(self) -> Dict[str, Any]:
        """Frames taken, dropped for newer ones, and bad; frozen and reopened, times; fps, of the camera."""
        return dict(self.counts, fps=round(self.fps, 1))

    @property
    def in_real_time(self) -> bool:
        """Whether frames come when what they show happens."""
        return not (self._is_video and self._fast)

    @property
    def reader_pid(self) -> Optional[int]:
        """Of the process that reads now."""
        return self._reader.pid if self._reader is not None else None

    def close(self) -> None:
        """End the reader and free the camera for others."""
        reader, self._reader = self._reader, None
        if reader is not None:
            is_slow = address.kind_of(self.source.uri) in (address.CSI, address.PIPELINE)
            reader.close(1.0 if is_slow else 0.3)
        if self._lock is not None:
            self._lock.close()

    def __iter__(self) -> Iterator[Frame]:
        try:
            while not self._stop.is_set():
                trouble = yield from self._frames()
                if self._stop.is_set():
                    return
                if self._is_video:
                    if trouble:
                        raise SourceError("{}: {}".format(self.name, trouble))
                    return
                self._conditions.condition("camera", "{}: {}".format(self.name, trouble))
                if self._is_cut_off():
                    raise SourceError("{}: nobody listens at {} as it was when this service started; it is started "
                                      "anew; is nvargus-daemon running?".format(self.name, probe.ARGUS))
                self._pause()
        finally:
            self.close()

    # ---------------------------------------------------------------- one reader

    def _open(self) -> Reader:
        wishes: Dict[str, Any] = {
            name: getattr(self.source, name)
            for name in ("uri", "width", "height", "fps", "rotate_deg", "exposure_ms", "white_balance_k")}
        wishes.update(keep_all=self._is_video and self._fast, still_s=self.source.stall_s, still_first_s=self._still_s,
                      fixed=(self._size.height, self._size.width) if self._size else None)
        self._bad_counted, self._rate_from = 0, None
        return Reader(wishes, self.source.width * self.source.height,
                      lambda text: log.warning("camera: %s: %s", self.name, text))

    def _open_video(self) -> None:
        """Raises SourceError at once when it cannot be read."""
        try:
            self._reader = self._open()
        except OSError as error:
            raise SourceError("{}: no memory for its frames: {}".format(self.name, error.strerror))
        self._reader.wait_opened(max(OPEN_S, self.source.stall_s))
        if self._reader.opened is None:
            trouble = self._reader.end_text or "no frame within {:g} s".format(max(OPEN_S, self.source.stall_s))
            self.close()
            raise SourceError("{}: {}".format(self.name, trouble))

    def _frames(self) -> Any:
        """Yields the frames of one reader until it stalls or ends; returns what the trouble is, empty for none."""
        try:
            reader = self._reader = self._reader or self._open()
        except OSError as error:
            return "no memory for its frames, or no process: {}".format(error.strerror)
        since_s, patience_s = self._clock.mono_s(), max(OPEN_S, self.source.stall_s)
        last, trouble = 0, ""
        while not self._stop.is_set():
            taken = reader.take(TICK_S)
            if taken is not None:
                if not last:
                    self._well(reader)
                self._count(taken, last)
                last = taken.number
                if reader.bad_in_a_row == 0:
                    self._conditions.condition("camera")
                yield self._frame(taken)
                since_s, patience_s = self._clock.mono_s(), self._stall_s
                continue
            self._tick()
            if reader.ended:
                trouble = self._why(reader)
                break
            if reader.bad_in_a_row >= MANY_BAD:
                trouble = "{} or more pictures in a row are damaged or only half there; look at its cable, power and " \
                    "network".format(MANY_BAD)
                self._conditions.condition("camera", "{}: {}".format(self.name, trouble))
            if self._clock.mono_s() - since_s >= patience_s:
                trouble = trouble or "no frame for {:g} s".format(patience_s)
                break
        self.counts["bad"] += reader.bad - self._bad_counted
        self._numbered += last
        self._reader = None
        reader.close()
        return trouble

    @property
    def _stall_s(self) -> float:
        return max(OPEN_S, self.source.stall_s) if self._is_video else self.source.stall_s  # a video may have gaps

    def _why(self, reader: Reader) -> str:
        """Why the reader has ended; empty for a video that was read to its end."""
        if reader.end_kind == "frozen":
            self.counts["frozen"] += 1
            self._still_s = min(2 * self._still_s, LONGEST_STILL_S)  # what it shows may be as still as that
        if reader.end_kind == "end":
            return ""
        return reader.end_text or "its reader process was ended from outside, or crashed"

    def _frame(self, taken: Taken) -> Frame:
        wall_s = self._clock.wall_s() - self._clock.mono_s() + taken.mono_s
        return Frame("{}#{}".format(self.name, self._numbered + taken.number), "", taken.image, None, taken.mono_s,
                     wall_s, 0.0)

    def _count(self, taken: Taken, last: int) -> None:
        bad, self._bad_counted = taken.bad - self._bad_counted, taken.bad
        self.counts["taken"] += 1
        self.counts["bad"] += bad
        self.counts["dropped"] += max(0, taken.number - last - 1 - bad)
        if self._rate_from is None:
            self._rate_from = taken.number, taken.mono_s
        elif taken.mono_s - self._rate_from[1] >= 1.0:
            self.fps = (taken.number - self._rate_from[0]) / (taken.mono_s - self._rate_from[1])
            self._rate_from = taken.number, taken.mono_s

    # ---------------------------------------------------------------- lost and found

    def _well(self, reader: Reader) -> None:
        """The first frame of a reader has come."""
        now = reader.opened
        assert now is not None
        self._pause_s, self._was_there, self._lost_s = self.source.reopen_backoff_s[0], None, None
        log.info("camera: %s: %d x %d pixels, %s frames/s (%s)", self.name, now.source_width, now.source_height,
                 "{:g}".format(round(now.fps, 2)) if now.fps > 0 else "?", now.backend or "unknown backend")
        before, self._size = self._size, self._size or now
        if before is None and now.source_width * now.source_height != now.width * now.height:
            text = "{} x {} is processed at {} x {}; set [source] width and height".format(
                now.source_width, now.source_height, now.width, now.height)
            log.warning("camera: %s", text)
            self._conditions.fact(camera_size=text)
        elif before is not None:
            self.counts["reopened"] += 1
            if (now.source_width, now.source_height) != (before.source_width, before.source_height):
                text = "{} x {} now, {} x {} before; processed at {} x {}, which the settings are for".format(
                    now.source_width, now.source_height, before.source_width, before.source_height, now.width,
                    now.height)
                log.warning("camera: %s", text)
                self._conditions.fact(camera_size=text)

    def _is_cut_off(self) -> bool:
        """Whether only another start helps: systemd shows a service the CSI daemon's socket of the moment at which it
        started, and none if the daemon was slower. One that was started again has another."""
        if not self._patient or address.kind_of(self.source.uri) != address.CSI:
            return False
        if self._lost_s is None:
            self._lost_s = self._clock.mono_s()
        return self._clock.mono_s() - self._lost_s >= CUT_OFF_S and not probe.listens(probe.ARGUS)

    def _pause(self) -> None:
        """Wait before the next attempt, twice as long each time, but not when the camera has just come back."""
        until_s = self._clock.mono_s() + self._pause_s
        self._pause_s = min(2 * self._pause_s, self.source.reopen_backoff_s[1])
        while not self._stop.is_set():
            self._tick()
            there = probe.is_there(self.source.uri)
            came_back, self._was_there = there is True and self._was_there is False, there
            if came_back:
                self._pause_s = self.source.reopen_backoff_s[0]
            left_s = until_s - self._clock.mono_s()
            if came_back or left_s <= 0:
                return
            self._clock.wait(self._stop, min(left_s, PROBE_S))


def check(uri: str) -> None:
    """Raises SourceError with the remedy for what waiting does not mend: a person has mistyped, or must install."""
    kind, name = address.kind_of(uri), address.shown(uri)
    if kind in (address.CSI, address.PIPELINE) and not capture.has("GStreamer"):
        raise SourceError("source {}: {}".format(name, capture.NO_GSTREAMER))
    if kind == address.CSI and address.number_of(uri) is None:
        raise SourceError("source {}: csi://N is needed, with the number of the sensor, such as csi://0".format(name))
    if kind == address.DEVICE and sys.platform.startswith("linux"):
        if not os.path.exists(uri):
            raise SourceError("source {}: no such device; plug the camera in, `v4l2-ctl --list-devices` lists those "
                              "that are there".format(name))
        if not os.access(uri, os.R_OK | os.W_OK):
            raise SourceError("source {}: no permission; add this user to the group of cameras: sudo usermod -aG "
                              "video $USER, then log in anew".format(name))
        if address.number_of(uri) is None:
            raise SourceError("source {}: is no camera; /dev/videoN or a link to one is needed".format(name))
    if kind in (address.RTSP, address.HTTP) and address.endpoint(uri) is None:
        raise SourceError("source {}: has no host, or a port that is no number; {}://HOST[:PORT]/PATH is needed".format(
            name, uri.partition(":")[0]))
    if kind == address.VIDEO:
        if os.path.exists(uri) and not os.path.isfile(uri):  # opening a FIFO may never return
            raise SourceError("{}: no regular file".format(name))
        try:
            with open(uri, "rb"):
                pass
        except OSError as error:
            raise SourceError("{}: {}".format(name, "no such video" if isinstance(error, FileNotFoundError)
                                              else "cannot be read: {}".format(error.strerror)))

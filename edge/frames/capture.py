"""Opens a camera, a stream or a video by the OpenCV backend that fits its address; used in the reader process alone,
but for what OpenCV was built with."""

import fractions
import http.client
import os
import re
import sys
import tempfile
import time
import urllib.error
from typing import Any, Dict, List, Optional

import cv2
import numpy as np

from edge.frames import address, mjpeg

MJPG = int.from_bytes(b"MJPG", "little")
TIMEOUT_S = 3.0  # of opening a stream and of waiting for its data, where the library can be told
NO_GSTREAMER = ("this OpenCV has no GStreamer (pip's never has); use the system's: apt-get install python3-opencv, "
                "and an environment made with --system-site-packages, on a Jetson JetPack's own; see docs/cameras.md")
OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# What OpenCV says after the reason
_IDLE = ("can't be used to capture", "unable to start pipeline", "pipeline have not been created")


class CameraError(Exception):
    """No frames can be had. kind: gone (try again), frozen, size, end (of a video) or wrong (trying again is idle)."""

    def __init__(self, text: str, kind: str = "gone"):
        super().__init__(text)
        self.kind = kind


def has(library: str) -> bool:
    """Whether this OpenCV was built with it: GStreamer, FFMPEG or v4l/v4l2."""
    for line in cv2.getBuildInformation().splitlines():
        name, _, value = line.strip().partition(":")
        if name.lower() == library.lower():
            return value.strip().upper().startswith("YES")
    return False


class Capture:
    """One cv2.VideoCapture: grab tells when, retrieve gives the picture."""

    skipped = 0

    def __init__(self, opened: Any, kind: str, notes: List[str]):
        self._capture, self._kind = opened, kind
        self.notes = notes  # what it was asked for and does not do
        self.fps = float(opened.get(cv2.CAP_PROP_FPS) or 0.0)
        try:
            self.backend = str(opened.getBackendName())
        except (AttributeError, cv2.error):  # OpenCV before 4.2 may not say
            self.backend = ""

    def grab(self) -> Optional[float]:
        """Wait for a frame; its capture time, monotonic, as early as it is known; None when there is none."""
        if not self._capture.grab():
            return None
        now_s = time.monotonic()
        if self._kind == address.DEVICE and self.backend == "V4L2":
            # The driver's own stamp, of the same clock where the driver keeps to the rules
            stamp_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if now_s - 1.0 < stamp_s <= now_s:
                return stamp_s
        return now_s

    def retrieve(self, into: Optional[np.ndarray] = None) -> Optional[np.ndarray]:
        """The picture that was grabbed, in into where it fits; None when it cannot be decoded."""
        try:
            fine, image = self._capture.retrieve(into) if into is not None else self._capture.retrieve()
        except cv2.error:
            return None
        return image if fine else None

    def position_s(self) -> Optional[float]:
        """Of the frame in its video, as the file says; None where it does not."""
        position_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return float(position_ms) / 1000 if position_ms and position_ms > 0 else None

    def release(self) -> None:
        """Let go of the camera."""
        self._capture.release()


def open_capture(wishes: Dict[str, Any]) -> Any:
    """A Capture or MjpegStream for wishes["uri"]. Raises CameraError with what to do."""
    uri, kind = wishes["uri"], address.kind_of(wishes["uri"])
    notes: List[str] = []
    with Said() as said:
        if kind in (address.CSI, address.PIPELINE):
            opened, remedy = _open_pipeline(uri, wishes, notes), "try the pipeline with gst-launch-1.0"
        elif kind == address.DEVICE:
            opened = _open_device(uri, wishes, notes)
            remedy = "is another program using it? `fuser -v {}` tells".format(uri)
        elif kind == address.HTTP:
            answer = _open_http(uri)
            if answer is not None:
                return answer
            opened, remedy = _open_stream(uri), "it is neither MJPEG nor a stream that FFmpeg reads"
        elif kind == address.RTSP:
            opened, remedy = _open_stream(uri), "does the address answer? `ffprobe ADDRESS` tells"
        else:
            opened, remedy = _open_file(uri), "is it a video, and whole?"
        if not opened.isOpened():
            reason = said.last()
            kind_of_end = "wrong" if kind == address.VIDEO else "gone"
            raise CameraError("cannot be opened{}; {}".format(": " + reason if reason else "", remedy), kind_of_end)
    if kind == address.RTSP and (wishes.get("exposure_ms") or wishes.get("white_balance_k")):
        notes.append("exposure_ms and white_balance_k are set in the camera's own pages, not through its stream")
    return Capture(opened, kind, notes)


class Said:
    """Catches what libraries write to stderr while a camera is opened: it often names the reason."""

    def __enter__(self) -> "Said":
        self._file = _memory_file()
        self._stderr = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *exc: Any) -> None:
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        self._file.close()

    def last(self) -> str:
        """The last line that tells something, without passwords and the library's own preamble."""
        self._file.seek(0)
        lines = self._file.read().decode("utf-8", "replace").splitlines()
        for line in reversed(lines):
            text = re.sub(r"^(\[[^\]]*\]\s*)+", "", line).strip()
            text = re.sub(r"^global \S+( \(\d+\))? (\w+ )?", "", text)
            text = re.sub(r"^(OpenCV \| )?(GStreamer warning|warning|VIDEOIO[^:]*): ", "", text)
            text = re.sub(r"^Embedded video playback halted; ", "", text)
            # What differs from one attempt to the next would make a new log line of each
            text = re.sub(r" after [\d.]+ ms|\?timeout=\d+|\s*\(?0x[0-9a-f]+\)?", "", text)
            if text and not line.startswith("(") and not any(idle in text for idle in _IDLE):
                return address.shown(text)[:200].rstrip(". ")
        return ""


def _memory_file() -> Any:
    """A file without a name, in memory where it can be: a camera is opened also while the disk is full."""
    for folder in ("/dev/shm", None):
        try:
            return tempfile.TemporaryFile(dir=folder)
        except OSError:
            continue
    return open(os.devnull, "w+b")


def csi_pipeline(number: int, wishes: Dict[str, Any]) -> str:
    """What reads a CSI camera of a Jetson into BGR frames: the sensor's mode nearest to the wishes."""
    rate = fractions.Fraction(wishes["fps"]).limit_denominator(1001)
    exposure_ns = int(round(1e6 * wishes.get("exposure_ms", 0.0)))
    manual = " exposuretimerange=\"{0} {0}\"".format(exposure_ns) if exposure_ns else ""
    return ("nvarguscamerasrc sensor-id={}{} ! video/x-raw(memory:NVMM), width=(int){}, height=(int){}, "
            "format=(string)NV12, framerate=(fraction){}/{} ! nvvidconv ! video/x-raw, format=(string)BGRx ! "
            "videoconvert ! video/x-raw, format=(string)BGR ! appsink drop=true max-buffers=1 sync=false").format(
                number, manual, wishes["width"], wishes["height"], rate.numerator, rate.denominator)


def _open_pipeline(uri: str, wishes: Dict[str, Any], notes: List[str]) -> Any:
    if not has("GStreamer"):
        raise CameraError(NO_GSTREAMER, "wrong")
    if wishes.get("white_balance_k"):
        notes.append("white_balance_k is not for csi:// and gst:; put wbmode into a gst: pipeline")
    if uri.startswith("gst:"):
        if wishes.get("exposure_ms"):
            notes.append("exposure_ms is not for gst:; put it into the pipeline")
        return cv2.VideoCapture(uri[len("gst:"):], cv2.CAP_GSTREAMER)
    return cv2.VideoCapture(csi_pipeline(address.number_of(uri) or 0, wishes), cv2.CAP_GSTREAMER)


def _open_device(uri: str, wishes: Dict[str, Any], notes: List[str]) -> Any:
    number = address.number_of(uri)
    if number is None:
        raise CameraError("leads to no /dev/videoN; is it plugged in?")
    opened = cv2.VideoCapture(number, cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY)
    if opened.isOpened():
        _set_wishes(opened, wishes, notes)
    return opened


def _set_wishes(opened: Any, wishes: Dict[str, Any], notes: List[str]) -> None:
    """Ask a USB camera for size, rate, exposure and white balance; MJPG first, or most give 5 frames/s at full size."""
    opened.set(cv2.CAP_PROP_FOURCC, MJPG)
    for name, value in (("FRAME_WIDTH", wishes["width"]), ("FRAME_HEIGHT", wishes["height"]), ("FPS", wishes["fps"])):
        opened.set(getattr(cv2, "CAP_PROP_" + name), value)
    if wishes.get("exposure_ms"):
        opened.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # V4L2_EXPOSURE_MANUAL
        if not opened.set(cv2.CAP_PROP_EXPOSURE, wishes["exposure_ms"] * 10):  # V4L2 counts in 100 us
            notes.append("exposure_ms: the camera does not take it")
    if wishes.get("white_balance_k"):
        opened.set(cv2.CAP_PROP_AUTO_WB, 0)
        if not opened.set(cv2.CAP_PROP_WB_TEMPERATURE, wishes["white_balance_k"]):
            notes.append("white_balance_k: the camera does not take it")


def _open_http(uri: str) -> Any:
    """The stream of JPEG pictures; None when it is something else, for FFmpeg. Raises CameraError."""
    try:
        response = mjpeg.open_url(uri, TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.fp is not None:  # after a failed Digest there is none
            error.close()
        raise CameraError("answers {} {}{}".format(error.code, error.reason, "; user and password go into the "
                                                  "address: http://USER:PASSWORD@HOST/" if error.code == 401 else ""))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or str(reason)
        raise CameraError("cannot be reached: {}".format(address.shown(text)))
    boundary = mjpeg.boundary_of(response.headers.get("Content-Type", ""))
    if boundary is not None:
        return mjpeg.MjpegStream(response, boundary)
    response.close()
    return None


def _open_stream(uri: str) -> Any:
    """A network stream by FFmpeg, with time-outs where this OpenCV and its FFmpeg know them."""
    if not has("FFMPEG"):
        return cv2.VideoCapture(uri)
    if not uri.startswith("rtsp") or OPTIONS in os.environ:
        return _open_ffmpeg(uri)
    options = rtsp_options(cv2.getBuildInformation())
    # Half a second of looking at the stream is enough for most, and a second sooner than what FFmpeg takes by itself
    os.environ[OPTIONS] = options + "|analyzeduration;500000"
    started_s = time.monotonic()
    opened = _open_ffmpeg(uri)
    if not opened.isOpened() and time.monotonic() - started_s < TIMEOUT_S / 2:  # it does not hang
        os.environ[OPTIONS] = options
        opened = _open_ffmpeg(uri)
    return opened


def _open_ffmpeg(uri: str) -> Any:
    limits: List[int] = []
    for name in ("CAP_PROP_OPEN_TIMEOUT_MSEC", "CAP_PROP_READ_TIMEOUT_MSEC"):
        limits += [getattr(cv2, name), int(1000 * TIMEOUT_S)] if hasattr(cv2, name) else []
    try:
        return cv2.VideoCapture(uri, cv2.CAP_FFMPEG, limits)
    except (TypeError, cv2.error):  # an OpenCV whose constructor takes no properties; the loop's watchdog is there
        return cv2.VideoCapture(uri, cv2.CAP_FFMPEG)


def rtsp_options(build: str) -> str:
    """For FFmpeg: over TCP, with a time-out by the name that this FFmpeg gives it, and without the frames that it
    read to know the stream: they are old, but would be stamped as new.

    FFmpeg 5 (libavformat 59) renamed stimeout to timeout, and before that timeout meant to wait for callers.
    """
    found = re.search(r"avformat:\s*YES \((\d+)\.", build)
    name = "" if not found else "timeout" if int(found.group(1)) >= 59 else "stimeout"
    return "rtsp_transport;tcp|fflags;nobuffer" + ("|{};{}".format(name, int(1e6 * TIMEOUT_S)) if name else "")


def _open_file(uri: str) -> Any:
    opened = cv2.VideoCapture(uri, cv2.CAP_FFMPEG)
    return opened if opened.isOpened() else cv2.VideoCapture(uri)

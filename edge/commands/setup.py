"""scrapsort setup: look at a belt, and propose the settings of its gate."""

import argparse
import os
import sys
import threading
from typing import Any, Iterable, List, Optional, Tuple

import cv2
import numpy as np

from edge import settings as settings_module
from edge.clock import Clock
from edge.commands import common
from edge.commands.common import log
from edge.errors import OutputError, SourceError, UsageError
from edge.files import write_durably
from edge.frames import open_source
from edge.frames.address import shown
from edge.frames.base import Frame
from edge.gate.annotate import annotated
from edge.gate.belt import BeltGate
from edge.gate.motion import Motion, MotionFinder
from edge.gate.recording import Recording
from edge.gate.region import LEAST_PX
from edge.gate.survey import SPREAD, Survey, doubts, spread, survey
from edge.health import State
from edge.settings import Settings

PICTURES, CLIPS = (".jpg", ".jpeg", ".png"), {".mp4": "mp4v", ".avi": "MJPG"}
SECONDS = (5.0, 600.0)
PATIENCE_S = 30.0  # for a camera that gives no frames
LEAST_ITEMS = 3  # for a speed that is worth proposing
OF_SMALLEST = 0.25  # share of the smallest thing's area that still counts as one


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_config(parser)
    parser.add_argument("--source", metavar="SRC", help="what shows the belt, as for scrapsort run")
    parser.add_argument("--seconds", type=_seconds, default=20.0, metavar="S", help="how long to look (default: 20)")
    parser.add_argument("--out", type=_out, default="setup.jpg", metavar="FILE", help="the annotated picture (.jpg, "
                        ".png) or clip (.mp4, .avi); default: setup.jpg")
    parser.add_argument("--length", type=_length, metavar="M", help="longer side in metres of the things that pass "
                        "meanwhile: gives pixels_per_metre")


def run(arguments: argparse.Namespace) -> int:
    """Look, write the picture, print the proposal."""
    settings, _ = common.load_settings(arguments)
    settings = settings_module.override(settings, "source", uri=arguments.source)
    common.start_logging()
    if not os.path.isdir(os.path.dirname(os.path.abspath(arguments.out))):
        raise UsageError("--out {}: there is no such folder".format(arguments.out))
    stop, clock = threading.Event(), Clock()
    until_s = clock.mono_s() + arguments.seconds + PATIENCE_S

    def give_up() -> None:
        if clock.mono_s() > until_s:
            stop.set()
    frames = open_source(settings.source.uri, False, stop, lambda key: False, clock, settings.source,
                         State("", clock), fast=True, tick=give_up)
    try:
        return _look_and_propose(arguments, settings, frames, stop)
    finally:
        if hasattr(frames, "close"):
            frames.close()


def _look_and_propose(arguments: argparse.Namespace, settings: Settings, frames: Iterable[Frame],
                      stop: threading.Event) -> int:
    name = shown(settings.source.uri)
    if not getattr(frames, "moving", False):
        raise UsageError("source {}: shows no moving belt; setup needs a camera, a video or sim:".format(name))
    log.info("looking at %s for %g s", name, arguments.seconds)
    text = propose(frames, settings, arguments.seconds, arguments.out, arguments.length, stop)
    sys.stdout.write(text)
    return 0


def propose(frames: Iterable[Frame], settings: Settings, seconds: float, out: str, length_m: Optional[float] = None,
            stop: Optional[threading.Event] = None) -> str:
    """The settings that suit what frames show, as TOML; writes the annotated picture or clip to out.

    length_m: longer side of the things that pass; stop: is set to end the source. Nothing that a simulated belt knows
    of itself is used. Raises SourceError when nothing moves, OutputError when out cannot be written.
    """
    recording, motion = look(frames, seconds, stop or threading.Event())
    if motion is None:
        raise SourceError("source {}: nothing that moves along was seen in {:.0f} s; let several things pass, or look "
                          "longer (--seconds)".format(shown(settings.source.uri), recording.seconds))
    region = _whole_pixels(motion.region, recording.size)
    if motion.direction != settings.gate.direction:
        log.warning("direction: things move %s, the settings say %s", motion.direction, settings.gate.direction)
    gate = settings.gate._replace(mode="belt", direction=motion.direction,
                                  min_area_px=max(1, int(OF_SMALLEST * motion.least_area)))
    with _Sheet(out, recording) as sheet:
        found = survey(recording, gate, region, sheet.show)
    _say(found, motion, out, length_m)
    return toml(settings, motion, region, found, length_m, hasattr(frames, "geometry"))


def look(frames: Iterable[Frame], seconds: float, stop: threading.Event) -> Tuple[Recording, Optional[Motion]]:
    """Watch frames for some seconds of their own time, or until they end."""
    recording, finder = Recording(), MotionFinder()
    began_s: Optional[float] = None
    coming: Any = iter(frames)
    try:
        for frame in coming:
            began_s = frame.captured_mono_s if began_s is None else began_s
            if frame.captured_mono_s - began_s > seconds:
                break
            if frame.image_bgr is not None and (not len(recording) or frame.image_bgr.shape[:2] == recording.size):
                finder.offer(recording.offer(frame.image_bgr, frame.captured_mono_s), frame.captured_mono_s)
            if recording.is_full:
                log.warning("looked for %.0f s only: more frames are not kept", recording.seconds)
                break
    finally:
        stop.set()
        if hasattr(coming, "close"):
            coming.close()
    motion = finder.motion()
    return recording, motion and motion.scaled(recording.scale)


def _whole_pixels(region: Tuple[float, float, float, float], size: Tuple[int, int]) -> Tuple[int, int, int, int]:
    """region as whole pixels inside a picture of size (height, width), and not too small for a gate."""
    spans = []
    for start, length, most in ((region[0], region[2], size[1]), (region[1], region[3], size[0])):
        low, high = int(start), int(round(start + length))
        lacking = max(0, LEAST_PX - (high - low))
        low = max(0, low - lacking)
        spans.append((low, min(most, max(high, low + LEAST_PX)) - low))
    (x, w), (y, h) = spans
    return x, y, w, h


def pixels_per_metre(found: Survey, length_m: Optional[float]) -> float:
    """As measured; 0 where it was not."""
    return found.length / length_m if length_m else 0.0


def toml(settings: Settings, motion: Motion, region: Tuple[int, int, int, int], found: Survey,
         length_m: Optional[float], seen_whole: bool) -> str:
    """The proposal. seen_whole: the source refuses a region, so it is a comment."""
    ppm = pixels_per_metre(found, length_m)
    lines = ["[source]",
             "{}region = {}  # x, y, width, height of where things move{}".format(
                 "# " if seen_whole else "", list(region), "; a simulated belt is seen whole" if seen_whole else ""),
             "", "[gate]", 'mode = "belt"', "line = {:g}".format(settings.gate.line),
             'direction = "{}"'.format(motion.direction)]
    if found.areas:
        lines.append("min_area_px = {}  # a quarter of the smallest thing that passed".format(
            max(1, int(OF_SMALLEST * min(found.areas)))))
    if ppm:
        lines.append("pixels_per_metre = {:.1f}  # {} of {:.0f} px (spread {:.1%}) are {:g} m long".format(
            ppm, _things(len(found.lengths)), found.length, spread(found.lengths), length_m or 0.0))
    elif settings.gate.pixels_per_metre:
        ppm = settings.gate.pixels_per_metre
        lines.append("pixels_per_metre = {:g}  # as it was".format(ppm))
    else:
        lines.append("# pixels_per_metre is not known: let an object of known length pass, with --length METRES")
    speed = "{:.0f} px/s over {} (spread {:.1%})".format(found.speed, _things(found.items), found.speed_spread)
    if ppm and found.items >= LEAST_ITEMS and found.speed_spread <= SPREAD:
        lines.append("belt_speed_mps = {:.4g}  # {}; 0.0: estimated anew in each run".format(found.speed / ppm, speed))
    elif found.items:
        lines.append("# belt_speed_mps is estimated as it runs; here {}".format(speed))
    return "\n".join(lines) + "\n"


def _say(found: Survey, motion: Motion, out: str, length_m: Optional[float]) -> None:
    log.info("%s crossed the line in %.0f s, %d of them clusters; %s at %.0f px/s (spread %.1f %%), %.1f frames/s",
             _things(found.items), found.seconds, found.clusters, motion.direction, found.speed or motion.speed,
             100 * found.speed_spread, found.fps)
    ppm = pixels_per_metre(found, length_m)
    if ppm:
        log.info("%.0f px are %g m: %.1f px/m, the belt runs at %.3f m/s", found.length, length_m, ppm,
                 found.speed / ppm)
    for doubt in doubts(found, motion.askew_deg, length_m is not None):
        log.warning("doubtful: %s", doubt)
    log.info("%s shows it", out)


def _things(count: int) -> str:
    return "1 thing" if count == 1 else "{} things".format(count)


class _Sheet:
    """The annotated picture, of the best moment, or the annotated clip, frame by frame."""

    def __init__(self, path: str, recording: Recording):
        self._path, self._fps, self._scale = path, recording.fps or 1.0, recording.scale[0]
        self._clip = os.path.splitext(path)[1].lower() in CLIPS
        self._writer: Any = None
        self._best: Tuple[int, Optional[np.ndarray]] = (-1, None)
        self._items = 0

    def __enter__(self) -> "_Sheet":
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._writer is not None:
            self._writer.release()
        elif not self._clip and self._best[1] is not None and exc[0] is None:
            fine, data = cv2.imencode(os.path.splitext(self._path)[1].lower(), self._best[1])
            try:
                write_durably(self._path, data.tobytes())
            except OSError as error:
                raise OutputError("--out {}: {}".format(self._path, error.strerror))

    def show(self, image: np.ndarray, gate: BeltGate, items: int) -> None:
        """One frame, and the gate that has just seen it."""
        if self._clip:
            self._write(annotated(image, gate, self._lines(gate, items)))
            return
        in_view = len(gate.tracker.tracks) if gate.mask is not None else 0
        # Best when things cross the line just now, when many are in view, and late: more is known then
        score = (20 if items > self._items else 0) + in_view
        self._items = items
        if score >= self._best[0]:
            self._best = (score, annotated(image, gate, self._lines(gate, items)))

    def _lines(self, gate: BeltGate, items: int) -> List[str]:
        if gate.mask is None:
            return ["learning the empty belt"]
        speed = gate.tracker.speed * gate.scale * self._scale
        return ["{} crossed".format(items), "{}, {}".format(
            gate.settings.direction, "{:.0f} px/s".format(speed) if speed else "speed not known yet")]

    def _write(self, picture: np.ndarray) -> None:
        height, width = (side // 2 * 2 for side in picture.shape[:2])  # codecs halve the colours
        if self._writer is None:
            code = CLIPS[os.path.splitext(self._path)[1].lower()]
            fourcc = sum(ord(letter) << 8 * place for place, letter in enumerate(code))
            self._writer = cv2.VideoWriter(self._path, fourcc, self._fps, (width, height))
            if not self._writer.isOpened():
                raise OutputError("--out {}: this OpenCV cannot write such a clip there; try .avi, or a picture, "
                                  ".jpg".format(self._path))
        self._writer.write(np.ascontiguousarray(picture[:height, :width]))


def _seconds(text: str) -> float:
    value = common.number(text)
    if not SECONDS[0] <= value <= SECONDS[1]:
        raise argparse.ArgumentTypeError("{}: from {:g} to {:g} is allowed".format(text, *SECONDS))
    return value


def _length(text: str) -> float:
    value = common.number(text)
    if not 0.005 <= value <= 10:
        raise argparse.ArgumentTypeError("{}: metres, from 0.005 to 10, are needed".format(text))
    return value


def _out(text: str) -> str:
    allowed = PICTURES + tuple(sorted(CLIPS))
    if os.path.splitext(text)[1].lower() not in allowed:
        raise argparse.ArgumentTypeError("{}: a name that ends in {} is needed".format(text, ", ".join(allowed)))
    return text

"""Where pictures come from: a folder, a single picture, a simulated belt, or drawn items."""

import threading
from typing import Callable, Iterable

from edge.clock import Clock
from edge.errors import UsageError
from edge.frames.base import Frame
from edge.frames.drawn_items import DrawnFrames
from edge.frames.folder import FolderFrames
from edge.frames.simulated_belt import SimulatedBelt

LATER = ("rtsp://", "http://", "https://", "csi://", "gst:", "/dev/video")
VIDEO_EXTENSIONS = (".mp4", ".avi", ".mkv", ".mov", ".m4v")


def open_source(uri: str, watch: bool, stop: threading.Event, is_done: Callable[[str], bool],
                clock: Clock) -> Iterable[Frame]:
    """Frames of a source: a folder, a picture file, sim: for a simulated belt, drawn: for drawn items one by one.

    stop ends it; is_done tells by a frame's key whether it was recorded before (asked for watched folders only).
    Frames that show a moving belt have an attribute moving, which is True. Raises SourceError or UsageError.
    """
    if not uri:
        raise UsageError("source: is empty; a folder, a picture file, sim: or drawn: is allowed")
    if uri.startswith(("sim:", "drawn:")):
        if watch:
            raise UsageError("--watch goes with a folder, not with {}".format(uri))
        return SimulatedBelt(uri, stop, clock) if uri.startswith("sim:") else DrawnFrames.from_uri(uri, stop, clock)
    if uri.startswith(LATER) or uri.lower().endswith(VIDEO_EXTENSIONS):
        raise UsageError("source {}: this version sorts a folder, a picture file, sim: or drawn:, no cameras or "
                         "videos yet".format(uri))
    return FolderFrames(uri, watch, stop, is_done, clock)

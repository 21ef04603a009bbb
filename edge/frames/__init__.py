"""Where pictures come from: a folder, a single picture, a camera, a stream, a video, a simulated belt, drawn items."""

import threading
from typing import Callable, Iterable, Optional

from edge.clock import Clock
from edge.errors import UsageError
from edge.frames.base import Frame
from edge.health import State
from edge.settings import Source


def open_source(uri: str, watch: bool, stop: threading.Event, is_done: Callable[[str], bool], clock: Clock,
                wishes: Optional[Source] = None, conditions: Optional[State] = None, fast: bool = False,
                tick: Callable[[], None] = lambda: None) -> Iterable[Frame]:
    """Frames of a source: a folder, a picture file, a camera, stream or video (see docs/cameras.md), sim: for a
    simulated belt, drawn: for drawn items one by one.

    stop ends it; is_done tells by a frame's key whether it was recorded before (asked for watched folders only).
    Of cameras: wishes are their settings, conditions is told how they are, fast reads videos as fast as frames are
    taken, tick is called while no frame comes. Frames that show a moving belt have an attribute moving, which is True;
    close what has a close. Raises SourceError or UsageError.
    """
    from edge.frames import address  # what is needed alone: the reader process imports this package, too
    if not uri:
        raise UsageError("source: is empty; a folder, a picture file, a camera or sim: is allowed")
    is_camera = bool(address.kind_of(uri))
    if watch and (is_camera or uri.startswith(("sim:", "drawn:"))):
        raise UsageError("--watch goes with a folder, not with {}".format(address.shown(uri)))
    if is_camera:
        from edge.frames.camera import Camera
        return Camera((wishes or Source())._replace(uri=uri), stop, clock, conditions, fast, tick)
    if uri.startswith("sim:"):
        from edge.frames.simulated_belt import SimulatedBelt
        return SimulatedBelt(uri, stop, clock)
    if uri.startswith("drawn:"):
        from edge.frames.drawn_items import DrawnFrames
        return DrawnFrames.from_uri(uri, stop, clock)
    from edge.frames.folder import FolderFrames
    return FolderFrames(uri, watch, stop, is_done, clock, conditions)

"""Where pictures come from: a folder, a single picture, a camera, a stream, a video, a simulated belt, drawn items."""

import os
import threading
import types
from typing import Any, Callable, Iterable, Optional

from edge.clock import Clock
from edge.errors import SourceError, UsageError
from edge.frames.base import Frame
from edge.health import State
from edge.settings import Source


def open_source(uri: str, watch: bool, stop: threading.Event, is_done: Callable[[str], bool], clock: Clock,
                wishes: Optional[Source] = None, conditions: Optional[State] = None, fast: bool = False,
                tick: Callable[[], None] = lambda: None, patient: bool = False) -> Iterable[Frame]:
    """Frames of a source: a folder, a picture file, a camera, stream or video (see docs/cameras.md), sim: for a
    simulated belt, drawn: for drawn items one by one.

    stop ends it; is_done tells by a frame's key whether it was recorded before (asked for watched folders only).
    Of cameras: wishes are their settings, conditions is told how they are, fast reads videos as fast as frames are
    taken, patient waits for one that is not plugged in. tick is called in the loop's thread while frames that show a
    moving belt (attribute moving, which is True) do not come; of others, see Prefetch. Close what has a close. Raises
    SourceError or UsageError.
    """
    from edge.frames import address  # what is needed alone: the reader process imports this package, too
    if not uri:
        raise UsageError("source: is empty; a folder, a picture file, a camera or sim: is allowed")
    is_camera = bool(address.kind_of(uri))
    if watch and (is_camera or uri.startswith(("sim:", "drawn:"))):
        raise UsageError("--watch goes with a folder, not with {}".format(address.shown(uri)))
    if is_camera:
        from edge.frames.camera import Camera
        return Camera((wishes or Source())._replace(uri=uri), stop, clock, conditions, fast, tick, patient)
    if uri.startswith("sim:"):
        from edge.frames.simulated_belt import SimulatedBelt
        return SimulatedBelt(uri, stop, clock, tick)
    if uri.startswith("drawn:"):
        from edge.frames.drawn_items import DrawnFrames
        return DrawnFrames.from_uri(uri, stop, clock)
    from edge.frames.folder import FolderFrames
    return FolderFrames(uri, watch, stop, is_done, clock)


def outline(uri: str, watch: bool, fast: bool = False) -> Any:
    """What is known of a source without opening it: moving, in_real_time and, of a simulated belt, geometry.

    Raises SourceError or UsageError for what is wrong with its address.
    """
    from edge.frames import address
    kind = address.kind_of(uri)
    if watch and (kind or uri.startswith(("sim:", "drawn:"))):
        raise UsageError("--watch goes with a folder, not with {}".format(address.shown(uri)))
    if kind:
        from edge.frames.camera import check
        if kind != address.DEVICE:  # one that is not there yet may come
            check(uri)
        return types.SimpleNamespace(moving=True, in_real_time=not (fast and kind == address.VIDEO))
    if uri.startswith("sim:"):
        from edge.frames import simulated_belt
        return simulated_belt.outline(uri)
    if uri.startswith("drawn:"):
        from edge.frames.drawn_items import DrawnFrames
        DrawnFrames.from_uri(uri, threading.Event(), Clock())
    elif not os.path.exists(uri):
        raise SourceError("{}: no such file or folder".format(uri or "source"))
    return types.SimpleNamespace(moving=False, in_real_time=True)

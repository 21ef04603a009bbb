"""The gate that the settings ask for, or that suits the source."""

from typing import Any, Iterable

from edge.errors import SettingsError
from edge.frames.base import Frame
from edge.gate.belt import BeltGate
from edge.gate.every import EveryFrame, Gate, Interval
from edge.settings import Settings


def open_gate(settings: Settings, frames: Iterable[Frame]) -> Gate:
    """frames: of open_source; one that shows a moving belt has an attribute moving, and may know its geometry.

    Raises SettingsError.
    """
    mode, moving = settings.gate.mode, bool(getattr(frames, "moving", False))
    if mode == "auto":
        mode = "belt" if moving else "every"
    if mode == "interval":
        if not settings.source.interval_s:
            raise SettingsError("[gate] mode interval: needs [source] interval_s (--interval) above 0")
        return Interval(settings.source.interval_s)
    if mode == "every":
        return EveryFrame()
    if not moving:
        raise SettingsError("[gate] mode {}: source {} shows no moving belt; use every, or auto".format(
            mode, settings.source.uri))
    geometry: Any = getattr(frames, "geometry", {})  # a simulated belt knows it
    return BeltGate(settings.gate._replace(**geometry), settings.source.region)

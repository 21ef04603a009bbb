"""The gate that the settings ask for, or that suits the source."""

from typing import Any, Iterable

from edge.errors import SettingsError, UsageError
from edge.frames.base import Frame
from edge.gate.belt import BeltGate
from edge.gate.every import EveryFrame, Gate, Interval
from edge.gate.trigger import TriggerGate
from edge.inputs.edges import check_edges
from edge.settings import Settings


def open_gate(settings: Settings, frames: Iterable[Frame]) -> Gate:
    """frames: of open_source; one that shows a moving belt has an attribute moving, and may know its geometry.

    Raises SettingsError.
    """
    mode, moving = settings.gate.mode, bool(getattr(frames, "moving", False))
    if mode == "auto":
        mode = "belt" if moving else "every"
    if mode not in ("belt", "trigger") and any(settings.source.region):
        raise SettingsError("[source] region: goes with [gate] mode belt or trigger, not with {}".format(mode))
    if settings.gate.trigger and mode != "trigger":
        raise SettingsError("[gate] trigger: goes with mode trigger, not with {}".format(mode))
    if settings.gate.trigger_delay_ms and mode != "trigger":
        raise SettingsError("[gate] trigger_delay_ms: goes with mode trigger, not with {}".format(mode))
    if settings.gate.encoder_pulses_per_metre and not settings.gate.encoder:
        raise SettingsError("[gate] encoder_pulses_per_metre: goes with encoder, which is not set")
    if mode == "interval":
        if not moving:
            raise SettingsError("[gate] mode interval: source {} gives each picture once; use every, or auto".format(
                settings.source.uri))
        if not settings.source.interval_s:
            raise SettingsError("[gate] mode interval: needs [source] interval_s (--interval) above 0")
        return Interval(settings.source.interval_s)
    if moving and settings.source.interval_s:
        raise SettingsError("[source] interval_s (--interval): a moving belt waits for nobody; it goes with a folder "
                            "or with [gate] mode interval")
    if mode == "every":
        return EveryFrame()
    if mode == "trigger":
        if not settings.gate.trigger:
            raise SettingsError("[gate] mode trigger: needs trigger, the photo-eye: gpio:PIN or gpiod:CHIP/LINE")
        try:
            check_edges(settings.gate.trigger)
        except UsageError as error:
            raise SettingsError("[gate] trigger: {}".format(error))
    if not moving:
        raise SettingsError("[gate] mode {}: source {} shows no moving belt; use every, or auto".format(
            mode, settings.source.uri))
    known = bool(settings.gate.pixels_per_metre or hasattr(frames, "geometry"))
    if mode == "belt" and settings.gate.belt_speed_mps and not known:
        raise SettingsError("[gate] belt_speed_mps: needs pixels_per_metre, too")
    if any(settings.source.region) and hasattr(frames, "geometry"):
        raise SettingsError("[source] region: a simulated belt is seen whole; leave it out")
    if mode == "trigger":
        return TriggerGate(settings.gate.trigger_delay_ms / 1000, settings.source.region, settings.gate.belt_speed_mps)
    geometry: Any = getattr(frames, "geometry", {})  # a simulated belt knows it
    exposure_ms = getattr(frames, "exposure_ms", settings.source.exposure_ms)
    return BeltGate(settings.gate._replace(**geometry), settings.source.region, exposure_ms / 1000)

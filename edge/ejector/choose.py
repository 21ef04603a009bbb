"""The ejector that the settings ask for, and what they must say for it."""

from typing import Any, Callable, Dict, Sequence

from edge.clock import Clock
from edge.ejector.link import REVIEW, Ejector, NoEjector
from edge.ejector.schedule import Result
from edge.errors import SettingsError, UsageError
from edge.health import State
from edge.inputs import check_encoder
from edge.outputs import check_output
from edge.outputs.address import normal
from edge.settings import Settings, nearest


def check_ejector(settings: Settings, frames: Any, classes: Sequence[str]) -> None:
    """Raises SettingsError when [ejector] cannot work with this source, gate and bundle; opens nothing."""
    if not settings.ejector.lane:
        raise SettingsError("[ejector] enabled: there is no [[ejector.lane]]")
    for number, lane in enumerate(settings.ejector.lane, 1):
        if lane.class_name not in classes and lane.class_name != REVIEW:
            raise SettingsError("[ejector] lane {}: class {!r}: {}".format(
                number, lane.class_name, nearest(lane.class_name, list(classes) + [REVIEW])))
        try:
            check_output(lane.output)
        except UsageError as error:
            raise SettingsError("[ejector] lane {}: output {}".format(number, error))
    if not getattr(frames, "in_real_time", True):
        raise SettingsError("[ejector] enabled: the frames of this source do not come in real time (pace=fast, or a "
                            "video with --interval 0), so nothing can be ejected at the right moment")
    gate, far = settings.gate, any(lane.distance_m for lane in settings.ejector.lane)
    seen = gate.mode == "belt" or (gate.mode == "auto" and getattr(frames, "moving", False))
    measured = seen and (gate.pixels_per_metre or hasattr(frames, "geometry"))
    if far and not (gate.encoder or gate.belt_speed_mps or measured):
        raise SettingsError("[ejector] distance_m: how fast the belt moves is not known; set [gate] encoder, "
                            "belt_speed_mps, or in mode belt pixels_per_metre (`scrapsort setup` measures it)")
    if gate.encoder:
        try:
            check_encoder(gate.encoder, gate.encoder_pulses_per_metre)
        except UsageError as error:
            raise SettingsError("[gate] encoder: {}".format(str(error).replace("[gate] encoder ", "")))
    _check_wires(settings)


def _check_wires(settings: Settings) -> None:
    """One wire has one name and one use."""
    used = {normal(uri): "[gate] " + name for name, uri in (("trigger", settings.gate.trigger),
                                                            ("encoder", settings.gate.encoder)) if uri}
    texts: Dict[str, str] = {}
    for number, lane in enumerate(settings.ejector.lane, 1):
        wire = normal(lane.output)
        if wire in used:
            raise SettingsError("[ejector] lane {}: output {} is the input of {}".format(
                number, lane.output, used[wire]))
        if texts.setdefault(wire, lane.output) != lane.output:
            raise SettingsError("[ejector] lane {}: output {} is another lane's {}; write both the same".format(
                number, lane.output, texts[wire]))


def open_ejector(settings: Settings, frames: Any, classes: Sequence[str], told: Callable[[Result], None],
                 conditions: State, clock: Clock = Clock()) -> NoEjector:
    """All valves closed, ready to fire. Raises SettingsError or OutputError."""
    if not settings.ejector.enabled:
        return NoEjector()
    check_ejector(settings, frames, classes)
    return Ejector(settings.ejector, told, conditions, clock)

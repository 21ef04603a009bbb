"""The ejector that the settings ask for, and what they must say for it."""

from typing import Any, Callable, Sequence

from edge.clock import Clock
from edge.ejector.link import REVIEW, Ejector, NoEjector
from edge.ejector.schedule import Result
from edge.errors import SettingsError, UsageError
from edge.health import State
from edge.inputs import check_encoder
from edge.outputs import check_output
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
    if far and not (gate.encoder or gate.belt_speed_mps or gate.pixels_per_metre or hasattr(frames, "geometry")):
        raise SettingsError("[ejector] distance_m: how fast the belt moves is not known; set [gate] encoder, "
                            "belt_speed_mps, or pixels_per_metre (`scrapsort setup` measures it)")
    if gate.encoder:
        check_encoder(gate.encoder, gate.encoder_pulses_per_metre)


def open_ejector(settings: Settings, frames: Any, classes: Sequence[str], told: Callable[[Result], None],
                 conditions: State, clock: Clock = Clock()) -> NoEjector:
    """All valves closed, ready to fire. Raises SettingsError or OutputError."""
    if not settings.ejector.enabled:
        return NoEjector()
    check_ejector(settings, frames, classes)
    return Ejector(settings.ejector, told, conditions, clock)

"""What a gate makes of a recorded stretch of belt: how much passes, how fast, how large, and what is doubtful."""

from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from edge import settings as settings_module
from edge.frames.base import Frame
from edge.gate.belt import BeltGate
from edge.gate.recording import Recording
from edge.gate.tracks import Track

FEW, SPREAD, LENGTHS_SPREAD, ASKEW_DEG = 5, 0.1, 0.1, 10.0
DARK, BRIGHT, GAIN = 15.0, 250.0, 1.35  # mean grey of too dark a picture; of overexposed pixels; of light that changes
OVEREXPOSED = 0.3  # share of such pixels
STANDING = 0.5  # of the usual frame, things that stand while others pass
GROWN_PX = 1.7  # of the reduced picture: by so much a mask is longer than the thing, for it takes in its soft edges


class Survey(NamedTuple):
    """Pixels are those of the source's own frames."""

    items: int
    clusters: int
    speeds: Tuple[float, ...]  # pixels a second, of each thing that crossed
    lengths: Tuple[float, ...]  # of the longer side of each thing that crossed alone
    areas: Tuple[float, ...]
    relearned: int  # how often the light changed so much that the belt was learned anew
    gains: Tuple[float, float]  # of the light against what was learned, lowest and highest
    grey: float  # mean of the region
    overexposed: float  # share of the region's pixels
    standing: float  # things that stand in the usual frame
    seconds: float
    fps: float

    @property
    def speed(self) -> float:
        """The median; 0 when nothing crossed."""
        return float(np.median(self.speeds)) if self.speeds else 0.0

    @property
    def speed_spread(self) -> float:
        """Half the range of the middle four fifths, as a share of the speed."""
        return spread(self.speeds)

    @property
    def length(self) -> float:
        """The median; 0 when nothing crossed alone."""
        return float(np.median(self.lengths)) if self.lengths else 0.0


def survey(recording: Recording, gate_settings: settings_module.Gate, region: Tuple[int, int, int, int],
           show: Callable[[np.ndarray, BeltGate, int], None] = lambda image, gate, items: None) -> Survey:
    """Run a gate over the recording. region: in pixels of the source; show is given each frame, the gate that has
    just seen it and how many items there were so far."""
    along = recording.scale[1 if gate_settings.direction in ("up", "down") else 0]
    kept = gate_settings._replace(min_area_px=max(1, int(gate_settings.min_area_px / np.prod(recording.scale))),
                                  belt_speed_mps=0.0, pixels_per_metre=0.0)
    gate = BeltGate(kept, reduced(region, recording))
    notes = _Notes(along)
    for time_s, image in recording:
        items = gate.offer(Frame("setup", "", image, None, time_s, 0.0, 0.0))
        notes.note(gate, image, [item.cluster for item in items])
        show(image, gate, notes.items)
    return notes.survey(gate, recording)


def reduced(region: Tuple[int, int, int, int], recording: Recording) -> Tuple[int, int, int, int]:
    """A region of the source in pixels of the recording's frames."""
    x, y, w, h = region
    across, down = recording.scale
    left, top = int(round(x / across)), int(round(y / down))
    width, height = int(recording.size[1] / across + 0.5), int(recording.size[0] / down + 0.5)
    return left, top, min(int(round(w / across)), width - left), min(int(round(h / down)), height - top)


class _Notes:
    """What is gathered while the gate runs. along: pixels of the source for one of a kept frame."""

    def __init__(self, along: float):
        self._along = along
        self._sides: Dict[int, List[float]] = {}
        self._areas: Dict[int, List[float]] = {}
        self.items = self._clusters = 0
        self._speeds: List[float] = []
        self._lengths: List[float] = []
        self._sizes: List[float] = []
        self._greys: List[float] = []
        self._bright: List[float] = []
        self._standing: List[int] = [0]
        self._gains = [1.0]

    def note(self, gate: BeltGate, image: np.ndarray, clusters: Sequence[bool]) -> None:
        """After each frame; clusters: of its items."""
        x, y, w, h = gate.watched
        sample = image[y:y + h:4, x:x + w:4]
        self._greys.append(float(sample.mean()))
        self._bright.append(float((sample.min(axis=2) >= BRIGHT).mean()))
        if gate.mask is None:
            return
        self._gains.append(float(gate.background.gain.mean()))
        self._standing.append(sum(track.standing for track in gate.tracker.tracks))
        for track in gate.tracker.tracks:
            self._measure(track, gate.scale * self._along)
        for crossing, cluster in zip(gate.crossings, clusters):
            self.items += 1
            self._clusters += cluster
            self._speeds.append(crossing.speed * gate.scale * self._along)
            sides = self._sides.pop(crossing.track.number, [])
            areas = self._areas.pop(crossing.track.number, [])
            if sides and not cluster:
                self._lengths.append(float(np.median(sides)))
                self._sizes.append(float(np.median(areas)))
        alive = {track.number for track in gate.tracker.tracks}
        for number in [number for number in self._sides if number not in alive]:
            del self._sides[number], self._areas[number]

    def _measure(self, track: Track, scale: float) -> None:
        last = track.points[-1]
        if not track.handed_on and last.whole and last.time_s == track.seen_s:
            self._sides.setdefault(track.number, []).append((max(track.blob.rectangle[1]) - GROWN_PX) * scale)
            self._areas.setdefault(track.number, []).append(track.blob.area * scale ** 2)

    def survey(self, gate: BeltGate, recording: Recording) -> Survey:
        """All of it."""
        return Survey(self.items, self._clusters, tuple(self._speeds), tuple(self._lengths), tuple(self._sizes),
                      gate.background.relearned, (min(self._gains), max(self._gains)), float(np.mean(self._greys)),
                      float(np.mean(self._bright)), float(np.mean(self._standing)), recording.seconds, recording.fps)


def spread(values: Sequence[float]) -> float:
    """Half the range of the middle four fifths of some numbers, as a share of their median; 0 of fewer than two."""
    if len(values) < 2:
        return 0.0
    low, middle, high = np.percentile(values, (10, 50, 90))
    return float((high - low) / 2 / middle)


def doubts(found: Survey, askew_deg: float, measured_length: bool) -> Iterator[str]:
    """What is doubtful, each with what to do about it."""
    if not found.items:
        yield ("things move, but none was seen to cross the line: let them pass one by one, each seen whole, and look "
               "longer (--seconds)")
    elif found.items < FEW:
        yield "only {} crossed the line: let more pass, or look longer (--seconds)".format(
            "1 thing" if found.items == 1 else "{} things".format(found.items))
    if found.speed_spread > SPREAD:
        yield ("speeds differ by {:.0%} either way: the belt is not steady, or the camera looks at it askew (a thing "
               "nearer to it seems faster)".format(found.speed_spread))
    if askew_deg > ASKEW_DEG:
        yield ("things move {:.0f} degrees off the picture's side: turn the camera, or the belt's edge is cut "
               "off".format(askew_deg))
    if found.standing > STANDING:
        yield ("something in the region stands while others pass: the camera shakes, or the region takes in more than "
               "the belt; narrow it, and look at the picture")
    if found.clusters > max(1, found.items // 3):
        yield ("{} of {} things look like several that touch: they go to review; strew them thinner, or look at the "
               "mask in the picture".format(found.clusters, found.items))
    step = found.speed / found.fps if found.fps else 0.0
    if found.length and step > 0.5 * found.length:
        yield ("things move {:.0f} px from frame to frame and are {:.0f} px long: raise [source] fps, or show more of "
               "the belt".format(step, found.length))
    if measured_length and spread(found.lengths) > LENGTHS_SPREAD:
        yield ("things of several lengths passed, {:.0f} to {:.0f} px: for pixels_per_metre let only the one of known "
               "length pass".format(min(found.lengths), max(found.lengths)))
    if found.relearned:
        yield "the light changed, or the region was covered, {}: what passed then is not counted".format(
            "once" if found.relearned == 1 else "{} times".format(found.relearned))
    elif found.gains[1] > GAIN * found.gains[0]:
        yield "the light changes by a factor of {:.1f}: shade the belt, and fix the camera's exposure".format(
            found.gains[1] / found.gains[0])
    if found.grey < DARK:
        yield "the picture is dark (mean {:.0f} of 255): more light, or a longer exposure".format(found.grey)
    if found.overexposed > OVEREXPOSED:
        yield "{:.0%} of the picture is white: less light, or a shorter exposure".format(found.overexposed)

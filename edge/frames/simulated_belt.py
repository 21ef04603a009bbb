"""sim: and sim:FOLDER - a moving belt seen by a virtual camera, and the truth about each item on it."""

import json
import logging
import math
import os
import threading
import types
from collections import OrderedDict, deque
from typing import IO, Any, Callable, Deque, Dict, Iterator, NamedTuple, Optional, Tuple
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edge.clock import Clock
from edge.errors import PictureError, SourceError, UsageError
from edge.files import path_text
from edge.frames import drawn, pictures
from edge.frames.base import Frame, Prefetch
from edge.frames.belt_layout import BeltItem, Spacing, Thing, Travel, lay, shape_of
from edge.frames.belt_scene import Light, Scene, Sprite, View, blurred, turned
from edge.frames.drawn_items import ITEMS_APART, MAX_SEED
from edge.frames.folder import list_pictures
from edge.settings import nearest

log = logging.getLogger("scrapsort")

EMPTY_S = 3.0  # of belt before the first item, from which a gate learns what is belt
SHAPE_PX, COVERED = 64, 0.1  # a thing's shape is known so finely; what takes less of the light is a soft edge


class Options(NamedTuple):
    """What follows the ? of sim:?seed=7&speed=1.5, with defaults."""

    seed: int = 0
    items: int = 0  # 0: without end
    speed: float = 0.5  # m/s
    fps: float = 30.0
    width: int = 1280
    height: int = 720
    view: float = 0.8  # metres of belt that the camera sees
    belt: float = 0.36  # width of the belt, m
    item: float = 0.16  # longest side of a photograph's tile, or of the largest drawn item, m
    gap: float = 0.06  # least free belt between two items, m; up to three times as much
    touching: float = 0.0  # share of the items that touch the one before
    turn: float = 180.0  # items are turned by up to so many degrees
    drift: float = 0.1  # slow change of the light, as a share of it
    shake: float = 0.5  # pixels
    exposure: float = 2.0  # ms that the shutter is open
    noise: float = 0.015  # as a share of white
    line: float = 0.5  # share of the view in the direction of travel
    direction: str = "right"
    pace: str = "real"  # or fast: as fast as frames are taken
    ejectors: str = ""  # metres from the line to each, such as 0.6,0.8: the truth says when an item is in front of it
    truth: str = ""  # a file: a line of JSON for each item, for those who want to judge a run


RANGES: Dict[str, Tuple[Any, ...]] = {
    "seed": (0, MAX_SEED - 1), "items": (0, 10 ** 9), "speed": (0.01, 10.0), "fps": (1.0, 240.0),
    "width": (160, 3840), "height": (120, 2160), "view": (0.1, 5.0), "belt": (0.05, 5.0), "item": (0.01, 2.0),
    "gap": (0.0, 5.0), "touching": (0.0, 1.0), "turn": (0.0, 180.0), "drift": (0.0, 0.5), "shake": (0.0, 20.0),
    "exposure": (0.0, 50.0), "noise": (0.0, 0.2), "line": (0.1, 0.9), "direction": ("right", "left", "up", "down"),
    "pace": ("real", "fast"), "ejectors": (), "truth": (),
}


def parse(uri: str) -> Tuple[str, Options]:
    """Folder (empty: drawn items) and options of sim:FOLDER?key=value&…. Raises UsageError."""
    folder, _, query = uri[len("sim:"):].partition("?")
    values: Dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in Options._fields:
            raise UsageError("source {}: unknown option {}; {}".format(uri, key, nearest(key, Options._fields)))
        default, allowed = getattr(Options(), key), RANGES[key]
        if isinstance(default, str):
            if allowed and text not in allowed:
                raise UsageError("source {}: {}={}: {}".format(uri, key, text, nearest(text, allowed)))
            values[key] = text
            continue
        try:
            values[key] = type(default)(text)
        except ValueError:
            values[key] = None
        if values[key] is None or not allowed[0] <= values[key] <= allowed[1]:
            raise UsageError("source {}: {}={}: from {} to {} is allowed".format(uri, key, text, *allowed))
    options = Options(**values)
    try:
        distances(options)
    except ValueError:
        raise UsageError("source {}: ejectors={}: metres from the line are allowed, from 0 to 100, such as "
                         "0.6,0.8".format(uri, options.ejectors))
    return folder, options


def distances(options: Options) -> Tuple[float, ...]:
    """Metres from the line to each ejector. Raises ValueError."""
    metres = tuple(float(text) for text in options.ejectors.split(",") if options.ejectors)
    if not all(0 <= one <= 100 for one in metres):
        raise ValueError(options.ejectors)
    return metres


def outline(uri: str) -> Any:
    """What SimulatedBelt tells of itself, without making one: moving, in_real_time, geometry. Raises UsageError."""
    _, options = parse(uri)
    along = options.height if options.direction in ("up", "down") else options.width
    return types.SimpleNamespace(moving=True, in_real_time=options.pace == "real", geometry={
        "line": options.line, "direction": options.direction, "pixels_per_metre": along / options.view})


class DrawnThings:
    """Drawn items of random material; each is the same one for a seed and a number."""

    def __init__(self, options: Options):
        self._options = options
        self._order = np.random.RandomState(options.seed)
        self._ahead: "OrderedDict[int, Any]" = OrderedDict()

    def __call__(self, number: int) -> Thing:
        """The thing to lie there; its sprite is drawn with it, for its shape is not known before."""
        material = drawn.MATERIALS[self._order.randint(len(drawn.MATERIALS))]
        length_m, sprite = self._draw(material, number)
        self._ahead[number] = sprite
        while len(self._ahead) > 8:
            self._ahead.popitem(last=False)
        scale = length_m / max(sprite.height, sprite.width)
        width_m = sprite.width * scale
        return Thing(material, "sim:{}/{}".format(material, number), number, width_m, sprite.height * scale,
                     shape_of(_coarse(1 - sprite.through.min(axis=2)) > COVERED, width_m))

    def _draw(self, material: str, number: int) -> Tuple[float, Any]:
        """Its longest side in metres and its sprite, the same whenever it is drawn."""
        rng = np.random.RandomState([drawn.MATERIALS.index(material),
                                     (self._options.seed * ITEMS_APART + number) % (MAX_SEED * ITEMS_APART)])
        length_m = self._options.item * rng.uniform(0.6, 1.0)
        return length_m, drawn.draw_sprite(material, rng, length_m * self._options.width / self._options.view)

    def sprite(self, item: BeltItem, pixels_per_metre: float) -> Sprite:
        """The item turned as it lies."""
        sprite = self._ahead.pop(item.number, None)
        if sprite is None:  # so many came at once that it was not kept
            sprite = self._draw(item.thing.class_name, item.number)[1]
        scale = item.thing.length_m * pixels_per_metre / sprite.width
        add, taken = turned(sprite.add, 1 - sprite.through, item.turn_rad, scale)
        return Sprite(1 - taken, add)


class Photographs:
    """The pictures of a folder whose sub-folders are classes, whole, as tiles; those with transparency as cut-outs.

    Each is shown once before any is shown again. Raises SourceError when there are none.
    """

    def __init__(self, folder: str, options: Options):
        self._options = options
        self._paths = [found.path for found in list_pictures(folder)] if os.path.isdir(folder) else []
        if not self._paths:
            raise SourceError("{}: no pictures in it; sim:FOLDER needs FOLDER/CLASS/*.jpg".format(folder))
        self._rng = np.random.RandomState(options.seed)
        self._order: Deque[int] = deque()

    def __call__(self, number: int) -> Thing:
        """The next picture that can be read."""
        for _ in range(len(self._paths)):
            if not self._order:
                self._order.extend(self._rng.permutation(len(self._paths)))
            path = self._paths[self._order.popleft()]
            try:
                picture = _picture(path)
            except PictureError:
                continue
            height, width = picture.shape[:2]
            scale = self._options.item / max(height, width)
            shape = None
            if not picture[..., 3].all():
                shape = shape_of(_coarse(picture[..., 3].astype(np.float32) / 255) > COVERED, width * scale)
            return Thing(os.path.basename(os.path.dirname(path)), path, number, width * scale, height * scale, shape)
        raise SourceError("{}: none of its pictures can be read".format(os.path.dirname(self._paths[0])))

    def sprite(self, item: BeltItem, pixels_per_metre: float) -> Sprite:
        """The photograph turned as it lies."""
        picture = _picture(item.thing.source)
        scale = item.thing.length_m * pixels_per_metre / picture.shape[1]
        if scale < 1:  # an area average first: warpAffine alone would alias
            size = (max(1, int(round(picture.shape[1] * scale))), max(1, int(round(picture.shape[0] * scale))))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            scale = item.thing.length_m * pixels_per_metre / picture.shape[1]
        cover = cv2.merge([picture[..., 3].astype(np.float32) / 255] * 3)
        add, cover = turned(picture[..., :3] * cover, cover, item.turn_rad, scale)
        return Sprite(1 - cover, add)


def _coarse(cover: np.ndarray) -> np.ndarray:
    """A cover, (h, w) float32, at no more than SHAPE_PX a side."""
    height, width = cover.shape
    scale = min(1.0, SHAPE_PX / max(height, width))
    return cv2.resize(cover, (max(1, int(round(width * scale))), max(1, int(round(height * scale)))),
                      interpolation=cv2.INTER_AREA)


def _picture(path: str) -> np.ndarray:
    """(h, w, 4) uint8 BGRA. Raises PictureError."""
    data = pictures.read_bytes(path)
    picture = pictures.decode(data)
    if path.lower().endswith(".png"):
        whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if whole is not None and whole.ndim == 3 and whole.shape[2] == 4 and whole.dtype == np.uint8:
            return whole
    return cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)


class TrueItem(NamedTuple):
    """What really passed: an item and when its middle crossed the line."""

    number: int
    class_name: str
    source: str
    line_mono_s: float
    touching: bool  # the one before or the one after
    length_m: float  # what it covers along the belt
    ejectors_mono_s: Tuple[float, ...] = ()  # when its middle is in front of each ejector


class SimulatedCamera:
    """The camera above the belt: read() waits for the next frame's time and draws it.

    on_item is told of each item when its front enters the view. With pace fast, frames come as fast as they are taken
    and are stamped as if the camera had kept its rate.
    """

    def __init__(self, folder: str, options: Options, clock: Clock = Clock(), travel: Optional[Travel] = None,
                 on_item: Callable[[TrueItem], None] = lambda item: None):
        """travel: how the belt moves, where not at options.speed. Raises SourceError."""
        self.options, self._clock, self._on_item = options, clock, on_item
        self.travel = travel or Travel([(0.0, options.speed)])
        upright = options.direction in ("up", "down")
        along, across = (options.height, options.width) if upright else (options.width, options.height)
        self.view = View(along, across, along / options.view, options.belt, options.line, options.direction)
        self._things: Any = Photographs(folder, options) if folder else DrawnThings(options)
        spacing = Spacing(options.belt, options.gap, options.touching, options.turn)
        start_m = self.view.line * self.view.along_m + EMPTY_S * options.speed
        self._coming = lay(self._things, spacing, start_m, np.random.RandomState(options.seed + 1), options.items)
        self._held: Optional[BeltItem] = None
        self._ended = False
        self._items: Deque[BeltItem] = deque()
        self._scene = Scene(self.view, Light(options.drift, 20.0, options.shake, options.noise), self._sprite,
                            np.random.RandomState(options.seed + 2))
        self._start_mono_s = clock.mono_s()
        self.number = self.dropped = 0

    def _sprite(self, item: BeltItem) -> Sprite:
        sprite = self._things.sprite(item, self.view.pixels_per_metre)
        at_line_s = self.travel.when(item.along_m)
        speed = self.travel.speed_at(at_line_s if math.isfinite(at_line_s) else 0.0)
        return blurred(sprite, abs(speed) * self.options.exposure / 1000 * self.view.pixels_per_metre)

    def read(self, stop: threading.Event) -> Optional[Tuple[float, np.ndarray]]:
        """Monotonic capture time and frame, (h, w, 3) uint8 BGR, the caller's own; None when the belt is empty for
        good or stop is set. Frames whose time is over are dropped, as a camera's are."""
        now_s = self._clock.mono_s() - self._start_mono_s
        if self.options.pace == "real":
            due = int(now_s * self.options.fps)
            if due > self.number:
                self.dropped += due - self.number
                self.number = due
            if self._clock.wait(stop, self.number / self.options.fps - now_s):
                return None
        if stop.is_set():
            return None
        time_s = self.number / self.options.fps
        self.number += 1
        travel_m = self.travel.at(time_s)
        self._move(travel_m)
        if self._ended and not self._items:
            return None
        picture = self._scene.draw(list(self._items), travel_m, time_s)
        return self._start_mono_s + time_s, picture

    def _move(self, travel_m: float) -> None:
        """Let items in that come into view; take those out that are past it by a view's length (a belt may reverse)."""
        view = self.view
        while not self._ended:
            if self._held is None:
                self._held = next(self._coming, None)
                if self._held is None:
                    self._ended = True
                    break
            ahead = self._held.along_m - self._held.half_along_m - travel_m
            if ahead > view.line * view.along_m + 0.05:
                break
            after = next(self._coming, None)
            self._admit(self._held, after)
            self._held, self._ended = after, after is None
        while self._items and (travel_m - self._items[0].along_m - self._items[0].half_along_m
                               > (1 - view.line) * view.along_m + 0.3):
            self._items.popleft()

    def _admit(self, item: BeltItem, after: Optional[BeltItem]) -> None:
        self._items.append(item)
        self._on_item(TrueItem(item.number, item.thing.class_name, path_text(item.thing.source),
                               self._start_mono_s + self.travel.when(item.along_m),
                               item.touching or bool(after is not None and after.touching), 2 * item.half_along_m,
                               tuple(self._start_mono_s + self.travel.when(item.along_m + distance)
                                     for distance in distances(self.options))))



class SimulatedBelt:
    """sim: and sim:FOLDER for the loop: the frames of the virtual camera."""

    moving = True

    def __init__(self, uri: str, stop: threading.Event, clock: Clock = Clock(),
                 tick: Callable[[], None] = lambda: None):
        """tick is called in the loop's thread while no frame is ready. Raises UsageError or SourceError, also when the
        file for the truth cannot be written."""
        folder, self.options = parse(uri)
        self._name, self._stop, self._clock = uri.partition("?")[0], stop, clock
        self._tick = tick
        self._truth: Optional[IO[str]] = None
        if self.options.truth:
            try:
                self._truth = open(self.options.truth, "w", buffering=1)
            except OSError as error:
                raise SourceError("source {}: truth={}: {}".format(uri, self.options.truth, error.strerror))
        self.camera = SimulatedCamera(folder, self.options, clock, on_item=self._note)

    @property
    def in_real_time(self) -> bool:
        """Whether frames come when the belt would be there."""
        return self.options.pace == "real"

    @property
    def geometry(self) -> Dict[str, Any]:
        """What [gate] would otherwise have to say."""
        return {"line": self.options.line, "direction": self.options.direction,
                "pixels_per_metre": self.camera.view.pixels_per_metre}

    @property
    def exposure_ms(self) -> float:
        """How long the shutter is open, which other cameras are told by [source] exposure_ms."""
        return self.options.exposure

    def _note(self, item: TrueItem) -> None:
        if self._truth is not None:
            self._truth.write(json.dumps(item._asdict()) + "\n")

    def __iter__(self) -> Iterator[Frame]:
        # Drawing ahead is for the fast pace: at the camera's own, a frame that waits is an old one
        if self.options.pace == "fast":
            return iter(Prefetch(self._frames(), stop=self._stop, tick=self._tick))
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        try:
            while not self._stop.is_set():
                taken = self.camera.read(self._stop)
                if taken is None:
                    return
                mono_s, image = taken
                name = "{}#{}".format(self._name, self.camera.number)
                wall_s = self._clock.wall_s() - self._clock.mono_s() + mono_s  # the frames' own time may run fast
                yield Frame(name, "", image, None, mono_s, wall_s, 0.0)
        finally:
            if self.camera.dropped:
                log.warning("source %s: %d of %d frames dropped, for nobody took them in time", self._name,
                            self.camera.dropped, self.camera.number)
            if self._truth is not None:
                self._truth.close()

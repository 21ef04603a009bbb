"""A virtual camera above a simulated belt: texture, items, light, blur, shake and noise, a frame at a time."""

import math
from typing import Callable, Dict, List, NamedTuple, Tuple

import cv2
import numpy as np

from edge.frames.belt_layout import BeltItem

RAIL = (150, 150, 146)  # BGR of the frame beside the belt
TURNS = {"right": None, "left": cv2.ROTATE_180, "down": cv2.ROTATE_90_CLOCKWISE, "up": cv2.ROTATE_90_COUNTERCLOCKWISE}


class View(NamedTuple):
    """What the camera sees. Pixels are counted along and across the belt, before the picture is turned."""

    along_px: int
    across_px: int
    pixels_per_metre: float
    belt_m: float  # width of the belt
    line: float  # where the line is, as a share of along_px
    direction: str  # in which the belt moves in the picture: right, left, up, down

    @property
    def along_m(self) -> float:
        """How much belt is seen."""
        return self.along_px / self.pixels_per_metre


class Light(NamedTuple):
    """What is wrong with the light and the camera."""

    drift: float  # slow change of the light, as a share of it
    drift_period_s: float
    shake_px: float
    noise: float  # standard deviation as a share of white


class Sprite(NamedTuple):
    """An item as the camera sees it, turned and blurred: ground * through + add."""

    through: np.ndarray  # (h, w, 3) float32, 0 to 1
    add: np.ndarray  # (h, w, 3) float32, 0 to 255


class Scene:
    """Draws frames; each picture that draw returns is the caller's own."""

    def __init__(self, view: View, light: Light, sprite_of: Callable[[BeltItem], Sprite], rng: np.random.RandomState):
        self.view, self.light, self._sprite_of = view, light, sprite_of
        self._pad = int(math.ceil(3 * light.shake_px))
        height, width = view.across_px + 2 * self._pad, view.along_px + 2 * self._pad
        self._texture = _texture(view, height, width, rng)
        self._period = self._texture.shape[1] - width  # pixels after which the texture repeats
        self._canvas = np.empty((height, width, 3), np.uint8)
        self._noise = rng.randint(0, 256, (view.across_px + 64, view.along_px + 64, 3)).astype(np.uint8)
        self._sprites: Dict[int, Sprite] = {}
        self._rng = rng
        self._shaken = np.zeros(2)

    def position(self, item: BeltItem, travel_m: float) -> Tuple[float, float]:
        """Where an item's middle is, in pixels along and across the unshaken view."""
        view = self.view
        along = view.line * view.along_px + (travel_m - item.along_m) * view.pixels_per_metre
        return along, view.across_px / 2 + item.across_m * view.pixels_per_metre

    def draw(self, items: List[BeltItem], travel_m: float, time_s: float) -> np.ndarray:
        """The frame, (h, w, 3) uint8 BGR, with the items of the list that are in view."""
        view, canvas = self.view, self._canvas
        start = int(-round(travel_m * view.pixels_per_metre)) % self._period
        canvas[:] = self._texture[:, start:start + canvas.shape[1]]
        self._draw_rails(canvas)
        for item in items:
            self._lay(item, self.position(item, travel_m))
        for number in [n for n in self._sprites if n < (items[0].number if items else n + 1)]:
            del self._sprites[number]
        return self._photograph(time_s)

    def _draw_rails(self, canvas: np.ndarray) -> None:
        edge = int(round((canvas.shape[0] - self.view.belt_m * self.view.pixels_per_metre) / 2))
        if edge > 0:
            canvas[:edge] = RAIL
            canvas[-edge:] = RAIL

    def _lay(self, item: BeltItem, middle: Tuple[float, float]) -> None:
        reach = self.view.along_px
        if not -reach < middle[0] < 2 * reach:
            return
        if item.number not in self._sprites:
            self._sprites[item.number] = self._sprite_of(item)
        sprite = self._sprites[item.number]
        height, width = sprite.add.shape[:2]
        left, top = middle[0] - width / 2 + self._pad, middle[1] - height / 2 + self._pad
        x, y = int(math.floor(left)), int(math.floor(top))
        x0, x1 = max(x, 0), min(x + width + 1, self._canvas.shape[1])
        y0, y1 = max(y, 0), min(y + height + 1, self._canvas.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        shift = np.array([[1.0, 0.0, left - x0], [0.0, 1.0, top - y0]])
        size = (x1 - x0, y1 - y0)
        under = self._canvas[y0:y1, x0:x1]
        mixed = under * cv2.warpAffine(sprite.through, shift, size, borderValue=(1.0, 1.0, 1.0))
        mixed += cv2.warpAffine(sprite.add, shift, size)
        under[:] = cv2.convertScaleAbs(mixed)

    def _photograph(self, time_s: float) -> np.ndarray:
        light, view = self.light, self.view
        if self._pad:
            self._shaken += self._rng.normal(0, 0.5, 2) * light.shake_px - 0.3 * self._shaken
        dx, dy = np.clip(np.rint(self._shaken), -self._pad, self._pad).astype(int) + self._pad
        seen = self._canvas[dy:dy + view.across_px, dx:dx + view.along_px]
        gain = 1 + light.drift * math.sin(2 * math.pi * time_s / light.drift_period_s)
        x, y = self._rng.randint(0, 64, 2)
        # uniform noise over 256 levels has a standard deviation of 73.9
        strength = light.noise * 255 / 73.9
        picture = cv2.addWeighted(seen, gain, self._noise[y:y + view.across_px, x:x + view.along_px], strength,
                                  -127.5 * strength)
        turn = TURNS[view.direction]
        return picture if turn is None else cv2.rotate(picture, turn)


def _texture(view: View, height: int, width: int, rng: np.random.RandomState) -> np.ndarray:
    """Belt that repeats along itself, (height, period + width, 3) uint8: dark rubber with ribs, scratches and dirt."""
    period = max(64, int(view.along_px * 1.37))
    base = np.array([rng.uniform(28, 75) * rng.uniform(0.85, 1.15) for _ in range(3)], np.float32)
    level = 1 + 0.15 * _tiled_noise(rng, height, period, 6) + 0.12 * _tiled_noise(rng, height, period, 60)
    ribs = max(1, int(round(period / (view.pixels_per_metre * rng.uniform(0.01, 0.04)))))
    level += 0.08 * np.sin(np.arange(period) * (2 * math.pi * ribs / period)).astype(np.float32)
    for _ in range(rng.randint(5, 25)):
        x, y, length = rng.randint(period), rng.randint(height), rng.randint(10, 120)
        end = (min(period - 1, x + length), int(np.clip(y + rng.randint(-6, 7), 0, height - 1)))
        cv2.line(level, (int(x), int(y)), (int(end[0]), end[1]), float(rng.uniform(0.6, 1.5)), 1, cv2.LINE_AA)
    texture = np.clip(level[..., None] * base, 0, 255).astype(np.uint8)
    repeats = 1 + int(math.ceil(width / period))
    return np.ascontiguousarray(np.concatenate([texture] * (1 + repeats), axis=1)[:, :period + width])


def _tiled_noise(rng: np.random.RandomState, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth noise that repeats from right to left, (height, width) float32."""
    across = max(2, cells * height // width)
    coarse = rng.normal(0, 0.6, (across, cells)).astype(np.float32)
    wide = cv2.resize(np.concatenate([coarse, coarse[:, :2]], 1), (width * (cells + 2) // cells, height),
                      interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(wide[:, width // cells:width // cells + width])


def turned(picture: np.ndarray, cover: np.ndarray, turn_rad: float, scale: float) -> Tuple[np.ndarray, np.ndarray]:
    """A picture and its cover, turned and scaled about their middle, into arrays that hold them whole.

    picture: (h, w, 3) float32, premultiplied; cover: (h, w, 3) float32. Returns both, (H, W, 3).
    """
    height, width = picture.shape[:2]
    cos, sin = math.cos(turn_rad) * scale, math.sin(turn_rad) * scale
    out_w = int(math.ceil(abs(width * cos) + abs(height * sin))) + 2
    out_h = int(math.ceil(abs(width * sin) + abs(height * cos))) + 2
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    matrix[:, 2] = np.array([out_w / 2 - 0.5, out_h / 2 - 0.5]) - matrix[:, :2].dot([(width - 1) / 2, (height - 1) / 2])
    return (cv2.warpAffine(picture, matrix, (out_w, out_h)), cv2.warpAffine(cover, matrix, (out_w, out_h)))


def blurred(sprite: Sprite, length_px: float) -> Sprite:
    """A sprite that moved by length_px while the shutter was open."""
    if length_px < 1:
        return sprite
    count = int(math.ceil(length_px)) | 1
    pad = count // 2
    through = cv2.copyMakeBorder(sprite.through, 0, 0, pad, pad, cv2.BORDER_CONSTANT, value=(1.0, 1.0, 1.0))
    add = cv2.copyMakeBorder(sprite.add, 0, 0, pad, pad, cv2.BORDER_CONSTANT)
    return Sprite(cv2.blur(through, (count, 1), borderType=cv2.BORDER_REPLICATE),
                  cv2.blur(add, (count, 1), borderType=cv2.BORDER_REPLICATE))

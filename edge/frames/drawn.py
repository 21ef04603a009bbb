"""Drawn items: pictures of the six materials that the project may ship, for the demo, the simulated belt and tests.

Each picture shows one item on a white board, lit by one lamp, taken by a small camera, in the manner of TrashNet
(https://github.com/garythung/trashnet), and is drawn from nothing but random numbers: no photograph goes into it.
The things themselves are in the _drawn files beside this one; here are the ground, the shadow and the camera.
"""

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint
from edge.frames import _drawn_plastic as plastic
from edge.frames import _drawn_rigid as rigid
from edge.frames import _drawn_sheets as sheets
from edge.frames import _drawn_trash as trash

MATERIALS = ("cardboard", "glass", "metal", "paper", "plastic", "trash")
GROUNDS = ("white", "grey", "belt")
MIN_SIZE_PX = 32

_KINDS = {
    "cardboard": sheets.CARDBOARD,
    "glass": rigid.GLASS,
    "metal": rigid.METAL,
    "paper": sheets.PAPER,
    "plastic": plastic.PLASTIC,
    "trash": trash.TRASH,
}
_GROUND_LEVELS = {"white": (178.0, 236.0), "grey": (95.0, 145.0), "belt": (28.0, 62.0)}
_WORKING_SHORT_SIDE = 160  # smaller pictures are drawn at this size and shrunk: rings and print need some pixels


def draw_item(material, rng, height_px=384, width_px=512, ground="white"):
    """Draw one item of a material, of a random kind, as a camera above it sees it.

    Args:
        material: one of MATERIALS.
        rng: np.random.RandomState, the only source of randomness; its state moves on.
        height_px, width_px: size of the picture in pixels, 32 or more each.
        ground: what the item lies on: "white" (a board), "grey" (a floor) or "belt" (dark rubber).

    Returns:
        (height_px, width_px, 3) uint8, BGR, contiguous and the caller's own.

    Raises:
        ValueError: material, size or ground is not one of those, in one line.
    """
    _check(material, height_px, width_px, ground)
    kind = paint.pick(rng, _KINDS[material])
    return _photograph(kind, rng, int(height_px), int(width_px), ground)


def draw_named(material, seed, height_px=384, width_px=512, ground="white"):
    """Draw the picture that belongs to (material, seed): the same one every time, as draw_item makes it.

    seed: 0 to 4294967295. Returns and raises as draw_item does; ValueError also for another seed.
    """
    _check(material, height_px, width_px, ground)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed!r}: expected a whole number from 0 to 4294967295")
    rng = np.random.RandomState([MATERIALS.index(material), int(seed)])
    return draw_item(material, rng, height_px, width_px, ground)


def draw_sprite(material, rng, length_px):
    """Draw one item of a material, of a random kind, on nothing: a Sprite, its longest side about length_px pixels.

    What lies behind shows through it: picture = ground * through + add.
    """
    _check(material, MIN_SIZE_PX, MIN_SIZE_PX, "belt")
    lamp, slant = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.45, 0.75)
    light = (slant * math.cos(lamp), slant * math.sin(lamp), math.sqrt(1.0 - slant * slant))
    return paint.pick(rng, _KINDS[material])(rng, int(min(max(length_px, 96.0), 640.0)), light)


def _check(material, height_px, width_px, ground):
    if material not in MATERIALS:
        raise ValueError("material {!r}: expected one of {}".format(material, ", ".join(MATERIALS)))
    for name, value in (("height_px", height_px), ("width_px", width_px)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < MIN_SIZE_PX:
            raise ValueError(f"{name} {value!r}: expected a whole number of pixels, {MIN_SIZE_PX} or more")
    if ground not in GROUNDS:
        raise ValueError("ground {!r}: expected one of {}".format(ground, ", ".join(GROUNDS)))


def _photograph(kind, rng, height, width, ground):
    """One item of that kind on a ground, (height, width, 3) uint8."""
    small = min(height, width) < _WORKING_SHORT_SIDE
    if small:
        enlarge = float(_WORKING_SHORT_SIDE) / min(height, width)
        final = (width, height)
        height, width = round(height * enlarge), round(width * enlarge)
    lamp = rng.uniform(0.0, 2.0 * math.pi)
    slant = rng.uniform(0.45, 0.75)
    light = (slant * math.cos(lamp), slant * math.sin(lamp), math.sqrt(1.0 - slant * slant))
    warmth = rng.uniform(-0.055, 0.055)
    colour_cast = np.array([1.0 - warmth, 1.0 + rng.uniform(-0.015, 0.015), 1.0 + warmth])
    colour_cast *= rng.uniform(0.85, 1.08)

    turn = rng.uniform(0.0, 2.0 * math.pi)
    cos, sin = math.cos(turn), math.sin(turn)
    # the item sees the lamp from its own side: turned back by its own turn
    seen = (light[0] * cos + light[1] * sin, -light[0] * sin + light[1] * cos, light[2])
    length = rng.uniform(0.62, 1.02) * min(height, width)
    # drawn a little small and enlarged: a quarter of the time saved, and no phone is sharper
    sprite = kind(rng, int(min(0.86 * length, 640.0)), seen)

    scale = length / max(sprite.height, sprite.width)
    centre_x = width * (0.5 + rng.uniform(-0.1, 0.1))
    centre_y = height * (0.5 + rng.uniform(-0.07, 0.07))
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]]) * scale
    middle = matrix[:, :2].dot([(sprite.width - 1) / 2.0, (sprite.height - 1) / 2.0])
    matrix[:, 2] = np.array([centre_x, centre_y]) - middle
    picture = _ground(rng, height, width, ground, light, sprite, matrix, colour_cast)
    _lay(picture, sprite, matrix, colour_cast)
    return _camera(rng, picture, final if small else None)


def _lay(picture, sprite, matrix, colour_cast):
    """Put the sprite on the picture, (h, w, 3) uint8, in place; only the part that it covers is touched."""
    ends = np.array([[0, 0, 1], [sprite.width, 0, 1], [0, sprite.height, 1], [sprite.width, sprite.height, 1]])
    ends = matrix.dot(ends.T)
    x0, y0 = np.maximum(np.floor(ends.min(axis=1)).astype(int) - 2, 0)
    x1, y1 = np.minimum(np.ceil(ends.max(axis=1)).astype(int) + 2, (picture.shape[1], picture.shape[0]))
    shifted = matrix - np.array([[0.0, 0.0, x0], [0.0, 0.0, y0]])
    size = (int(x1 - x0), int(y1 - y0))
    under = picture[y0:y1, x0:x1]
    mixed = under * cv2.warpAffine(sprite.through, shifted, size, borderValue=(1.0, 1.0, 1.0))
    mixed += cv2.warpAffine(cv2.transform(sprite.add, np.diag(colour_cast)), shifted, size)
    under[:] = cv2.convertScaleAbs(mixed)


def _ground(rng, height, width, ground, light, sprite, matrix, colour_cast):
    """The ground with the item's shadow, (h, w, 3) uint8; worked out small, for it is soft everywhere."""
    low_h, low_w = (height + 3) // 4, (width + 3) // 4
    base = rng.uniform(*_GROUND_LEVELS[ground])
    tint = np.array([rng.uniform(0.97, 1.03), 1.0, rng.uniform(0.97, 1.03)], np.float32)
    y, x = paint.grid(low_h, low_w)
    slope = rng.uniform(0.05, 0.3)
    bright = 1.0 + slope * ((x / low_w - 0.5) * light[0] + (y / low_h - 0.5) * light[1])
    bright = bright + rng.uniform(0.01, 0.08) * paint.noise(rng, low_h, low_w, 2, 2)
    bright = bright * (1.0 - rng.uniform(0.05, 0.25) * ((x / low_w - 0.5) ** 2 + (y / low_h - 0.5) ** 2))
    if ground == "belt":
        ribs = np.sin(y * rng.uniform(0.5, 1.5))
        bright = bright * (1.0 + 0.12 * ribs + 0.08 * paint.noise(rng, low_h, low_w, 30, 3))
    low = paint.shaded(base * tint * colour_cast, bright)

    # a clear thing throws a pale, coloured shadow: each colour has its own
    quarter = (max(1, sprite.width // 4), max(1, sprite.height // 4))
    taken = 1.0 - cv2.resize(sprite.through, quarter, interpolation=cv2.INTER_AREA)
    small = matrix * np.array([[float(sprite.width) / quarter[0], float(sprite.height) / quarter[1], 1.0]]) / 4.0
    taken = cv2.warpAffine(taken, small, (low_w, low_h))
    size = 0.25 * min(height, width)
    reach = rng.uniform(0.03, 0.11) * size
    blur = rng.uniform(0.02, 0.07) * size
    shift = np.array([[1.0, 0.0, -light[0] * reach * 1.6], [0.0, 1.0, -light[1] * reach * 1.6]])
    cast = cv2.GaussianBlur(cv2.warpAffine(taken, shift, (low_w, low_h)), (0, 0), blur)
    shift[:, 2] *= 0.25
    touch = cv2.GaussianBlur(cv2.warpAffine(taken, shift, (low_w, low_h)), (0, 0), 0.012 * size + 0.4)
    low *= (1.0 - rng.uniform(0.25, 0.6) * cast) * (1.0 - rng.uniform(0.2, 0.45) * touch)
    full = cv2.resize(cv2.convertScaleAbs(low), (width, height), interpolation=cv2.INTER_LINEAR)
    if ground == "grey":
        full = cv2.convertScaleAbs(paint.shaded(full, 1.0 + 0.07 * paint.grain(rng, height, width)))
    return full


def _camera(rng, picture, final):
    """Tone, blur, sensor noise and, for a small picture, the shrinking: (h, w, 3) uint8."""
    if rng.rand() < 0.6:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1))
    if final:
        picture = cv2.resize(picture, final, interpolation=cv2.INTER_AREA)
    # tone curve of a phone: lift the middle, roll off the whites
    levels = np.arange(256, dtype=np.float64) / 255.0
    gamma = rng.uniform(0.85, 1.1)
    curve = np.round(255.0 * np.clip(levels**gamma, 0.0, 1.0)).astype(np.uint8)
    picture = cv2.LUT(picture, curve)
    strength = rng.uniform(0.01, 0.07)
    one = np.frombuffer(rng.bytes(picture.size // 3), np.uint8).reshape(picture.shape[:2])
    # one draw serves all three colours, moved apart: it looks the same and costs a third
    speckle = cv2.merge([one, np.roll(one, 7, axis=0), np.roll(one, 11, axis=1)])
    return cv2.addWeighted(picture, 1.0, speckle, strength, -127.5 * strength)

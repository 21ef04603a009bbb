"""Drawn strangers: pictures of what is none of the classes, from nothing but random numbers.

A hand, a tool, an animal, an empty belt, a spoilt frame: they lie on the grounds of edge.frames.drawn, under its lamp
and before its camera, so that a network cannot tell them from known items by anything but the thing itself.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint
from edge.frames import drawn
from trainer import _strange_finds as finds
from trainer import _strange_things as things

GROUNDS = ("white", "white", "grey", "belt")  # most items are photographed on white
_WORKING_SHORT_SIDE = 160  # as in edge.frames.drawn: smaller pictures are drawn at this size and shrunk
_BELTS = ((45, 90, 45), (110, 70, 35), (40, 42, 44), (120, 122, 125), (205, 210, 212), (55, 60, 130), (75, 110, 120))


def draw_stranger(kind: str, seed: int, height: int = 384, width: int = 512) -> np.ndarray:
    """Draw the stranger that belongs to (kind, seed): the same one every time.

    kind: one of KINDS. Returns (height, width, 3) uint8, BGR. Raises ValueError for another kind, a seed that is not
    from 0 to 4294967295, or a side below 32 pixels.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind {kind!r}: expected one of {', '.join(KINDS)}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed!r}: expected a whole number from 0 to 4294967295")
    if min(height, width) < drawn.MIN_SIZE_PX:
        raise ValueError(f"{height} x {width} pixels: {drawn.MIN_SIZE_PX} or more a side are expected")
    rng = np.random.RandomState([77, KINDS.index(kind), int(seed)])
    final = None
    if min(height, width) < _WORKING_SHORT_SIDE:
        enlarge = _WORKING_SHORT_SIDE / min(height, width)
        final = (width, height)
        height, width = round(height * enlarge), round(width * enlarge)
    picture = _KINDS[kind](rng, height, width)
    if kind == "spoilt":  # its trouble comes behind the lens
        return picture if final is None else cv2.resize(picture, final, interpolation=cv2.INTER_AREA)
    return drawn._camera(rng, picture, final)


def _thing(draw, reach: tuple[float, float] = (0.55, 1.05)):
    """A painter of pictures (rng, height, width) that show one thing on a ground."""
    def paint_picture(rng, height: int, width: int) -> np.ndarray:
        light, cast = _lamp(rng)
        turn = rng.uniform(0.0, 2.0 * math.pi)
        cos, sin = math.cos(turn), math.sin(turn)
        seen = (light[0] * cos + light[1] * sin, -light[0] * sin + light[1] * cos, light[2])
        length = rng.uniform(*reach) * min(height, width)
        sprite = draw(rng, int(min(0.9 * length, 600.0)), seen)
        scale = length / max(sprite.height, sprite.width)
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]]) * scale
        centre = np.array([width * (0.5 + rng.uniform(-0.1, 0.1)), height * (0.5 + rng.uniform(-0.07, 0.07))])
        if draw is things.hand:  # it comes in over the edge: its lower end is moved out of the picture
            centre += matrix[:, :2].dot([0.0, sprite.height * rng.uniform(0.1, 0.3)])
        matrix[:, 2] = centre - matrix[:, :2].dot([(sprite.width - 1) / 2.0, (sprite.height - 1) / 2.0])
        picture = drawn._ground(rng, height, width, paint.pick(rng, GROUNDS), light, sprite, matrix, cast)
        drawn._lay(picture, sprite, matrix, cast)
        return picture
    return paint_picture


def _lamp(rng) -> tuple[tuple[float, float, float], np.ndarray]:
    """Direction of the light, and its colour."""
    lamp, slant, warmth = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.45, 0.75), rng.uniform(-0.07, 0.07)
    light = (slant * math.cos(lamp), slant * math.sin(lamp), math.sqrt(1.0 - slant * slant))
    return light, np.array([1.0 - warmth, 1.0, 1.0 + warmth]) * rng.uniform(0.8, 1.1)


def _empty(rng, height: int, width: int) -> np.ndarray:
    """Nothing on a board or floor, or nothing on a belt of some colour, weave and wear."""
    light, cast = _lamp(rng)
    if rng.rand() < 0.4:
        nothing, ground = paint.Sprite(8, 8), paint.pick(rng, drawn.GROUNDS)
        return drawn._ground(rng, height, width, ground, light, nothing, np.eye(2, 3), cast)
    y, x = paint.grid(height, width)
    along, across = (x, y) if rng.rand() < 0.5 else (y, x)
    length, breadth = (width, height) if along is x else (height, width)
    pitch = rng.uniform(3.0, 16.0) * min(height, width) / 384.0 + 2.0
    phase = 2.0 * math.pi / pitch
    flat = np.zeros((height, width), np.float32)
    weave = (flat, np.sin(along * phase) + flat, np.sin((x + y) * phase) * np.sin((x - y) * phase),
             np.sin(x * phase) * np.sin(y * phase), np.exp(-6.0 * (np.sin(along * phase / 12.0) ** 2)) * 2.0 + flat,
             0.6 * paint.grain(rng, height, width))[rng.randint(6)]
    bright = 1.0 + rng.uniform(0.03, 0.12) * weave + 0.05 * paint.noise(rng, height, width, 3, 3, 3)
    bright = bright + rng.uniform(0.0, 0.35) * ((x / width - 0.5) * light[0] + (y / height - 0.5) * light[1])
    bright = bright + rng.uniform(0.0, 0.3) * paint.bump(across, breadth * rng.uniform(0.2, 0.8), breadth * 0.2)
    wear = paint.noise(rng, height, width, *((40, 2) if along is x else (2, 40)), 2)  # scratches run along it
    bright = bright * (1.0 + rng.uniform(0.0, 0.12) * wear)
    picture = paint.shaded(np.asarray(paint.pick(rng, _BELTS), np.float32) * cast, bright)
    dirt = paint.ramp(paint.noise(rng, height, width, 5, 5, 3) * 3.0 - rng.uniform(1.0, 3.0))
    paint.ink_on(picture, 0.5 * dirt, (50.0, 60.0, 70.0))
    if rng.rand() < 0.4:  # a seam
        paint.ink_on(picture, 0.6 * paint.bump(along + 0.2 * across, length * rng.uniform(0.2, 0.9), 2.0) + flat,
                     (25.0, 25.0, 25.0))
    if rng.rand() < 0.5:  # the frame beside the belt
        edge = breadth * rng.uniform(0.06, 0.2)
        rail = paint.ramp(edge - across) + (paint.ramp(across - breadth + edge) if rng.rand() < 0.6 else 0.0) + flat
        steel = (0.8 + 0.2 * paint.noise(rng, height, width, 2, 8, 2)) * rng.uniform(0.6, 1.0)
        paint.ink_on(picture, paint.ramp(cv2.GaussianBlur(rail, (0, 0), 6.0)) * 0.6, (15.0, 15.0, 15.0))
        picture = picture * (1.0 - rail[..., None]) + paint.shaded((170.0, 172.0, 172.0), steel) * rail[..., None]
    return cv2.convertScaleAbs(picture)


def _spoilt(rng, height: int, width: int) -> np.ndarray:
    """A frame that shows nothing: dark, blown out, noise, out of focus, smeared, torn or covered."""
    scene = _empty(rng, height, width) if rng.rand() < 0.4 else _thing(paint.pick(rng, THINGS))(rng, height, width)
    scene, kind = scene.astype(np.float32), rng.randint(7)
    noise = rng.normal(0.0, 1.0, (height, width, 3)).astype(np.float32)
    if kind == 0:  # dark
        scene = scene * rng.uniform(0.0, 0.05) + noise * rng.uniform(0.5, 6.0)
    elif kind == 1:  # blown out
        scene = scene * rng.uniform(3.0, 9.0) + rng.uniform(60.0, 200.0) + noise * 2.0
    elif kind == 2:  # noise alone, coarse or fine
        cell = paint.pick(rng, (1, 2, 4, 12))
        small = rng.randint(0, 256, (height // cell + 1, width // cell + 1, paint.pick(rng, (1, 3)))).astype(np.float32)
        scene = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
        scene = np.repeat(scene, 3 // scene.shape[2], axis=2)
    elif kind == 3:  # out of focus
        scene = cv2.GaussianBlur(scene, (0, 0), min(height, width) * rng.uniform(0.07, 0.2)) + noise * 2.0
    elif kind == 4:  # smeared
        reach = int(min(height, width) * rng.uniform(0.4, 0.9)) | 1
        scene = cv2.blur(scene, (reach, 3) if rng.rand() < 0.5 else (3, reach)) + noise * 2.0
    elif kind == 5:  # torn: the lower lines repeat or are missing
        row = int(height * rng.uniform(0.05, 0.4))
        scene[row:] = scene[row] if rng.rand() < 0.5 else np.asarray(paint.pick(rng, ((0, 0, 0), (128, 128, 128),
                                                                                      (0, 135, 0))), np.float32)
    else:  # something right before the lens
        scene = paint.shaded(paint.vivid(rng, 0.6), 1.0 + 0.25 * paint.noise(rng, height, width, 2, 2, 1)) + noise * 2.0
    return np.clip(scene, 0, 255).astype(np.uint8)


THINGS = (things.hand, things.tool, things.animal, finds.shoe, finds.cable, finds.stone, finds.plant,
           finds.electronics)
_KINDS = {
    "empty": _empty, "hand": _thing(things.hand, (0.95, 1.5)), "tool": _thing(things.tool, (0.7, 1.15)),
    "animal": _thing(things.animal, (0.7, 1.2)), "shoe": _thing(finds.shoe, (0.6, 1.1)),
    "cable": _thing(finds.cable), "stone": _thing(finds.stone), "plant": _thing(finds.plant),
    "electronics": _thing(finds.electronics), "spoilt": _spoilt,
}
KINDS = tuple(_KINDS)

"""More things that are none of the materials: shoes, cables, stones, plants, electronics. See _strange_things.py."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint
from edge.frames import _drawn_rigid as rigid
from trainer._strange_things import _PLASTIC, _WOOD, _body, _dot, _fill, _limb, _mask, _tint

_LEATHER = ((30, 30, 34), (35, 60, 105), (60, 95, 150), (200, 200, 205), (120, 60, 35), (40, 40, 150))
_STONE = ((120, 125, 130), (95, 110, 125), (150, 160, 165), (75, 78, 80), (105, 130, 155))
_LEAF = ((50, 130, 70), (45, 95, 60), (50, 150, 185), (45, 85, 150), (40, 60, 105))


def _curve(points, count: int) -> np.ndarray:
    """Points (n, 2) joined by a Catmull-Rom spline, (about count, 2)."""
    points = np.asarray(points, float)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0.0, 1.0, max(2, count // (len(points) - 1)))[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack(parts)


def shoe(rng, size, light):
    """A shoe from its side: sole, upper, toe cap, collar, laces."""
    height, width = int(size * rng.uniform(0.45, 0.62)), size
    sprite, high = paint.Sprite(height, width), 1.0 if rng.rand() < 0.5 else 0.6
    top = height * (0.06 if high == 1.0 else 0.25)
    sole_top = height * rng.uniform(0.76, 0.82)
    upper = _curve([(width * 0.04, sole_top), (width * 0.03, height * 0.5), (width * 0.07, top),
                    (width * 0.2, top * 1.3), (width * 0.36, top * 1.1), (width * 0.48, height * 0.4),
                    (width * 0.72, height * 0.53), (width * 0.93, height * 0.66), (width * 0.97, sole_top)], 120)
    cover = paint.polygon(height, width, upper)
    colour = np.empty((height, width, 3), np.float32)
    colour[:] = _tint(rng, paint.pick(rng, _LEATHER))
    y, x = paint.grid(height, width)
    accent = _tint(rng, paint.pick(rng, _LEATHER))
    if rng.rand() < 0.6:
        paint.ink_on(colour, paint.ramp((x - width * 0.78) * 0.4 + 0.0 * y), accent)
    if rng.rand() < 0.6:
        band = _curve([(width * 0.3, sole_top), (width * 0.45, height * 0.62), (width * 0.62, height * 0.6)], 40)
        stripe = _mask(height, width)
        cv2.polylines(stripe, [band.astype(np.int32)], False, 255, max(2, int(height * 0.09)), cv2.LINE_AA)
        paint.ink_on(colour, stripe.astype(np.float32) / 255.0, paint.vivid(rng))
    creased = 1.4 * paint.noise(rng, height, width, 8, 12, 2) * size / 300.0
    _body(sprite, colour, cover, light, height * 0.2, creased, 1.5, rng.uniform(0.0, 0.35), 16.0)
    mouth = paint.disc(height, width, width * 0.215, top * 1.25, width * 0.145, height * 0.05)[2]
    sprite.over((22.0, 24.0, 28.0), mouth * cover)
    seams = _mask(height, width)
    for at in (0.3, 0.76):
        line = _curve([(width * at, height * 0.35), (width * (at + 0.03), height * 0.6), (width * at, sole_top)], 30)
        cv2.polylines(seams, [line.astype(np.int32)], False, 255, 1, cv2.LINE_AA)
    sprite.over(accent * 0.4, 0.7 * cover * seams.astype(np.float32) / 255.0)
    laces = _mask(height, width)
    for k in range(5):
        at = np.array([width * (0.4 + 0.055 * k), height * (0.3 + 0.055 * k)])
        _limb(laces, at, at + [width * 0.075, -height * 0.05 + rng.normal()], size / 120.0, size / 120.0)
    _body(sprite, _tint(rng, paint.pick(rng, ((225, 228, 230), (30, 30, 32), (60, 80, 190)))),
          laces.astype(np.float32) / 255.0, light, size / 100.0, 0.0, 0.8, 0.0)
    sole = _curve([(width * 0.02, sole_top), (width * 0.5, sole_top + height * 0.01), (width * 0.985, sole_top),
                   (width * 0.99, height * 0.9), (width * 0.9, height * 0.97), (width * 0.5, height * 0.95),
                   (width * 0.08, height * 0.98), (width * 0.015, height * 0.9), (width * 0.02, sole_top)], 100)
    rubber = _tint(rng, paint.pick(rng, ((215, 220, 222), (35, 36, 38), (70, 110, 150))))
    ribs = 0.8 * np.sin(x * 240.0 / width) * (y > height * 0.88)
    _body(sprite, rubber, paint.polygon(height, width, sole), light, height * 0.05, ribs.astype(np.float32), 1.0, 0.1)
    return sprite


def cable(rng, size, light):
    """A cable in loops with a plug."""
    height, width = int(size * rng.uniform(0.7, 1.0)), size
    sprite, thick = paint.Sprite(height, width), size * rng.uniform(0.012, 0.028)
    loops, points = rng.randint(1, 4), []
    spin = rng.uniform(0, 6.3)
    for k in range(loops * 7 + 3):
        angle, reach = spin + k * 0.9, rng.uniform(0.24, 0.4)
        points.append((width * (0.5 + reach * math.cos(angle)), height * (0.5 + reach * math.sin(angle))))
    points.append((width * rng.uniform(0.08, 0.2), height * rng.uniform(0.1, 0.9)))
    line = np.clip(_curve(points, 60 * loops), thick * 2, [width - thick * 2, height - thick * 2])
    colour = _tint(rng, paint.pick(rng, _PLASTIC + ((215, 218, 220), (90, 90, 92))))
    tones = ((2.3, 0.0, 0.3), (2.0, 0.0, 0.6), (1.5, 0.15, 0.85), (1.0, 0.3, 1.0), (0.35, 0.45, 1.45))
    for start in range(0, len(line) - 1, 6):  # piece by piece, so that it lies over itself
        for layer, (wide, towards, bright) in enumerate(tones):  # from its dark rim to its highlight
            # each starts before the last, so that no round end of a darker one stays on the piece before
            moved = line[max(0, start - 3 * layer):start + 8] + np.array(light[:2]) * thick * towards
            x0, y0 = np.maximum(np.floor(moved.min(0) - 1.5 * thick - 2), 0).astype(int)
            x1, y1 = np.ceil(moved.max(0) + 1.5 * thick + 2).astype(int)
            part = sprite.part(slice(y0, y1), slice(x0, x1))
            mask = _mask(part.height, part.width)
            cv2.polylines(mask, [np.round((moved - [x0, y0]) * 16).astype(np.int32)], False, 255,
                          max(1, round(wide * thick)), cv2.LINE_AA, 4)
            part.over(np.minimum(colour * bright, 250.0), mask.astype(np.float32) / 255.0)
    end, before = line[-1], line[-6]
    along = (end - before) / max(float(np.hypot(*(end - before))), 1e-6)
    across, prongs, plug = np.array([-along[1], along[0]]), _mask(height, width), _mask(height, width)
    for s in (-1, 1):
        root = end + along * thick * 4 + across * s * thick * 1.2
        _limb(prongs, root, root + along * thick * 4, thick * 0.45, thick * 0.4)
    _limb(plug, end - along * thick, end + along * thick * 4, thick * 1.4, thick * 2.3)
    _body(sprite, (170.0, 175.0, 180.0), prongs.astype(np.float32) / 255.0, light, thick * 0.5, 0.0, 0.7, 0.8)
    _body(sprite, colour * 0.9, plug.astype(np.float32) / 255.0, light, thick * 1.5, 0.0, 1.0, 0.4)
    return sprite


def stone(rng, size, light):
    """A stone, a piece of brick or a few pebbles."""
    height, width = int(size * rng.uniform(0.6, 0.95)), size
    sprite = paint.Sprite(height, width)
    for _ in range(paint.pick(rng, (1, 1, 1, 4, 7))):
        single = rng.uniform(0.9, 1.0) if not sprite.add.any() else rng.uniform(0.25, 0.45)
        h, w = max(16, int(height * single)), max(16, int(width * single))
        y0, x0 = rng.randint(0, height - h + 1), rng.randint(0, width - w + 1)
        cover = paint.blob(rng, h, w, rng.randint(9, 26), rng.uniform(0.05, 0.3), rng.uniform(0.0, 0.5))
        base = (60, 85, 165) if rng.rand() < 0.15 else paint.pick(rng, _STONE)
        grains = 1.0 + 0.14 * paint.grain(rng, h, w) + 0.16 * paint.noise(rng, h, w, 6, 6, 4)
        colour = paint.shaded(_tint(rng, base), grains)
        if rng.rand() < 0.4:  # a vein of another mineral
            vein = paint.ramp(1.0 - 16.0 * np.abs(paint.noise(rng, h, w, 2, 2, 2)))
            paint.ink_on(colour, 0.7 * vein, (210.0, 212.0, 215.0))
        rough = (0.06 * paint.noise(rng, h, w, 4, 4, 4) + 0.005 * paint.grain(rng, h, w)) * min(h, w)
        _body(sprite.part(slice(y0, y0 + h), slice(x0, x0 + w)), colour, cover, light, min(h, w) * 0.42, rough,
              1.0, 0.05, 8.0)
    return sprite


def plant(rng, size, light):
    """Leaves, a twig or a piece of board."""
    return paint.pick(rng, (_leaves, _leaves, _twig, _board))(rng, size, light)


def _leaf(rng, length, light):
    height, width = max(16, int(length * rng.uniform(0.4, 0.6))), length
    middle, bend = height / 2.0, height * rng.uniform(-0.15, 0.15)
    t = np.linspace(0.0, 1.0, 60)
    ridge = middle + bend * np.sin(t * math.pi)
    half = 0.42 * height * np.sin(math.pi * t ** rng.uniform(0.6, 1.0)) ** rng.uniform(0.7, 1.2)
    half = half * (1.0 + rng.uniform(0.0, 0.12) * np.sin(t * rng.randint(30, 90)))
    down, reach = width * (0.14 + 0.85 * t), half
    cover = paint.polygon(height, width, np.vstack([np.stack([down, ridge - reach], 1),
                                                    np.stack([down, ridge + reach], 1)[::-1]]))
    stem, veins = _mask(height, width), _mask(height, width)
    _limb(stem, (2, middle), (width * 0.2, ridge[4]), height * 0.018 + 0.8, height * 0.018 + 0.8)
    cv2.polylines(veins, [np.stack([down, ridge], 1).astype(np.int32)], False, 255, max(1, length // 90), cv2.LINE_AA)
    for k in range(6, 54, 6):
        for s in (-1, 1):
            end = (int(down[k] + width * 0.11), int(ridge[k] + s * half[k] * 1.1))
            cv2.line(veins, (int(down[k]), int(ridge[k])), end, 170, 1, cv2.LINE_AA)
    ribs = cv2.GaussianBlur(veins, (0, 0), 0.8).astype(np.float32) / 255.0
    sprite, base = paint.Sprite(height, width), _tint(rng, paint.pick(rng, _LEAF), 0.25)
    colour = paint.shaded(base, 1.0 + 0.18 * paint.noise(rng, height, width, 5, 8, 3))
    paint.ink_on(colour, paint.ramp(paint.noise(rng, height, width, 5, 7, 3) * 6.0 - 3.2), base * (0.4, 0.5, 0.75))
    sprite.over(base * 0.7, stem.astype(np.float32) / 255.0)
    waves = 0.05 * height * paint.noise(rng, height, width, 2, 4, 2) + 1.5 * ribs
    _body(sprite, colour, cover, light, height * 0.05, waves, 1.0, 0.15, 12.0)
    sprite.over(np.minimum(base * 1.35, 240.0), 0.45 * ribs * cover)
    return sprite


def _leaves(rng, size, light):
    sprite = paint.Sprite(size, size)
    for index in range(paint.pick(rng, (1, 1, 3, 6))):
        leaf = _leaf(rng, int(size * (rng.uniform(0.8, 0.98) if index == 0 else rng.uniform(0.4, 0.7))), light)
        turn = rng.uniform(0, 360)
        matrix = cv2.getRotationMatrix2D((leaf.width / 2.0, leaf.height / 2.0), turn, 0.95)
        spread = 0.0 if index == 0 else 0.24 * size
        matrix[:, 2] += [size / 2.0 - leaf.width / 2.0 + rng.uniform(-spread, spread),
                         size / 2.0 - leaf.height / 2.0 + rng.uniform(-spread, spread)]
        sprite.through *= cv2.warpAffine(leaf.through, matrix, (size, size), borderValue=(1.0, 1.0, 1.0))
        keep = cv2.warpAffine(leaf.through, matrix, (size, size), borderValue=(1.0, 1.0, 1.0))
        sprite.add *= keep
        sprite.add += cv2.warpAffine(leaf.add, matrix, (size, size))
    return sprite


def _twig(rng, size, light):
    height, width = int(size * 0.5), size
    mask, thick = _mask(height, width), size * rng.uniform(0.018, 0.04)
    line = _curve([(thick + 2, height * rng.uniform(0.3, 0.7)), (width * 0.35, height * rng.uniform(0.35, 0.65)),
                   (width * 0.7, height * rng.uniform(0.35, 0.65)),
                   (width - thick, height * rng.uniform(0.3, 0.7))], 60)
    for k, (start, end) in enumerate(zip(line[:-1], line[1:], strict=True)):
        taper = 1.0 - 0.6 * k / len(line)
        _limb(mask, start, end, thick * taper, thick * taper)
    for k in rng.randint(8, len(line) - 6, rng.randint(1, 4)):
        angle = rng.choice((-1, 1)) * rng.uniform(0.5, 1.0)
        end = line[k] + size * rng.uniform(0.08, 0.2) * np.array([math.cos(angle), math.sin(angle)])
        _limb(mask, line[k], end, thick * 0.5, thick * 0.2)
    sprite = paint.Sprite(height, width)
    bark = 1.0 + 0.3 * paint.noise(rng, height, width, 30, 12, 3) + 0.1 * paint.grain(rng, height, width)
    _body(sprite, paint.shaded(_tint(rng, (60, 80, 100), 0.3), bark), mask.astype(np.float32) / 255.0, light, thick,
          1.2 * paint.noise(rng, height, width, 40, 20, 2), 0.8, 0.0)
    return sprite


def _board(rng, size, light):
    height, width = int(size * rng.uniform(0.2, 0.5)), size
    y, x = paint.grid(height, width)
    broken = 0.03 * width * paint.noise(rng, height, width, 12, 2, 3)
    cover = paint.ramp(x - 3 + broken * (x < width / 2)) * paint.ramp(width - 4 - x - broken) * paint.ramp(y - 1)
    cover = cover * paint.ramp(height - 2 - y)
    knot_x, knot_y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.8)
    far = np.sqrt(((x - knot_x) / (0.1 * width)) ** 2 + ((y - knot_y) / (0.2 * height)) ** 2)
    rings = y / height * rng.uniform(8, 18) + 2.5 * np.exp(-far) + 0.8 * paint.noise(rng, height, width, 2, 3, 2)
    grain = 1.0 + 0.12 * np.sin(rings * 6.3) + 0.06 * paint.noise(rng, height, width, 60, 4, 1)
    grain = grain * (1.0 - 0.5 * paint.ramp((0.35 - far) * 6.0))
    sprite = paint.Sprite(height, width)
    _body(sprite, paint.shaded(_tint(rng, paint.pick(rng, _WOOD)), grain), cover.astype(np.float32), light,
          height * 0.04, 0.0, 1.0, 0.05)
    holes = _mask(height, width)
    for at in (0.08, 0.92):
        _dot(holes, (width * at, height * rng.uniform(0.3, 0.7)), size / 110.0)
    sprite.over((45.0, 48.0, 55.0), holes.astype(np.float32) / 255.0 * cover)
    return sprite


def electronics(rng, size, light):
    """A battery or a circuit board."""
    return paint.pick(rng, (_battery, _circuit_board))(rng, size, light)


def _battery(rng, size, light):
    height, width = size, max(16, int(size * rng.uniform(0.26, 0.42)))
    sprite, radius, cap = paint.Sprite(height, width), width / 2.0 - 2.0, height * 0.035
    outline = [(0.0, radius * 0.36), (0.032, radius * 0.36), (0.036, radius * 0.95), (0.06, radius), (0.98, radius),
               (1.0, radius * 0.93)]
    across, normal, cover = paint.turned(paint.profile(height, outline, 0.004), width)
    y, x = paint.grid(height, width)
    first, second = (_tint(rng, colour) for colour in
                     paint.pick(rng, (((40, 120, 190), (25, 25, 28)), ((30, 30, 170), (200, 200, 205)),
                                      ((30, 200, 235), (30, 30, 32)), ((170, 90, 30), (200, 205, 205)))))
    colour = np.empty((height, width, 3), np.float32)
    colour[:] = second
    colour[:int(height * rng.uniform(0.25, 0.4))] = first
    word_h = int(height * 0.4)
    word = cv2.rotate(paint.word_mask(rng, max(7, int(width * 0.45)), word_h), cv2.ROTATE_90_CLOCKWISE)
    x0, y0 = (width - word.shape[1]) // 2, int(height * 0.45)
    ink = (240.0, 240.0, 240.0) if float(second.mean()) < 120 else (30.0, 30.0, 30.0)
    paint.ink_on(colour[y0:y0 + word.shape[0], x0:x0 + word.shape[1]], word, ink)
    steel = paint.ramp((cap * 1.7 - y) * 0.8) + paint.ramp((y - height + cap) * 0.8) + 0.0 * x
    paint.ink_on(colour, np.minimum(steel, 1.0), (190.0, 192.0, 195.0))
    sprite.over(rigid.turned_paint(colour, across, normal, light), cover)
    sprite.shine(0.5 * rigid.streaks(rng, across, light, 3), cover)
    return sprite


def _circuit_board(rng, size, light):
    height, width = int(size * rng.uniform(0.5, 0.95)), size
    board = _tint(rng, paint.pick(rng, ((60, 110, 25), (50, 90, 20), (120, 60, 20), (30, 32, 30), (40, 30, 150))))
    colour, traces = np.empty((height, width, 3), np.float32), _mask(height, width)
    colour[:] = board
    pitch = max(3, size // 60)
    for _ in range(rng.randint(30, 60)):  # traces run straight and at 45 degrees
        at = np.array([rng.randint(0, width), rng.randint(0, height)])
        for _ in range(rng.randint(2, 5)):
            step = np.array(paint.pick(rng, ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1)))) * pitch
            end = at + step * rng.randint(2, 10)
            cv2.line(traces, tuple(int(v) for v in at), tuple(int(v) for v in end), 255, max(1, pitch // 3),
                     cv2.LINE_AA)
            at = end
        cv2.circle(traces, tuple(int(v) for v in at), max(1, pitch // 2), 255, -1, cv2.LINE_AA)
    paint.ink_on(colour, 0.7 * traces.astype(np.float32) / 255.0, np.minimum(board * 1.5 + 25.0, 240.0))
    cover = paint.round_box(height, width, 2, 2, width - 3, height - 3, size * 0.02)
    sprite = paint.Sprite(height, width)
    _body(sprite, colour, cover, light, 2.0, 0.0, 0.8, 0.1)
    for _ in range(rng.randint(8, 22)):
        long, wide = int(size * rng.uniform(0.04, 0.2)), int(size * rng.uniform(0.03, 0.12))
        x0, y0 = rng.randint(4, max(5, width - long - 4)), rng.randint(4, max(5, height - wide - 4))
        pins, part = _mask(height, width), paint.pick(rng, ("chip", "chip", "can", "small"))
        if part == "can":
            ring = paint.disc(height, width, x0 + wide / 2, y0 + wide / 2, wide / 2.2, wide / 2.2)[2]
            _body(sprite, _tint(rng, paint.pick(rng, ((185, 188, 190), (40, 40, 45), (150, 90, 40)))), ring, light,
                  wide * 0.12, 0.0, 0.8, 0.6)
            continue
        if part == "small":
            long, wide = max(4, pitch * 2), max(3, pitch)
        for at in range(x0 + pitch // 2, x0 + long, max(2, pitch)):
            _fill(pins, [(at, y0 - pitch * 0.6), (at + pitch * 0.4, y0 - pitch * 0.6),
                         (at + pitch * 0.4, y0 + wide + pitch * 0.6), (at, y0 + wide + pitch * 0.6)])
        sprite.over((175.0, 185.0, 190.0), pins.astype(np.float32) / 255.0 * cover)
        box = paint.round_box(height, width, x0, y0, x0 + long, y0 + wide, 1.5)
        _body(sprite, _tint(rng, paint.pick(rng, ((32, 32, 34), (32, 32, 34), (200, 205, 205), (90, 140, 170)))), box,
              light, 2.5, 0.0, 0.7, 0.25)
        if long > 8 * pitch:
            print_on = paint.text_mask(rng, max(4, wide // 2), max(8, long // 2), 2)
            sprite.part(slice(y0 + wide // 4, y0 + wide // 4 + print_on.shape[0]),
                        slice(x0 + long // 4, x0 + long // 4 + print_on.shape[1])).over((170.0, 170.0, 170.0),
                                                                                        0.6 * print_on)
    return sprite

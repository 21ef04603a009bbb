"""Things for the residual bin, for drawn.py. Private; the same contract as _drawn_rigid.py."""

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint
from edge.frames import _drawn_rigid as rigid


def _stains(rng, height, width, amount):
    """Where dirt sits, (h, w), 0 to 1."""
    return paint.ramp((paint.noise(rng, height, width, 3, 3, 3) - 0.55 + amount) * 2.2)


_FOOD = ((45.0, 95.0, 140.0), (55.0, 150.0, 190.0), (40.0, 70.0, 100.0), (50.0, 110.0, 90.0), (205.0, 215.0, 220.0))
_DIRT = ((30.0, 55.0, 85.0), (25.0, 40.0, 60.0), (40.0, 95.0, 150.0), (35.0, 45.0, 110.0))


def crisp_bag(rng, size, light):
    """A crisp or sweet wrapper: printed film, silver inside out in places, sealed zigzag ends, crumpled, greasy."""
    height, width = size, int(size * rng.uniform(0.55, 0.9))
    sprite = paint.Sprite(height, width)
    teeth = np.arange(0, width + 1, max(3.0, width / 40.0))
    zigzag = [(x, 4.0 + 3.0 * (k % 2)) for k, x in enumerate(teeth)]
    waist = rng.uniform(0.0, 0.2)
    sides = [(1.0 - waist * math.sin(math.pi * t) * rng.uniform(0.5, 1.0), t) for t in np.linspace(0.06, 0.94, 9)]
    right = [(width * sx - 3.0, height * t) for sx, t in sides]
    bottom = [(x, height - 4.0 - 3.0 * (k % 2)) for k, x in enumerate(teeth[::-1])]
    left = [(width * (1.0 - sx * rng.uniform(0.97, 1.0)) + 3.0, height * t) for sx, t in sides[::-1]]
    cover = paint.polygon(height, width, zigzag + right + bottom + left)
    if rng.rand() < 0.25:  # torn open
        cover = cover * paint.blob(rng, height, width, 16, 0.25, 1.0)
    gx, gy = paint.creases(rng, height, width, 16, 0.07)
    fx, fy = paint.creases(rng, height, width, 24, 0.2)
    gx, gy = 0.55 * gx + 0.45 * fx, 0.55 * gy + 0.45 * fy
    y, x = paint.grid(height, width)
    picture = paint.label(rng, height, width)
    picture = paint.wrap(picture, paint.ramp(x / width + 0.04 * gx), paint.ramp(y / height + 0.04 * gy))
    silver = paint.ramp((paint.noise(rng, height, width, 2, 2, 3) - rng.uniform(0.0, 0.7)) * 30.0)
    seal = ((y < 0.06 * height) | (y > 0.94 * height)) + 0.0 * x
    paint.ink_on(picture, silver, (190.0, 192.0, 192.0))
    mirror = 0.55 + 0.4 * np.sin(3.2 * (gx - gy) + rng.uniform(0.0, 6.3))
    lit = paint.lambert(gx, gy, light, 0.4) * (1.0 - silver * 0.55 * (1.0 - mirror))
    lit = lit * (1.0 + 0.15 * seal * np.sin(y * 2.2))
    sprite.over(paint.shaded(picture, lit), cover)
    sprite.shine(paint.gloss(gx, gy, light, 40.0) * (0.55 + 0.4 * silver), cover)
    sprite.over(paint.pick(rng, _DIRT), cover * 0.6 * _stains(rng, height, width, rng.uniform(-0.3, 0.15)))
    return sprite


def soiled_tissue(rng, size, light):
    """A used tissue, paper towel or nappy: soft folds, white or brown, with stains."""
    height, width = int(size * rng.uniform(0.6, 0.95)), size
    sprite = paint.Sprite(height, width)
    cover = paint.blob(rng, height, width, rng.randint(30, 60), rng.uniform(0.2, 0.45), rng.uniform(0.0, 0.4))
    gx, gy = paint.creases(rng, height, width, 40, 0.2, 0.45)
    gx, gy = 2.0 * gx, 2.0 * gy
    soft = max(3, int(0.014 * size)) | 1
    gx, gy = cv2.blur(gx, (soft, soft)), cv2.blur(gy, (soft, soft))
    hills = paint.noise(rng, height, width, 3, 4, 2)
    hy, hx = np.gradient(hills * 0.035 * size)
    towel = np.array([128.0, 165.0, 195.0], np.float32) * rng.uniform(0.9, 1.1)
    colour = towel if rng.rand() < 0.6 else np.array([225.0, 230.0, 233.0], np.float32)
    emboss = 1.0 + 0.03 * paint.grain(rng, height, width)
    lit = paint.lambert(0.75 * gx - hx, 0.75 * gy - hy, light, 0.42) * emboss
    sprite.over(paint.shaded(colour, np.minimum(lit, 1.15)), cover)
    stains = _stains(rng, height, width, rng.uniform(-0.45, 0.15))
    dirt = paint.shaded(paint.pick(rng, _DIRT), 0.6 + 0.5 * lit)
    sprite.over(dirt, cover * 0.75 * stains)
    return sprite


def used_cup(rng, size, light):
    """A paper coffee cup: tapered, printed or sleeved, mostly with its plastic lid, and with drips."""
    height, width = size, int(size * rng.uniform(0.66, 0.78)) + 6
    top = (width - 6) / 2.0
    base, flat = top * rng.uniform(0.62, 0.74), rng.uniform(0.16, 0.3)
    lid_high = 0.07 * height
    y_top, y_bottom = flat * top + lid_high, height - flat * base - 4.0
    across, down, cover = rigid.barrel(height, width, top * 0.95, base, y_top, y_bottom, flat)
    sprite = paint.Sprite(height, width)
    white = np.array([228.0, 232.0, 234.0], np.float32)
    wall = np.empty(cover.shape + (3,), np.float32)
    wall[:] = white if rng.rand() < 0.6 else paint.vivid(rng)
    around = np.arcsin(across * 0.999) / math.pi + 0.5
    share = (down - 0.3) / 0.45
    sleeve = ((share > 0.0) & (share < 1.0)).astype(np.float32)
    if rng.rand() < 0.5:
        paint.ink_on(wall, sleeve, np.array([95.0, 130.0, 165.0]) * rng.uniform(0.6, 1.1))
        wall = paint.shaded(wall, 1.0 + 0.06 * sleeve * np.sin(around * 120.0))
    else:
        logo = paint.disc(height, width, width / 2.0, height * 0.55, top * 0.38, top * 0.42)[2]
        paint.ink_on(wall, logo, paint.vivid(rng) * 0.8)
    drips = paint.ramp((paint.noise(rng, height, width, 2, 12, 2) - down * 1.6 + rng.uniform(-0.4, 0.5)) * 5.0)
    paint.ink_on(wall, 0.7 * drips, (35.0, 60.0, 95.0))
    depth = np.sqrt(1.0 - across * across)
    gx, _ = paint.creases(rng, height, width, 6, 0.2)
    lit = 0.45 + 0.58 * np.maximum(across * light[0] + depth * light[2], 0.0)
    sprite.over(paint.shaded(wall, lit * (1.0 + rng.uniform(0.02, 0.12) * gx)), cover)
    cx = (width - 1) / 2.0
    lamp = math.atan2(light[1], light[0])
    rho, spin, mouth = paint.disc(height, width, cx, y_top, top, flat * top)
    if rng.rand() < 0.75:
        colour = paint.pick(rng, (np.array([38.0, 40.0, 42.0]), np.array([40.0, 50.0, 62.0]), white)).astype(np.float32)
        ring, _, raised = paint.disc(height, width, cx, y_top - 0.6 * lid_high, top * 0.84, flat * top * 0.84)
        sprite.over(paint.shaded(colour, 0.85 + 0.15 * np.cos(spin - lamp)), mouth)
        sprite.over(colour * 0.8, np.maximum(raised, mouth * (rho < 0.86)))
        sprite.over(paint.shaded(colour, 1.0 + 0.1 * np.cos(spin - lamp)), raised * (ring < 0.9))
        sprite.shine(0.5 * paint.bump(ring, 0.9, 0.04) * paint.bump(np.cos(spin - lamp), 1.0, 0.4), raised)
        sprite.shine(0.4 * paint.bump(rho, 0.95, 0.03) * paint.bump(np.cos(spin - lamp), 1.0, 0.5), mouth)
        hole = paint.disc(height, width, cx, y_top - 0.6 * lid_high + 0.62 * flat * top, top * 0.1, top * 0.035)[2]
        sprite.over((15.0, 18.0, 22.0), hole)
    else:
        inner = 0.7 - 0.2 * rho * np.cos(spin - lamp)
        sprite.over(paint.shaded(white, inner), mouth)
        sprite.over((28.0, 48.0, 75.0), mouth * paint.ramp((0.72 - rho) * 20.0))
        sprite.over(white, paint.bump(rho, 0.965, 0.03) * (rho < 1.005))
    return sprite


def toothpaste_tube(rng, size, light):
    """A squeezed tube: flat crimped end, shoulders, a cap; glossy, dented, a smear of paste."""
    height, width = size, int(size * rng.uniform(0.3, 0.42)) + 6
    r = (width - 6) / 2.0
    cap = rng.uniform(0.12, 0.17)
    points = [(0.01, 0.98 * r), (0.3, 0.93 * r), (0.97 - cap, 0.74 * r), (1.0 - cap, 0.4 * r)]
    line = paint.profile(height, points, 0.015)
    across, _normal, cover = paint.turned(line, width)
    y = paint.grid(height, width)[0]
    sprite = paint.Sprite(height, width)
    base = np.array([236.0, 236.0, 236.0], np.float32) if rng.rand() < 0.6 else None
    # print runs along the tube
    picture = np.ascontiguousarray(np.rot90(paint.label(rng, width, height, base)))
    gx, gy = paint.creases(rng, height, width, 9, 0.2)
    round_off = np.linspace(0.15, 0.9, height, dtype=np.float32)[:, None]  # flat at the crimp, round at the cap
    sx = across * round_off + 0.35 * gx
    lit = paint.lambert(sx, 0.35 * gy, light, 0.45)
    crimp = (y < 0.05 * height) + 0.0 * across
    lit = lit * (1.0 + 0.16 * crimp * np.sin(y * 1.9)) * (1.0 - 0.25 * paint.bump(y, 0.052 * height, 1.5))
    sprite.over(paint.shaded(picture, lit), cover)
    sprite.shine(0.8 * paint.gloss(sx, 0.5 * gy, light, 30.0), cover)
    tip = paint.profile(height, [(0.985 - cap, 0.46 * r), (0.99, rng.uniform(0.4, 0.6) * r)], 0.004)
    a, n, c = paint.turned(tip, width)
    knurl = 1.0 + 0.14 * np.sin(np.arcsin(a) * 24.0)
    colour = np.full(3, 225.0) if rng.rand() < 0.4 else paint.vivid(rng)
    sprite.over(paint.shaded(rigid.turned_paint(colour, a, n, light, 0.5, 0.35), knurl), c)
    sprite.over(paint.pick(rng, _DIRT), cover * 0.5 * _stains(rng, height, width, rng.uniform(-0.5, 0.0)))
    return sprite


def sweet_wrapper(rng, size, light):
    """A twisted sweet wrapper or a torn snack-bar film: gold or coloured, pinched in the middle."""
    height, width = int(size * rng.uniform(0.4, 0.6)), size
    t = np.linspace(0.0, 1.0, width)
    pinch = np.minimum(np.abs(t - rng.uniform(0.26, 0.32)), np.abs(t - rng.uniform(0.68, 0.74)))
    half = (0.13 + 0.87 * np.minimum(1.0, pinch / 0.2) ** 0.8) * (0.42 + 0.04 * np.sin(t * 37.0)) * height
    half = (half * rng.uniform(0.94, 1.0, width)).astype(np.float32)
    across, _, cover = paint.turned(half, height)
    across, cover = np.ascontiguousarray(across.T), np.ascontiguousarray(cover.T)
    cover[:, :3] = 0.0
    cover[:, -3:] = 0.0
    sprite = paint.Sprite(height, width)
    picture = paint.label(rng, height, width, np.array([50.0, 140.0, 205.0], np.float32) if rng.rand() < 0.4 else None)
    gx, gy = paint.creases(rng, height, width, 16, 0.3)
    rays = np.sin(across * 14.0 + 2.0 * gx) * paint.ramp(1.4 - pinch.astype(np.float32)[None, :] * 9.0)
    gy = 0.7 * gy + 0.6 * across + 0.7 * rays
    lit = paint.lambert(0.7 * gx, gy, light, 0.35)
    silver = paint.ramp((paint.noise(rng, height, width, 2, 4, 2) - 0.35) * 30.0)
    paint.ink_on(picture, silver, (190.0, 195.0, 198.0))
    sprite.over(paint.shaded(picture, lit), cover)
    sprite.shine(0.8 * paint.gloss(0.7 * gx, gy, light, 35.0), cover)
    return sprite


def scraps(rng, size, light):
    """A heap of broken mixed bits: food rest, film, string of dirt and a plastic fork's handle."""
    height, width = int(size * rng.uniform(0.7, 1.0)), size
    sprite = paint.Sprite(height, width)
    for _ in range(rng.randint(5, 9)):
        tall, wide = int(size * rng.uniform(0.24, 0.55)), int(size * rng.uniform(0.24, 0.55))
        y, x = rng.randint(0, max(1, height - tall)), rng.randint(0, max(1, width - wide))
        bit = sprite.part(slice(y, y + tall), slice(x, x + wide))
        h, w = bit.height, bit.width
        gx, gy = paint.creases(rng, h, w, 9, 0.15)
        lit = paint.lambert(0.7 * gx, 0.7 * gy, light, 0.35)
        colour = paint.pick(rng, _FOOD) if rng.rand() < 0.7 else paint.vivid(rng)
        cover = paint.blob(rng, h, w, rng.randint(7, 24), rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.8))
        shadow = np.roll(np.roll(cv2.blur(cover, (9, 9)), int(-4 * light[1]), 0), int(-4 * light[0]), 1)
        bit.filter((0.55, 0.55, 0.55), shadow)
        bit.over(paint.shaded(colour, lit * (1.0 + 0.06 * paint.grain(rng, h, w))), cover)
        bit.over(paint.pick(rng, _DIRT), cover * 0.8 * _stains(rng, h, w, rng.uniform(-0.2, 0.25)))
        bit.shine(rng.uniform(0.1, 0.6) * paint.gloss(gx, gy, light, 35.0), cover)
    return sprite


TRASH = (crisp_bag, crisp_bag, soiled_tissue, soiled_tissue, used_cup, toothpaste_tube, sweet_wrapper, scraps)

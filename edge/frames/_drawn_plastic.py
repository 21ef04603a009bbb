"""Plastic things, for drawn.py. Private; the same contract as _drawn_rigid.py: (rng, size, light) -> Sprite."""

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint
from edge.frames import _drawn_rigid as rigid


def pet_bottle(rng, size, light):
    """A clear PET bottle: screw cap, ribs, waist, a film label, many small highlights."""
    height, width = size, int(size * rng.uniform(0.3, 0.42)) + 6
    body = (width - 6) / 2.0
    neck, cap = body * rng.uniform(0.34, 0.44), rng.uniform(0.055, 0.085)
    shoulder = rng.uniform(0.26, 0.36)
    waist = rng.uniform(0.74, 1.0)
    points = [(0.004, neck * 1.12), (cap, neck * 1.12), (cap + 0.01, neck * 1.3), (cap + 0.03, neck * 0.95)]
    points += [(shoulder - 0.07, body * 0.78), (shoulder, body), (0.56, body * waist), (0.68, body)]
    points += [(0.95, body), (0.995, body * 0.78)]
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)
    ribs = paint.ramp((down - shoulder) * 20.0) * paint.ramp((0.93 - down) * 20.0)
    count = rng.randint(7, 14)
    wave = np.sin(down * 2.0 * math.pi * count) * ribs
    outline = paint.profile(height, points, 0.012) * (1.0 + 0.018 * wave)
    across, normal, cover = paint.turned(outline.astype(np.float32), width)
    sprite = paint.Sprite(height, width)
    tint = paint.pick(rng, ((0.03, 0.04, 0.05), (0.035, 0.045, 0.07), (0.05, 0.05, 0.05), (0.16, 0.06, 0.17)))
    rigid.clear_body(rng, sprite, across, normal, cover, light, np.asarray(tint) * rng.uniform(0.7, 1.3), 0.8, 0.9)
    dent_x, dent_y = paint.creases(rng, height, width, 10, 0.25)
    ring = (wave[:, None] + 0.25 * dent_y) * np.sqrt(1.0 - across * across)
    sprite.filter((0.74, 0.73, 0.71), cover * paint.ramp(-ring * 0.8))
    beside = paint.bump(across, 0.55 * light[0], 0.28) + 0.4 * paint.bump(across, -0.6, 0.15)
    spark = paint.bump(ring, 0.75, 0.22) * beside
    sprite.shine(0.75 * spark, cover * ribs[:, None])
    sprite.shine(0.8 * paint.gloss(dent_x, dent_y, light, 70.0), cover)
    sprite.shine(0.07 + 0.0 * across, cover)  # the two walls of film make a slight milky veil
    feet = np.sin(np.arcsin(across) * 5.0) * paint.ramp((down[:, None] - 0.93) * 20.0)
    sprite.filter((0.7, 0.7, 0.68), cover * paint.ramp(feet))
    if rng.rand() < 0.75:
        top = int(height * rng.uniform(0.36, 0.45))
        bottom = top + int(height * rng.uniform(0.18, 0.32))
        rigid.wrapped_label(rng, sprite, across, cover, light, top, bottom, 1.0, None, 0.6)
    if rng.rand() < 0.85:
        colour = paint.pick(rng, (paint.vivid(rng), paint.vivid(rng), np.full(3, 232.0), np.array([200.0, 90.0, 30.0])))
        knurl = 1.0 + 0.13 * np.sin(np.arcsin(across) * 30.0)
        solid = paint.shaded(rigid.turned_paint(colour, across, normal, light, 0.5, 0.3), knurl)
        sprite.over(solid, cover * (down < cap + 0.012)[:, None])
        sprite.over(solid * 0.7, cover * (np.abs(down - cap + 0.006) < 0.004)[:, None])
    return sprite


def plastic_jug(rng, size, light):
    """A milk jug or detergent bottle: milky or coloured, a handle with a hole, a cap, sometimes a label."""
    height, width = size, int(size * rng.uniform(0.5, 0.66))
    top, shoulder = rng.uniform(0.1, 0.13), rng.uniform(0.3, 0.4)
    neck = rng.uniform(0.16, 0.22) * width
    body = paint.round_box(height, width, 4, shoulder * height, width - 4, height - 4, 0.12 * width)
    cx = width * rng.uniform(0.4, 0.5)
    cone = [(cx - neck, top * height), (cx + neck, top * height), (width - 5, (shoulder + 0.07) * height)]
    cover = np.maximum(body, paint.polygon(height, width, cone + [(5, (shoulder + 0.07) * height)]))
    milky = rng.rand() < 0.45
    colour = np.array([222.0, 226.0, 228.0], np.float32) if milky else paint.vivid(rng)
    # a swollen body: the outline blurred, a little and a lot, serves as its height
    near, far = max(3, int(0.08 * width)) | 1, max(5, int(0.36 * width)) | 1
    swell = np.zeros_like(cover)
    for reach, share in ((near, 0.9), (far, 0.8)):
        once = cv2.blur(cover, (reach, reach), borderType=cv2.BORDER_CONSTANT)
        swell += cv2.blur(once, (reach, reach), borderType=cv2.BORDER_CONSTANT) * (reach * share)
    gy, gx = np.gradient(swell)
    gx, gy = -gx + 0.05 * paint.noise(rng, height, width, 4, 3), -gy
    lit = paint.lambert(gx, gy, light, 0.55) * (0.96 + 0.05 * paint.noise(rng, height, width, 3, 2))
    shell = paint.shaded(colour, lit) + paint.shaded((90.0, 90.0, 90.0), paint.gloss(gx, gy, light, 40.0))
    sprite = paint.Sprite(height, width)
    hole = paint.round_box(height, width, 0.7 * width, 0.33 * height, 0.84 * width, 0.58 * height, 0.07 * width)
    edge = paint.round_box(height, width, 0.665 * width, 0.31 * height, 0.875 * width, 0.6 * height, 0.1 * width)
    handle = rng.rand() < 0.65
    if handle:
        shell *= (1.0 - 0.3 * np.maximum(edge - hole, 0.0))[..., None]
        cover = cover * (1.0 - hole)
    sprite.over(shell, cover)
    if milky:  # light comes through the wall
        sprite.through = 1.0 - 0.88 * (1.0 - sprite.through)
        sprite.add *= 0.92
    y0, x0 = int(0.62 * height) if handle else int(0.5 * height), int(0.14 * width)
    h, w = int(height * 0.3), int(width * 0.72)
    if rng.rand() < 0.75:
        part = sprite.add[y0 : y0 + h, x0 : x0 + w]
        picture = paint.label(rng, h, w) * lit[y0 : y0 + h, x0 : x0 + w, None]
        mask = paint.round_box(h, w, 1, 1, w - 1, h - 1, 0.1 * h)
        paint.ink_on(part, mask * 0.96, picture)
    line = paint.profile(height, [(0.006, neck * 1.12), (top, neck * 1.12)], 0.004)
    across, normal, cap = paint.turned(line, int(neck * 3))
    left = int(cx - neck * 1.5)
    part = sprite.part(slice(None), slice(left, left + cap.shape[1]))
    rib = 1.0 + 0.12 * np.sin(np.arcsin(across) * 26.0)
    part.over(paint.shaded(rigid.turned_paint(paint.vivid(rng), across, normal, light, 0.5, 0.3), rib), cap)
    return sprite


def plastic_tub(rng, size, light):
    """A yoghurt pot, margarine tub or shampoo cup: opaque, glossy, tapered, printed, with a rim."""
    squat = rng.uniform(0.75, 1.35)
    height, width = (size, int(size * squat)) if squat < 1 else (int(size / squat), size)
    top = (width - 6) / 2.0
    flat = rng.uniform(0.2, 0.4)
    base = top * rng.uniform(0.66, 0.85)
    y_top, y_bottom = flat * top + 4.0, max(height - flat * base - 4.0, flat * top + 4.0 + 0.2 * height)
    flat_base = min(flat, (height - 3.0 - y_bottom) / base)
    across, down, cover = rigid.barrel(height, width, top * 0.95, base, y_top, y_bottom, flat_base)
    sprite = paint.Sprite(height, width)
    white = np.array([232.0, 234.0, 234.0], np.float32)
    colour = white if rng.rand() < 0.5 else paint.vivid(rng)
    around = np.arcsin(across * 0.999) / math.pi + 0.5
    wall = np.empty(cover.shape + (3,), np.float32)
    wall[:] = colour
    if rng.rand() < 0.7:
        share = (down - 0.12) / 0.76
        picture = paint.wrap(paint.label(rng, int(height * 0.6), int(width * 1.4)), around, share)
        paint.ink_on(wall, ((share > 0.0) & (share < 1.0)).astype(np.float32), picture)
    normal = (across, 0.0 * across, np.sqrt(1.0 - across * across))
    sprite.over(rigid.turned_paint(wall, across, normal, light, 0.5, 0.28), cover)
    sprite.shine(rigid.streaks(rng, across, light, 3, 0.03) * 0.7, cover)
    cx = (width - 1) / 2.0
    rho, spin, mouth = paint.disc(height, width, cx, y_top, top, flat * top)
    lamp = math.atan2(light[1], light[0])
    inside = colour if rng.rand() < 0.4 else white
    if rng.rand() < 0.6:  # open
        depth = 0.72 - 0.18 * rho * np.cos(spin - lamp) - 0.25 * paint.bump(rho, 0.55, 0.25)
        floor = paint.ramp((0.62 - rho) * 12.0)
        depth = depth * (1.0 - floor) + floor * (0.78 + 0.1 * paint.noise(rng, height, width, 3, 3))
        sprite.over(paint.shaded(inside, depth), mouth)
    else:
        ridge = 0.96 + 0.14 * np.clip((rho - 0.84) * 30.0, -1, 1) * np.cos(spin - lamp) * paint.bump(rho, 0.84, 0.06)
        sprite.over(paint.shaded(inside, ridge), mouth)
        sprite.shine(0.5 * paint.noise(rng, height, width, 2, 2).clip(0), mouth)
    rim = paint.bump(rho, 0.955, 0.04) * (rho < 1.005)
    sprite.over(paint.shaded(inside, 0.93 + 0.12 * np.cos(spin - lamp)), rim)
    sprite.shine(0.6 * paint.bump(rho, 0.96, 0.018) * paint.bump(np.cos(spin - lamp), 1.0, 0.3), mouth)
    return sprite


def film_bag(rng, size, light):
    """A carrier or produce bag: thin film in folds, half clear, glossy, sometimes printed or with handles."""
    height, width = size, int(size * rng.uniform(0.7, 1.0))
    sprite = paint.Sprite(height, width)
    cover = paint.blob(rng, height, width, rng.randint(18, 34), rng.uniform(0.15, 0.4), rng.uniform(0.4, 1.0))
    if rng.rand() < 0.5:  # vest handles
        left, right = 0.34 * width, 0.66 * width
        gap = paint.round_box(height, width, left, -0.2 * height, right, 0.26 * height, 0.12 * width)
        cover = cover * (1.0 - gap)
    gx, gy = paint.creases(rng, height, width, 24, 0.2)
    folds = paint.noise(rng, height, width, 2, 14) * 0.5
    gx = gx * 0.8 + folds
    colour = paint.pick(rng, ((228.0, 230.0, 230.0), (222.0, 228.0, 224.0), (235.0, 214.0, 196.0), paint.vivid(rng)))
    film = paint.shaded(colour, paint.lambert(gx, 0.7 * gy, light, 0.5))
    sprite.over(film, cover)
    if rng.rand() < 0.5:
        h, w = int(height * 0.2), int(width * 0.55)
        y, x = int(height * 0.42), int(width * 0.22)
        mask = paint.word_mask(rng, h, w) * cover[y : y + h, x : x + w]
        paint.ink_on(sprite.add[y : y + h, x : x + w], 0.8 * mask, paint.vivid(rng) * 0.8)
    thin = rng.uniform(0.35, 0.9)
    layers = paint.ramp(thin + 0.3 * np.abs(gx))
    sprite.through = 1.0 - paint.shaded(1.0 - sprite.through, layers)
    sprite.add = paint.shaded(sprite.add, layers)
    sprite.shine(0.9 * paint.gloss(gx, gy, light, 60.0) + 0.35 * paint.bump(gx + gy, -0.9, 0.12), cover)
    return sprite


def clear_tray(rng, size, light):
    """A clamshell or tray of clear plastic seen from above: ribs, a rim and hard highlights."""
    height, width = int(size * rng.uniform(0.65, 0.95)), size
    sprite = paint.Sprite(height, width)
    outer = paint.round_box(height, width, 3, 3, width - 3, height - 3, 0.09 * size)
    inset = rng.uniform(0.1, 0.16) * size
    y, x = paint.grid(height, width)
    beside, above = np.minimum(x, width - x) + 0.0 * y, np.minimum(y, height - y) + 0.0 * x
    to_edge = np.minimum(beside, above)
    pitch = 2.0 * math.pi / (rng.uniform(0.045, 0.1) * size)
    ribs = np.where(above < beside, np.sin(x * pitch), np.sin(y * pitch))  # they run down each side's wall
    ribs = ribs * (to_edge < inset) * (to_edge > 0.35 * inset)
    rims = paint.bump(to_edge, 6.0, 3.0) + paint.bump(to_edge, inset, 3.0) + 0.7 * paint.bump(to_edge, inset * 0.5, 3.0)
    clear = rng.rand() < 0.7
    if not clear:
        colour = paint.pick(rng, ((30.0, 30.0, 32.0), (235.0, 235.0, 235.0), paint.vivid(rng)))
        sprite.over(paint.shaded(colour, 0.85 + 0.12 * ribs + 0.12 * paint.noise(rng, height, width, 2, 2)), outer)
    gx, gy = paint.creases(rng, height, width, 12, 0.15)
    sprite.filter((0.84, 0.85, 0.84), outer)
    sprite.filter((0.62, 0.63, 0.63), outer * paint.ramp(0.7 * rims + 0.3 * ribs))
    sprite.shine(0.05 + 0.3 * paint.bump(ribs, 0.8, 0.3) * (0.6 + paint.noise(rng, height, width, 4, 4)).clip(0), outer)
    sprite.shine(0.7 * paint.gloss(gx, gy, light, 50.0), outer)
    edge = np.roll(np.roll(rims, 2, 0), 2, 1)
    sprite.shine(edge * (0.35 + 0.4 * paint.noise(rng, height, width, 5, 5)).clip(0), outer)
    return sprite


PLASTIC = (pet_bottle, pet_bottle, plastic_jug, plastic_tub, film_bag, clear_tray)

"""Things that keep their shape, for drawn.py: glass and metal, and how a round body is lit. Private.

Every function takes (rng, size, light): the long side in pixels, and the unit vector towards the lamp as seen by the
item (x right, y down, z to the camera). It returns a Sprite.
"""

import math

import numpy as np

from edge.frames import _drawn_paint as paint

_GLASS = (  # how strongly a wall's thickness takes blue, green, red
    (0.085, 0.07, 0.085),
    (0.10, 0.07, 0.11),
    (0.85, 0.26, 0.95),
    (0.70, 0.34, 0.62),
    (1.90, 1.15, 0.62),
    (1.60, 0.90, 0.45),
)
_SILVER = np.array([198.0, 198.0, 196.0], np.float32)
_GOLD = np.array([120.0, 176.0, 208.0], np.float32)


def streaks(rng, across, light, count, narrow=0.03):
    """Highlights along a turned body, (h, w): the lamp's own and those of windows and walls."""
    height = across.shape[0]
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    main = 0.75 * light[0]
    total = np.zeros_like(across)
    for index in range(count):
        centre = main if index == 0 else rng.uniform(-0.9, 0.9)
        width = rng.uniform(narrow, 3.0 * narrow) * (1.6 if index == 0 else 1.0)
        start, stop = rng.uniform(-0.3, 0.45), rng.uniform(0.55, 1.3)
        reach = paint.ramp((down - start) * 9.0) * paint.ramp((stop - down) * 9.0)
        strength = rng.uniform(0.7, 1.0) if index == 0 else rng.uniform(0.2, 0.6)
        total += paint.bump(across, centre, width) * reach * strength
    return total


def clear_body(rng, sprite, across, normal, cover, light, takes, shine=1.0, ripple=0.35):
    """Glass or clear plastic: dark where the wall is seen edge on, bent light inside, sharp highlights."""
    height, width = cover.shape
    wall = np.minimum(1.0 / (normal[2] + 0.16), 5.0)
    bent = 1.0 + ripple * paint.noise(rng, height, width, 2, 9) + 0.25 * ripple * paint.noise(rng, height, width, 9, 5)
    edge = paint.bump(np.abs(across), rng.uniform(0.84, 0.93), rng.uniform(0.05, 0.1))
    path = np.maximum(wall * bent, 0.25) + edge * rng.uniform(0.3, 2.2)
    through = np.exp(paint.shaded(-np.asarray(takes), path))
    sprite.filter(through, cover)
    # the far wall sends some of the glass's own colour back, so that it glows a little
    own = np.exp(-2.2 * np.asarray(takes, np.float32)) * 70.0 * min(1.0, float(np.mean(takes)))
    sprite.shine(paint.bump(across, -0.6 * light[0], 0.5), cover, own)
    sprite.shine(streaks(rng, across, light, 5) * shine, cover)


def wrapped_label(rng, sprite, across, cover, light, top, bottom, arc=1.0, base=None, shiny=0.15):
    """A label around a turned body between two rows; arc is the share of the half turn that it covers."""
    height = max(12, bottom - top)
    rows = slice(top, top + height)
    turn = np.arcsin(across[rows] * 0.999) / math.pi / arc + 0.5
    down = np.linspace(0.0, 1.0, turn.shape[0], dtype=np.float32)[:, None] + np.zeros_like(turn)
    print_width = int(1.6 * arc * sprite.width)
    picture = paint.wrap(paint.label(rng, height, max(24, print_width), base), turn, down)
    nz = np.sqrt(1.0 - across[rows] ** 2)
    lit = 0.5 + 0.5 * np.maximum(across[rows] * light[0] + nz * light[2], 0.0) / light[2]
    lit *= 0.6 + 0.4 * nz
    inside = cover[rows] * paint.ramp((0.5 - np.abs(turn - 0.5)) * 60.0 * arc)
    part = sprite.part(rows)
    part.over(paint.shaded(picture, lit), inside)
    part.shine(streaks(rng, across[rows], light, 2, 0.06) * shiny, inside)


def turned_paint(colour, across, normal, light, ambient=0.42, hard=0.35):
    """Colour of an opaque turned body: lit from one side, darker at both edges, one broad highlight."""
    facing = np.maximum(normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2], 0.0)
    lit = (ambient + (1.0 - ambient) * facing) * (0.62 + 0.38 * normal[2])
    out = paint.shaded(colour, lit)
    return out + paint.shaded((1.0, 1.0, 1.0), hard * 200.0 * paint.bump(across, 0.6 * light[0], 0.16))


def _mirror(rng, across, light):
    """What a metal cylinder mirrors across its width, 0 to 1.2: bright windows and dark floor in bands."""
    bands = 0.52 + 0.0 * across
    for _ in range(5):
        bands += rng.uniform(-0.42, 0.42) * paint.bump(across, rng.uniform(-0.95, 0.95), rng.uniform(0.06, 0.3))
    bands += 0.75 * paint.bump(across, 0.65 * light[0], rng.uniform(0.05, 0.14))
    bands += 0.35 * paint.bump(across, -0.7 * light[0] + 0.1, 0.1)
    return np.maximum(bands * (0.45 + 0.55 * np.sqrt(1.0 - across * across)), 0.06)


def barrel(height, width, r_top, r_bottom, y_top, y_bottom, flat):
    """A cylinder or cone seen a little from above -> across, down (0 to 1 along the wall), mask of the wall.

    flat: height of the round ends as a share of their width. y_top and y_bottom are the centres of both ends.
    """
    y, x = paint.grid(height, width)
    share = paint.ramp((y - y_top) / (y_bottom - y_top))
    radius = r_top + (r_bottom - r_top) * share
    dx = x - (width - 1) / 2.0
    across = np.clip(dx / radius, -1.0, 1.0)
    depth = np.sqrt(1.0 - across * across)
    down = (y - flat * radius * depth - y_top) / (y_bottom - y_top)
    below = (y_bottom + flat * r_bottom * np.sqrt(1.0 - np.clip(dx / r_bottom, -1.0, 1.0) ** 2)) - y
    cover = paint.ramp(radius - np.abs(dx) + 0.5) * paint.ramp(below + 0.5) * paint.ramp(y - y_top + 0.5)
    return across, paint.ramp(down), cover


# glass


def glass_bottle(rng, size, light):
    """A wine, beer or soda bottle: clear, green or brown, with or without label and cap."""
    slim = rng.uniform(0.25, 0.36)
    height, width = size, int(size * slim) + 6
    body, neck = (width - 6) / 2.0, (width - 6) / 2.0 * rng.uniform(0.3, 0.44)
    shoulder, lip = rng.uniform(0.3, 0.52), rng.uniform(0.03, 0.05)
    start = shoulder - rng.uniform(0.08, 0.22)
    points = [(0.005, neck * 1.2), (lip, neck * 1.2), (lip + 0.012, neck), (start, neck * 1.1)]
    points += [((start + shoulder) / 2.0, (neck + body) * rng.uniform(0.46, 0.6)), (shoulder, body * 0.97)]
    points += [(shoulder + 0.07, body), (0.975, body), (0.995, body * 0.86)]
    outline = paint.profile(height, points, 0.012)
    across, normal, cover = paint.turned(outline, width)
    sprite = paint.Sprite(height, width)
    takes = np.asarray(paint.pick(rng, _GLASS)) * rng.uniform(0.8, 1.3)
    clear_body(rng, sprite, across, normal, cover, light, takes)
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    heavy = paint.bump(down, 0.985, 0.02) + 0.6 * paint.bump(down, lip, 0.008) + 0.4 * paint.bump(down, 0.01, 0.008)
    sprite.filter(np.exp(-np.asarray(takes, np.float32) * 3.0), cover * heavy)
    sprite.shine(0.5 * paint.bump(down, 0.955, 0.008) * paint.bump(across, 0.2, 0.6), cover)
    sprite.shine(0.5 * paint.bump(down, lip * 0.5, 0.01) * paint.bump(across, 0.5 * light[0], 0.3), cover)
    if rng.rand() < 0.55:
        top = int(height * (shoulder + rng.uniform(0.08, 0.14)))
        paper = None if rng.rand() < 0.5 else (215.0, 228.0, 235.0)
        wrapped_label(rng, sprite, across, cover, light, top, int(height * rng.uniform(0.82, 0.92)), 0.85, paper, 0.08)
    if rng.rand() < 0.3:
        cap = cover * (down < lip * 1.3)
        sprite.over(turned_paint(paint.pick(rng, (_GOLD, _SILVER, paint.vivid(rng))), across, normal, light), cap)
    return sprite


def glass_jar(rng, size, light):
    """A preserving jar from the side: wide, clear, a threaded mouth, sometimes a metal lid or a label."""
    height, width = size, int(size * rng.uniform(0.55, 0.8)) + 6
    body = (width - 6) / 2.0
    mouth = body * rng.uniform(0.74, 0.9)
    lip = rng.uniform(0.1, 0.16)
    points = [(0.01, mouth), (lip, mouth), (lip + 0.1, body), (0.93, body), (0.99, body * 0.85)]
    outline = paint.profile(height, points, 0.02)
    across, normal, cover = paint.turned(outline, width)
    sprite = paint.Sprite(height, width)
    takes = np.asarray(_GLASS[rng.randint(2)]) * rng.uniform(0.8, 1.8)
    clear_body(rng, sprite, across, normal, cover, light, takes, ripple=0.6)
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    curve = 0.02 * np.sqrt(1.0 - across * across)
    for row in (0.03, 0.06, 0.09):
        ring = paint.bump(down - curve, row, 0.007)
        sprite.filter((0.6, 0.64, 0.62), cover * ring)
        sprite.shine(paint.bump(down - curve, row + 0.013, 0.006) * 0.5, cover)
    base = paint.bump(down + curve, 0.95, 0.02)
    sprite.filter((0.62, 0.7, 0.66), cover * base)
    sprite.shine(0.6 * paint.bump(down + curve, 0.915, 0.008), cover)
    if rng.rand() < 0.5:
        wrapped_label(rng, sprite, across, cover, light, int(height * 0.36), int(height * 0.8), 0.8, None, 0.06)
    if rng.rand() < 0.4:
        colour = paint.pick(rng, (_GOLD, _SILVER, paint.vivid(rng)))
        knurl = 1.0 + 0.08 * np.sin(np.arcsin(across) * 40.0)
        lid = paint.shaded(turned_paint(colour, across, normal, light), knurl)
        sprite.over(lid, cover * (down < lip * 0.8))
    return sprite


def glass_tumbler(rng, size, light):
    """A drinking glass seen a little from above: an open rim, a thick base, light bent in both."""
    height, width = size, int(size * rng.uniform(0.62, 0.85)) + 6
    top = (width - 6) / 2.0
    base, flat = top * rng.uniform(0.72, 0.95), rng.uniform(0.16, 0.34)
    y_top, y_bottom = flat * top + 3.0, height - flat * base - 4.0
    across, down, cover = barrel(height, width, top, base, y_top, y_bottom, flat)
    sprite = paint.Sprite(height, width)
    takes = np.asarray(_GLASS[rng.randint(3) if rng.rand() < 0.3 else rng.randint(2)]) * rng.uniform(0.6, 1.2)
    cx = (width - 1) / 2.0
    rim, around, mouth = paint.disc(height, width, cx, y_top, top, flat * top)
    sprite.filter(np.exp(-np.asarray(takes, np.float32) * 1.2), mouth)
    normal = (across, 0.0 * across, np.sqrt(1.0 - across * across))
    facets = np.sin(np.arcsin(across) * rng.randint(8, 16)) if rng.rand() < 0.4 else 0.0 * across
    clear_body(rng, sprite, across, normal, cover, light, takes, ripple=0.5)
    sprite.filter((0.8, 0.83, 0.82), cover * paint.ramp(facets) * paint.bump(down, 0.7, 0.3))
    floor, spin, foot = paint.disc(height, width, cx, y_bottom - 0.07 * height, base * 0.93, flat * base * 0.93)
    sprite.filter((0.72, 0.76, 0.74), foot * paint.bump(floor, 0.9, 0.14))
    sprite.filter((0.85, 0.88, 0.87), paint.ramp((down - 0.9) * 12.0) * cover)
    sprite.shine(paint.bump(floor, 0.8, 0.07) * paint.bump(np.cos(spin - rng.uniform(0, 6.3)), 1.0, 0.5), foot)
    ring = paint.bump(rim, 0.965, 0.03) * (rim < 1.02)
    sprite.filter((0.5, 0.54, 0.52), ring)
    sprite.shine(ring * (0.25 + paint.bump(np.cos(around - rng.uniform(0, 6.3)), 1.0, 0.35)), np.ones_like(ring))
    return sprite


def glass_from_above(rng, size, light):
    """The bottom of a bottle or jar, looking down its axis: rings of thick and thin glass."""
    sprite = paint.Sprite(size, size)
    takes = np.asarray(paint.pick(rng, _GLASS))
    middle = size / 2.0
    rho, around, cover = paint.disc(size, size, middle, middle, middle - 3, (middle - 3) * rng.uniform(0.86, 1.0))
    thick = 1.2 + 3.5 * paint.bump(rho, 0.97, 0.07) + 2.0 * paint.bump(rho, rng.uniform(0.72, 0.8), 0.05)
    thick += 1.2 * paint.bump(rho, rng.uniform(0.3, 0.5), 0.06) + 0.7 * paint.noise(rng, size, size, 4, 4)
    thick += 0.5 * np.sin(around * rng.randint(20, 60)) * paint.bump(rho, 0.88, 0.05)
    sprite.filter(np.exp(paint.shaded(-takes, np.maximum(thick, 0.2))), cover)
    lamp = math.atan2(light[1], light[0])
    for ring in (0.93, 0.68, 0.4):
        where = rng.normal() * 0.25 + lamp + (math.pi if ring == 0.68 else 0.0)
        arc = paint.bump(np.cos(around - where), 1.0, rng.uniform(0.04, 0.25))
        sprite.shine(paint.bump(rho, ring, 0.022) * arc, cover)
    return sprite


# metal


def _round_end(rng, sprite, cx, cy, rx, ry, light, colour, tab):
    """The end of a can: rings, a mirrored fan of light, perhaps a pull tab."""
    height, width = sprite.height, sprite.width
    rho, around, cover = paint.disc(height, width, cx, cy, rx, ry)
    fan = 0.62 + 0.0 * around
    for _ in range(3):
        where, sharp = rng.uniform(0, 6.3), rng.uniform(0.2, 0.8)
        fan += rng.uniform(0.12, 0.4) * paint.bump(np.cos(2.0 * (around - where)), 1.0, sharp)
    rise = 0.0 * rho
    for ring in [0.96, 0.86] + [0.78 - 0.11 * k for k in range(rng.randint(0, 5))]:
        rise += np.clip((rho - ring) * 34.0, -1.0, 1.0) * paint.bump(rho, ring, 0.035)
    lamp = math.atan2(light[1], light[0])
    bright = fan * (0.8 + 0.1 * paint.noise(rng, height, width, 3, 3)) + 0.55 * rise * np.cos(around - lamp)
    sprite.over(paint.shaded(colour, np.maximum(bright, 0.08)), cover)
    sprite.shine(0.5 * paint.bump(rho, 0.97, 0.02) * paint.bump(np.cos(around - lamp), 1.0, 0.4), cover)
    if tab:
        _cut, _, hole = paint.disc(height, width, cx, cy + 0.45 * ry, rx * 0.34, ry * 0.3)
        sprite.over((45.0, 45.0, 48.0) if rng.rand() < 0.6 else colour * 0.7, hole)
        _, _, grip = paint.disc(height, width, cx, cy - 0.12 * ry, rx * 0.22, ry * 0.36)
        sprite.over(colour * rng.uniform(0.9, 1.2), grip)
        _, _, eye = paint.disc(height, width, cx, cy - 0.24 * ry, rx * 0.11, ry * 0.13)
        sprite.over(colour * 0.4, eye)


def drinks_can(rng, size, light):
    """A printed drinks can, whole or dented, seen a little from above."""
    height, width = size, int(size * rng.uniform(0.5, 0.62)) + 6
    r = (width - 6) / 2.0
    flat = rng.uniform(0.1, 0.34)
    end = r * 0.84
    neck = 0.07 * height
    y_top, y_bottom = flat * end + 3.0, height - flat * r - 4.0
    across, down, cover = barrel(height, width, r, r, y_top + neck, y_bottom, flat)
    sprite = paint.Sprite(height, width)
    around = np.arcsin(across * 0.999) / math.pi
    picture = paint.label(rng, int(height * 0.7), int(width * 1.3), _SILVER if rng.rand() < 0.25 else None)
    picture = paint.wrap(picture, around + 0.5, down)
    paint.ink_on(picture, np.maximum(paint.ramp((0.035 - down) * 90.0), paint.ramp((down - 0.95) * 60.0)), _SILVER)
    bands = _mirror(rng, across, light)
    if rng.rand() < 0.5:  # dents
        gx, gy = paint.creases(rng, height, width, 9, 0.2)
        strength = rng.uniform(0.15, 0.55)
        bands = _mirror(rng, np.clip(across + strength * 0.4 * gx, -0.999, 0.999), light)
        bands *= paint.lambert(strength * gx, strength * gy, light)
        bands += 0.4 * paint.gloss(gx, gy, light, 60.0)
    lit = 0.3 + 0.85 * bands
    # the lacquer takes some of the mirror's contrast, the bare metal shows all of it
    sprite.over(paint.shaded(picture, lit), cover)
    sprite.shine(0.4 * np.maximum(lit - 0.9, 0.0), cover)
    cone, _, cone_cover = barrel(height, width, end, r, y_top, y_top + neck, flat)
    sprite.over(paint.shaded(_SILVER, 0.35 + 0.8 * _mirror(rng, cone, light)), cone_cover * (1.0 - cover))
    _round_end(rng, sprite, (width - 1) / 2.0, y_top, end, flat * end, light, _SILVER, tab=True)
    return sprite


def tin(rng, size, light):
    """A food tin with ribs, bare or with a paper label, closed, or open with a dark inside."""
    squat = rng.uniform(0.6, 1.05)
    height, width = (size, int(size * squat)) if squat < 1 else (int(size / squat), size)
    r = (width - 6) / 2.0
    flat = rng.uniform(0.2, 0.5)
    y_top, y_bottom = flat * r + 3.0, height - flat * r - 4.0
    if y_bottom < y_top + 0.2 * height:
        y_bottom = y_top + 0.2 * height
        flat = min(flat, (height - 4.0 - y_bottom) / r)
    across, down, cover = barrel(height, width, r, r, y_top, y_bottom, flat)
    sprite = paint.Sprite(height, width)
    colour = (_GOLD if rng.rand() < 0.2 else _SILVER) * rng.uniform(0.85, 1.1)
    count = rng.randint(5, 12)
    ribs = np.sin(down * 2.0 * math.pi * count) * paint.ramp((0.5 - np.abs(down - 0.5)) * 7.0)
    rust = paint.ramp(paint.noise(rng, height, width, 5, 5, 3) - rng.uniform(0.6, 1.6))
    body = _mirror(rng, np.clip(across + 0.06 * ribs, -0.999, 0.999), light) * (1.0 + 0.3 * ribs)
    body *= 0.92 + 0.08 * paint.noise(rng, height, width, 3, 30)
    metal = paint.shaded(colour * 1.15, body)
    paint.ink_on(metal, 0.7 * rust, (40.0, 70.0, 110.0))
    sprite.over(metal, cover)
    if rng.rand() < 0.35:
        around = np.arcsin(across * 0.999) / math.pi + 0.5
        share = (down - 0.1) / 0.8
        picture = paint.wrap(paint.label(rng, int(height * 0.7), int(width * 1.5)), around, share)
        lit = 0.35 + 0.75 * _mirror(rng, across * 0.9, light)
        sprite.over(paint.shaded(picture, lit), cover * (share > 0.0) * (share < 1.0))
    cx = (width - 1) / 2.0
    if rng.rand() < 0.5:
        _round_end(rng, sprite, cx, y_top, r, flat * r, light, colour, tab=rng.rand() < 0.3)
        return sprite
    rho, around, mouth = paint.disc(height, width, cx, y_top, r, flat * r)
    y = paint.grid(height, width)[0]
    depth = (y - y_top) / (flat * r)  # the far inner wall is at the top of the mouth
    inner = _mirror(rng, np.clip(-across, -0.999, 0.999), light) * (0.75 - 0.45 * paint.ramp(depth * 0.5 + 0.5))
    inner *= 1.0 + 0.25 * np.sin((depth + 0.4 * np.abs(across)) * count * 2.0)
    sprite.over(paint.shaded(_GOLD if rng.rand() < 0.5 else _SILVER, inner), mouth)
    ring = paint.bump(rho, 0.965, 0.035) * (rho < 1.01)
    sprite.over(paint.shaded(colour, 0.8 + 0.4 * paint.bump(np.cos(around - 0.8), 1.0, 0.6)), ring)
    return sprite


def foil(rng, size, light):
    """A crumpled sheet or ball of aluminium foil."""
    height, width = size, int(size * rng.uniform(0.65, 1.0))
    sprite = paint.Sprite(height, width)
    cover = paint.blob(rng, height, width, rng.randint(24, 50), rng.uniform(0.2, 0.5), rng.uniform(0.0, 0.5))
    gx, gy = paint.creases(rng, height, width, 24, 0.1, 0.45)
    fx, fy = paint.creases(rng, height, width, 36, 0.3, 0.45)
    gx, gy = 1.2 * gx + 1.2 * fx, 1.2 * gy + 1.2 * fy
    turn, wave = rng.uniform(0.0, 6.3), rng.uniform(1.6, 2.6)
    mirror = 0.5 + 0.42 * np.sin(wave * (gx * math.cos(turn) + gy * math.sin(turn)) * 1.8 + rng.uniform(0.0, 6.3))
    mirror = mirror * (0.35 + 0.75 * paint.lambert(gx, gy, light, 0.3)) + 0.9 * paint.gloss(gx, gy, light, 45.0)
    colour = _SILVER * np.array([rng.uniform(0.96, 1.04), 1.0, rng.uniform(0.96, 1.04)], np.float32)
    sprite.over(paint.shaded(colour, 0.14 + mirror), cover)
    return sprite


def metal_lid(rng, size, light):
    """A jar lid or the end of a tin, from straight above or slanted, silver, gold or lacquered."""
    round_ = rng.uniform(0.75, 1.0)
    height, width = int(size * round_), size
    sprite = paint.Sprite(height, width)
    colour = paint.pick(rng, (_SILVER, _SILVER, _GOLD, paint.vivid(rng)))
    cx, cy = width / 2.0, height / 2.0
    rx, ry = cx - 3.0, cy - 3.0
    _, _, side = paint.disc(height, width, cx, cy + 2.0, rx, ry)
    sprite.over(colour * 0.35, side)
    _round_end(rng, sprite, cx, cy - 1.0, rx, ry, light, colour, tab=colour is _SILVER and rng.rand() < 0.4)
    if rng.rand() < 0.3:
        rho = paint.disc(height, width, cx, cy, rx, ry)[0]
        stain = paint.ramp((paint.noise(rng, height, width, 4, 4, 3) - 0.2) * 3.0) * (rho < 0.75)
        sprite.over((70.0, 110.0, 140.0), stain * 0.6)
    return sprite


GLASS = (glass_bottle, glass_bottle, glass_bottle, glass_jar, glass_tumbler, glass_from_above)
METAL = (drinks_can, drinks_can, tin, tin, foil, metal_lid)

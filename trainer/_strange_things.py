"""Things that are none of the materials, for drawn_strangers.py. Private; the contract of edge/frames/_drawn_rigid.py.

Every function takes (rng, size, light): the long side in pixels, and the unit vector towards the lamp as seen by the
item (x right, y down, z to the camera). It returns a Sprite. Colours are BGR.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint

_SKIN = ((150, 178, 222), (120, 155, 205), (95, 130, 185), (65, 95, 150), (45, 65, 105), (35, 48, 75))
_GLOVE = ((190, 120, 40), (30, 110, 235), (40, 40, 42), (40, 200, 235), (60, 140, 60), (205, 205, 210))
_PLASTIC = ((30, 30, 200), (25, 160, 240), (30, 200, 230), (180, 90, 20), (60, 150, 40), (40, 40, 42))
_STEEL = ((185, 182, 178), (150, 150, 152), (118, 120, 124), (70, 72, 76))
_WOOD = ((95, 150, 195), (70, 120, 170), (120, 175, 215), (50, 85, 125))
_FUR = ((60, 110, 190), (45, 50, 55), (150, 155, 160), (215, 222, 228), (70, 95, 125), (95, 110, 120))


def _mask(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def _fill(mask: np.ndarray, points, value: int = 255) -> None:
    cv2.fillPoly(mask, [np.round(np.asarray(points, float) * 16).astype(np.int32)], value, cv2.LINE_AA, 4)


def _dot(mask: np.ndarray, centre, radius: float, value: int = 255) -> None:
    point = tuple(int(round(c * 16)) for c in centre)
    cv2.circle(mask, point, max(1, int(round(radius * 16))), value, -1, cv2.LINE_AA, 4)


def _limb(mask: np.ndarray, start, end, r_start: float, r_end: float, value: int = 255) -> None:
    """A tapered rod with round ends."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-6)
    side = np.array([-along[1], along[0]])
    _fill(mask, [start + side * r_start, end + side * r_end, end - side * r_end, start - side * r_start], value)
    _dot(mask, start, r_start, value)
    _dot(mask, end, r_end, value)


def _soft(mask: np.ndarray, sigma: float) -> np.ndarray:
    """Outline with its corners filled, as skin between fingers; (h, w) float32, 0 to 1."""
    return paint.ramp((cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32) / 255.0 - 0.5) * sigma * 2.0 + 0.5)


def _slopes(cover: np.ndarray, edge: float, bumps: np.ndarray | float = 0.0, soft: float = 1.0):
    """Slopes of a body with this outline: round over `edge` pixels from the rim, flat within, plus bumps in pixels."""
    inside = cv2.distanceTransform((cover > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    depth = np.minimum(inside, edge)
    height = np.sqrt(np.maximum(edge * edge - (edge - depth) ** 2, 0.0)) + bumps
    gy, gx = np.gradient(cv2.GaussianBlur(height.astype(np.float32), (0, 0), max(soft, 0.6)))
    return -np.clip(gx, -3.0, 3.0), -np.clip(gy, -3.0, 3.0)


def _body(sprite, colour, cover, light, edge, bumps=0.0, soft=1.0, shine=0.3, power=30.0, ambient=0.42) -> None:
    """Lay an opaque, lit body on the sprite."""
    gx, gy = _slopes(cover, edge, bumps, soft)
    sprite.over(paint.shaded(np.asarray(colour, np.float32), paint.lambert(gx, gy, light, ambient)), cover)
    if shine:
        sprite.shine(shine * paint.gloss(gx, gy, light, power), cover)


def _tint(rng, colour, spread: float = 0.15) -> np.ndarray:
    return np.clip(np.asarray(colour, np.float32) * rng.uniform(1 - spread, 1 + spread), 0, 250).astype(np.float32)


def hand(rng, size, light):
    """A hand from above, bare or gloved, on a forearm that leaves at the sprite's lower edge."""
    height, width = size, int(size * 0.72)
    mask, marks = _mask(height, width), _mask(height, width)
    gloved = rng.rand() < 0.5
    colour = _tint(rng, paint.pick(rng, _GLOVE if gloved else _SKIN))
    unit, middle = size * 0.5, width * 0.5
    wrist, palm = np.array([middle, height * 0.7]), np.array([middle, height * 0.55])
    thick = unit * (0.07 if gloved else 0.062) * rng.uniform(0.9, 1.1)
    flip, spread, tips = rng.choice((-1, 1)), rng.uniform(0.3, 1.2), []
    _fill(mask, [(middle - unit * 0.2, palm[1] - unit * 0.14), (middle + unit * 0.2, palm[1] - unit * 0.14),
                 (middle + unit * 0.15, wrist[1]), (middle - unit * 0.15, wrist[1])])
    _dot(mask, palm, unit * 0.2)
    for index, reach in enumerate((0.43, 0.54, 0.57, 0.5)):
        angle = flip * (index - 1.7) * 0.16 * spread + rng.normal() * 0.04
        curl = rng.uniform(0.55, 1.0) if rng.rand() < 0.35 else 1.0
        root = palm + [flip * (index - 1.5) * unit * 0.115, -unit * 0.1]
        bend = angle + rng.normal() * 0.06
        knuckle = root + unit * reach * 0.55 * curl * np.array([math.sin(angle), -math.cos(angle)])
        tip = knuckle + unit * reach * 0.45 * curl * np.array([math.sin(bend), -math.cos(bend)])
        _limb(mask, root, knuckle, thick * 1.12, thick)
        _limb(mask, knuckle, tip, thick, thick * 0.86)
        for joint in (root * 0.35 + knuckle * 0.65, knuckle):
            cv2.line(marks, tuple(int(v) for v in joint - [thick * 0.7, 0]), tuple(int(v) for v in joint
                     + [thick * 0.7, 0]), 255, max(1, int(size / 300)), cv2.LINE_AA)
        tips.append((tip, bend))
    root = palm + [flip * unit * 0.17, unit * 0.08]
    angle = flip * rng.uniform(0.6, 1.0)
    knuckle = root + unit * 0.22 * np.array([math.sin(angle), -math.cos(angle)])
    tip = knuckle + unit * 0.17 * np.array([math.sin(angle * 0.6), -math.cos(angle * 0.6)])
    _limb(mask, root, knuckle, thick * 1.5, thick * 1.1)
    _limb(mask, knuckle, tip, thick * 1.1, thick * 0.9)
    tips.append((tip, angle * 0.6))
    _limb(mask, wrist, (middle + rng.normal() * unit * 0.05, height * 1.1), unit * 0.155, unit * 0.2)
    cover = _soft(mask, size / 150.0)
    sprite = paint.Sprite(height, width)
    skin = paint.shaded(colour, 1.0 + 0.06 * paint.noise(rng, height, width, 12, 9, 2))
    wrinkles = (2.5 if gloved else 0.7) * paint.noise(rng, height, width, 18, 14, 2) * size / 300.0
    _body(sprite, skin, cover, light, thick * 1.15, wrinkles, size / 220.0, 0.5 if gloved else 0.12, 18.0)
    crease = cv2.GaussianBlur(marks, (0, 0), 0.8 + size / 400.0).astype(np.float32) / 255.0
    sprite.over(colour * 0.55, 0.5 * crease * cover)
    if not gloved:  # nails
        nails = _mask(height, width)
        for tip, bend in tips:
            at = tuple(int(v) for v in tip)
            cv2.ellipse(nails, at, (int(thick * 0.5), int(thick * 0.72)), math.degrees(bend), 0, 360, 255, -1,
                        cv2.LINE_AA)
        sprite.over(np.minimum(colour * 1.12 + 14.0, 245.0), 0.75 * nails.astype(np.float32) / 255.0 * cover)
    y, x = paint.grid(height, width)
    start = 0.7 if gloved else rng.uniform(0.75, 0.95)
    if gloved or rng.rand() < 0.7:  # a cuff, a sleeve
        cuff = paint.ramp((y - start * height) * 0.5 + 0.0 * x) * cover
        cloth = colour * 0.8 if gloved and rng.rand() < 0.5 else paint.vivid(rng, 0.7)
        weave = 1.0 + 0.12 * np.sin(x * 200.0 / width) + 0.2 * paint.noise(rng, height, width, 5, 3, 2)
        gx, gy = _slopes(cover, unit * 0.2)
        sprite.over(paint.shaded(cloth, weave * paint.lambert(gx, gy, light)), cuff)
    return sprite


def tool(rng, size, light):
    """A spanner, a screwdriver or a hammer."""
    return paint.pick(rng, (_spanner, _screwdriver, _hammer))(rng, size, light)


def _spanner(rng, size, light):
    height, width = max(24, int(size * 0.26)), size
    mask, middle = _mask(height, width), height / 2.0
    head, shaft = height * 0.46, height * rng.uniform(0.14, 0.22)
    left, right = (head + 2, middle), (width - head - 2, middle)
    _fill(mask, [(left[0], middle - shaft), (right[0], middle - shaft * 0.85), (right[0], middle + shaft * 0.85),
                 (left[0], middle + shaft)])
    for end, side in ((left, -1), (right, 1)):
        _dot(mask, end, head * (1.0 if side < 0 else 0.85))
        if side < 0 or rng.rand() < 0.4:  # open jaw, a little askew
            angle = math.pi * (side < 0) + rng.uniform(-0.3, 0.3)
            along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
            jaw, start = head * 0.5, np.asarray(end) - along * head * 0.15
            far = along * head * 1.4
            _fill(mask, [start + across * jaw, start + far + across * jaw, start + far - across * jaw,
                         start - across * jaw], 0)
        else:  # ring with a bihexagon
            turns = np.linspace(0, 2 * math.pi, 12, endpoint=False)
            _fill(mask, [(end[0] + head * 0.52 * math.cos(t) * (1 + 0.05 * (k % 2)), end[1] + head * 0.52 * math.sin(t)
                          * (1 + 0.05 * (k % 2))) for k, t in enumerate(turns)], 0)
    cover = mask.astype(np.float32) / 255.0
    sprite = paint.Sprite(height, width)
    groove = np.zeros((height, width), np.float32)
    groove[int(middle - shaft * 0.45):int(middle + shaft * 0.45), int(width * 0.25):int(width * 0.75)] = -size / 140.0
    brushed = 1.0 + 0.08 * paint.noise(rng, height, width, max(8, height // 3), 3)
    brushed = brushed * (1.0 + 0.3 * paint.noise(rng, height, width, 2, 7, 2))  # what it mirrors
    _body(sprite, paint.shaded(_tint(rng, paint.pick(rng, _STEEL)), brushed), cover, light, height * 0.07, groove, 1.0,
          0.8, 40.0)
    return sprite


def _screwdriver(rng, size, light):
    height, width = max(20, int(size * 0.15)), size
    middle, sprite = height / 2.0, paint.Sprite(height, width)
    grip = width * rng.uniform(0.36, 0.46)
    steel = _mask(height, width)
    rod = height * rng.uniform(0.09, 0.15)
    _fill(steel, [(grip - 4, middle - rod), (width * 0.93, middle - rod), (width - 2, middle - rod * 1.7),
                  (width - 2, middle + rod * 1.7), (width * 0.93, middle + rod), (grip - 4, middle + rod)])
    chrome = paint.shaded(_tint(rng, paint.pick(rng, _STEEL)), 1.0 + 0.2 * paint.noise(rng, height, width, 2, 12, 2))
    _body(sprite, chrome, steel.astype(np.float32) / 255.0, light, rod, 0.0, 0.7, 0.9, 50.0)
    steps = ((0.0, 0.62), (0.12, 0.86), (0.55, 0.8), (0.8, 0.6), (0.9, 0.84), (1.0, 0.55))
    outline = [(2 + t * grip, middle - r * middle * 0.98) for t, r in steps]
    outline += [(2 + t * grip, middle + r * middle * 0.98) for t, r in steps[::-1]]
    cover = _soft(cv2.GaussianBlur((paint.polygon(height, width, outline) * 255).astype(np.uint8), (0, 0), 1.0), 1.5)
    y, x = paint.grid(height, width)
    colour = np.empty((height, width, 3), np.float32)
    colour[:] = _tint(rng, paint.pick(rng, _PLASTIC))
    second = paint.ramp((np.abs(x / grip - rng.uniform(0.3, 0.6)) - 0.18) * 40.0) + 0.0 * y
    paint.ink_on(colour, 1.0 - second, _tint(rng, paint.pick(rng, _PLASTIC)))
    flutes = (height * 0.035) * np.cos((y - middle) / height * 40.0) * (x < grip * 0.78)
    _body(sprite, colour, cover, light, middle * 0.8, flutes, 1.0, 0.6, 30.0)
    return sprite


def _hammer(rng, size, light):
    height, width = size, int(size * rng.uniform(0.36, 0.46))
    middle, sprite = width * rng.uniform(0.42, 0.55), paint.Sprite(height, width)
    handle, thick = _mask(height, width), size * rng.uniform(0.028, 0.036)
    _limb(handle, (middle, size * 0.1), (middle + rng.normal() * 2, height - size * 0.05), thick * 0.8, thick * 1.2)
    grain = 1.0 + 0.18 * paint.noise(rng, height, width, 5, max(16, width // 3), 2)
    wood = rng.rand() < 0.65
    colour = _tint(rng, paint.pick(rng, _WOOD if wood else _PLASTIC))
    _body(sprite, paint.shaded(colour, grain if wood else 0.95 + 0.0 * grain), handle.astype(np.float32) / 255.0,
          light, thick, 0.0, 1.0, 0.25, 20.0)
    if rng.rand() < 0.5:  # a rubber grip
        lower = handle.copy()
        lower[:int(height * 0.6)] = 0
        y, _ = paint.grid(height, width)
        _body(sprite, _tint(rng, paint.pick(rng, _PLASTIC)), lower.astype(np.float32) / 255.0, light, thick,
              1.2 * np.sin(y * 150.0 / height) + np.zeros((height, width), np.float32), 1.0, 0.15)
    head, tall = _mask(height, width), size * rng.uniform(0.055, 0.075)
    centre = size * 0.1
    _fill(head, [(3, centre - tall), (width * 0.24, centre - tall), (width * 0.3, centre - tall * 0.75),
                 (middle, centre - tall * 0.85), (width * 0.7, centre - tall * 0.6),
                 (width - 3, centre + tall * rng.uniform(-0.3, 1.3)), (width * 0.68, centre + tall * 0.5),
                 (middle, centre + tall * 0.85), (width * 0.3, centre + tall * 0.75), (width * 0.24, centre + tall),
                 (3, centre + tall)])
    rust = 1.0 + 0.14 * paint.noise(rng, height, width, 14, 14, 3)
    _body(sprite, paint.shaded(_tint(rng, paint.pick(rng, _STEEL)), rust), head.astype(np.float32) / 255.0, light,
          tall * 0.5, 0.0, 1.2, 0.7, 30.0)
    return sprite


def animal(rng, size, light):
    """A furry animal from above or lying on its side: body, head with ears, eyes and whiskers, tail."""
    height, width = int(size * 0.7), size
    mask, unit = _mask(height, width), size / 100.0
    body, head = np.array([58.0, 40.0]) * unit, np.array([22.0, 28.0 + rng.uniform(-4, 6)]) * unit
    plump = rng.uniform(0.85, 1.15)
    cv2.ellipse(mask, tuple(int(v) for v in body), (int(27 * unit), int(18 * unit * plump)), rng.uniform(-12, 12), 0,
                360, 255, -1, cv2.LINE_AA)
    _limb(mask, head, body - [14 * unit, 0], 10 * unit, 15 * unit)
    for at in (40, 47, 70, 77):  # legs
        _limb(mask, (at * unit, 48 * unit), ((at + rng.uniform(-6, 4)) * unit, 63 * unit), 5 * unit, 3.2 * unit)
    tail = np.array([[84, 40], [92, 34 + rng.uniform(-8, 8)], [93, 20], [86, 10 + rng.uniform(-4, 8)]]) * unit
    for start, end in zip(tail[:-1], tail[1:], strict=True):
        _limb(mask, start, end, 3.4 * unit, 3.0 * unit)
    _dot(mask, head, 12 * unit)
    pointed = rng.uniform(0.8, 1.25)
    ears = [[head + np.array([s * 10.5, -5.0]) * unit, head + np.array([s * 9.0, -19.0 * pointed]) * unit,
             head + np.array([s * 1.5, -10.5]) * unit] for s in (-1, 1)]
    for ear in ears:
        _fill(mask, ear)
    cover, sprite = _soft(mask, size / 110.0), paint.Sprite(height, width)
    coat, other = (np.asarray(_FUR[i], np.float32) for i in rng.choice(len(_FUR), 2, replace=False))
    y, x = paint.grid(height, width)
    kind = rng.randint(3)  # plain, tabby, patched
    warp = 5.0 * paint.noise(rng, height, width, 4, 4, 2)
    pattern = (np.zeros((height, width), np.float32), paint.ramp(np.sin(x / unit * 0.9 + warp) * 2.0 - 0.4),
               paint.ramp(paint.noise(rng, height, width, 3, 4, 2) * 9.0))[kind]
    colour = paint.shaded(coat, 1.0 - pattern) + paint.shaded(other * (0.6 if kind == 1 else 1.0), pattern)
    colour = paint.shaded(colour, 1.0 + 0.12 * paint.grain(rng, height, width))
    _body(sprite, colour, cover, light, 16 * unit, 0.8 * paint.noise(rng, height, width, 40, 60, 1), 1.0, 0.0)
    _fur(rng, sprite, colour, cover, unit)
    for ear in ears:
        inner = [np.mean(ear, axis=0) + (corner - np.mean(ear, axis=0)) * 0.5 for corner in ear]
        sprite.over((130.0, 140.0, 190.0), 0.6 * paint.polygon(height, width, inner))
    iris = paint.pick(rng, ((60.0, 190.0, 150.0), (40.0, 170.0, 220.0), (150.0, 130.0, 60.0)))
    face = _mask(height, width)
    for s in (-1, 1):
        eye = head + np.array([s * 4.6, -1.5]) * unit
        sprite.over((20.0, 20.0, 20.0), paint.disc(height, width, eye[0], eye[1], 2.7 * unit, 2.2 * unit)[2])
        sprite.over(iris, paint.disc(height, width, eye[0], eye[1], 2.3 * unit, 1.8 * unit)[2])
        sprite.over((8.0, 8.0, 8.0), paint.disc(height, width, eye[0], eye[1], 0.8 * unit, 1.7 * unit)[2])
        sprite.shine(0.9 * paint.disc(height, width, eye[0] + unit * 0.6, eye[1] - unit * 0.6, 0.5 * unit + 0.3,
                                      0.5 * unit + 0.3)[2], cover)
        for angle in (-0.25, 0.0, 0.25):
            end = head + np.array([s * 17 * math.cos(angle), 4 + 17 * math.sin(angle)]) * unit
            cv2.line(face, tuple(int(v) for v in head + np.array([s * 3, 4]) * unit), tuple(int(v) for v in end), 255,
                     1, cv2.LINE_AA)
    sprite.over((235.0, 235.0, 235.0), 0.6 * face.astype(np.float32) / 255.0)
    nose = paint.disc(height, width, head[0], head[1] + 3.6 * unit, 1.7 * unit, 1.2 * unit)[2]
    sprite.over((110.0, 110.0, 175.0), nose)
    return sprite


def _fur(rng, sprite, colour, cover, unit) -> None:
    """Hairs along the body, also beyond its outline."""
    height, width = cover.shape
    light_hair, dark_hair = _mask(height, width), _mask(height, width)
    rows, columns = np.nonzero(cover > 0.3)
    chosen = rng.randint(0, len(rows), 2600)
    lean = paint.noise(rng, height, width, 4, 5, 1)
    length = rng.uniform(2.2, 4.0) * unit
    for index, at in enumerate(chosen):
        x, y = int(columns[at]), int(rows[at])
        angle = 0.5 + 1.1 * float(lean[y, x]) + rng.normal() * 0.25
        end = (int(x + length * math.cos(angle)), int(y + length * math.sin(angle)))
        cv2.line(light_hair if index % 2 else dark_hair, (x, y), end, 150, 1, cv2.LINE_AA)
    sprite.over(np.minimum(colour * 1.25 + 12.0, 250.0), light_hair.astype(np.float32) / 255.0)
    sprite.over(colour * 0.6, dark_hair.astype(np.float32) / 255.0)

"""Boxes and sheets, for drawn.py: cardboard and paper. Private; the same contract as _drawn_rigid.py."""

import math

import cv2
import numpy as np

from edge.frames import _drawn_paint as paint
from edge.frames import _drawn_rigid as rigid


def _kraft(rng, height, width, base, flutes=0.02):
    """Brown board, (h, w, 3): fibres, blotches and the faint lines of the corrugation below."""
    x = paint.grid(height, width)[1]
    tone = 1.0 + 0.035 * paint.noise(rng, height, width, 4, 4, 2) + 0.03 * paint.grain(rng, height, width)
    tone += flutes * np.sin(x * (2.0 * math.pi / max(4.0, 0.03 * max(height, width))))
    return paint.shaded(base, tone)


def _board_colour(rng):
    """Kraft brown, from pale to dark, BGR."""
    base = np.array([112.0, 152.0, 188.0], np.float32) * rng.uniform(0.78, 1.1)
    return base * np.array([rng.uniform(0.9, 1.08), 1.0, rng.uniform(0.97, 1.03)], np.float32)


def _carton_print(rng, face):
    """Print, a shipping label or tape on a face of board, in place."""
    height, width = face.shape[:2]
    ink = paint.pick(rng, ((40.0, 45.0, 55.0), (45.0, 45.0, 150.0), (130.0, 70.0, 35.0)))
    if rng.rand() < 0.6:
        h, w = max(7, int(height * rng.uniform(0.14, 0.3))), max(8, int(width * rng.uniform(0.35, 0.7)))
        y, x = rng.randint(0, height - h), rng.randint(0, width - w)
        paint.ink_on(face[y : y + h, x : x + w], 0.8 * paint.word_mask(rng, h, w), ink)
    if rng.rand() < 0.5:
        h, w = max(12, int(height * rng.uniform(0.25, 0.4))), max(12, int(width * rng.uniform(0.25, 0.4)))
        y, x = rng.randint(0, height - h), rng.randint(0, width - w)
        sticker = face[y : y + h, x : x + w]
        sticker[:] = (232.0, 234.0, 236.0)
        text = sticker[h // 8 : h // 8 + h // 3, w // 8 : w // 8 + w * 3 // 4]
        paint.ink_on(text, paint.text_mask(rng, text.shape[0], text.shape[1], 4), (45.0, 45.0, 45.0))
        code = sticker[h * 3 // 5 : h * 9 // 10, w // 8 : w // 8 + w * 3 // 4]
        code *= 1.0 - 0.85 * paint.bars(rng, code.shape[0], code.shape[1])[..., None]


def _solid(size, dims, yaw, pitch):
    """Corners of a turned and tilted block: (8, 3), x right, y down, z to the camera; near ones larger."""
    signs = np.array([[sx, sy, sz] for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)], np.float64)
    points = signs * np.asarray(dims, np.float64) / 2.0
    cos, sin = math.cos(yaw), math.sin(yaw)
    points = points.dot(np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]))
    cos, sin = math.cos(pitch), math.sin(pitch)
    points = points.dot(np.array([[1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, -sin, cos]]))
    near = 1.0 / (1.0 - 0.18 * points[:, 2])
    points[:, :2] *= near[:, None]
    return points


_FACES = ((0, 2, 6, 4), (1, 3, 7, 5), (0, 1, 5, 4), (2, 3, 7, 6), (0, 1, 3, 2), (4, 5, 7, 6))  # bottom, top, sides
_TOP = 1


def _block(rng, size, light, face_picture, dims, open_top):
    """A box from above at an angle; face_picture(index, h, w) paints each face."""
    points = _solid(size, dims, rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.45, 0.95) * paint.pick(rng, (-1, 1)))
    quads = [(points[list(face)], index) for index, face in enumerate(_FACES)]
    flaps = []
    centre = points[list(_FACES[_TOP])].mean(axis=0)
    up = centre / np.linalg.norm(centre)
    if open_top:
        corners = points[list(_FACES[_TOP])]
        for side in range(4):
            a, b = corners[side], corners[(side + 1) % 4]
            outward = (a + b) / 2.0 - centre
            reach = rng.uniform(0.35, 0.6)
            tip = outward / np.linalg.norm(outward) * np.linalg.norm(outward) * reach + up * rng.uniform(0.0, 0.25)
            flaps.append((np.array([a, b, b + tip * 0.97, a + tip * 0.97]), 10 + side))
    every = np.concatenate([quad for quad, _ in quads + flaps])
    low, high = every[:, :2].min(axis=0), every[:, :2].max(axis=0)
    scale = (size - 8) / float((high - low).max())
    width, height = [int(v) + 8 for v in (high - low) * scale]
    sprite = paint.Sprite(height, width)
    if flaps:  # far flaps stand behind the box, near ones in front
        quads = [f for f in flaps if f[0][2:, 2].mean() < centre[2]] + quads
        quads += [f for f in flaps if f[0][2:, 2].mean() >= centre[2]]
    for quad, index in quads:
        normal = np.cross(quad[1] - quad[0], quad[3] - quad[0])
        normal /= np.linalg.norm(normal)
        if index < 10:
            if normal.dot(quad.mean(axis=0)) < 0:
                normal = -normal
            if normal[2] < 0.06:
                continue
        elif normal[2] < 0:
            normal = -normal
        facing = max(0.0, float(normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]))
        lit = 0.42 + 0.66 * facing
        corners = (quad[:, :2] - low) * scale + 4.0
        if np.cross(quad[1] - quad[0], quad[3] - quad[0])[2] < 0:  # seen from behind: print must not be mirrored
            corners = corners[[1, 0, 3, 2]]
        w = max(16, int(np.linalg.norm(corners[1] - corners[0])))
        h = max(16, int(np.linalg.norm(corners[3] - corners[0])))
        picture = face_picture(index, h, w)
        y, x = paint.grid(h, w)
        glow = lit * (1.0 + rng.uniform(-0.12, 0.12) * (y / h - 0.5) + rng.uniform(-0.12, 0.12) * (x / w - 0.5))
        if open_top and index == _TOP:  # look inside: darker towards the bottom and away from the lamp
            deep = np.minimum(np.minimum(x / w, 1.0 - x / w), np.minimum(y / h, 1.0 - y / h))
            glow = glow * (0.72 - 0.75 * np.minimum(deep, 0.3) + 0.1 * paint.noise(rng, h, w, 2, 2))
        rim = np.minimum(np.minimum(x, w - 1 - x), np.minimum(y, h - 1 - y))
        glow = glow * (1.0 + 0.10 * np.exp(-rim / 1.2))  # worn, paler edges
        picture, cover = paint.pinned(paint.shaded(picture, glow), height, width, corners)
        sprite.over(picture, cover)
    return sprite


def carton_box(rng, size, light):
    """A shipping box at an angle: closed with tape, or open with its flaps out."""
    base = _board_colour(rng)
    tape = np.array([150.0, 185.0, 205.0], np.float32) * rng.uniform(0.8, 1.15)
    is_open = rng.rand() < 0.35
    has_tape = rng.rand() < 0.7

    def face(index, h, w):
        if is_open and index == _TOP:
            return _kraft(rng, h, w, base * 0.9)
        picture = _kraft(rng, h, w, base if index < 10 else base * 1.04)
        if index == _TOP:
            middle = h // 2
            picture[middle - 1 : middle + 1] *= 0.5
            if has_tape:
                half = max(3, h // 14)
                strip = picture[middle - half : middle + half]
                strip += 0.75 * (tape - strip)
                strip[:2] *= 1.08
        if index < 10:
            _carton_print(rng, picture)
        return picture

    dims = (rng.uniform(0.7, 1.2), rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.8))
    return _block(rng, size, light, face, dims, is_open)


def printed_carton(rng, size, light):
    """A cereal or tea carton: thin board, printed in colour, grey or brown on the inside."""
    colour = paint.vivid(rng)
    is_open = rng.rand() < 0.4

    def face(index, h, w):
        if index >= 10 or (is_open and index == _TOP):
            return _kraft(rng, h, w, np.array([150.0, 172.0, 188.0], np.float32), 0.0)
        return paint.label(rng, h, w, colour)

    dims = (rng.uniform(0.8, 1.2), rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.4))
    return _block(rng, size, light, face, dims, is_open)


def _flutes(rng, sprite, start, end, thick, base, light):
    """The wavy cut edge of corrugated board along a line, as a band of small arches."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    y, x = paint.grid(sprite.height, sprite.width)
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / length
    off = ((x - start[0]) * -dy + (y - start[1]) * dx) / length / thick
    cover = paint.ramp((0.5 - np.abs(off)) * thick + 0.5) * (along > 0) * (along < length)
    wave = np.abs(off - 0.32 * np.sin(along * (2.0 * math.pi / (1.5 * thick))))
    liner = np.maximum(paint.ramp(1.0 - wave * 5.0), paint.ramp((np.abs(off) - 0.36) * 9.0))
    sprite.over(paint.shaded(base, 0.34 + 0.72 * liner), cover)


def flattened_box(rng, size, light):
    """A box cut open and laid flat: panels, creases, flaps and a corrugated edge."""
    height, width = int(size * rng.uniform(0.6, 0.95)), size
    sprite = paint.Sprite(height, width)
    base = _board_colour(rng)
    inset = rng.uniform(0.08, 0.2)

    def jitter():
        return rng.uniform(-0.02, 0.02)

    cuts = [rng.uniform(0.28, 0.4), rng.uniform(0.6, 0.75)]
    outline = [
        (0.02, inset),
        (cuts[0] - 0.02, inset + jitter()),
        (cuts[0] - 0.01, 0.03),
        (cuts[1], 0.03 + abs(jitter())),
    ]
    outline += [(cuts[1] + 0.01, inset), (0.97, inset + jitter()), (0.975, 1 - inset), (cuts[1] + 0.02, 1 - inset)]
    outline += [(cuts[1], 0.96), (cuts[0] + 0.02, 0.97), (cuts[0], 1 - inset + jitter()), (0.025, 1 - inset + jitter())]
    if rng.rand() < 0.5:  # a single panel with one torn corner
        outline = [
            (0.03, 0.05),
            (0.95, 0.04),
            (0.97, rng.uniform(0.5, 0.8)),
            (rng.uniform(0.6, 0.8), 0.95),
            (0.04, 0.93),
        ]
    outline = np.array(outline) * np.array([width, height])
    board = _kraft(rng, height, width, base)
    _carton_print(rng, board)
    y, x = paint.grid(height, width)
    slope = np.zeros((height, width), np.float32)
    for cut in cuts:
        slope += rng.uniform(-0.5, 0.5) * np.clip((x / width - cut) * 40.0, -1.0, 1.0)
    rise = np.zeros((height, width), np.float32)
    for cut in (inset, 1.0 - inset):
        rise += rng.uniform(-0.4, 0.4) * np.clip((y / height - cut) * 40.0, -1.0, 1.0)
    gx, gy = paint.creases(rng, height, width, 5, 0.1)
    lit = paint.lambert(slope + 0.12 * gx, rise + 0.12 * gy, light)
    for cut in cuts:
        lit = lit * (1.0 - 0.35 * paint.bump(x, cut * width, 1.6) + 0.12 * paint.bump(x, cut * width + 4.0, 2.0))
    for cut in (inset, 1.0 - inset):
        lit = lit * (1.0 - 0.3 * paint.bump(y, cut * height, 1.5))
    sprite.over(paint.shaded(board, lit), paint.polygon(height, width, outline))
    thick = max(5.0, 0.03 * size)
    last = len(outline) - 1
    for index in (last, rng.randint(0, last)):
        _flutes(rng, sprite, outline[index], outline[(index + 1) % len(outline)], thick, base, light)
    return sprite


def torn_board(rng, size, light):
    """A torn piece of corrugated board: a ragged edge, a liner peeled off and the flutes below it."""
    height, width = int(size * rng.uniform(0.6, 1.0)), size
    sprite = paint.Sprite(height, width)
    base = _board_colour(rng)
    cover = paint.blob(rng, height, width, rng.randint(16, 34), rng.uniform(0.05, 0.14), rng.uniform(0.6, 1.0))
    board = _kraft(rng, height, width, base)
    _carton_print(rng, board)
    gx, gy = paint.creases(rng, height, width, 6, 0.15)
    lit = paint.lambert(0.2 * gx, 0.2 * gy, light)
    sprite.over(paint.shaded(base * 1.16, 0.95 * lit), cover)  # the torn fibre edge is paler
    shrink = max(3, int(0.025 * size)) | 1
    inner = cv2.erode(cover, np.ones((shrink, shrink), np.uint8)) * paint.ramp(
        1.0 + 2.0 * paint.noise(rng, height, width, 12, 12) * (1.0 - cv2.blur(cover, (shrink * 4 | 1, shrink * 4 | 1)))
    )
    sprite.over(paint.shaded(board, lit), inner)
    peeled = paint.ramp((paint.noise(rng, height, width, 2, 2, 3) - rng.uniform(-0.1, 0.4)) * 25.0)
    x = paint.grid(height, width)[1]
    wave = np.sin(x * (2.0 * math.pi / max(6.0, 0.042 * size)))
    sprite.over(paint.shaded(base * 0.95, lit * (0.82 + 0.3 * wave * light[0] + 0.12 * wave)), inner * peeled)
    return sprite


def board_tube(rng, size, light):
    """A tube of grey-brown board, such as the core of a kitchen roll, with its spiral seam and dark mouth."""
    height, width = size, int(size * rng.uniform(0.34, 0.6)) + 6
    r = (width - 6) / 2.0
    flat = rng.uniform(0.3, 0.6)
    y_top, y_bottom = flat * r + 3.0, height - flat * r - 4.0
    across, down, cover = rigid.barrel(height, width, r, r, y_top, y_bottom, flat)
    sprite = paint.Sprite(height, width)
    base = _board_colour(rng) * np.array([1.12, 1.05, 1.0], np.float32)
    around = np.arcsin(across * 0.999)
    seam = np.mod(down * (y_bottom - y_top) / r - 0.9 * around + rng.uniform(0, 3), 2.6)
    depth = np.sqrt(1.0 - across * across)
    gx, _gy = paint.creases(rng, height, width, 5, 0.2)
    lit = 0.42 + 0.62 * np.maximum(across * light[0] + depth * light[2], 0.0)
    lit = lit * (1.0 + 0.1 * gx) * (1.0 - 0.3 * paint.bump(seam, 0.1, 0.03) + 0.06 * (seam > 0.1) * (seam < 0.5))
    sprite.over(paint.shaded(_kraft(rng, height, width, base, 0.0), lit), cover)
    rho, _spin, mouth = paint.disc(height, width, (width - 1) / 2.0, y_top, r, flat * r)
    inner = 0.5 + 0.3 * (-across * light[0]) - 0.3 * paint.ramp((paint.grid(height, width)[0] - y_top) / (flat * r))
    sprite.over(paint.shaded(base, np.maximum(inner, 0.15)), mouth)
    sprite.over(base * 1.08, paint.bump(rho, 0.95, 0.045) * (rho < 1.005))
    return sprite


# paper


def _page(rng, height, width, style):
    """A flat page, (h, w, 3): a letter, a newspaper, a colour flyer or ruled notes."""
    white = np.array([rng.uniform(222, 240), rng.uniform(228, 240), rng.uniform(230, 242)], np.float32)
    if style == "news":
        white = white * np.array([0.8, 0.86, 0.88], np.float32)
    page = np.empty((height, width, 3), np.float32)
    page[:] = white * rng.uniform(0.92, 1.02)
    ink = (50.0, 48.0, 48.0)
    left, right = int(0.09 * width), int(0.91 * width)
    y = int(0.07 * height)

    def put(mask_or_picture, top, x):
        h, w = mask_or_picture.shape[:2]
        target = page[top : top + h, x : x + w]
        if mask_or_picture.ndim == 3:
            target[:] = mask_or_picture
        else:
            paint.ink_on(target, 0.7 * mask_or_picture, ink)

    if style == "notes":
        step = max(6, height // rng.randint(16, 26))
        for row in range(y + step, height - 4, step):
            page[row : row + 1] = (205.0, 175.0, 150.0)
            if rng.rand() < 0.5:
                w = int((right - left) * rng.uniform(0.3, 0.95))
                put(paint.text_mask(rng, step, w, 1), row - step + 1, left)
        page[:, left : left + 1] = (130.0, 130.0, 220.0)
        return page
    if style == "flyer":
        page[:] = paint.vivid(rng) if rng.rand() < 0.6 else page
        rows, columns = rng.randint(2, 5), rng.randint(2, 4)
        for row in range(rows):
            for column in range(columns):
                h, w = height // rows - 6, width // columns - 6
                if min(h, w) < 12:
                    continue
                top, x = row * (height // rows) + 3, column * (width // columns) + 3
                kind = rng.rand()
                if kind < 0.5:
                    put(paint.photo(rng, h, w), top, x)
                elif kind < 0.7:
                    page[top : top + h, x : x + w] = paint.vivid(rng)
                if kind > 0.35:
                    colour = np.full(3, paint.pick(rng, (20.0, 245.0)))
                    paint.ink_on(page[top : top + h // 2, x : x + w], paint.word_mask(rng, h // 2, w), colour)
                if kind > 0.6:
                    put(paint.text_mask(rng, h // 2, w, 5), top + h // 2, x)
        return page
    if style == "news" or rng.rand() < 0.5:
        h, w = max(7, int(height * rng.uniform(0.05, 0.12))), int((right - left) * rng.uniform(0.5, 1.0))
        put(paint.word_mask(rng, h, w), y, left)
        y += int(h * 1.4)
    columns = rng.randint(2, 5) if style == "news" else 1
    w = (right - left) // columns
    line = max(3.2, height / rng.uniform(28.0, 60.0))
    for column in range(columns):
        top = y
        while top < 0.9 * height - 3 * line:
            h = int(min(line * rng.randint(4, 16), 0.93 * height - top))
            if style == "news" and rng.rand() < 0.3 and h > 14:
                grey = paint.photo(rng, h, w - 4)
                if rng.rand() < 0.6:
                    grey = paint.shaded((1.0, 1.0, 1.0), grey.mean(axis=2))
                put(grey, top, left + column * w)
            else:
                put(paint.text_mask(rng, h, w - 4, max(1, int(h / line))), top, left + column * w)
            top += h + int(line)
    return page


def _laid(rng, page, light, folds, bend):
    """A page laid down: seen a little aslant, curled, folded."""
    height, width = page.shape[:2]
    margin = 0.05 * max(height, width)
    gx, gy = paint.creases(rng, height, width, folds, 0.03, 0.35)
    curl = bend * paint.noise(rng, height, width, 2, 2)
    lit = paint.lambert(0.35 * bend * gx + curl, 0.35 * bend * gy + 0.5 * curl, light, 0.5)
    page = paint.shaded(page, lit)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    corners = corners * (1.0 - 2.2 * margin / max(height, width)) + margin * 1.1 + rng.uniform(-margin, margin, (4, 2))
    picture, cover = paint.pinned(page, height, width, corners)
    sprite = paint.Sprite(height, width)
    sprite.over(picture, cover)
    return sprite


def printed_sheet(rng, size, light):
    """A letter, a receipt-like strip or a page of notes."""
    width = int(size * rng.choice((0.45, 0.7, 0.72, 0.78)))
    style = "notes" if rng.rand() < 0.25 else "letter"
    return _laid(rng, _page(rng, size, width, style), light, rng.randint(2, 7), rng.uniform(0.1, 0.5))


def newspaper(rng, size, light):
    """A newspaper page or a supermarket flyer."""
    width = int(size * rng.uniform(0.66, 0.95))
    style = "news" if rng.rand() < 0.5 else "flyer"
    return _laid(rng, _page(rng, size, width, style), light, rng.randint(3, 9), rng.uniform(0.15, 0.6))


def paper_ball(rng, size, light):
    """A crumpled sheet of paper, white or printed: matt facets, no gloss."""
    height, width = int(size * rng.uniform(0.72, 1.0)), size
    sprite = paint.Sprite(height, width)
    cover = paint.blob(rng, height, width, rng.randint(18, 36), rng.uniform(0.15, 0.35), rng.uniform(0.0, 0.5))
    gx, gy = paint.creases(rng, height, width, 22, 0.06)
    fx, fy = paint.creases(rng, height, width, 24, 0.2)
    y, x = paint.grid(height, width)
    gx, gy = 1.0 * gx + 0.5 * fx, 1.0 * gy + 0.5 * fy
    style = paint.pick(rng, ("plain", "plain", "letter", "news", "flyer"))
    page = _page(rng, height, width, "letter" if style == "plain" else style)
    if style == "plain":
        page = np.array([236.0, 238.0, 240.0], np.float32) * rng.uniform(0.88, 1.02)
    else:  # the print follows the facets
        page = paint.wrap(page, paint.ramp(x / width + 0.05 * gx), paint.ramp(y / height + 0.05 * gy))
        page = 0.72 * page + 62.0
    round_x, round_y = 0.5 * (x / width - 0.5), 0.5 * (y / height - 0.5)
    lit = paint.lambert(gx + round_x, gy + round_y, light, 0.42)
    sprite.over(paint.shaded(page, np.minimum(lit, 1.12)), cover)
    return sprite


def envelope(rng, size, light):
    """An envelope, face up with address and stamp, or back up with its flap."""
    height, width = int(size * rng.uniform(0.46, 0.7)), size
    colour = np.array([238.0, 240.0, 240.0], np.float32) if rng.rand() < 0.6 else np.array([178.0, 208.0, 222.0])
    page = np.empty((height, width, 3), np.float32)
    page[:] = colour * rng.uniform(0.9, 1.0)
    if rng.rand() < 0.5:
        y, x = paint.grid(height, width)
        apex = rng.uniform(0.5, 0.68)
        flap = apex * height * (1.0 - np.abs(x / width - 0.5) * 2.0) - y
        page *= (1.0 - 0.25 * paint.bump(flap, -1.5, 2.5) + 0.03 * (flap > 0))[..., None]
        fold = (height - y) - (1.0 - apex + 0.12) * height * (1.0 - np.abs(x / width - 0.5) * 2.0)
        page *= (1.0 - 0.1 * paint.bump(fold, 0.0, 1.5) * (flap < 0))[..., None]
    else:
        h, w = int(height * 0.24), int(width * 0.36)
        y, x = int(height * 0.52), int(width * rng.choice((0.12, 0.5)))
        block = page[y : y + h, x : x + w]
        if rng.rand() < 0.5:  # a window
            block *= 0.9
        inner = block[2:-2, 3:-3]
        paint.ink_on(inner, paint.text_mask(rng, inner.shape[0], inner.shape[1], 4), (60.0, 55.0, 55.0))
        h, w = int(height * 0.24), int(width * 0.13)
        y, x = int(height * 0.07), int(width * 0.83)
        page[y : y + h, x : x + w] = paint.photo(rng, h, w)
        h, w = int(height * 0.12), int(width * 0.3)
        small = page[h // 2 : h // 2 + h, w // 6 : w // 6 + w]
        paint.ink_on(small, paint.text_mask(rng, h, w, 3), paint.vivid(rng) * 0.7)
    return _laid(rng, page, light, rng.randint(1, 4), rng.uniform(0.08, 0.3))


CARDBOARD = (carton_box, carton_box, carton_box, flattened_box, flattened_box, torn_board, board_tube, printed_carton)
PAPER = (printed_sheet, printed_sheet, newspaper, newspaper, paper_ball, envelope)

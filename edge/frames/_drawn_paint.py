"""Brushes for drawn.py: noise, light, creases, print and a sprite that keeps what it absorbs and what it shines.

Private. Everywhere here a picture is float32, BGR, 0 to 255; a mask is float32, 0 to 1; and random numbers come only
from the RandomState that is passed in. Python floats, not NumPy scalars, go into array arithmetic: a NumPy 2 scalar
would turn float32 arrays into float64.
"""

import math

import cv2
import numpy as np

# A 3 x 5 letter font, one octal digit a row: cv2.putText changed its fonts between OpenCV 4 and 5.
_FONT = {
    "A": "25755",
    "B": "65656",
    "C": "34443",
    "D": "65556",
    "E": "74647",
    "F": "74644",
    "G": "34553",
    "H": "55755",
    "I": "72227",
    "K": "55655",
    "L": "44447",
    "M": "57755",
    "N": "65555",
    "O": "25552",
    "P": "65644",
    "R": "65655",
    "S": "34216",
    "T": "72222",
    "U": "55557",
    "W": "55775",
    "Y": "55222",
}
_WORDS = [
    "FRESH",
    "SALE",
    "COLA",
    "MILK",
    "SODA",
    "BEANS",
    "SNACK",
    "NEWS",
    "OFFER",
    "PURE",
    "LIGHT",
    "GOLD",
    "HERBS",
    "TOMATO",
    "BEER",
    "CRISP",
    "SOUP",
    "CARE",
    "DAIRY",
    "HOME",
    "MARKET",
    "FRAGILE",
    "THIS",
    "SIDE",
    "RECIPE",
    "PLUS",
    "TEA",
    "MINT",
]


def _three(mask, factors=(1.0, 1.0, 1.0)):
    """A (h, w) mask times each of three numbers, (h, w, 3): NumPy's own broadcast is slow with a last axis of 3."""
    mask = np.ascontiguousarray(mask, np.float32)
    return cv2.merge([mask if factor == 1.0 else mask * float(factor) for factor in factors])


def shaded(colour, brightness):
    """A (h, w, 3) picture, or one colour, times a (h, w) brightness."""
    colour = np.asarray(colour, np.float32)
    return _three(brightness, colour) if colour.ndim == 1 else colour * _three(brightness)


class Sprite:
    """One item on nothing: what it lets through from the ground behind it, and the light that it sends itself.

    through: (h, w, 3) float32, 1 where there is nothing, 0 where the item is opaque.
    add: (h, w, 3) float32, 0 to 255 and above for highlights. The picture is ground * through + add.
    """

    def __init__(self, height, width):
        self.height, self.width = height, width
        self.through = np.ones((height, width, 3), np.float32)
        self.add = np.zeros((height, width, 3), np.float32)

    def part(self, rows, columns=slice(None)):
        """The same sprite, only these rows and columns; painting on it paints on the whole."""
        view = Sprite.__new__(Sprite)
        view.through, view.add = self.through[rows, columns], self.add[rows, columns]
        view.height, view.width = view.add.shape[:2]
        return view

    def over(self, colour, cover):
        """Lay opaque paint of that colour, (h, w, 3) or three numbers, where cover is above 0."""
        keep = _three(1.0 - cover)
        self.through *= keep
        self.add *= keep
        self.add += shaded(colour, cover)

    def filter(self, through, cover):
        """Put a clear sheet in front; it lets `through` pass, (h, w, 3) or three numbers, 0 to 1."""
        keep = 1.0 - shaded(1.0 - np.asarray(through, np.float32), cover)
        self.through *= keep
        self.add *= keep

    def shine(self, amount, cover, colour=(255.0, 255.0, 255.0)):
        """Add a highlight: amount (h, w), 1 for as bright as white paper."""
        self.add += _three(amount * cover, colour)


def pick(rng, choices):
    """One of the choices, each as likely."""
    return choices[rng.randint(len(choices))]


def grid(height, width):
    """Rows (h, 1) and columns (1, w) in pixels, float32."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]


def bump(x, centre, width):
    """A Gaussian hill of height 1."""
    return np.exp(-(((x - centre) / width) ** 2))


def ramp(x):
    """x clipped to 0 to 1."""
    return np.clip(x, 0.0, 1.0)


def noise(rng, height, width, cells_y, cells_x, octaves=1):
    """Smooth random hills, (h, w) float32, about -1 to 1; cells say how many hills fit down and across."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        shape = (max(2, int(cells_y * 2**octave)), max(2, int(cells_x * 2**octave)))
        coarse = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total


def grain(rng, height, width):
    """Noise of single pixels, (h, w) float32, -1 to 1."""
    raw = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(height, width)
    return raw.astype(np.float32) / 127.5 - 1.0


def creases(rng, height, width, count, bend=0.12, reach=0.6):
    """Slopes (gx, gy) of a sheet folded along `count` bent lines: flat facets with sharp edges, like foil or paper."""
    h, w = (height + 1) // 2, (width + 1) // 2  # half the size: the facets are large, the time is short
    y, x = grid(h, w)
    long_side = float(max(h, w))
    y = (y - h / 2.0) / long_side + bend * noise(rng, h, w, 3, 3)
    x = (x - w / 2.0) / long_side + bend * noise(rng, h, w, 3, 3)
    slopes = np.zeros((h, w, 2), np.float32)
    for _ in range(count):
        angle = rng.uniform(0.0, 2.0 * math.pi)
        cos, sin = math.cos(angle), math.sin(angle)
        side = np.clip((x * cos + y * sin - rng.uniform(-reach, reach)) * (0.45 * long_side), -1.0, 1.0)
        side *= rng.normal()
        slopes[..., 0] += cos * side
        slopes[..., 1] += sin * side
    slopes /= math.sqrt(max(count, 1))
    slopes = cv2.resize(slopes, (width, height), interpolation=cv2.INTER_LINEAR)
    return slopes[..., 0], slopes[..., 1]


def lambert(slope_x, slope_y, light, ambient=0.45):
    """Brightness of a matt surface, 1 where it lies flat; slopes as creases gives them."""
    facing = (slope_x * light[0] + slope_y * light[1] + light[2]) / np.sqrt(1.0 + slope_x**2 + slope_y**2)
    return ambient + (1.0 - ambient) / light[2] * np.maximum(facing, 0.0)


def gloss(slope_x, slope_y, light, power):
    """Highlight of a shiny surface seen from above, 0 to 1."""
    length = math.sqrt(light[0] ** 2 + light[1] ** 2 + (light[2] + 1.0) ** 2)
    facing = (slope_x * light[0] + slope_y * light[1] + light[2] + 1.0) / length
    facing = np.maximum(facing / np.sqrt(1.0 + slope_x**2 + slope_y**2), 0.0)
    return np.exp((facing - 1.0) * power)


def polygon(height, width, points):
    """Mask of a polygon, edges smoothed; points (n, 2) as x, y in pixels."""
    mask = np.zeros((height, width), np.uint8)
    fixed = np.round(np.asarray(points, np.float64) * 16.0).astype(np.int32)  # shift 4: sixteenths of a pixel
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255.0


def blob(rng, height, width, corners, rough, squareness=0.0):
    """Mask of a ragged lump that fills most of the picture."""
    angles = np.linspace(0.0, 2.0 * math.pi, corners, endpoint=False) + rng.uniform(-0.4, 0.4, corners) * 6.0 / corners
    radius = np.full(corners, 0.88)
    for turns in (2, 3, 4, 5):  # bulges first, then a little fray at every corner
        radius -= rough * rng.uniform(0.0, 0.55) * (1.0 + np.cos(turns * angles + rng.uniform(0.0, 6.3))) / 2.0
    radius = np.maximum(radius, 0.5) - 0.4 * rough * rng.rand(corners)
    radius *= 0.95 / float(radius.max())
    # a superellipse: 0 round, 1 nearly square
    radius = radius * (np.abs(np.cos(angles)) ** 6 + np.abs(np.sin(angles)) ** 6) ** (-squareness / 6.0)
    radius = np.minimum(radius, 0.98 / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles))))
    xy = np.stack([np.cos(angles) * radius * width, np.sin(angles) * radius * height], axis=1) * 0.5
    return polygon(height, width, xy + np.array([width / 2.0, height / 2.0]))


def round_box(height, width, x0, y0, x1, y1, radius):
    """Mask of a rectangle with round corners, in pixels."""
    y, x = grid(height, width)
    dx = np.maximum(np.abs(x - (x0 + x1) / 2.0) - (x1 - x0) / 2.0 + radius, 0.0)
    dy = np.maximum(np.abs(y - (y0 + y1) / 2.0) - (y1 - y0) / 2.0 + radius, 0.0)
    return ramp(radius - np.sqrt(dx * dx + dy * dy) + 0.5)


def disc(height, width, cx, cy, rx, ry):
    """Distance from the centre of an ellipse (1 on its rim), the angle around it, and its mask."""
    y, x = grid(height, width)
    dx, dy = (x - cx) / rx, (y - cy) / ry
    rho = np.sqrt(dx * dx + dy * dy)
    return rho, np.arctan2(dy, dx), ramp((1.0 - rho) * min(rx, ry) + 0.5)


def word_mask(rng, height, width, word=None):
    """A large word stretched over the whole picture, (h, w) float32, 0 to 1."""
    word = word or pick(rng, _WORDS)
    cells = np.zeros((7, 4 * len(word) + 1), np.float32)
    for index, letter in enumerate(word):
        for row, digit in enumerate(_FONT[letter]):
            bits = int(digit)
            cells[row + 1, 4 * index + 1 : 4 * index + 4] = (bits >> 2, bits >> 1 & 1, bits & 1)
    big = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return ramp((big - 0.3) * 4.0)


def text_mask(rng, height, width, lines):
    """Lines of small print, (h, w) float32, 0 to 1: too small to read, as in a photograph."""
    columns = max(8, int(width / max(1.2, height / lines / 4.5)))
    ink = (rng.rand(lines, 3, columns) < 0.62).astype(np.float32)
    ink *= rng.rand(lines, 1, columns) < 0.86  # gaps between words
    ends = rng.uniform(0.55, 1.0, (lines, 1, 1)) * columns
    ends[rng.rand(lines) < 0.6] = columns
    ink *= np.arange(columns) < ends
    cells = np.zeros((lines, 5, columns), np.float32)
    cells[:, 1:4] = ink
    return cv2.resize(cells.reshape(lines * 5, columns), (width, height), interpolation=cv2.INTER_LINEAR)


def bars(rng, height, width):
    """A bar code, (h, w) float32, 0 to 1."""
    line = (rng.rand(1, max(8, width // 2)) < 0.5).astype(np.float32)
    return cv2.resize(line, (width, height), interpolation=cv2.INTER_NEAREST)


def vivid(rng, bright=1.0):
    """A strong print colour, BGR."""
    hue = rng.randint(0, 180)
    hsv = np.array([[[hue, rng.randint(80, 225), int(rng.randint(90, 225) * bright)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def ink_on(picture, mask, colour):
    """Print a mask in one colour on a (h, w, 3) picture, in place."""
    picture *= _three(1.0 - mask)
    picture += shaded(colour, mask)


def photo(rng, height, width):
    """Something like a printed photograph: a few colours in soft and sharp patches."""
    low, high = vivid(rng, 0.6), np.minimum(vivid(rng) * 0.6 + 100.0, 245.0)
    blend = ramp(0.5 + 0.8 * noise(rng, height, width, 3, 3, 3))
    blend = 0.6 * blend + 0.4 * np.round(blend * 3.0) / 3.0  # things have edges
    picture = shaded(low, 1.0 - blend) + shaded(high, blend)
    ink_on(picture, ramp(noise(rng, height, width, 3, 4, 2) * 14.0 - 6.0), vivid(rng))
    return picture


def label(rng, height, width, base=None):
    """A printed label, (h, w, 3): bands, a large word, a picture, small print, sometimes a bar code."""
    base = vivid(rng) if base is None else base
    out = np.empty((height, width, 3), np.float32)
    out[:] = base
    other = vivid(rng) if rng.rand() < 0.7 else np.full(3, rng.choice((25.0, 240.0)), np.float32)
    band = int(height * rng.uniform(0.1, 0.28))
    if rng.rand() < 0.7:
        out[:band] = other
    if rng.rand() < 0.6:
        out[-band:] = other
    if rng.rand() < 0.5:
        mask = disc(height, width, width * 0.5, height * 0.5, width * rng.uniform(0.2, 0.42), height * 0.4)[2]
        ink_on(out, mask, vivid(rng, 1.05))
    ink = (245.0, 245.0, 245.0) if float(np.mean(base)) < 140.0 or rng.rand() < 0.4 else (30.0, 25.0, 25.0)
    count = 2 if width > 1.4 * height else 1
    for index in range(count):
        h = max(7, int(height * rng.uniform(0.2, 0.36)))
        w = max(7, int(width * rng.uniform(0.34, 0.6)) // count)
        y = int((height - h) * rng.uniform(0.24, 0.4))
        x = width // count * index + rng.randint(0, max(1, width // count - w))
        ink_on(out[y : y + h, x : x + w], word_mask(rng, h, w), ink)
    h, w = max(6, int(height * 0.22)), max(8, int(width * rng.uniform(0.25, 0.5)))
    y, x = height - h - int(height * 0.08), rng.randint(0, max(1, width - w))
    if rng.rand() < 0.5:
        ink_on(out[y : y + h, x : x + w], text_mask(rng, h, w, 4), ink)
    else:
        ink_on(out[y : y + h, x : x + w], np.ones((h, w), np.float32), 235.0 - 205.0 * _three(bars(rng, h, w)))
    return out


def wrap(picture, across, down):
    """Look a picture up at across and down, both (h, w), 0 to 1."""
    height, width = picture.shape[:2]
    map_x = np.asarray(across * (width - 1), np.float32)
    map_y = np.asarray(down * (height - 1), np.float32)
    return cv2.remap(picture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def pinned(picture, height, width, corners):
    """A flat picture pinned at four corners (x, y; clockwise from top left), and its mask, on an (h, w) sprite."""
    h, w = picture.shape[:2]
    flat = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, np.asarray(corners, np.float32))
    # replicate: the mask alone decides where the picture ends, so its edge must not fade to black
    spread = cv2.warpPerspective(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return spread, polygon(height, width, corners)


def turned(profile, width):
    """A lathe: half widths in pixels, one a row, (h,) -> across (-1 to 1), normal (nx, ny, nz), mask, each (h, w)."""
    radius = np.asarray(profile, np.float32)
    slope = np.gradient(radius)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :] - (width - 1) / 2.0
    across = np.clip(x / np.maximum(radius, 0.5)[:, None], -1.0, 1.0)
    depth = np.sqrt(1.0 - across * across)
    length = np.sqrt(1.0 + slope * slope)
    cover = ramp(radius[:, None] - np.abs(x) + 0.5)
    return across, (across / length, -slope / length, depth / length), cover


def profile(height, points, smooth=0.02):
    """Half widths down an outline, (h,) float32, from (how far down 0 to 1, half width in pixels) points."""
    down = np.linspace(0.0, 1.0, height)
    line = np.interp(down, [p[0] for p in points], [p[1] for p in points], left=0.0, right=0.0)
    reach = max(1, int(smooth * height)) * 2 + 1
    inside = (down >= points[0][0]) & (down <= points[-1][0])
    padded = np.pad(line[inside], reach, mode="edge")  # smooth the shoulders, keep the ends sharp
    line[inside] = np.convolve(padded, np.ones(reach) / reach, mode="same")[reach:-reach]
    return line.astype(np.float32)

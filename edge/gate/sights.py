"""One thing on the belt as several frames show it, laid over one another: the mean has less noise than any of them."""

import math
from typing import NamedTuple, Tuple

import cv2
import numpy as np

MOST_PX = 511  # a side of a sight; larger things are shrunk into it
ALIGN_PX = 192  # frames are laid over one another at this size; a tenth of its pixels is told apart
FAR = 0.08  # of a side: the mask is not as wrong as that
LOOK_PX = 32  # of its middle: so coarse that noise is averaged out
ALIKE, ALIKE_LEVELS = 0.2, 4.0  # two frames of a thing differ by less than this share of its contrast, and these levels

Rectangle = Tuple[Tuple[float, float], Tuple[float, float], float]  # as cv2.minAreaRect: middle, sides, degrees


class Sight:
    """A square of a frame around a thing, or the mean of several such squares."""

    def __init__(self, buffer: np.ndarray, rectangle: Rectangle, filled: float, side: float):
        """buffer: MOST_PX * MOST_PX * 3 bytes; rectangle: around the thing, and side: of the square, in pixels of the
        frame; filled: see Blob."""
        (x, y), _, _ = rectangle
        self.shrink = min(1.0, MOST_PX / side)
        self.side = min(MOST_PX, int(side) // 2 * 2 + 1)
        self.x, self.y = float(round(x)), float(round(y))  # of its middle: whole pixels are copied as they are
        self.buffer, self.frames = buffer, 0
        self.first, self.rectangle, self.filled = rectangle, rectangle, filled
        self.picture = buffer[:self.side * self.side * 3].reshape(self.side, self.side, 3)

    def outline(self, rectangle: Rectangle, filled: float, x: float, y: float) -> None:
        """Take the rectangle of a frame in which the sight's middle lies at x, y, if it fits the thing more tightly
        than the earlier ones: dirt on the belt may seem part of a thing in one frame and not in another."""
        if filled > self.filled:
            (its_x, its_y), sides, angle = rectangle
            self.rectangle, self.filled = ((its_x - x + self.x, its_y - y + self.y), sides, angle), filled

    def to_frame(self, x: float, y: float) -> np.ndarray:
        """The 2 x 3 matrix from its pixels to those of a frame in which its middle lies at x, y."""
        reach = (self.side - 1) / 2 / self.shrink
        return np.array([[1 / self.shrink, 0.0, x - reach], [0.0, 1 / self.shrink, y - reach]])


class Cut(NamedTuple):
    """What is wanted of a sight: the middle in pixels of the frame, sides in those of the sight, and the turn."""

    x: float
    y: float
    width: float
    height: float
    angle_deg: float

    def to_sight(self, sight: Sight, size: Tuple[int, int]) -> np.ndarray:
        """The 2 x 3 matrix from the pixels of the cut, of (width, height) size, to those of the sight."""
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
        middle = (sight.side - 1) / 2 + np.array([self.x - sight.x, self.y - sight.y]) * sight.shrink
        matrix[:, 2] = middle - matrix[:, :2].dot([(size[0] - 1) / 2, (size[1] - 1) / 2])
        return matrix


class Stacker:
    """Lays frames over sights. Its buffers are made once."""

    def __init__(self) -> None:
        self._new = np.empty(MOST_PX * MOST_PX * 3, np.uint8)
        self._grey = np.empty(MOST_PX * MOST_PX, np.uint8)
        self._small = np.empty((ALIGN_PX, ALIGN_PX), np.uint8)
        self._before, self._after = (np.empty((ALIGN_PX, ALIGN_PX), np.float32) for _ in range(2))
        self._window = cv2.createHanningWindow((ALIGN_PX, ALIGN_PX), cv2.CV_32F)

    def begin(self, sight: Sight, image: np.ndarray) -> None:
        """Make image, (h, w, 3) uint8 BGR, the first frame of a sight."""
        self._cut(sight, image, sight.x, sight.y, sight.picture)
        sight.frames = 1

    def add(self, sight: Sight, image: np.ndarray, rectangle: Rectangle, filled: float) -> bool:
        """Lay a further frame over a sight, moved by fractions of a pixel until they agree; False: they do not, as of a
        thing that rolls or shines, and the sight is what it was. rectangle: around the thing in this frame.

        The move is found by phase correlation (Kuglin and Hines 1975).
        """
        new = self._new[:sight.picture.size].reshape(sight.picture.shape)
        x = float(round(sight.x + rectangle[0][0] - sight.first[0][0]))
        y = float(round(sight.y + rectangle[0][1] - sight.first[0][1]))
        self._cut(sight, image, x, y, new)
        self._shrink(sight.picture, self._before)
        self._shrink(new, self._after)
        (right, down), _ = cv2.phaseCorrelate(self._before, self._after, self._window)
        if abs(right) < FAR * ALIGN_PX and abs(down) < FAR * ALIGN_PX:  # else it is of noise: a plain sheet's, say
            step = sight.side / ALIGN_PX / sight.shrink
            x, y = x + right * step, y + down * step
            self._cut(sight, image, x, y, new)
        if not _alike(sight.picture, new):
            return False
        share = 1 / (sight.frames + 1)
        cv2.addWeighted(sight.picture, 1 - share, new, share, 0, dst=sight.picture)
        sight.frames += 1
        sight.outline(rectangle, filled, x, y)
        return True

    def _cut(self, sight: Sight, image: np.ndarray, x: float, y: float, out: np.ndarray) -> None:
        copies = sight.shrink == 1 and x == round(x) and y == round(y)  # whole pixels need no weighing
        cv2.warpAffine(image, sight.to_frame(x, y), (sight.side, sight.side), dst=out,
                       flags=(cv2.INTER_NEAREST if copies else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP,
                       borderMode=cv2.BORDER_REPLICATE)

    def _shrink(self, picture: np.ndarray, out: np.ndarray) -> None:
        grey = self._grey[:picture.shape[0] * picture.shape[1]].reshape(picture.shape[:2])
        cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY, dst=grey)
        cv2.resize(grey, (ALIGN_PX, ALIGN_PX), dst=self._small,
                   interpolation=cv2.INTER_AREA if picture.shape[0] > ALIGN_PX else cv2.INTER_LINEAR)
        np.copyto(out, self._small)


def _alike(seen: np.ndarray, shown: np.ndarray) -> bool:
    """Whether two pictures of a side show the same in their middle, but for noise."""
    inner = slice(seen.shape[0] // 4, seen.shape[0] - seen.shape[0] // 4)
    seen, shown = (cv2.resize(picture[inner, inner], (LOOK_PX, LOOK_PX), interpolation=cv2.INTER_AREA)
                   for picture in (seen, shown))
    contrast = float(np.mean(cv2.meanStdDev(seen)[1]))
    return cv2.norm(seen, shown, cv2.NORM_L1) / seen.size < ALIKE_LEVELS + ALIKE * contrast

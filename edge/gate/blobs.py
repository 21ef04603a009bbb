"""What lies on the belt in one frame: connected foreign areas, measured along and across the belt."""

from typing import Any, List, NamedTuple, Tuple

import cv2
import numpy as np

from edge.gate.parts import outline_of, parted


class Blob(NamedTuple):
    """One connected area. Positions in pixels of the reduced picture, along the direction of travel and across it."""

    front: float  # furthest along
    back: float
    low: float  # across
    high: float
    area: float
    parted: float  # how much it looks like two things, from 0 on; 0 when not whole
    rectangle: Tuple[Tuple[float, float], Tuple[float, float], float]  # of least area around it, as cv2.minAreaRect
    filled: float  # how much of that its convex hull fills: 1 of a box, a sheet or a photograph, less of a bottle
    whole: bool  # it does not touch the ends of the view

    @property
    def middle(self) -> float:
        """Along the belt."""
        return (self.front + self.back) / 2


def find(mask: np.ndarray, picture: np.ndarray, direction: str, least_area: float) -> List[Blob]:
    """The blobs of a mask, (h, w) uint8, of at least least_area pixels, the furthest along first.

    picture: (h, w, 3) uint8 BGR, what the mask is of.
    """
    height, width = mask.shape
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[-2]
    length = width if direction in ("right", "left") else height
    blobs = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        if w * h < least_area:
            continue
        area = cv2.contourArea(contour) + len(contour) / 2 + 1  # contours run through the middles of pixels
        if area < least_area:
            continue
        start, end, low, high = (x, x + w, y, y + h) if direction in ("right", "left") else (y, y + h, x, x + w)
        if direction in ("left", "up"):
            start, end = length - end, length - start
        whole = start > 1 and end < length - 1
        outline = outline_of(cv2.drawContours(np.zeros((h, w), np.uint8), [contour], 0, 255, -1, offset=(-x, -y)))
        twofold = parted(outline, picture[y:y + h, x:x + w]) if whole else 0.0
        outline += (x, y)
        rectangle: Any = cv2.minAreaRect(outline)
        hull = cv2.convexHull(outline)
        filled = ((cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1)
                  / ((rectangle[1][0] + 1) * (rectangle[1][1] + 1)))
        blobs.append(Blob(float(end), float(start), float(low), float(high), area, twofold, rectangle, filled, whole))
    return sorted(blobs, key=lambda blob: -blob.front)


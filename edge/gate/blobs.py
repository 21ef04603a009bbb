"""What lies on the belt in one frame: connected foreign areas, measured along and across the belt."""

from typing import Any, List, NamedTuple, Tuple

import cv2
import numpy as np

LEAST_BODY_PX = 4.0  # half the width of a body; what is narrower is too coarse to be told apart
LESSER_BODY = 0.5  # of the wider one's width
NECK_LEVELS = tuple(k / 20 for k in range(4, 16))


class Blob(NamedTuple):
    """One connected area. Positions in pixels of the reduced picture, along the direction of travel and across it."""

    front: float  # furthest along
    back: float
    low: float  # across
    high: float
    area: float
    neck: float  # 1: one body; else how wide the way between two bodies is, as a share of the lesser's width
    rectangle: Tuple[Tuple[float, float], Tuple[float, float], float]  # of least area around it, as cv2.minAreaRect
    filled: float  # how much of that its convex hull fills: 1 of a box, a sheet or a photograph, less of a bottle
    whole: bool  # it does not touch the ends of the view

    @property
    def middle(self) -> float:
        """Along the belt."""
        return (self.front + self.back) / 2


def find(mask: np.ndarray, direction: str, least_area: float) -> List[Blob]:
    """The blobs of a mask, (h, w) uint8, of at least least_area pixels, the furthest along first."""
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
        neck = neck_of(cv2.drawContours(np.zeros((h, w), np.uint8), [contour], 0, 255, -1, offset=(-x, -y))
                       ) if whole else 1.0
        rectangle: Any = cv2.minAreaRect(contour)
        hull = cv2.convexHull(contour)
        filled = ((cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1)
                  / ((rectangle[1][0] + 1) * (rectangle[1][1] + 1)))
        blobs.append(Blob(float(end), float(start), float(low), float(high), area, neck, rectangle, filled, whole))
    return sorted(blobs, key=lambda blob: -blob.front)


def neck_of(mask: np.ndarray) -> float:
    """How narrow the narrowest place between two bodies of a shape is, as a share of the lesser body's width; 1 of a
    shape that is one body.

    mask: (h, w) uint8. Bodies are peaks of the distance to the edge that a level of it parts from each other, the way
    shapes are parted by a watershed (Beucher and Lantuejoul 1979); only those half as wide as the widest count.
    """
    distance = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    widest = float(distance.max())
    if widest < LEAST_BODY_PX:
        return 1.0
    for level in NECK_LEVELS:
        count, labels = cv2.connectedComponents((distance > level * widest).view(np.uint8))
        peaks = sorted((float(distance[labels == label].max()) for label in range(1, count)), reverse=True)
        if len(peaks) > 1 and peaks[1] >= LESSER_BODY * widest:
            return level * widest / peaks[1]
    return 1.0

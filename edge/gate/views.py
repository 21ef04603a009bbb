"""The best views of each thing on the belt, cut from full frames into memory that exists already."""

import math
from collections import deque
from typing import Deque, Dict, List, NamedTuple, Tuple

import cv2
import numpy as np

from edge.gate.tracks import Track

MOST_PX = 512  # a side of a crop; larger things are shrunk into it
APART = 0.06  # share of the view that a thing must have moved on for its next view
EDGE_PX, TRIM = 1.0, 0.015  # taken off each side of what fills its rectangle: the mask grows into the soft edges
FILLED, MARGIN = 0.94, 0.1  # the share that counts as filled; what fills less is cut square, with a margin
TURNS_DEG = (0, 180, 90, 270)  # of views, in the order in which they are wanted; networks err on one turn alone


class _View(NamedTuple):
    """A view that is kept."""

    middle: float  # of the thing along the belt, in pixels of the reduced picture
    turn_deg: int  # out of TURNS_DEG
    buffer: np.ndarray
    size: Tuple[int, int]  # height and width


class Views:
    """Keeps the latest few views of each track. The arrays that take hands out live until the next call of keep."""

    def __init__(self, count: int, length: float, scale: float, most_tracks: int = 24):
        """count: views of one thing; length: of the reduced view in pixels; scale: full pixels for a reduced one."""
        self._count, self._apart, self._scale = count, APART * length, scale
        self._free: List[np.ndarray] = [np.empty(MOST_PX * MOST_PX * 3, np.uint8)
                                        for _ in range((count + 1) * most_tracks)]
        self._kept: Dict[int, Deque[_View]] = {}
        self._lent: List[np.ndarray] = []

    def keep(self, tracks: List[Track], image: np.ndarray, time_s: float, origin: Tuple[int, int]) -> None:
        """Cut a view of each track that is seen whole, alone and further on than in its last one.

        image: (h, w, 3) uint8 BGR, the full frame; origin: x and y of the region in it.
        """
        self._free += self._lent
        self._lent = []
        alive = {track.number for track in tracks}
        for number in [number for number in self._kept if number not in alive]:
            self._free += [view.buffer for view in self._kept.pop(number)]
        for track in tracks:
            point = track.points[-1]
            if point.time_s != time_s or not point.whole or (track.handed_on and track.number in self._kept):
                continue  # what crosses in the first frame that shows it whole has this one view
            kept = self._kept.setdefault(track.number, deque())
            if kept and abs(point.middle - kept[-1].middle) < self._apart:
                continue
            if len(kept) == self._count:
                self._free.append(kept.popleft().buffer)
            if self._free:
                buffer = self._free.pop()
                shown = [view.turn_deg for view in kept]
                turn_deg = min(TURNS_DEG, key=shown.count)  # which way up it lies nobody knows
                kept.append(_View(point.middle, turn_deg, buffer, self._cut(track, image, origin, turn_deg, buffer)))

    def take(self, track: Track) -> Tuple[np.ndarray, ...]:
        """The views of a track that is handed on, (h, w, 3) uint8 BGR each: two with the longer side upright and one
        that lies on its side, of three."""
        kept = self._kept.pop(track.number, deque())
        self._lent += [view.buffer for view in kept]
        return tuple(view.buffer[:view.size[0] * view.size[1] * 3].reshape(view.size + (3,)) for view in kept)

    def _cut(self, track: Track, image: np.ndarray, origin: Tuple[int, int], turn_deg: int,
             buffer: np.ndarray) -> Tuple[int, int]:
        """Turn the rectangle around the thing upright, and on by turn_deg, into the buffer; returns its height and
        width."""
        (x, y), (width, height), angle = track.blob.rectangle
        if width > height:  # photographs of items are mostly taken upright, so that is what networks know
            width, height, angle = height, width, angle + 90.0
        if track.blob.filled > FILLED:
            width, height = ((side + 1 - 2 * EDGE_PX) * (1 - 2 * TRIM) for side in (width, height))
        else:
            width = height = (max(width, height) + 1) * (1 + 2 * MARGIN)
        width, height = width * self._scale, height * self._scale
        x, y = (x + 0.5) * self._scale - 0.5 + origin[0], (y + 0.5) * self._scale - 0.5 + origin[1]
        shrink = min(1.0, MOST_PX / max(width, height))
        out_w, out_h = max(8, int(width * shrink)), max(8, int(height * shrink))
        angle = (angle + 90.0) % 180.0 - 90.0 + turn_deg
        if turn_deg % 180:
            out_w, out_h = out_h, out_w
        cos, sin = math.cos(math.radians(angle)) / shrink, math.sin(math.radians(angle)) / shrink
        matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])  # from the crop to the frame
        matrix[:, 2] = np.array([x, y]) - matrix[:, :2].dot([(out_w - 1) / 2, (out_h - 1) / 2])
        crop = buffer[:out_h * out_w * 3].reshape(out_h, out_w, 3)
        cv2.warpAffine(image, matrix, (out_w, out_h), dst=crop, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                       borderMode=cv2.BORDER_REPLICATE)
        return out_h, out_w

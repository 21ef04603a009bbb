"""The best views of each thing on the belt, made of full frames in memory that exists already."""

import math
from collections import deque
from typing import Deque, Dict, List, Tuple

import cv2
import numpy as np

from edge.gate.sides import settle
from edge.gate.sights import MOST_PX, Cut, Rectangle, Sight, Stacker
from edge.gate.smear import unsmeared
from edge.gate.tracks import Track

APART = 0.06  # share of the view that a thing must have moved on to be looked at again
EDGE_PX, TRIM = 0.5, 0.015  # taken off each side of what fills its rectangle: its edges are soft
SLACK = 0.5  # pixels of the reduced picture by which the mask's sides are off in any case
FILLED, PERHAPS, MARGIN = 0.94, 0.84, 0.1  # the share of its rectangle that a box fills; one with dirt beside it; what
# is no box is cut square, with a margin
TURNS_DEG = (0, 180, 90, 270)  # of views, as many as are wanted: which way up a thing lies nobody knows, and networks
# err on one turn alone
ROTATE = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Views:
    """Keeps a few sights of each track, the latest ones. The arrays that take hands out live until the next call of
    keep."""

    def __init__(self, count: int, length: float, scale: float, most_tracks: int = 24):
        """count: views of one thing; length: of the reduced view in pixels; scale: full pixels for a reduced one."""
        self._count, self._apart, self._scale = count, APART * length, scale
        self._free: List[np.ndarray] = [np.empty(MOST_PX * MOST_PX * 3, np.uint8)
                                        for _ in range((count + 1) * most_tracks)]
        self._kept: Dict[int, Deque[Sight]] = {}
        self._seen_at: Dict[int, float] = {}  # where the track was when it was looked at last
        self._lent: List[np.ndarray] = []
        self._origin = (0, 0)
        self._stacker, self._crop = Stacker(), np.empty(MOST_PX * MOST_PX * 3, np.uint8)

    def keep(self, tracks: List[Track], image: np.ndarray, time_s: float, origin: Tuple[int, int]) -> None:
        """Look at each track that is seen whole, alone and further on than the last time.

        image: (h, w, 3) uint8 BGR, the full frame; origin: x and y of the region in it.
        """
        self._free += self._lent
        self._lent, self._origin = [], origin
        alive = {track.number for track in tracks}
        for number in [number for number in self._kept if number not in alive]:
            self._free += [sight.buffer for sight in self._kept.pop(number)]
            del self._seen_at[number]
        for track in tracks:
            point = track.points[-1]
            if point.time_s != time_s or not point.whole or (track.handed_on and track.number in self._kept):
                continue  # what crosses in the first frame that shows it whole is looked at this once
            if track.number in self._kept and abs(point.middle - self._seen_at[track.number]) < self._apart:
                continue
            self._seen_at[track.number] = point.middle
            self._look(self._kept.setdefault(track.number, deque()), track, image)

    def _look(self, kept: Deque[Sight], track: Track, image: np.ndarray) -> None:
        """One more frame for the latest sight, or, where it shows the thing otherwise, a sight of its own."""
        rectangle = self._in_frame(track.blob.rectangle)
        if kept and self._stacker.add(kept[-1], image, rectangle, track.blob.filled):
            return
        if len(kept) == self._count:
            self._free.append(kept.popleft().buffer)
        if self._free:
            sides = rectangle[1]
            room = (math.hypot(*sides) + 4 * SLACK * self._scale if track.blob.filled > FILLED
                    else math.sqrt(2) * max(sides) * (1 + 2 * MARGIN))
            kept.append(Sight(self._free.pop(), rectangle, track.blob.filled, room))
            self._stacker.begin(kept[-1], image)

    def _in_frame(self, rectangle: Rectangle) -> Rectangle:
        (x, y), (width, height), angle = rectangle
        return (((x + 0.5) * self._scale - 0.5 + self._origin[0], (y + 0.5) * self._scale - 0.5 + self._origin[1]),
                ((width + 1) * self._scale, (height + 1) * self._scale), angle)

    def take(self, track: Track, belt: np.ndarray, smear_px: float, upright: bool) -> Tuple[np.ndarray, ...]:
        """The views of a track that is handed on, (h, w, 3) uint8 BGR each: two with the longer side upright and one
        that lies on its side, of three.

        belt: (h, w, 3) uint8 BGR, the empty one, reduced; smear_px: how far the belt moves while the shutter is open,
        in pixels of the frame, from top to bottom where it runs upright, else from side to side.
        """
        sights = sorted(self._kept.pop(track.number, ()), key=lambda sight: -sight.frames)
        self._seen_at.pop(track.number, None)
        self._lent += [sight.buffer for sight in sights]
        views: List[np.ndarray] = []
        # All four ways of one picture say all that it can
        for number in range(min(self._count, max(len(TURNS_DEG), len(sights))) if sights else 0):
            turn_deg = TURNS_DEG[number % len(TURNS_DEG)]
            if number < len(sights):
                sight = sights[number]
                view = self._cut(sight, unsmeared(sight.picture, smear_px * sight.shrink, upright), belt)
                buffer = sight.buffer  # what it held is cut out
            elif self._free:
                earlier = number % len(sights)
                view, turn_deg = views[earlier], turn_deg - TURNS_DEG[earlier % len(TURNS_DEG)]
                buffer = self._free.pop()
                self._lent.append(buffer)
            else:
                break
            views.append(_turned(view, turn_deg % 360, buffer))
        return tuple(views)

    def _cut(self, sight: Sight, picture: np.ndarray, belt: np.ndarray) -> np.ndarray:
        """The rectangle around the thing, turned upright; valid until the next call. picture: that of the sight, maybe
        sharper."""
        (x, y), (width, height), angle = sight.rectangle
        if width > height:  # photographs of items are mostly taken upright, so that is what networks know
            width, height, angle = height, width, angle + 90.0
        cut = Cut(x, y, width * sight.shrink, height * sight.shrink, (angle + 90.0) % 180.0 - 90.0)
        settled, is_box = cut, False
        if sight.filled > PERHAPS:
            to_belt = np.array([[1.0, 0.0, 0.5 - self._origin[0]], [0.0, 1.0, 0.5 - self._origin[1]]]) / self._scale
            to_belt[:, 2] -= 0.5
            settled, is_box = settle(sight, cut, belt, to_belt, SLACK * self._scale * sight.shrink)
        if is_box or sight.filled > FILLED:
            cut = settled._replace(width=(settled.width - 2 * EDGE_PX) * (1 - 2 * TRIM),
                                   height=(settled.height - 2 * EDGE_PX) * (1 - 2 * TRIM))
        else:
            side = max(cut.width, cut.height) * (1 + 2 * MARGIN)
            cut = cut._replace(width=side, height=side)
        size = (min(MOST_PX, max(8, int(cut.width))), min(MOST_PX, max(8, int(cut.height))))
        crop = _in(self._crop, size[1], size[0])
        cv2.warpAffine(picture, cut.to_sight(sight, size), size, dst=crop,
                       flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
        return crop


def _turned(view: np.ndarray, turn_deg: int, buffer: np.ndarray) -> np.ndarray:
    """A copy in the buffer, turned clockwise."""
    height, width = view.shape[:2]
    out = _in(buffer, width, height) if turn_deg % 180 else _in(buffer, height, width)
    if turn_deg:
        cv2.rotate(view, ROTATE[turn_deg], dst=out)
    else:
        np.copyto(out, view)
    return out


def _in(buffer: np.ndarray, height: int, width: int) -> np.ndarray:
    return buffer[:height * width * 3].reshape(height, width, 3)

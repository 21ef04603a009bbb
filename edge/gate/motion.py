"""Which way things move in a picture, how fast and where, found without knowing anything of the belt."""

import math
from collections import deque
from typing import Deque, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from edge.gate.background import Background

WATCH_PX = 320  # frames are watched at about this length of their longer side
LEAST_SHARE = 0.0005  # of the picture; smaller blobs are noise
LAGS_S = (0.0, 0.2, 1.0)  # a blob is compared with those of the frame before, and of so long ago: for slow belts
ALIKE = 0.2  # sides and areas differ by less: it may be the same thing
LEAST_MOVE_PX = 3.0  # less is shaking, flicker and shadows
LEAST_PER_S = 0.02  # of the picture's length a second: slower is no belt
MOST_VOTES = 6000
TOLERANCE, TOLERANCE_PX = 0.12, 2.0  # two votes agree: within a share of the speed, and so many pixels over their lag
LEAST_VOTES = 12
MARGIN = 0.35  # of a usual thing's width, added to the region on both sides: others lie further out


class Box(NamedTuple):
    """A blob's upright rectangle, in pixels, and its area."""

    x: float
    y: float
    w: float
    h: float
    area: float


class Vote(NamedTuple):
    """Two blobs at two times that may be one thing."""

    vx: float  # pixels a second
    vy: float
    lag_s: float
    before: Box
    after: Box


class Motion(NamedTuple):
    """What was found; pixels are those of the frames that were watched."""

    direction: str  # right, left, up or down
    askew_deg: float  # how far the way of things is from that
    speed: float  # pixels a second
    region: Tuple[float, float, float, float]  # x, y, width and height
    least_area: float  # of the things that move; one in ten is smaller

    def scaled(self, scale: Tuple[float, float]) -> "Motion":
        """The same in a picture whose pixels are so much smaller, across and down."""
        across, down = scale
        x, y, w, h = self.region
        along = across if self.direction in ("right", "left") else down
        return self._replace(speed=self.speed * along, least_area=self.least_area * across * down,
                             region=(x * across, y * down, w * across, h * down))


class MotionFinder:
    """Watches frames; at the end it says where to. Its memory does not grow: of too many votes, chance keeps some."""

    def __init__(self) -> None:
        self._background: Optional[Background] = None
        self._before: Deque[Tuple[float, List[Box]]] = deque()
        self._votes: List[Vote] = []
        self._seen, self._rng = 0, np.random.RandomState(0)

    def offer(self, image: np.ndarray, time_s: float) -> None:
        """image: (h, w, 3) uint8 BGR, all of one size."""
        height, width = image.shape[:2]
        if self._background is None:
            self._scale = max(1.0, max(height, width) / WATCH_PX)
            self._size = (int(round(width / self._scale)), int(round(height / self._scale)))
            self._background = Background(self._size[1], self._size[0])
        small = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        # What stays for long is not belt here: nothing is known of the speed yet, and a slow thing must not sink in
        mask = self._background.offer(small, time_s, math.inf)
        if mask is None:
            self._before.clear()
            return
        boxes = self._boxes(mask)
        for lag_s in LAGS_S:
            then = next((one for one in reversed(self._before) if time_s - one[0] >= max(lag_s, 1e-6)), None)
            if then is not None and time_s - then[0] < 1.5 * lag_s + 1.0:
                self._compare(then[1], boxes, time_s - then[0])
        self._before.append((time_s, boxes))
        while time_s - self._before[0][0] > 2 * LAGS_S[-1]:
            self._before.popleft()

    def _boxes(self, mask: np.ndarray) -> List[Box]:
        """The blobs that are whole: what reaches over the picture's edge grows and shrinks, which looks like moving."""
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        width, height = self._size
        least = LEAST_SHARE * width * height
        rows = [[float(value) for value in row] for row in stats[1:count]]
        return [Box(*row) for row in rows if row[4] >= least and row[0] > 0 and row[1] > 0
                and row[0] + row[2] < width and row[1] + row[3] < height]

    def _compare(self, before: Sequence[Box], after: Sequence[Box], lag_s: float) -> None:
        for old in before:
            for new in after:
                dx, dy = new.x - old.x + (new.w - old.w) / 2, new.y - old.y + (new.h - old.h) / 2
                if not _alike(old, new) or max(abs(dx), abs(dy)) < max(LEAST_MOVE_PX,
                                                                       LEAST_PER_S * lag_s * max(self._size)):
                    continue
                self._seen += 1
                vote = Vote(dx / lag_s, dy / lag_s, lag_s, old, new)
                if len(self._votes) < MOST_VOTES:
                    self._votes.append(vote)
                else:
                    place = self._rng.randint(self._seen)  # reservoir sampling: each vote is as likely to be kept
                    if place < MOST_VOTES:
                        self._votes[place] = vote

    def motion(self) -> Optional[Motion]:
        """The velocity on which most pairs agree; None when too few do."""
        if len(self._votes) < LEAST_VOTES:
            return None
        chosen = self._votes if len(self._votes) <= MOST_VOTES // 3 else [
            self._votes[i] for i in self._rng.permutation(len(self._votes))[:MOST_VOTES // 3]]
        velocity = np.array([(vote.vx, vote.vy) for vote in chosen], np.float32)
        slack = TOLERANCE * np.hypot(velocity[:, 0], velocity[:, 1]) + TOLERANCE_PX / np.array(
            [vote.lag_s for vote in chosen], np.float32)
        agree = [np.hypot(*(velocity - one).T) < within for one, within in zip(velocity, np.minimum(slack, np.hypot(
            velocity[:, 0], velocity[:, 1]) / 2))]
        best = max(agree, key=np.count_nonzero)
        if np.count_nonzero(best) < LEAST_VOTES:
            return None
        vx, vy = (float(value) for value in np.median(velocity[best], axis=0))
        sideways = abs(vx) >= abs(vy)
        direction = ("right" if vx > 0 else "left") if sideways else ("down" if vy > 0 else "up")
        askew = math.degrees(math.atan2(min(abs(vx), abs(vy)), max(abs(vx), abs(vy))))
        agreed = [vote for vote, fine in zip(chosen, best) if fine]
        least_area = float(np.percentile([vote.after.area for vote in agreed], 10))
        return Motion(direction, askew, math.hypot(vx, vy), self._region(agreed, sideways),
                      least_area).scaled((self._scale, self._scale))

    def _region(self, votes: Sequence[Vote], sideways: bool) -> Tuple[float, float, float, float]:
        """The upright rectangle in which those things were seen, with a margin, in watched pixels."""
        boxes = [box for vote in votes for box in (vote.before, vote.after)]
        width, height = self._size
        covered = np.zeros((height, width), np.float32)
        for box in boxes:
            covered[int(box.y):int(box.y + box.h), int(box.x):int(box.x + box.w)] += 1
        # What a few pairs alone say is chance, unless no place has more: of few frames, things lie side by side in them
        most = float(covered.max())
        sure = covered > max(1.0, 0.03 * most) if most > 1 else covered > 0
        rows, columns = (np.flatnonzero(sure.any(axis)) for axis in (1, 0))
        along = float(np.median([box.w if sideways else box.h for box in boxes]))
        across = float(np.median([box.h if sideways else box.w for box in boxes])) * MARGIN
        ends = [(rows[0], rows[-1] + 1, height), (columns[0], columns[-1] + 1, width)]
        (top, bottom), (left, right) = (_stretched(*end, margin=across if index != sideways else 0.0,
                                                   reach=1.5 * along if index == sideways else 0.0)
                                        for index, end in enumerate(ends))
        return left, top, right - left, bottom - top


def _alike(one: Box, other: Box) -> bool:
    return all(abs(a - b) <= ALIKE * max(a, b) + slack
               for a, b, slack in ((one.w, other.w, 2), (one.h, other.h, 2), (one.area, other.area, 4)))


def _stretched(low: float, high: float, most: float, margin: float, reach: float) -> Tuple[float, float]:
    """low and high, with a margin; an end from which the picture's own is no further than reach is there: what comes
    in or leaves is whole only later or before."""
    low, high = low - margin, high + margin
    return (0.0 if low <= reach else float(low)), (float(most) if high >= most - reach else float(high))

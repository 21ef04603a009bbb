"""The empty belt, learned pixel by pixel: it follows slow changes of light, not what lies on it."""

import math
from typing import List, Optional, Tuple

import cv2
import numpy as np

LEARN_S, LEARN_SHARE = 2.0, 0.35  # of the first frames; the belt shows in at least this share of them
LEARN_FRAMES, LEARN_MOST_S, LEAST_FRAMES = 32, 2.5, 8  # of a slow camera fewer, for longer
TAU_S = 4.0  # how fast the model follows
AROUND_PX = 15  # of the first frames, pixels are held against those around them
FLOOR = 7.0  # grey levels that always count as belt
WEAK = 0.55  # of both, for pixels beside those that are foreign beyond doubt (hysteresis: Canny 1986)
SAMPLE_PX, DARK, LEAST_SAMPLES = 4, 4.0, 50  # of the light: every fourth pixel, of those that are not black
DEVIATIONS = 4.5  # times the usual deviation of a pixel
STILL_EVERY_S = (0.4, 0.53)  # in turn: the belt's grain is compared; ribs may come again after one, hardly after both
FINE_PX, COARSE_PX = 3, 11  # sizes of the grain
STILL, MOVES = 0.5, 0.65  # of the usual change of the grain: below the first, twice, the belt stands; above the second
USUAL_TAU_S = 60.0  # it moves; how slowly less change becomes usual
FLOODED, FLOODED_S = 0.7, 0.5  # so much of the belt foreign for so long: the light has changed, not the belt


class Background:
    """Tells belt from items. All buffers are made once; the mask that offer returns is overwritten by the next call."""

    def __init__(self, height: int, width: int):
        shape = (height, width, 3)
        self._mean, self._deviation = np.zeros(shape, np.float32), np.full(shape, 2.0, np.float32)
        self._frame, self._difference, self._tolerance = (np.empty(shape, np.float32) for _ in range(3))
        self._belt = np.full((height, width), 255, np.uint8)  # where the last frame showed belt
        self._mask = np.zeros((height, width), np.uint8)
        self._age_s = np.zeros((height, width), np.float32)  # how long a pixel has been foreign
        self._small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        self._wide = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
        self._reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21))
        self._coarse, self._grain, self._grain_before = (np.zeros(shape[:2], np.float32) for _ in range(3))
        self._grain_s, self._compared, self._alike, self._usual = -math.inf, 0, 0, 0.0
        self.still = False  # nothing is learned then: what a standing belt looks like is no guide to a moving one
        self._first: List[Tuple[float, np.ndarray]] = []
        self._last_s: Optional[float] = None
        self._flooded_since: Optional[float] = None
        self.gain = np.ones(3)  # of the light, by colour, against what was learned
        self.relearned = 0

    def belt(self) -> np.ndarray:
        """(h, w, 3) uint8 BGR: the empty belt as it looks in the light of the last frame."""
        return np.clip(self._mean * self.gain, 0, 255).astype(np.uint8)

    def offer(self, image: np.ndarray, time_s: float, stuck_s: float,
              moves: Optional[bool] = None) -> Optional[np.ndarray]:
        """image: (h, w, 3) uint8 BGR. Returns (h, w) uint8, 255 where something lies; None while the belt is learned.

        stuck_s: what covers a pixel for longer, though the belt moves, is no item but a change of what is around it;
        moves: whether the belt does, as what lies on it shows; None: nothing shows it, so its grain tells.
        """
        if self._last_s is None:
            self._learn(image, time_s)
            return None
        passed_s = min(max(time_s - self._last_s, 0.0), 1.0)
        self._last_s = time_s
        np.copyto(self._frame, image)
        self._follow_light()
        self._watch_for_standstill(time_s)
        cv2.absdiff(self._frame, self._mean, dst=self._difference)
        np.multiply(self._deviation, DEVIATIONS, out=self._tolerance)
        np.add(self._tolerance, FLOOR, out=self._tolerance)
        cv2.morphologyEx(self._beyond(), cv2.MORPH_OPEN, self._small, dst=self._mask)
        np.multiply(self._tolerance, WEAK, out=self._tolerance)
        near = cv2.bitwise_and(cv2.dilate(self._mask, self._reach), self._beyond())
        cv2.morphologyEx(near, cv2.MORPH_OPEN, self._small, dst=near)
        cv2.bitwise_or(self._mask, near, dst=self._mask)
        cv2.morphologyEx(self._mask, cv2.MORPH_CLOSE, self._wide, dst=self._mask)
        if moves or (moves is None and not self.still):
            self._update(passed_s, stuck_s)
            self._watch_for_flood(image, time_s)
        return self._mask

    def _beyond(self) -> np.ndarray:
        """(h, w) uint8, 255 where any colour differs by more than is tolerated."""
        blue, green, red = cv2.split(cv2.compare(self._difference, self._tolerance, cv2.CMP_GT))
        return cv2.bitwise_or(cv2.bitwise_or(blue, green), red)

    def _learn(self, image: np.ndarray, time_s: float) -> None:
        if not self._first or time_s - self._first[-1][0] >= LEARN_S / LEARN_FRAMES:
            self._first.append((time_s, image.copy()))
        enough = LEARN_FRAMES if time_s - self._first[0][0] < LEARN_MOST_S else LEAST_FRAMES
        if len(self._first) >= enough:
            low, high = _densest(np.stack([one for _, one in self._first]))
            np.add(low, high, out=self._mean)
            self._mean /= 2
            np.subtract(high, low, out=self._deviation)
            np.maximum(self._deviation, 2.0, out=self._deviation)
            # A pixel may be alike by chance, and the belt's grain would pass for things: none is surer than those
            # around it, and of few frames all are less sure than of many
            np.maximum(self._deviation, cv2.blur(self._deviation, (AROUND_PX, AROUND_PX)), out=self._deviation)
            self._deviation *= max(1.0, LEARN_FRAMES / len(self._first))
            self._belt.fill(255)
            self._age_s.fill(0.0)
            self._first, self._last_s, self._flooded_since = [], time_s, None
            # Grain of another light is no measure: one learned in the dark would make a belt seem to stand for minutes
            self._grain_s, self._compared, self._alike, self._usual, self.still = -math.inf, 0, 0, 0.0, False

    def _follow_light(self) -> None:
        """Divide the frame by the light's change: the median over pixels that showed belt last, for things that have
        come in since are bright or dark beyond measure.
        """
        step = SAMPLE_PX
        now, then = self._frame[::step, ::step], self._mean[::step, ::step]
        belt = (self._belt[::step, ::step] > 0) & (then.min(axis=2) > DARK)
        if np.count_nonzero(belt) >= LEAST_SAMPLES:
            self.gain = np.clip(np.median(now[belt] / then[belt], axis=0), 0.25, 4.0)
        np.multiply(self._frame, (1 / self.gain).astype(np.float32), out=self._frame)

    def _update(self, passed_s: float, stuck_s: float) -> None:
        rate = 1 - math.exp(-passed_s / TAU_S)
        cv2.dilate(self._mask, self._wide, dst=self._belt)
        cv2.bitwise_not(self._belt, dst=self._belt)
        if cv2.countNonZero(self._belt) < 0.02 * self._belt.size:  # nothing to go by: the gain stays that of all
            self._belt.fill(255)
            return
        cv2.accumulateWeighted(self._frame, self._mean, rate, mask=self._belt)
        cv2.accumulateWeighted(self._difference, self._deviation, rate, mask=self._belt)
        self._age_s += passed_s
        self._age_s[self._mask == 0] = 0
        stuck = self._age_s > stuck_s
        if stuck.any():
            self._mean[stuck] = self._frame[stuck]
            self._age_s[stuck] = 0

    def _watch_for_standstill(self, time_s: float) -> None:
        """Compare the belt's grain (in green) with that of a moment ago: on a belt that stands, it changes by the noise
        alone. One without grain never stands still, and need not.
        """
        passed_s = time_s - self._grain_s
        if passed_s < STILL_EVERY_S[self._compared % 2]:
            return
        self._compared += 1
        self._grain_s = time_s
        np.copyto(self._coarse, self._frame[..., 1])
        cv2.blur(self._coarse, (FINE_PX, FINE_PX), dst=self._grain)  # a shaking camera moves the finest
        cv2.blur(self._coarse, (COARSE_PX, COARSE_PX), dst=self._coarse)
        cv2.subtract(self._grain, self._coarse, dst=self._grain)
        cv2.absdiff(self._grain, self._grain_before, dst=self._coarse)
        changed = cv2.mean(self._coarse, self._belt)[0]
        self._grain, self._grain_before = self._grain_before, self._grain
        if self._compared == 1:
            return
        self._alike = self._alike + 1 if changed < STILL * self._usual else 0
        self.still = changed < MOVES * self._usual if self.still else self._alike >= 2
        if not self.still:
            self._usual = max(changed, self._usual * math.exp(-passed_s / USUAL_TAU_S))

    def _watch_for_flood(self, image: np.ndarray, time_s: float) -> None:
        if cv2.countNonZero(self._mask) < FLOODED * self._mask.size:
            self._flooded_since = None
        elif self._flooded_since is None:
            self._flooded_since = time_s
        elif time_s - self._flooded_since > FLOODED_S:
            self.relearned += 1
            self._last_s = None
            self._first = []
            self._learn(image, time_s)


def _densest(values: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """(n, …) uint8 -> (…) float32 twice: the ends of the narrowest range that holds LEARN_SHARE of the n values.

    Items of many colours pass; what is always the same is the belt (the half-sample mode's first step: Bickel and
    Fruehwirth 2006, On a fast, robust estimator of the mode).
    """
    ordered = np.sort(values, axis=0)
    count = max(2, int(math.ceil(LEARN_SHARE * len(values))))
    widths = ordered[count - 1:].astype(np.int16) - ordered[:len(values) - count + 1]
    starts, places = widths.argmin(axis=0), tuple(np.ogrid[tuple(slice(n) for n in values.shape[1:])])
    low, high = ordered[(starts,) + places], ordered[(starts + count - 1,) + places]
    return low.astype(np.float32), high.astype(np.float32)

"""Tells one thing from several that touch: by what was seen before, by its outline and colours, by its length."""

import math
from collections import deque
from typing import Deque, List, Sequence, Tuple

import cv2
import numpy as np

from edge.gate.tracks import Track

MERGED_SHARE = 0.3  # seen together with another for so long: they touch
PARTED = 0.025  # looks like two things when it is as long as many; a shorter one has to look more like it
LENGTHS, LEAST_LENGTHS = 60, 6  # how many things back lengths are compared, and from how many on
LEAST_FOR_PIECES = 2
BESIDE_PX = 4.0  # what comes so soon after another comes beside it: no ejector hits one of them alone
QUARTILES, LEAST_SPREAD = (25, 75), 0.25  # of their logarithms; a belt on which all are alike tells by no less


class Clusters:
    """Remembers the lengths of what passed: what is as far above the upper quartile as that is above the lower one is
    seldom one thing (after the fences of Tukey 1977, Exploratory Data Analysis). The less long it is, the more it has
    to look like two."""

    def __init__(self) -> None:
        self._lengths: Deque[float] = deque(maxlen=LENGTHS)

    def is_one(self, track: Track) -> bool:
        """Whether the track is a cluster; to be asked once of each."""
        length = math.log(float(np.median(track.lengths)))
        looks, long = float(np.median(track.parted)) / PARTED, 0.0
        merged = track.merged_seen > MERGED_SHARE * (track.merged_seen + len(track.points))
        if len(self._lengths) >= LEAST_LENGTHS:
            _, upper, spread = self._usual()
            long = (length - upper) / spread
        if looks <= 1 and not merged:  # what looks like one is learned, however long: things may become longer
            self._lengths.append(length)
        return merged or looks + long > 1

    def pieces(self, track: Track, others: Sequence[Track]) -> List[Track]:
        """Those of the others that are one with it, or too near to be sorted apart: they come beside it, and both
        together are no longer than one thing may be; or both are shorter than any, and together no longer than most.
        Of clear things often only the rims are seen.
        """
        if len(self._lengths) < LEAST_FOR_PIECES:
            return []
        lower, upper, spread = self._usual()
        found = []
        for other in others:
            beside = min(track.blob.front, other.blob.front) > max(track.blob.back, other.blob.back) - BESIDE_PX
            short = max(max(one.blob.rectangle[1]) + 1 for one in (track, other)) < math.exp(lower - spread)
            corners = np.concatenate([cv2.boxPoints(one.blob.rectangle) for one in (track, other)])
            length = max(cv2.minAreaRect(corners)[1]) + 1
            if (beside and length < math.exp(upper + spread)) or (short and length < math.exp(upper)):
                found.append(other)
        return found

    def _usual(self) -> Tuple[float, float, float]:
        """Lower and upper quartile of the lengths, and how far they are apart, of their logarithms."""
        lower, upper = np.percentile(self._lengths, QUARTILES)
        return float(lower), float(upper), max(float(upper - lower), LEAST_SPREAD)

"""Tells one thing from several that touch: by what was seen before, by a narrow neck, by its size."""

from collections import deque
from typing import Deque

import numpy as np

from edge.gate.tracks import Track

MERGED_SHARE = 0.3  # seen together with another for so long: they touch
NARROW = 0.78  # a neck; bottles and bags have none, or wider ones
SIZES, LEAST_SIZES = 60, 6  # how many things back sizes are compared, and from how many on
LARGE, OF_SIZES = 1.5, 75  # times that percentile of the sizes


class Clusters:
    """Remembers the sizes of what passed: on most belts one thing is seldom twice as large as three of four others."""

    def __init__(self) -> None:
        self._sizes: Deque[float] = deque(maxlen=SIZES)

    def is_one(self, track: Track) -> bool:
        """Whether the track is a cluster; to be asked once of each."""
        area = float(np.median(track.areas)) if track.areas else 0.0
        usual = np.percentile(self._sizes, OF_SIZES) if len(self._sizes) >= LEAST_SIZES else np.inf
        self._sizes.append(area)
        return (track.merged_seen > MERGED_SHARE * (track.merged_seen + len(track.points))
                or bool(track.necks) and float(np.median(track.necks)) < NARROW
                or area > LARGE * usual)

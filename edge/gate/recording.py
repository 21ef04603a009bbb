"""A stretch of frames, kept small enough to be looked at again: compressed, at a reduced size, and never too many."""

from typing import Any, Iterator, List, Tuple

import cv2
import numpy as np

KEPT_PX = 960  # longer side of a kept frame
QUALITY = 95  # of JPEG; at less the gate begins to see the blocks
MOST_BYTES = 96 << 20  # some 40 s at 30 frames/s


class Recording:
    """Frames with their times. scale: pixels of the source for one of a kept frame, across and down."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._most_bytes, self._bytes = most_bytes, 0
        self._kept: List[Tuple[float, np.ndarray]] = []
        self.size = (0, 0)  # height and width of the source's frames
        self.scale = (1.0, 1.0)

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, image: np.ndarray, time_s: float) -> np.ndarray:
        """Keep image, (h, w, 3) uint8 BGR, unless it has another size than the first. Returns it as it is kept."""
        if not self._kept:
            self.size = image.shape[:2]
            shrink = min(1.0, KEPT_PX / max(self.size))
            self._width, self._height = (max(1, int(round(side * shrink))) for side in (self.size[1], self.size[0]))
            self.scale = (self.size[1] / self._width, self.size[0] / self._height)
        small = image if image.shape[:2] == (self._height, self._width) else cv2.resize(
            image, (self._width, self._height), interpolation=cv2.INTER_AREA)
        if image.shape[:2] == self.size:
            data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
            self._kept.append((time_s, data))
            self._bytes += data.size
        return small

    @property
    def is_full(self) -> bool:
        """Whether no more is to be offered."""
        return self._bytes >= self._most_bytes

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return self._kept[-1][0] - self._kept[0][0] if self._kept else 0.0

    @property
    def fps(self) -> float:
        """Frames a second; 0 of fewer than two."""
        return (len(self._kept) - 1) / self.seconds if self.seconds > 0 else 0.0

    def __iter__(self) -> Iterator[Tuple[float, np.ndarray]]:
        """Times and frames, (h, w, 3) uint8 BGR, the caller's own."""
        for time_s, data in self._kept:
            image: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
            yield time_s, image

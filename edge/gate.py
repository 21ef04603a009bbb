"""From frames to items. A folder's frames are items already; the belt's gate comes with the cameras."""

from typing import List, NamedTuple, Tuple

import numpy as np

from edge.frames.base import Frame


class Item(NamedTuple):
    """One thing to be sorted: its frame and its best views, each (h, w, 3) uint8 BGR."""

    frame: Frame
    views: Tuple[np.ndarray, ...]


class EveryFrame:
    """Each frame is one item. A frame that could not be decoded is an item without views."""

    def offer(self, frame: Frame) -> List[Item]:
        """The items that this frame completes."""
        return [Item(frame, () if frame.image_bgr is None else (frame.image_bgr,))]

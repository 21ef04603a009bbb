"""What a gate hands on."""

from typing import NamedTuple, Optional, Tuple

import numpy as np

from edge.frames.base import Frame


class Item(NamedTuple):
    """One thing to be sorted: its frame and its best views, each (h, w, 3) uint8 BGR."""

    frame: Frame
    views: Tuple[np.ndarray, ...]
    line_mono_s: Optional[float] = None  # when its middle crossed the line; None: nothing moves
    speed_mps: Optional[float] = None  # of the belt then; None: not known
    cluster: bool = False  # several things that touch: never a guess

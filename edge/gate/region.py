"""[source] region: the part of the frame that shows the belt."""

from typing import Tuple

import numpy as np

from edge.errors import SettingsError

LEAST_PX = 32  # a region must be as high and wide


def within(image: np.ndarray, region: Tuple[int, int, int, int]) -> np.ndarray:
    """The region (x, y, width, height; zeros: all) of a frame (h, w, 3), not copied. Raises SettingsError."""
    height, width = image.shape[:2]
    x, y, w, h = region if any(region) else (0, 0, width, height)
    if w < LEAST_PX or h < LEAST_PX or x + w > width or y + h > height:
        raise SettingsError("[source] region {}: outside the picture of {} x {} pixels, or below {} pixels".format(
            list(region), width, height, LEAST_PX))
    return image[y:y + h, x:x + w]

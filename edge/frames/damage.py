"""Pictures that are none: the lower part did not arrive, or it is the same picture as before to the last pixel."""

import cv2
import numpy as np

TAIL = 16  # the share of the height that is looked at, and at least so many rows: one row of JPEG blocks
GOOD_BEFORE = 5  # whole pictures, after which a flat lower part of any colour is damage and not the scene
FILLED = ((128, 128, 128), (0, 135, 0), (0, 154, 0), (77, 135, 0))  # BGR: what decoders leave of empty YUV memory


class Halves:
    """Tells half-frames: a decoder fills what did not arrive with one colour or repeats one row."""

    def __init__(self) -> None:
        self._good = 0

    def is_half(self, image: np.ndarray) -> bool:
        """Whether the lower part of image, (h, w, 3) uint8 BGR, is missing.

        Black bars and a part that is burnt out are a scene, and so is a flat part that was there from the first frame
        on, unless it has the very colour of empty memory.
        """
        tail = image[-max(TAIL, image.shape[0] // TAIL):, ::8]
        if not (tail == tail[:1]).all():
            self._good += 1
            return False
        if int(tail.max()) < 24 or int(tail.min()) > 245:
            return False
        if self._good >= GOOD_BEFORE:
            return True
        one_colour = bool((tail[0] == tail[0, :1]).all())
        return one_colour and any(np.abs(tail[0, 0].astype(int) - colour).max() <= 2 for colour in FILLED)


def is_same(image: np.ndarray, before: np.ndarray) -> bool:
    """Whether two pictures are alike in every pixel: those of a real sensor never are, for it has noise."""
    if not np.array_equal(image[::16, ::16], before[::16, ::16]):  # nearly always decided here
        return False
    return float(cv2.norm(image, before, cv2.NORM_INF)) == 0.0

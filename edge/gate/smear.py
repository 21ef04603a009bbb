"""Undoes what a thing smears while the shutter is open: along the belt, by its speed times the exposure."""

import cv2
import numpy as np

LEAST_PX, MOST_PX = 1.5, 24.0  # less is no smear, more cannot be undone
NOISE = 0.05  # of a sight of some frames, against what it shows; more would bring out grain
WAVES = 256


def unsmeared(picture: np.ndarray, length_px: float, upright: bool) -> np.ndarray:
    """A copy of picture, (h, w, 3) uint8 BGR, in which things moved by length_px along x, or along y where the belt
    runs upright; the picture itself where that is too little to see.

    Wiener's filter for a motion of constant speed (Wiener 1949; Gonzalez and Woods, Digital Image Processing, 5.8).
    """
    if length_px < LEAST_PX:
        return picture
    length_px = min(length_px, MOST_PX)
    seen = np.sinc(np.fft.rfftfreq(WAVES) * length_px)  # how much of each wave a box of that length leaves
    around = np.fft.fftshift(np.fft.irfft(seen / (seen ** 2 + NOISE), WAVES))
    reach = int(np.ceil(3 * length_px))
    kernel = around[WAVES // 2 - reach:WAVES // 2 + reach + 1] * np.hanning(2 * reach + 3)[1:-1]
    kernel /= kernel.sum()
    return cv2.filter2D(picture, -1, kernel.reshape((-1, 1) if upright else (1, -1)), borderType=cv2.BORDER_REPLICATE)

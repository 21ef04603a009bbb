"""THE preprocessing: from a decoded picture to the tensor that the network sees.

Decode -> resize rule of the manifest -> RGB -> float32 / 255 -> (x - mean) / std -> NCHW, into a buffer that exists
already. The trainer's validation, the quantiser's calibration and the golden tensors go through this same code.
"""

from typing import NamedTuple, Tuple

import cv2
import numpy as np

RESIZE_RULES = ("stretch", "letterbox", "crop")
LETTERBOX_GREY = 114


class InputSpec(NamedTuple):
    """The manifest's `input`: what the network's tensor `image` is made of."""

    height_px: int = 224
    width_px: int = 224
    resize: str = "stretch"  # stretch: whole picture; letterbox: whole, padded grey; crop: the middle, filled
    mean: Tuple[float, float, float] = (0.485, 0.456, 0.406)  # RGB, of ImageNet
    std: Tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def shape(self) -> Tuple[int, int, int, int]:
        """(1, 3, H, W)."""
        return (1, 3, self.height_px, self.width_px)


class Placement(NamedTuple):
    """Which part of a picture is seen, and which part of the network's input it fills, in pixels."""

    x: int
    y: int
    w: int
    h: int
    left: int
    top: int
    width: int
    height: int

    @property
    def shrinks(self) -> bool:
        """Whether areas are averaged: neither side grows. Else it is bilinear."""
        return self.h >= self.height and self.w >= self.width


def place(spec: InputSpec, height_px: int, width_px: int) -> Placement:
    """Where a picture of a size goes by the spec's resize rule; preprocess.cu goes by the same."""
    high, wide = spec.height_px, spec.width_px
    if spec.resize == "crop":  # the largest middle part with the network's aspect ratio
        h, w = max(1, min(height_px, width_px * high // wide)), max(1, min(width_px, height_px * wide // high))
        return Placement((width_px - w) // 2, (height_px - h) // 2, w, h, 0, 0, wide, high)
    if spec.resize == "letterbox":  # the whole picture, its aspect kept
        scale = min(high / height_px, wide / width_px)
        h, w = max(1, int(round(height_px * scale))), max(1, int(round(width_px * scale)))
        return Placement(0, 0, width_px, height_px, (wide - w) // 2, (high - h) // 2, w, h)
    return Placement(0, 0, width_px, height_px, 0, 0, wide, high)


class Preprocessor:
    """Turns pictures into the network's input, with every intermediate buffer allocated once.

    Not safe for use from two threads at once: the buffers are its own.
    """

    def __init__(self, spec: InputSpec):
        if spec.resize not in RESIZE_RULES:
            raise ValueError("resize {!r}: one of {}".format(spec.resize, ", ".join(RESIZE_RULES)))
        if len(spec.mean) != 3 or len(spec.std) != 3 or min(spec.std) <= 0:
            raise ValueError("mean {} and std {}: three numbers each, std above 0".format(spec.mean, spec.std))
        self.spec = spec
        self._resized = np.empty((spec.height_px, spec.width_px, 3), np.uint8)
        self._plane = np.empty((spec.height_px, spec.width_px), np.uint8)
        levels = np.arange(256, dtype=np.float32) / np.float32(255)
        # One table per RGB channel: (v / 255 - mean) / std of each of the 256 values, so no float pass over the picture
        self._tables = [(levels - np.float32(m)) / np.float32(s) for m, s in zip(spec.mean, spec.std)]

    def __call__(self, image_bgr: np.ndarray, out: np.ndarray) -> None:
        """Fill out, (1, 3, H, W) float32, from image_bgr, (h, w, 3) uint8 BGR of any size.

        Raises ValueError when a shape or dtype does not fit; nothing is reallocated.
        """
        self.normalise(self.resize(image_bgr), out)

    def resize(self, image_bgr: np.ndarray) -> np.ndarray:
        """Bring (h, w, 3) uint8 BGR to the network's (H, W, 3) uint8 BGR.

        The result is this object's own buffer, overwritten by the next call. Shrinking averages areas, so that small
        print does not alias; enlarging is bilinear.
        """
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or not image_bgr.size:
            raise ValueError("picture of shape {} and type {}: (h, w, 3) uint8 BGR is needed".format(
                image_bgr.shape, image_bgr.dtype))
        at = place(self.spec, *image_bgr.shape[:2])
        image_bgr = image_bgr[at.y:at.y + at.h, at.x:at.x + at.w]
        out = self._resized[at.top:at.top + at.height, at.left:at.left + at.width]
        if self.spec.resize == "letterbox":
            self._resized.fill(LETTERBOX_GREY)
        if image_bgr.shape == out.shape:
            np.copyto(out, image_bgr)
        else:
            interpolation = cv2.INTER_AREA if at.shrinks else cv2.INTER_LINEAR
            if out.flags["C_CONTIGUOUS"]:
                cv2.resize(image_bgr, (at.width, at.height), dst=out, interpolation=interpolation)
            else:
                np.copyto(out, cv2.resize(image_bgr, (at.width, at.height), interpolation=interpolation))
        return self._resized

    def normalise(self, resized_bgr: np.ndarray, out: np.ndarray) -> None:
        """Fill out, (1, 3, H, W) float32 RGB, from (H, W, 3) uint8 BGR of the network's size."""
        if resized_bgr.shape != self._resized.shape or resized_bgr.dtype != np.uint8:
            raise ValueError("picture of shape {} and type {}: {} uint8 is needed".format(
                resized_bgr.shape, resized_bgr.dtype, self._resized.shape))
        if out.shape != self.spec.shape or out.dtype != np.float32:
            raise ValueError("buffer of shape {} and type {}: {} float32 is needed".format(
                out.shape, out.dtype, self.spec.shape))
        resized_bgr = np.ascontiguousarray(resized_bgr)  # copies only what OpenCV could not read, such as a mirror view
        for channel, table in enumerate(self._tables):
            cv2.extractChannel(resized_bgr, 2 - channel, self._plane)
            cv2.LUT(self._plane, table, out[0, channel])

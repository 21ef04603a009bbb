"""Augmentation of one picture: crop, turn, flip, light and colour, in two OpenCV calls.

Each picture's randomness comes from (seed, epoch, index) alone. So a resumed run sees what an unbroken one would have
seen, and the order in which threads get to work does not matter.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)  # ITU-R BT.601


class Augmentation(NamedTuple):
    """How far a picture may be changed; zeros change nothing."""

    min_area: float = 0.4  # smallest share of the picture that a crop keeps
    aspect: float = 4 / 3  # a crop's sides may be stretched against each other by up to this
    rotate_deg: float = 20.0
    flip: bool = True  # left-right and upside-down: an item on a belt has no top
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.3
    temperature: float = 0.1  # gain of red against blue: plants are not studios
    erase: float = 0.25  # probability that a rectangle is blanked (Zhong et al. 2017)


def augment(image_bgr: np.ndarray, rng: np.random.Generator, size_px: int, how: Augmentation) -> np.ndarray:
    """A changed copy, (size_px, size_px, 3) uint8 BGR, of image_bgr, (h, w, 3) uint8 BGR."""
    matrix = _geometry(image_bgr.shape, rng, size_px, how)
    out = cv2.warpAffine(image_bgr, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REFLECT_101)
    out = cv2.transform(out, _colour(rng, float(out.mean()), how))
    if rng.random() < how.erase:
        height, width = (int(size_px * rng.uniform(0.1, 0.35)) for _ in range(2))
        top, left = int(rng.integers(0, size_px - height)), int(rng.integers(0, size_px - width))
        out[top:top + height, left:left + width] = rng.integers(0, 256, 3)
    return out


def mix(batch: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Mix the pictures of batch, (N, 3, H, W) float32, in pairs, in place: MixUp (Zhang et al. 2018) or CutMix
    (Yun et al. 2019).

    Returns (other, share): picture i keeps the share of itself, the rest is of picture other[i].
    """
    other = rng.permutation(len(batch))
    height, width = batch.shape[2:]
    if rng.random() < 0.5:
        share = float(max(rng.beta(0.2, 0.2), 0.5))
        batch *= np.float32(share)
        batch += batch[other] * np.float32((1 - share) / share)
        return other, share
    side = np.sqrt(rng.uniform(0.05, 0.5))
    box_h, box_w = int(height * side), int(width * side)
    top, left = int(rng.integers(0, height - box_h + 1)), int(rng.integers(0, width - box_w + 1))
    window = (slice(None), slice(None), slice(top, top + box_h), slice(left, left + box_w))
    batch[window] = batch[other][window]
    return other, 1 - box_h * box_w / (height * width)


def _geometry(shape: tuple, rng: np.random.Generator, size_px: int, how: Augmentation) -> np.ndarray:
    """The 2 x 3 matrix, source -> output, of a random crop that is turned and flipped."""
    height, width = shape[:2]
    area, stretch = rng.uniform(how.min_area, 1.0), np.sqrt(how.aspect ** rng.uniform(-1, 1))
    crop_w = min(width * np.sqrt(area) * stretch, width)
    crop_h = min(height * np.sqrt(area) / stretch, height)
    centre_x = rng.uniform(crop_w / 2, width - crop_w / 2)
    centre_y = rng.uniform(crop_h / 2, height - crop_h / 2)
    flip_x, flip_y = (rng.choice([-1, 1], 2) if how.flip else (1, 1))
    angle = np.deg2rad(rng.uniform(-how.rotate_deg, how.rotate_deg))
    cos, sin = np.cos(angle), np.sin(angle)
    scale_x, scale_y = flip_x * size_px / crop_w, flip_y * size_px / crop_h
    linear = np.array([[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]])
    shift = np.array([size_px / 2, size_px / 2]) - linear @ np.array([centre_x, centre_y])
    return np.column_stack([linear, shift])


def _colour(rng: np.random.Generator, mean: float, how: Augmentation) -> np.ndarray:
    """The 3 x 4 matrix of saturation, colour temperature, contrast around the mean, and brightness."""
    saturation = 1 + rng.uniform(-how.saturation, how.saturation)
    warm = rng.uniform(-how.temperature, how.temperature)
    contrast = 1 + rng.uniform(-how.contrast, how.contrast)
    brightness = 1 + rng.uniform(-how.brightness, how.brightness)
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA_BGR, (3, 1))
    gain = np.diag([1 - warm, 1.0, 1 + warm]) * contrast * brightness
    offset = np.full((3, 1), mean * brightness * (1 - contrast))
    return np.hstack([gain @ mix, offset]).astype(np.float32)

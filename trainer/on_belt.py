"""A photograph as a camera above a belt and the gate behind it hand it on: a tile, moving, cut out by its outline.

Drawn here from random numbers alone, not by the simulated belt, which is the judge of what is learnt from it.
"""

from __future__ import annotations

import cv2
import numpy as np

from trainer.grounds import draw_ground

PHOTOGRAPH = 4 / 3  # its sides; the pool keeps it stretched to a square
SQUARE = 0.25  # share that the gate cuts square with a margin, because the outline did not fill its rectangle
BLUR, NOISE = 0.04, 7.0  # of motion, at most, as a share of the view; of the sensor, a standard deviation of 255
SHARPEST, COARSEST = 1.2, 0.5  # the camera's pixels for one of the view


def on_belt(image_bgr: np.ndarray, rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Two views (size_px, size_px, 3) uint8 BGR of a photograph (h, w, 3) that lies on a belt, cut out as by a gate:
    as it lies there, and as the camera sees it."""
    matrix = _cut(image_bgr.shape, rng, size_px)
    size = (size_px, size_px)
    inside = cv2.warpAffine(np.full(image_bgr.shape[:2], 255, np.uint8), matrix, size, flags=cv2.INTER_LINEAR)
    plain = cv2.warpAffine(image_bgr, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if not inside.all():
        cover = inside.astype(np.float32)[..., None] / 255
        plain = (plain * cover + draw_ground(rng, size_px) * (1 - cover)).astype(np.uint8)
    coarse = [round(size_px * COARSEST * (SHARPEST / COARSEST) ** rng.random())] * 2
    seen = moved(plain, rng.uniform(0, BLUR) * size_px, rng.uniform(0, np.pi))
    seen = cv2.resize(seen, coarse, interpolation=cv2.INTER_AREA)
    noise = rng.standard_normal(seen.shape, np.float32) * np.float32(rng.uniform(0, NOISE))
    seen = np.clip(seen + noise, 0, 255).astype(np.uint8)
    return plain, cv2.resize(seen, size, interpolation=cv2.INTER_LINEAR)


def _cut(shape: tuple, rng: np.random.Generator, size_px: int) -> np.ndarray:
    """The 2 x 3 matrix, source -> view, of a photograph that the gate cut out nearly right, this way up or that."""
    height, width = shape[:2]
    angle = int(rng.integers(4)) * np.pi / 2
    if rng.random() < SQUARE:
        angle += rng.uniform(-np.pi / 8, np.pi / 8)
        longest = size_px / rng.uniform(1.0, 1.3)
        sides, loose = np.array([longest, longest / PHOTOGRAPH]), 0.06
    else:
        angle += np.deg2rad(rng.normal(0, 1.5))
        sides, loose = size_px / rng.uniform(0.92, 1.04, 2), 0.03
    flip = rng.choice([-1.0, 1.0])
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip * sides[0] / width, sides[1] / height])
    centre = size_px * (0.5 + rng.uniform(-loose, loose, 2))
    return np.column_stack([linear, centre - linear @ np.array([width / 2, height / 2])])


def moved(image_bgr: np.ndarray, length_px: float, angle_rad: float) -> np.ndarray:
    """The picture with what moved by length_px while the shutter was open."""
    reach = int(np.ceil(length_px / 2))
    if not reach:
        return image_bgr
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step in np.linspace(-length_px / 2, length_px / 2, 4 * reach + 1):
        x, y = reach + step * np.cos(angle_rad), reach + step * np.sin(angle_rad)
        left, top = int(min(x, 2 * reach - 1)), int(min(y, 2 * reach - 1))
        share_x, share_y = x - left, y - top
        kernel[top:top + 2, left:left + 2] += np.outer([1 - share_y, share_y], [1 - share_x, share_x])
    return cv2.filter2D(image_bgr, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)

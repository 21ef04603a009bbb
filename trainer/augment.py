"""Augmentation of one picture: crop, turn, flip, light and colour, blur and noise, and another ground under the item.

Each picture's randomness comes from a generator of its own alone. So a resumed run sees what an unbroken one would
have seen, and the order in which threads get to work does not matter.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from trainer.grounds import draw_ground
from trainer.on_belt import on_belt

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
    paste: float = 0.0  # probability that the item is laid on a drawn ground (Dwibedi et al. 2017, cut, paste, learn)
    harsh: float = 0.0  # probability of each of: doubled colour changes, greyness, blur, noise, coarse pixels
    belt: float = 0.0  # probability that the whole photograph lies on a moving belt, cut out as by the gate


class View(NamedTuple):
    """One augmented picture, and the same crop as photographed, which a teacher is asked about."""

    image_bgr: np.ndarray  # (size_px, size_px, 3) uint8
    plain_bgr: np.ndarray  # (size_px, size_px, 3) uint8


def augment(image_bgr: np.ndarray, rng: np.random.Generator, size_px: int, how: Augmentation,
            cutout: np.ndarray | None = None, see_through: bool = False) -> View:
    """A changed copy of image_bgr, (h, w, 3) uint8 BGR.

    cutout: board and mask as of cutout.cached_cutouts, needed for pasting. see_through: of glass or plastic, through
    which the ground may show.
    """
    if how.belt and rng.random() < how.belt:  # draws nothing where it is off: the other views stay what they were
        plain, out = on_belt(image_bgr, rng, size_px)
        return View(cv2.transform(out, _colour(rng, float(out.mean()), how)), plain)
    if cutout is not None and rng.random() < how.paste:
        plain, out = _pasted(image_bgr, cutout, rng, size_px, how, see_through)
    else:
        matrix = _geometry(image_bgr.shape, rng, size_px, how)
        plain = out = cv2.warpAffine(image_bgr, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR,
                                     borderMode=cv2.BORDER_REFLECT_101)
    strength = 2.0 if rng.random() < how.harsh else 1.0
    out = cv2.transform(out, _colour(rng, float(out.mean()), how, strength))
    if how.harsh:
        out = _camera(out, rng, how)
    if rng.random() < how.erase:
        height, width = (int(size_px * rng.uniform(0.1, 0.35)) for _ in range(2))
        top, left = int(rng.integers(0, size_px - height)), int(rng.integers(0, size_px - width))
        out[top:top + height, left:left + width] = rng.integers(0, 256, 3)
    return View(out, plain)


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


def _pasted(image_bgr: np.ndarray, cutout: np.ndarray, rng: np.random.Generator, size_px: int, how: Augmentation,
            see_through: bool) -> tuple[np.ndarray, np.ndarray]:
    """The item turned and scaled at will: as photographed, and on a drawn ground with the shadow that it cast.

    Where no item was told from its board, the picture is laid down whole, as a sheet.
    """
    board, mask = np.ascontiguousarray(cutout[..., :3]), np.ascontiguousarray(cutout[..., 3])
    matrix = _item_geometry(image_bgr.shape, mask, rng, size_px, how)
    shrink = matrix @ np.diag([image_bgr.shape[1] / mask.shape[1], image_bgr.shape[0] / mask.shape[0], 1.0])
    size = (size_px, size_px)
    plain = cv2.warpAffine(image_bgr, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    board = cv2.warpAffine(board, shrink, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    item = cv2.warpAffine(mask, shrink, size, flags=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
    ground = draw_ground(rng, size_px).astype(np.float32)
    # What the board shows around and through the item, as a share of its own light: shadows, and glass
    through = np.clip(plain.astype(np.float32) / np.maximum(board, 1), 0.2, 1.3)
    inside = cv2.warpAffine(np.full(image_bgr.shape[:2], 255, np.uint8), matrix, size,
                            flags=cv2.INTER_LINEAR).astype(np.float32)[..., None] / 255
    found = bool((mask < 255).any())
    shadow = 1 + (np.minimum(through.mean(2, keepdims=True), 1) - 1) * (inside if found else 0) * rng.uniform(0, 1)
    if see_through and found and rng.random() < 0.6:
        pale = np.exp(-(np.abs(through - 1).max(2, keepdims=True) / 0.2) ** 2)  # board shows where it keeps its colour
        item = item * (1 - pale * rng.uniform(0.2, 0.9))
        ground = ground * (1 - pale) + ground * through * pale
    return plain, np.clip(plain * item + ground * shadow * (1 - item), 0, 255).astype(np.uint8)


def _item_geometry(shape: tuple, mask: np.ndarray, rng: np.random.Generator, size_px: int,
                   how: Augmentation) -> np.ndarray:
    """The 2 x 3 matrix, source -> output, that turns the item by any angle, scales it and puts it somewhere."""
    x, y, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    per_x, per_y = shape[1] / mask.shape[1], shape[0] / mask.shape[0]
    longest = max(width * per_x, height * per_y)
    target = size_px * rng.uniform(0.4, 1.05)
    angle = np.deg2rad(rng.uniform(0, 360))
    flip = rng.choice([-1, 1]) if how.flip else 1
    stretch = np.sqrt(how.aspect ** rng.uniform(-1, 1))
    scale = target / longest
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cos * flip * stretch, -sin / stretch], [sin * flip * stretch, cos / stretch]])
    room = max(size_px - target, 0) / 2
    centre = size_px / 2 + rng.uniform(-room, room, 2)
    middle = np.array([(x + width / 2) * per_x, (y + height / 2) * per_y])
    return np.column_stack([linear, centre - linear @ middle])


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


def _colour(rng: np.random.Generator, mean: float, how: Augmentation, strength: float = 1.0) -> np.ndarray:
    """The 3 x 4 matrix of saturation, colour temperature, contrast around the mean, and brightness."""
    saturation = 1 + strength * rng.uniform(-how.saturation, how.saturation)
    warm = strength * rng.uniform(-how.temperature, how.temperature)
    contrast = 1 + strength * rng.uniform(-how.contrast, how.contrast)
    brightness = 1 + strength * rng.uniform(-how.brightness, how.brightness)
    if how.harsh and rng.random() < how.harsh / 2:
        saturation = rng.uniform(0, 0.3)
    mixed = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA_BGR, (3, 1))
    gain = np.diag([1 - warm, 1.0, 1 + warm]) * contrast * brightness
    offset = np.full((3, 1), mean * brightness * (1 - contrast))
    return np.hstack([gain @ mixed, offset]).astype(np.float32)


def _camera(out: np.ndarray, rng: np.random.Generator, how: Augmentation) -> np.ndarray:
    """What another camera does: blur, coarse pixels, noise."""
    size_px = out.shape[0]
    if rng.random() < how.harsh:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 1.8))
    if rng.random() < how.harsh / 2:
        coarse = int(size_px * rng.uniform(0.35, 0.8))
        out = cv2.resize(cv2.resize(out, (coarse, coarse), interpolation=cv2.INTER_AREA), (size_px, size_px),
                         interpolation=cv2.INTER_LINEAR)
    if rng.random() < how.harsh:
        noise = rng.standard_normal(out.shape[:2], np.float32)[..., None] * np.float32(rng.uniform(2, 12))
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    return out

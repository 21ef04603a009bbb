"""Grounds to lay items on: belts and floors, drawn from a random generator alone."""

from __future__ import annotations

import cv2
import numpy as np

# Mean colours, BGR: black, grey, green, blue and white belts, steel, concrete, wood, red-brown floor
COLOURS = np.array([(38, 38, 40), (70, 70, 72), (120, 122, 125), (165, 168, 170), (80, 110, 60), (130, 90, 50),
                    (215, 218, 220), (150, 145, 140), (140, 150, 155), (95, 130, 165), (75, 85, 125)], np.float32)


def draw_ground(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """A ground, (size_px, size_px, 3) uint8 BGR: colour, grain, stains, a pattern of its kind, uneven light."""
    colour = COLOURS[rng.integers(len(COLOURS))] * rng.uniform(0.7, 1.3) + rng.normal(0, 6, 3)
    light = 1 + _cloud(rng, size_px, int(rng.integers(2, 4))) * rng.uniform(0.05, 0.3)
    light += _cloud(rng, size_px, int(rng.integers(6, 24))) * rng.uniform(0.0, 0.15)
    light += _cloud(rng, size_px, int(rng.integers(size_px // 4, size_px + 1))) * rng.uniform(0.0, 0.15)
    light += PATTERNS[rng.integers(len(PATTERNS))](rng, size_px)
    ground = light[..., None] * colour.astype(np.float32)
    if rng.random() < 0.3:  # stains of another colour
        stain = np.clip(_cloud(rng, size_px, int(rng.integers(3, 12))) * 2 - 0.5, 0, 1)[..., None]
        ground += stain * (COLOURS[rng.integers(len(COLOURS))] - ground) * rng.uniform(0.2, 0.8)
    return np.clip(ground, 0, 255).astype(np.uint8)


def _cloud(rng: np.random.Generator, size_px: int, cells: int) -> np.ndarray:
    """Smooth noise, (size_px, size_px) float32, mean about 0, mostly within -1 to 1."""
    coarse = rng.standard_normal((cells, cells), np.float32) * 0.6
    return coarse if cells == size_px else cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC)


def _plain(rng: np.random.Generator, size_px: int) -> np.ndarray:
    return np.zeros((size_px, size_px), np.float32)


def _waves(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Ribs, weave or planks: one or two gratings."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    out = np.zeros((size_px, size_px), np.float32)
    angle = rng.uniform(0, np.pi)
    for turn in range(int(rng.integers(1, 3))):
        along = x * np.cos(angle + turn * np.pi / 2) + y * np.sin(angle + turn * np.pi / 2)
        wave = np.sin(along * (2 * np.pi / rng.uniform(4, 60)) + rng.uniform(0, 6))
        out += rng.uniform(0.03, 0.2) * (wave if rng.random() < 0.6 else np.sign(wave - rng.uniform(0, 0.95)))
    return out


def _scratches(rng: np.random.Generator, size_px: int) -> np.ndarray:
    out = np.zeros((size_px, size_px), np.float32)
    for _ in range(int(rng.integers(3, 25))):
        start, end = rng.integers(-20, size_px + 20, 2), rng.integers(-20, size_px + 20, 2)
        depth, width = float(rng.uniform(-0.25, 0.25)), int(rng.integers(1, 3))
        cv2.line(out, start.tolist(), end.tolist(), depth, width, cv2.LINE_AA)
    return out


def _speckles(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Grit of concrete or a dirty belt."""
    grains = (rng.random((size_px, size_px), np.float32) > rng.uniform(0.97, 0.998)).astype(np.float32)
    return cv2.GaussianBlur(grains, (0, 0), rng.uniform(0.6, 1.6)) * np.float32(rng.uniform(-2, 2))


PATTERNS = (_plain, _plain, _waves, _scratches, _speckles)

"""How far an activation's grid reaches: the smallest and largest value kept, from a histogram of calibration."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trainer._qdq import Grid, Scheme

BINS = 2048
PERCENTILE = 99.99
ENTROPY_LEVELS = 128


class Histogram(NamedTuple):
    """Values of one tensor over the calibration pictures: counts (BINS,) float64 between low and high."""

    counts: np.ndarray
    low: float
    high: float

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin, (BINS,) float64."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[:-1] + edges[1:]) / 2


def minmax(histogram: Histogram, scheme: Scheme) -> tuple[float, float]:
    """Everything that was seen."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, scheme: Scheme) -> tuple[float, float]:
    """The magnitude that PERCENTILE of the values stay below."""
    magnitude = np.abs(histogram.centres)
    order = np.argsort(magnitude)
    share = np.cumsum(histogram.counts[order]) / histogram.counts.sum()
    return _clipped(histogram, float(magnitude[order][np.searchsorted(share, PERCENTILE / 100)]))


def entropy(histogram: Histogram, scheme: Scheme) -> tuple[float, float]:
    """The magnitude at which the rounded distribution is closest in Kullback-Leibler divergence (Migacz 2017)."""
    reach = max(abs(histogram.low), abs(histogram.high))
    folded = np.histogram(np.abs(histogram.centres), BINS, (0, reach), weights=histogram.counts)[0]
    folded[0] = 0  # the zeros behind a ReLU are exact on any grid and would drown the rest
    ends = np.arange(ENTROPY_LEVELS, BINS + 1, 8)
    best = min(ends, key=lambda end: _divergence(folded, end))
    return _clipped(histogram, float(reach * best / BINS))


def _divergence(folded: np.ndarray, end: int) -> float:
    """How much is lost when the first end bins are merged to ENTROPY_LEVELS and the rest is clipped to the last."""
    kept = folded[:end].copy()
    level = np.arange(end) * ENTROPY_LEVELS // end
    filled = kept > 0
    sums, sizes = np.bincount(level, kept, ENTROPY_LEVELS), np.bincount(level, filled, ENTROPY_LEVELS)
    merged = np.where(filled, (sums / np.maximum(sizes, 1))[level], 0)
    kept[-1] += folded[end:].sum()
    p, q = kept / max(kept.sum(), 1e-12), merged / max(merged.sum(), 1e-12)
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))).sum())


def mse(histogram: Histogram, scheme: Scheme) -> tuple[float, float]:
    """The share of the range whose grid has the least mean squared error."""
    def error(share: float) -> float:
        low, high = histogram.low * share, histogram.high * share
        rounded = on_grid(histogram.centres, grid(low, high, scheme), scheme)
        return float((histogram.counts * (rounded - histogram.centres) ** 2).sum())

    share = min(np.geomspace(0.1, 1, 121), key=error)
    return histogram.low * share, histogram.high * share


def _clipped(histogram: Histogram, magnitude: float) -> tuple[float, float]:
    return max(histogram.low, -magnitude), min(histogram.high, magnitude)


RANGES = {"minmax": minmax, "percentile": percentile, "entropy": entropy, "mse": mse}


def grid(low: float, high: float, scheme: Scheme) -> Grid:
    """The grid that covers low to high, and zero exactly (padding is zero)."""
    low, high = min(low, 0.0), max(high, 0.0)
    if scheme.signed:
        return Grid(float(np.float32(max(-low, high, 1e-8) / 127)), 0)
    scale = max(high - low, 1e-8) / 255
    return Grid(float(np.float32(scale)), round(-low / scale))


def on_grid(values: np.ndarray, chosen: Grid, scheme: Scheme) -> np.ndarray:
    """Values as QuantizeLinear and DequantizeLinear give them back."""
    low, high = scheme.levels
    numbers = np.clip(np.rint(values / chosen.scale) + chosen.zero_point, low, high)
    return (numbers - chosen.zero_point) * chosen.scale


def weight_scale(weight: np.ndarray, largest: int) -> np.ndarray:
    """The scale of each output channel of (O, ...) float32 that rounds to +-largest with the least squared error."""
    rows = weight.reshape(len(weight), -1)
    reach = np.maximum(np.abs(rows).max(1), 1e-8)
    best, scale = np.full(len(rows), np.inf), reach / largest
    for share in np.linspace(0.6, 1, 21):
        candidate = (reach * share / largest)[:, None]
        error = ((np.clip(np.rint(rows / candidate), -largest, largest) * candidate - rows) ** 2).sum(1)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, candidate[:, 0], scale)
    return scale.astype(np.float32)

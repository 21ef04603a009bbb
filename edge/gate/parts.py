"""Whether an outline is that of one thing or of two that touch: where it is best cut, and how unlike its parts are."""

from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

WHISKERS = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))  # what is narrower is no part of an outline, ...
KEPT = 0.85  # ... unless less than that share of the area would be left: a thin thing, or two on a thin bridge
RIM_PX = 4  # around a mask, so that a thing at its edge has an outline there, too
DENTS, SHALLOW_PX = 6, 1.5  # cuts begin at the deepest dents; shallower ones are the pixels' own
NEAR = 0.12  # share of the outline within which a dent's opposite side is not looked for
LEAST_PART = 0.12  # share of the area; what is less is a cap or a handle
MOST_GAIN = 0.3  # more is no surer
RAGGED, FULL = 0.7, 0.9  # parts that fill less of their hulls than the first are no two things, from the second on sure
COLOURS, RANGES = [4, 16, 16], [0, 256] * 3  # bins of CIELAB, and what they cover


class Cut(NamedTuple):
    """An outline cut in two."""

    gain: float  # of the hull's area so much is saved when each part has a hull of its own; 0: nothing
    filled: float  # the share of these hulls that the parts fill
    parts: Tuple[np.ndarray, np.ndarray]  # outlines, (n, 1, 2) int32


def outline_of(mask: np.ndarray) -> np.ndarray:
    """The outline, (n, 1, 2) int32, of the thing in a mask, (h, w) uint8, without whiskers."""
    wide = cv2.copyMakeBorder(mask, RIM_PX, RIM_PX, RIM_PX, RIM_PX, cv2.BORDER_CONSTANT)
    shaven = _largest(cv2.morphologyEx(wide, cv2.MORPH_OPEN, WHISKERS))
    whole = _largest(wide)
    if shaven is None or cv2.contourArea(shaven) < KEPT * cv2.contourArea(whole):
        shaven = whole
    return shaven - RIM_PX


def _largest(mask: np.ndarray) -> Any:
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[-2]
    return max(contours, key=cv2.contourArea) if len(contours) else None


def parted(outline: np.ndarray, picture: np.ndarray) -> float:
    """How much it looks like two things: what the best cut gains, times how unlike the colours of its parts are, times
    how convex these are.

    outline: (n, 1, 2) int32; picture: (h, w, 3) uint8 BGR around it. A thing of two colours has no dents where they
    meet, and one with a waist or a bite has mostly one colour; two things that touch have mostly both. A heap of
    scraps or a wrapper has dents wherever it is cut.
    """
    cut = best_cut(outline)
    if cut is None or cut.gain <= 0:
        return 0.0
    full = (cut.filled - RAGGED) / (FULL - RAGGED)
    return min(cut.gain, MOST_GAIN) * unlike(cut.parts, picture) * min(max(full, 0.0), 1.0)


def best_cut(outline: np.ndarray) -> Optional[Cut]:
    """The straight cut from dent to dent, or from a dent to the other side, that leaves the parts most nearly convex;
    None of an outline without dents."""
    dents = _dents(outline)
    if not dents:
        return None
    hull, area, best = _hull_area(outline), cv2.contourArea(outline), None
    for start, end in set(_cuts(outline, dents)):
        parts = outline[start:end + 1], np.concatenate([outline[end:], outline[:start + 1]])
        areas = [cv2.contourArea(part) for part in parts]
        if min(areas) < LEAST_PART * area:
            continue
        hulls = sum(_hull_area(part) for part in parts)
        if best is None or 1 - hulls / hull > best.gain:
            best = Cut(1 - hulls / hull, sum(areas) / hulls, parts)
    return best


def _dents(outline: np.ndarray) -> List[int]:
    """Places in the outline, the deepest first."""
    try:
        found: Any = cv2.convexityDefects(outline, cv2.convexHull(outline, returnPoints=False))
    except cv2.error:  # an outline that runs through a point twice, on a bridge one pixel wide
        return []
    if found is None:
        return []
    found = found.reshape(-1, 4)
    deepest = found[np.argsort(-found[:, 3])][:DENTS]
    return [int(place) for _, _, place, depth in deepest if depth / 256.0 >= SHALLOW_PX]


def _cuts(outline: np.ndarray, dents: List[int]) -> Iterator[Tuple[int, int]]:
    points, count = outline.reshape(-1, 2).astype(np.float32), len(outline)
    for number, dent in enumerate(dents):
        for other in dents[number + 1:]:
            yield min(dent, other), max(dent, other)
        away = np.abs(np.arange(count) - dent)
        away = np.minimum(away, count - away)
        narrow = np.hypot(*(points - points[dent]).T) / np.maximum(away, 1)
        narrow[away < NEAR * count] = np.inf
        other = int(narrow.argmin())
        yield min(dent, other), max(dent, other)


def _hull_area(outline: np.ndarray) -> float:
    """Of the pixels, through whose middles outlines run."""
    hull = cv2.convexHull(outline)
    return cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1


def unlike(parts: Tuple[np.ndarray, np.ndarray], picture: np.ndarray) -> float:
    """0: the parts have the same colours; 1: none in common (Bhattacharyya's coefficient, taken from 1)."""
    lab, histograms = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB), []
    for part in parts:
        inside = cv2.drawContours(np.zeros(picture.shape[:2], np.uint8), [part], 0, 255, -1)
        histograms.append(cv2.calcHist([lab], [0, 1, 2], inside, COLOURS, RANGES))
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_BHATTACHARYYA)) ** 2

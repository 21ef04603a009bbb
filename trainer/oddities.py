"""Pictures that are not like the others: size, exposure, sharpness, file."""

from __future__ import annotations

from collections import Counter

import numpy as np

from trainer.findings import Finding, Photo, finding

OUTLIER = 3.5  # modified z-score, Iglewicz and Hoaglin 1993
TINY_PX = 112  # half the network's input
LONG_ASPECT = 3.0
CLIPPED_SHARE = 0.25


def oddities(photos: list[Photo]) -> list[Finding]:
    """All oddities, by kind."""
    if not photos:
        return []
    return _odd_sizes(photos) + _odd_exposures(photos) + _blurred(photos) + _odd_files(photos)


def _blurred(photos: list[Photo]) -> list[Finding]:
    """Low variance of the Laplacian (Pech-Pacheco et al. 2000), for the picture's contrast."""
    scores = outlier_scores([p.sharpness for p in photos])
    return [finding("blurred", "medium", photos[i].path, photos[i].label,
                     f"variance of the Laplacian {np.exp(photos[i].sharpness):.3f} of the picture's, "
                     f"modified z {scores[i]:.1f}", float(scores[i]))
            for i in np.argsort(scores, kind="stable") if scores[i] < -OUTLIER]


def outlier_scores(values) -> np.ndarray:
    """Modified z-scores (N,) of N numbers (Iglewicz and Hoaglin 1993); zeros where the median deviation is zero."""
    distance = np.asarray(values, np.float64) - np.median(values)
    deviation = np.median(np.abs(distance))
    return 0.6745 * distance / deviation if deviation else np.zeros(len(distance))


def _odd_sizes(photos: list[Photo]) -> list[Finding]:
    (usual, count), = Counter(tuple(sorted(p.size)) for p in photos).most_common(1)
    rows = []
    for photo in photos:
        short, long = sorted(photo.size)
        size = f"{photo.size[0]} x {photo.size[1]}"
        if short < TINY_PX:
            rows.append(finding("odd-size", "medium", photo.path, photo.label, f"{size}: tiny", short))
        elif long > LONG_ASPECT * short:
            rows.append(finding("odd-size", "medium", photo.path, photo.label, f"{size}: long", long / short))
        elif (short, long) != usual and count > len(photos) / 2:  # else sizes are mixed and none is odd
            reason = f"{size}, where {count / len(photos):.0%} are {usual[1]} x {usual[0]} or upright"
            rows.append(finding("odd-size", "low", photo.path, photo.label, reason, short))
    return rows


def _odd_exposures(photos: list[Photo]) -> list[Finding]:
    luma = np.array([p.luma for p in photos])
    means = luma @ np.arange(256)
    low, high = ((luma.cumsum(1) < share).sum(1) for share in (0.05, 0.95))
    dark, flat = outlier_scores(means), outlier_scores(np.log(high - low + 1.0))
    rows = []
    for i, photo in enumerate(photos):
        black, white = luma[i, :5].sum(), luma[i, 251:].sum()
        for odd, severity, reason, value in (
                (black > CLIPPED_SHARE, "medium", f"{black:.0%} black", black),
                (white > CLIPPED_SHARE, "medium", f"{white:.0%} white", white),
                (abs(dark[i]) > OUTLIER, "low", f"mean luma {means[i]:.0f} of 255, modified z {dark[i]:.1f}", dark[i]),
                (flat[i] < -OUTLIER, "low", f"90% within {high[i] - low[i]} grey levels, modified z {flat[i]:.1f}",
                 flat[i])):
            if odd:
                rows.append(finding("odd-exposure", severity, photo.path, photo.label, reason, float(value)))
    return sorted(rows, key=lambda r: (-abs(r.value), r.path))


def _odd_files(photos: list[Photo]) -> list[Finding]:
    usual = Counter(p.format for p in photos).most_common(1)[0][0]
    return [finding("odd-file", "low", p.path, p.label, reason)
            for p in photos for odd, reason in (
                (p.format != usual, f"a {p.format.upper()} among {usual.upper()}s"),
                (p.alpha, "has transparency, which is dropped"),
                (p.grey, "has no colour"),
                (p.quarter_turn, "EXIF turns it by 90 degrees: tools that ignore EXIF see it lying")) if odd]

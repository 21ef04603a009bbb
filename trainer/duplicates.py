"""Pictures of one thing: the perceptual hash proposes pairs, the fine detail of both confirms them.

Round things on a white board give like hashes by chance (on TrashNet 32 of the 62 pairs within 8 bits, and each of the
164 that are turned).
"""

from __future__ import annotations

import cv2
import numpy as np
from tqdm import tqdm

from trainer.findings import SYMMETRIES, Finding, Photo, turned

SEARCH_BITS = 12  # of 64; two TrashNet pairs are 10 apart; from 14 on only strangers are confirmed
LIKENESS = 0.8  # on TrashNet everything above is one scene shot twice, everything below 0.78 is another item or pose
TURNED_LIKENESS = 0.85  # turned copies give 0.98 and more, brightened and compressed again; other bottles reach 0.83
DETAIL_SIGMA_PX, SHIFT_PX = 3.0, 6  # hand-held second shots are shifted by a tenth of the picture


def _likeness(first: Photo, second: Photo, symmetry: tuple[bool, int]) -> float:
    """Highest correlation of the fine detail over shifts of SHIFT_PX: 1 is one picture, lighting aside."""
    a, b = (d.astype(np.float32) for d in (first.detail, turned(second.detail, symmetry)))
    a, b = (d - cv2.GaussianBlur(d, (0, 0), DETAIL_SIGMA_PX) for d in (a, b))
    inner = np.s_[SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX]
    if min(a[inner].std(), b[inner].std()) < 0.5:  # blank: nothing to compare, and the quotient is noise
        return 0.0
    return max(float(cv2.matchTemplate(x, y[inner], cv2.TM_CCOEFF_NORMED).max()) for x, y in ((a, b), (b, a)))


def duplicates(photos: list[Photo], group_bits: int) -> list[Finding]:
    """Pairs of one thing; pairs that prepare grouped, within group_bits, are listed whether confirmed or not."""
    hashes = np.array([p.hashes for p in photos], np.uint64).reshape(-1, len(SYMMETRIES))
    best: dict[tuple[int, int, bool], tuple[float, int, int]] = {}
    for i in tqdm(range(len(photos)), desc="compare", unit="picture", leave=False):
        bits = np.bitwise_count(hashes[i, 0] ^ hashes)
        for j, s in np.argwhere(bits <= SEARCH_BITS).tolist():
            if i == j or (s == 0 and j < i):
                continue
            key = (min(i, j), max(i, j), s > 0)
            inverse = -s % 4 if j < i and s < 4 else s  # of a turn; a mirroring undoes itself
            found = (_likeness(photos[i], photos[j], SYMMETRIES[s]), -int(bits[j, s]), inverse)
            best[key] = max(best.get(key, found), found)
    rows = []
    for (i, j, is_turned), (likeness, bits, s) in best.items():
        kind = _pair_kind(photos[i], photos[j], is_turned, likeness)
        plain = best.get((i, j, False), (0.0,))[0] >= LIKENESS
        if (is_turned and (plain or not kind)) or (not kind and -bits > group_bits):
            continue
        rows.append(_pair(kind or "look-alike", photos[i], photos[j], -bits, likeness, SYMMETRIES[s]))
    return sorted(rows, key=lambda r: (r.value, r.path, r.other_path))


def _pair_kind(first: Photo, second: Photo, is_turned: bool, likeness: float) -> str:
    if is_turned:
        return "turned-duplicate" if likeness >= TURNED_LIKENESS else ""
    two_labels = "-two-labels" if first.label != second.label else ""
    if first.sha256 == second.sha256 and two_labels:
        return "same-file" + two_labels
    return "near-duplicate" + two_labels if likeness >= LIKENESS or first.sha256 == second.sha256 else ""


def _pair(kind: str, first: Photo, second: Photo, bits: int, likeness: float, symmetry: tuple) -> Finding:
    mirrored, turns = symmetry
    how = ["mirrored"] * mirrored + [f"turned by {90 * turns} degrees counter-clockwise"] * bool(turns)
    says = [f"labelled {first.label} and {second.label}"] * (first.label != second.label)
    says += [f"the other {' and '.join(how)}"] * bool(how)
    says += ["the same bytes"] if first.sha256 == second.sha256 else [f"{bits} of 64 bits", f"detail {likeness:.2f}"]
    severity, where = sides(first, second)
    if kind == "look-alike":
        severity = "low"
    elif first.label != second.label:
        severity = "high"
    return Finding(kind, severity, first.path, second.path, first.label, "", bits, "; ".join(says + where))


def sides(first: Photo, second: Photo) -> tuple[str, list[str]]:
    """How bad it is that two pictures of one thing are where they are, and why."""
    if first.split != second.split:
        return "high", [f"on both sides of the split ({first.split} and {second.split})"]
    if first.group != second.group:
        return "medium", ["in two groups: folds may part them"]
    return "low", []

"""What looks wrong in a prepared data set: duplicates, doubtful labels, odd pictures. Nothing is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.decision import softmax
from edge.errors import PictureError
from trainer.duplicates import duplicates, sides
from trainer.errors import TrainerError
from trainer.findings import KINDS, SEVERITIES, Finding, Findings, Photo, finding, look
from trainer.oddities import oddities
from trainer.oof import OutOfFold
from trainer.prepare import read_split

SAME_ITEM_RATIO = 0.6  # of distances, to the nearest over to the second nearest
SAME_ITEM_DIMENSIONS = 64


def audit(data: Path, oof: OutOfFold | None = None) -> Findings:
    """Look once at every picture of the prepared data set in data; oof adds likely mislabels and same items.

    An unreadable picture is a finding. Raises TrainerError when data is not prepared or oof is of another split.
    """
    split = read_split(data)
    if oof and oof.split_hash != split["hash"]:
        raise TrainerError(f"out-of-fold answers are of split {oof.split_hash[:16]}, {data} is {split['hash'][:16]}; "
                           "run `python3 -m trainer crossvalidate` again, or audit without them: --oof none")
    rows = [Finding("left-out", "low", f["path"], label=f["path"].split("/")[0], reason=f["reason"])
            for f in split["left_out"]]
    photos = []
    for entry in tqdm(split["files"], desc="audit", unit="picture", leave=False):
        try:
            photos.append(look(data, entry))
        except PictureError as error:
            rows.append(finding("damaged", "high", f"{entry['split']}/{entry['path']}", entry["label"], str(error)))
            continue
        if photos[-1].sha256 != entry["sha256"]:
            rows.append(finding("damaged", "high", photos[-1].path, entry["label"], "not the file that prepare saw"))
    pairs = duplicates(photos, split["near_duplicate_bits"])
    rows += pairs + oddities(photos)
    if oof:
        rows += _mislabels(photos, oof) + _same_items(photos, oof, {(p.path, p.other_path) for p in pairs})
    order = list(KINDS)
    rows.sort(key=lambda r: (order.index(r.kind), SEVERITIES.index(r.severity)))  # stable: the finders rank their own
    return Findings(rows, len(split["files"]), oof is not None, {p.path: p.thumbnail for p in photos})


def _rows_of(photos: list[Photo], oof: OutOfFold) -> tuple[list[Photo], np.ndarray]:
    """The photos that oof knows, and their rows in it."""
    row = {path: i for i, path in enumerate(oof.paths)}
    known = [(p, row[name]) for p in photos if (name := p.path.split("/", 1)[1]) in row]
    return [p for p, _ in known], np.array([i for _, i in known], np.int64)


def _mislabels(photos: list[Photo], oof: OutOfFold) -> list[Finding]:
    photos, known = _rows_of(photos, oof)
    rows = []
    for i, suggested, margin, own, threshold in likely_mislabels(oof.labels[known], oof.logits[known]):
        label, other = oof.classes[oof.labels[known[i]]], oof.classes[suggested]
        reason = f"{label} {own:.2f}, usually {threshold:.2f}; {other} {own + margin:.2f} (fold {oof.folds[known[i]]})"
        rows.append(Finding("mislabel", "high" if margin >= 0.5 else "medium", photos[i].path, "", label, other, margin,
                            reason))
    return rows


def likely_mislabels(labels: np.ndarray, logits: np.ndarray) -> list[tuple[int, int, float, float, float]]:
    """Rows whose out-of-fold answer contradicts the label, by confident learning (Northcutt et al. 2021).

    labels (N,) int, logits (N, C). A class's threshold is the mean probability of that class among the pictures that
    carry its label. A row is doubtful when its own label is below that label's threshold and another class is above
    its own one. Returns (row, suggested class, margin, probability of the label, threshold of the label), largest
    margin first; margin is the suggested class's probability less the label's.
    """
    p = softmax(logits)
    classes = np.arange(p.shape[1])
    thresholds = np.array([p[labels == c, c].mean() if (labels == c).any() else np.inf for c in classes])
    own = p[np.arange(len(p)), labels]
    confident = np.where((p >= thresholds) & (classes != labels[:, None]), p, -1.0)
    suggested = confident.argmax(1)
    margin = confident.max(1) - own
    doubtful = np.flatnonzero((confident.max(1) > own) & (own < thresholds[labels]))
    return [(int(i), int(suggested[i]), float(margin[i]), float(own[i]), float(thresholds[labels[i]]))
            for i in sorted(doubtful, key=lambda i: (-margin[i], i))]


def _same_items(photos: list[Photo], oof: OutOfFold, known_pairs: set[tuple[str, str]]) -> list[Finding]:
    photos, known = _rows_of(photos, oof)
    rows = []
    for fold in np.unique(oof.folds[known]):  # each fold's model has its own feature space
        members = np.flatnonzero(oof.folds[known] == fold)
        for i, j, ratio in nearest_pairs(oof.features[known[members]]):
            first, second = photos[members[i]], photos[members[j]]
            if (first.path, second.path) in known_pairs:
                continue
            severity, where = sides(first, second)
            if first.label != second.label:
                severity, where = "high", [f"labelled {first.label} and {second.label}", *where]
            reason = "; ".join([f"{ratio:.2f} of the distance to the next (fold {fold})", *where])
            rows.append(Finding("same-item", severity, first.path, second.path, first.label, "", ratio, reason))
    return sorted(rows, key=lambda r: (r.value, r.path))


def nearest_pairs(features: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of rows of features (N, D) that are far nearer to each other than either is to anything else.

    Both must be the other's nearest, at less than SAME_ITEM_RATIO of the distance to the second nearest (Lowe 2004),
    among whitened principal directions, because a classifier's own directions hold classes together, not items (Jegou
    and Chum 2012). Returns (i, j, ratio) with i < j. A third picture of the item hides all three; fewer than 48 rows
    give none.
    """
    dimensions = min(SAME_ITEM_DIMENSIONS, len(features) // 4)
    if dimensions < 12:
        return []
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    white = np.linalg.svd(centred, full_matrices=False)[0][:, :dimensions]
    white /= np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)
    nearest, distances = np.empty(len(white), np.int64), np.empty((len(white), 2))
    for i, row in enumerate(white):
        distance = np.sqrt(np.maximum(2 - 2 * (white @ row), 0))
        distance[i] = np.inf
        nearest[i] = distance.argmin()
        distances[i] = np.partition(distance, 1)[:2]
    pairs = []
    for i, j in enumerate(nearest.tolist()):
        ratio = distances[i, 0] / max(min(distances[i, 1], distances[j, 1]), 1e-12)
        if i < j and ratio < SAME_ITEM_RATIO:  # below 1, i is j's nearest, too
            pairs.append((i, j, float(ratio)))
    return pairs

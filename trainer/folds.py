"""Folds for cross-validation: near-duplicates stay in one fold, and each class has its share in each."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np


def assign_folds(files: list[dict], count: int, seed: int = 0, grouped: bool = True) -> np.ndarray:
    """The fold, 0 to count - 1, of each of a split's files; (N,) int64.

    Whole groups of near-duplicates go where their class has fewest pictures so far, large groups first. Ungrouped
    deals single pictures instead, which puts near-duplicates on both sides: only to show what that flatters.
    """
    groups: dict[tuple, list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        groups[("group", file["group"]) if grouped else ("file", index)].append(index)

    def order(members: list[int]) -> tuple:
        shuffled = hashlib.sha256(f"{seed}:{min(files[i]['sha256'] for i in members)}".encode()).digest()
        return -len(members), shuffled

    folds = np.zeros(len(files), np.int64)
    filled: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(count, int))
    for members in sorted(groups.values(), key=order):
        label = files[members[0]]["label"]
        # The least filled of this class; of equal ones the least filled of all, so that the folds end up as large
        total = sum(filled.values(), np.zeros(count, int))
        chosen = min(range(count), key=lambda f: (filled[label][f], total[f], f))
        folds[members] = chosen
        for index in members:
            filled[files[index]["label"]][chosen] += 1
    return folds

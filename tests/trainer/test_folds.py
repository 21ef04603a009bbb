"""Folds: whole groups, even classes, the same for a seed."""

from collections import Counter

import numpy as np
import pytest

from trainer.folds import assign_folds


def some_files(per_class=(40, 25, 11), duplicates=6):
    files, group = [], 0
    for label, count in zip("abc", per_class, strict=True):
        for number in range(count):
            group += number >= duplicates or number % 3 == 0  # the first six of each class make two groups of three
            files.append({"label": label, "group": group, "sha256": f"{label}{number:063d}"})
    return files


@pytest.mark.parametrize("count", [2, 5])
def test_groups_stay_whole_and_classes_even(count):
    files = some_files()
    folds = assign_folds(files, count)
    assert set(folds) == set(range(count))
    for group in {f["group"] for f in files}:
        assert len({fold for f, fold in zip(files, folds, strict=True) if f["group"] == group}) == 1
    for label in "abc":
        sizes = Counter(fold for f, fold in zip(files, folds, strict=True) if f["label"] == label)
        assert max(sizes.values()) - min(sizes.values()) <= 3
    assert np.ptp(np.bincount(folds)) <= 3


def test_ungrouped_folds_part_near_duplicates():
    files = some_files()
    folds = assign_folds(files, 5, grouped=False)
    assert any(len({fold for f, fold in zip(files, folds, strict=True) if f["group"] == g}) > 1
               for g in {f["group"] for f in files})


def test_the_seed_alone_decides():
    files = some_files()
    assert np.array_equal(assign_folds(files, 5), assign_folds(files, 5))
    assert not np.array_equal(assign_folds(files, 5), assign_folds(files, 5, seed=1))
    turned = assign_folds(files[::-1], 5)[::-1]
    assert np.array_equal(turned, assign_folds(files, 5))

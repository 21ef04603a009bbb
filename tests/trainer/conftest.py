"""Drawn data sets for the trainer's tests, and the real one where it is at hand."""

import os
from pathlib import Path

import cv2
import pytest

from edge.frames.drawn import MATERIALS, draw_named

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SCRAPSORT_SHARED_DATA", ROOT.parent / "shared" / "data"))


def write_tree(root, per_class, classes=MATERIALS, size=(96, 128), seed=0):
    """A folder per class with drawn JPEGs."""
    for label in classes:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            cv2.imwrite(str(root / label / f"{label}{number}.jpg"), draw_named(label, seed + number, *size))
    return root


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory):
    """A prepared data set of drawn pictures: (folder, its split)."""
    from trainer.prepare import prepare
    source = write_tree(tmp_path_factory.mktemp("source"), 10)
    out = tmp_path_factory.mktemp("materials")
    return out, prepare(source, out)


@pytest.fixture(scope="session")
def shared_data():
    """The real photographs and weights beside the checkout."""
    if not (SHARED / "trashnet-dataset-resized.zip").exists():
        pytest.skip(f"no {SHARED}/trashnet-dataset-resized.zip: the photographs are not part of the repository")
    return SHARED

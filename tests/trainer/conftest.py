"""Drawn data sets for the trainer's tests, and the real one where it is at hand."""

import os
from pathlib import Path

import pytest
from drawn_tree import ROOT, write_tree

SHARED = Path(os.environ.get("SCRAPSORT_SHARED_DATA", ROOT.parent / "shared" / "data"))


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

"""The bundle that ships: what its manifest must say, and how large it may be."""

import os

import pytest

from edge import bundles
from edge.bundles import Bundle

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "models",
                    "trashnet-resnet18")
FLOOR = 0.93  # accuracy on the test photographs that no released bundle may fall below


@pytest.fixture(scope="module")
def bundle():
    return Bundle(PATH)


def test_it_is_the_one_that_is_found(bundle, tmp_path):
    assert os.path.samefile(bundles.find(None, "", str(tmp_path)), PATH)
    bundle.verify()


def test_it_takes_at_most_40_mb(bundle):
    assert sum(os.path.getsize(os.path.join(PATH, name)) for name in os.listdir(PATH)) <= 40e6
    assert sorted(bundle.files) == ["fp16", "int8_cpu"]
    assert sorted(os.listdir(PATH)) == sorted([f.path for f in bundle.files.values()] + ["manifest.json",
                                                                                         "golden.npz"])


def test_its_figures_are_of_the_test_split_and_above_the_floor(bundle):
    metrics = bundle.manifest["metrics"]
    assert metrics["split"] == "test"
    for role in bundle.files:
        scores = metrics["roles"][role]
        assert scores["pictures"] > 200 and scores["accuracy"] >= FLOOR, role
        assert abs(scores["accuracy"] - sum(scores["confusion"][i][i] for i in range(6)) / scores["pictures"]) < 1e-9


def test_it_says_where_it_comes_from(bundle):
    provenance = bundle.manifest["provenance"]
    for field in ("data_set", "split_hash", "git_commit", "initialisation", "initialisation_sha256",
                  "hyper_parameters", "validation", "torch"):
        assert provenance[field], field
    assert "TrashNet" in bundle.manifest["license"]
    assert bundle.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")

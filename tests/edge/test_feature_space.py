"""The feature space of a bundle, by which strangers may be told: it fits, or it is refused."""

import hashlib
import io
import os
import tarfile

import numpy as np
import pytest
from helpers import one_line
from manifests import put

from edge.bundles import Bundle
from edge.errors import BundleError

SPACE = {"means": np.zeros((4, 3), np.float32), "projection": np.zeros((512, 3), np.float32)}


def bundle_with(make_bundle, arrays):
    """A bundle with a feature space of these arrays, in a folder and as .tar."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    entry = {"path": "space.npz", "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    path = make_bundle(edit=put("stranger", {"score": "feature_distance", "threshold": 1, "file": entry}))
    with open(os.path.join(path, "space.npz"), "wb") as file:
        file.write(buffer.getvalue())
    with tarfile.open(path + ".tar", "w") as archive:
        archive.add(path, "tiny")
    return path, path + ".tar"


def test_a_feature_space_is_read_from_folder_and_tar(make_bundle):
    for path in bundle_with(make_bundle, dict(SPACE, more=np.arange(3))):
        space = Bundle(path).feature_space()
        assert all(np.array_equal(getattr(space, name), SPACE[name]) for name in SPACE)
        Bundle(path).verify()
    with pytest.raises(BundleError, match="no feature space"):
        Bundle(make_bundle(edit=put("stranger", {"score": "energy", "threshold": 1}))).feature_space()


@pytest.mark.parametrize("word, change, names", [
    ("no means", {"means": None}, ["has no array means"]),
    ("no projection", {"projection": None}, ["has no array projection"]),
    ("means of another number of classes", {"means": np.zeros((3, 3), np.float32)}, ["(3, 3)", "(4, d)"]),
    ("another number of features", {"projection": np.zeros((64, 3), np.float32)}, ["(64, 3)", "(512, d)"]),
    ("they do not fit each other", {"projection": np.zeros((512, 4), np.float32)}, ["(4, 3)", "(512, 4)"]),
    ("a flat projection", {"projection": np.zeros(512, np.float32)}, ["(512,)"]),
    ("nothing left", {"projection": np.zeros((512, 0), np.float32), "means": np.zeros((4, 0), np.float32)},
     ["(512, 0)"]),
    ("float64 would not fit the buffers", {"means": np.zeros((4, 3))}, ["float32"]),
    ("not a number", {"means": np.full((4, 3), np.nan, np.float32)}, ["finite"]),
    ("an object", {"means": np.array([None, 1])}, ["space.npz"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_feature_space_that_does_not_fit_is_refused(make_bundle, word, change, names):
    arrays = {name: array for name, array in dict(SPACE, **change).items() if array is not None}
    for use in (Bundle.feature_space, Bundle.verify):
        with pytest.raises(BundleError) as caught:
            use(Bundle(bundle_with(make_bundle, arrays)[0]))
        for name in names + ["space.npz"]:
            assert name in one_line(caught)

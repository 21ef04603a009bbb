"""A bundle as .tar: the same bundle, or refused in one line."""

import os
import tarfile

import numpy as np
import pytest
from helpers import one_line

from edge.bundles import Bundle
from edge.errors import BundleError


def packed(path, tar, prefix):
    """prefix None: the folder itself; else each file under that prefix."""
    with tarfile.open(tar, "w") as archive:
        if prefix is None:
            archive.add(path, arcname=os.path.basename(path))
        else:
            for name in sorted(os.listdir(path)):
                archive.add(os.path.join(path, name), arcname=prefix + name)
    return tar


@pytest.mark.parametrize("prefix", [None, "", "./"], ids=["of the folder", "of its contents", "of ./"])
def test_a_tar_is_the_same_bundle(make_bundle, tmp_path, prefix):
    folder = Bundle(make_bundle())
    tar = Bundle(packed(folder.path, str(tmp_path / "b.tar"), prefix))
    tar.verify()
    assert tar.manifest == folder.manifest
    assert tar.read("fp16") == folder.read("fp16") and tar.read("int8_cpu") == folder.read("int8_cpu")
    assert np.array_equal(tar.golden().images_rgb, folder.golden().images_rgb)


def test_a_tar_cut_at_any_place(make_bundle, tmp_path):
    tar = packed(make_bundle(), str(tmp_path / "b.tar"), "")
    with open(tar, "rb") as file:
        data = file.read()
    used = len(data.rstrip(b"\0"))
    for length in list(range(0, used, 1021)) + [1, 511, 512, 513, used - 1]:
        with open(tar, "wb") as file:
            file.write(data[:length])
        with pytest.raises(BundleError) as caught:
            Bundle(tar).verify()
        one_line(caught)


@pytest.mark.parametrize("word, content", [
    ("empty", b""), ("text", b"hello" * 300), ("gzip", b"\x1f\x8b\x08" + b"\0" * 600), ("zeros", b"\0" * 10240),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_file_that_is_no_tar(tmp_path, word, content):
    path = tmp_path / "b.tar"
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        Bundle(str(path))
    assert str(path) in one_line(caught)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE], ids=["a link", "a folder"])
def test_a_tar_in_which_something_else_stands_for_a_file(make_bundle, tmp_path, kind):
    path = make_bundle()
    tar = str(tmp_path / "b.tar")
    with tarfile.open(tar, "w") as archive:
        archive.add(os.path.join(path, "manifest.json"), arcname="manifest.json")
        other = tarfile.TarInfo("model-fp16.onnx")
        other.type, other.linkname = kind, os.path.join(path, "model-fp16.onnx")
        archive.addfile(other)
    with pytest.raises(BundleError, match="no model-fp16.onnx in it"):
        Bundle(tar).read("fp16")

"""The same pictures get the same answers on every Python, ONNX Runtime and OpenCV that scripts/test has set up."""

import glob
import json
import os
import subprocess
import sys

import cv2
import pytest
from helpers import REPOSITORY, SHARED

from edge.frames.drawn import MATERIALS, draw_named

OTHERS = sorted(path for path in glob.glob(os.path.join(REPOSITORY, ".venv", "test-*", "bin", "python"))
                if not os.path.samefile(os.path.dirname(os.path.dirname(path)), sys.prefix))
ALLOWED = 1e-3  # of a probability: OpenCV's JPEG decoders may differ in the last bit of a pixel


def answers(python, precision, images, state):
    command = [python, "-m", "edge", "classify", "--format", "json", "--precision", precision, "--state", state]
    output = subprocess.check_output(command + images, cwd=REPOSITORY)
    return [json.loads(line) for line in output.decode("utf-8").splitlines()]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Drawn pictures, and photographs of the grey floor where they are at hand."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number in range(12):
        paths.append(str(folder / "{}.jpg".format(number)))
        cv2.imwrite(paths[-1], draw_named(MATERIALS[number % 6], number))
    photographs = sorted(glob.glob(os.path.join(SHARED, "ood-cc0", "*", "*.jpg")))
    if not photographs:
        print("no photographs in {}: compared on drawn pictures alone".format(SHARED))
    return paths + photographs[::4]


@pytest.fixture(scope="module")
def here(images, tmp_path_factory):
    """The answers of this Python."""
    return answers(sys.executable, "fp16", images, str(tmp_path_factory.mktemp("state")))


@pytest.mark.long("newest")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="run once, on the newest Python")
@pytest.mark.skipif(not OTHERS, reason="no other environment under .venv/; scripts/test makes them")
@pytest.mark.parametrize("other", OTHERS, ids=[path.split(os.sep)[-3] for path in OTHERS])
def test_fp16_answers_agree_with_those_of_another_environment(other, images, here, tmp_path):
    there = answers(other, "fp16", images, str(tmp_path))
    worst = max(abs(a["probabilities"][name] - b["probabilities"][name])
                for a, b in zip(here, there) for name in a["probabilities"])
    print("largest difference of a probability over {} pictures: {:.6f}".format(len(images), worst))
    assert [a["image_path"] for a in here] == [b["image_path"] for b in there] == images
    assert worst <= ALLOWED

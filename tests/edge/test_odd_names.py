"""File names that a locale or UTF-8 does not have: items like any other, from a real `scrapsort` to its journal."""

import json
import os
import subprocess
import sys

import cv2
import pytest

from edge.frames.drawn import draw_named

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture
def belt(tmp_path):
    folder = os.path.join(os.fsencode(str(tmp_path)), b"belt")
    os.mkdir(folder)
    data = cv2.imencode(".jpg", draw_named("glass", 1, 64, 64))[1].tobytes()
    for name in (b"1.jpg", "2 größe.jpg".encode(), b"3 gr\xf6\xdfe.jpg"):
        try:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        except OSError as error:
            pytest.skip("this file system wants UTF-8: {}".format(error))
    return os.fsdecode(folder)


def scrapsort(*arguments, **environ):
    done = subprocess.run(  # noqa: UP022  # capture_output came with Python 3.7
        [sys.executable, "-m", "edge"] + list(arguments), cwd=REPOSITORY, timeout=100, check=False,
        env=dict(os.environ, **environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8")


@pytest.mark.parametrize("environ", [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C"}], ids=lambda value: value["LC_ALL"])
def test_odd_names_are_sorted_journalled_and_exported(belt, tmp_path, environ):
    """A service on JetPack 4 has no locale, so its Python 3.6 takes every name for ASCII."""
    state = str(tmp_path / "state")
    lines = [json.loads(line) for line in scrapsort(
        "run", "--source", belt, "--state", state, "--format", "json", **environ).splitlines()]
    names = ["1.jpg", "2 größe.jpg", "3 gr\\xf6\\xdfe.jpg"]
    assert [os.path.basename(line["image_path"]) for line in lines[:-1]] == names
    assert lines[-1]["items"] == 3 and lines[-1]["errors"] == 0
    rows = json.loads(scrapsort("export", "results", "--format", "json", "-o", "-", "--state", state, **environ))
    assert [os.path.basename(row["image_path"]) for row in rows] == names


def test_a_watched_folder_with_as_many_pictures_as_asked_for_ends(belt, tmp_path):
    """Nothing more will come, and the thread that waits for it must not hold the run."""
    out = scrapsort("run", "--source", belt, "--watch", "--limit", "3", "--quiet", "--format", "json",
                    "--state", str(tmp_path / "state"))
    assert json.loads(out)["ended_by"] == "limit reached" and json.loads(out)["items"] == 3

"""Real strangers: whatever pictures and videos lie below some folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from edge.errors import PictureError
from edge.frames import pictures
from trainer.errors import TrainerError

VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")
FRAMES = 40  # of one video, evenly spread: neighbours show the same
MIN_SIDE_PX = 64  # icons are no photographs


def real_strangers(given: tuple[Path, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Pairs of the path as given and a BGR picture, for every picture and video frame; folders are searched whole.

    A picture that cannot be read is named on stderr and left out, one smaller than 64 pixels is left out. Raises
    TrainerError for a path without any.
    """
    for path in given:
        found = 0
        for file in _files(path):
            for image in _images(file):
                if min(image.shape[:2]) >= MIN_SIDE_PX:
                    found += 1
                    yield str(path), image
        if not found:
            raise TrainerError(f"--real {path}: no picture or video in it")


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for folder, below, names in os.walk(path):
        below.sort()
        yield from (Path(folder) / name for name in sorted(names))


def _images(file: Path) -> Iterator[np.ndarray]:
    if file.suffix.lower() in VIDEOS:
        yield from _frames(file)
    elif pictures.format_of_name(str(file)):
        try:
            yield pictures.read(str(file))
        except PictureError as error:
            print(f"left out: {file}: {error}", file=sys.stderr)


def _frames(file: Path) -> Iterator[np.ndarray]:
    """Evenly spread frames of a video; read in order, for seeking is not exact."""
    video = cv2.VideoCapture(str(file))
    try:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted = set(np.linspace(0, max(count - 1, 0), min(FRAMES, max(count, 1))).round().astype(int).tolist())
        index = 0
        while index <= max(wanted):
            fine, image = video.read()
            if not fine:
                break
            if index in wanted:
                yield image
            index += 1
    finally:
        video.release()

"""Videos: every frame or the newest, at their own times, in the size and the turn that is asked for."""

import os
import time

import numpy as np
import pytest
from cameras import SIZE, write_video
from helpers import LIMIT_S, is_alive
from stream_server import number_in, numbered

from edge.errors import SourceError
from edge.frames import grab
from edge.settings import Source


def write_text(path, text):
    with open(path, "w") as file:
        file.write(text)


def test_a_video_as_fast_as_it_is_taken_loses_nothing_however_slow_the_loop(video, opened):
    source = opened(video, fast=True)
    started, numbers, times = time.monotonic(), [], []
    for frame in source:
        numbers.append(number_in(frame.image_bgr))
        times.append(frame.captured_mono_s)
        if len(numbers) in (10, 30):
            time.sleep(0.3)
    assert numbers == list(range(60)) and time.monotonic() - started < LIMIT_S
    assert np.diff(times) == pytest.approx([1 / 30.0] * 59, abs=0.002)  # as if it had kept its rate
    assert source.counters() == {"taken": 60, "dropped": 0, "bad": 0, "frozen": 0, "reopened": 0, "fps": 30.0}
    assert not is_alive(source.reader_pid or 0) and source.moving and not hasattr(source, "geometry")


def test_a_video_in_real_time_drops_what_the_loop_is_too_slow_for(video, opened):
    source = opened(video)
    started, numbers, ages = time.monotonic(), [], []
    for frame in source:
        numbers.append(number_in(frame.image_bgr))
        ages.append(time.monotonic() - frame.captured_mono_s)
        time.sleep(0.25 if len(numbers) < 5 else 0.0)
    assert 1.8 < time.monotonic() - started < LIMIT_S
    assert numbers == sorted(set(numbers)) and numbers[-1] == 59 and len(numbers) < 45
    assert source.counts["taken"] == len(numbers) and source.counts["dropped"] == 60 - len(numbers)
    assert np.median(ages) < 0.3 and min(ages) > -0.01  # the newest, though the loop had been slow


def test_a_still_video_is_never_called_frozen(tmp_path, opened):
    path = write_video(tmp_path / "still.avi", [numbered(3, 480, 360)] * 60)
    assert len(list(opened(path, SIZE._replace(stall_s=0.5), fast=True))) == 60


@pytest.mark.parametrize("word, positions, expected", [
    ("a variable rate", [0.0, 0.05, 0.2, 0.21], [0.0, 0.05, 0.2, 0.21]),
    ("stamps that begin late", [5.0, 5.04, 5.08], [0.0, 0.04, 0.08]),
    ("none", [None, None, None], [0.0, 0.04, 0.08]),
    ("back and far ahead", [0.0, 0.04, 0.02, 99.0], [0.0, 0.04, 0.08, 0.12]),
])
def test_a_videos_own_times_where_they_grow(word, positions, expected):
    times = grab.Times(25.0)
    due = [times.due_s(position) for position in positions]
    assert [at - due[0] for at in due] == pytest.approx(expected)


@pytest.mark.parametrize("rotate_deg, corner", [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_4k_picture_is_reduced_then_turned_clockwise_and_that_is_said(tmp_path, opened, log_lines, rotate_deg,
                                                                        corner):
    picture = np.full((2160, 3840, 3), 60, np.uint8)
    picture[:400, :400] = 250  # top left
    path = write_video(tmp_path / "4k.avi", [picture] * 3)
    source = opened(path, Source(width=1280, height=720, rotate_deg=rotate_deg), fast=True)
    shapes = set()
    for frame in source:
        shapes.add(frame.image_bgr.shape)
        ys, xs = np.where(frame.image_bgr[..., 0] > 200)
        assert (ys.mean() < frame.image_bgr.shape[0] / 2) == (corner[0] == 0)
        assert (xs.mean() < frame.image_bgr.shape[1] / 2) == (corner[1] == 0)
    assert shapes == {(720, 1280, 3) if rotate_deg in (0, 180) else (1280, 720, 3)}
    said = "3840 x 2160 is processed at {}; set [source] width and height".format(
        "1280 x 720" if rotate_deg in (0, 180) else "720 x 1280")
    assert "camera: " + said in log_lines() and source.state.as_dict()["camera_size"] == said


@pytest.mark.parametrize("word, make, parts", [
    ("missing", lambda path: None, ["no such video"]),
    ("empty", lambda path: write_text(path, ""), ["cannot be opened", "is it a video"]),
    ("no video", lambda path: write_text(path, "x" * 5000), ["is it a video, and whole?"]),
])
def test_a_video_that_is_none(tmp_path, opened, word, make, parts):
    path = str(tmp_path / "clip.mp4")
    make(path)
    with pytest.raises(SourceError) as caught:
        opened(path)
    assert all(part in str(caught.value) for part in parts + [path]) and "\n" not in str(caught.value)


def test_a_truncated_video_ends_where_its_frames_do(video, opened):
    with open(video, "r+b") as file:
        file.truncate(os.path.getsize(video) // 2)
    numbers = [number_in(frame.image_bgr) for frame in opened(video, fast=True)]
    assert 10 < len(numbers) < 50 and numbers == list(range(len(numbers)))

"""The simulated belt is the judge of the gate, so it is judged first: its truth must be what its frames show."""

import json
import os
import threading

import cv2
import numpy as np
import pytest

from edge.clock import Clock
from edge.errors import SourceError, UsageError
from edge.frames import open_source
from edge.frames.belt_layout import Travel
from edge.frames.simulated_belt import Options, SimulatedBelt, SimulatedCamera, parse

PLAIN = Options(items=3, speed=0.5, fps=50.0, width=640, height=360, item=0.1, gap=0.3, drift=0.0, shake=0.0,
                exposure=0.0, noise=0.0, pace="fast", turn=0.0)


@pytest.fixture
def tiles(tmp_path):
    """A folder of white tiles, in sub-folders that are classes."""
    for name in ("glass", "paper"):
        os.makedirs(str(tmp_path / "tiles" / name))
        cv2.imwrite(str(tmp_path / "tiles" / name / "1.png"), np.full((90, 120, 3), 255, np.uint8))
    return str(tmp_path / "tiles")


def frames_of(camera, most=10 ** 6):
    stop = threading.Event()
    for _ in range(most):
        taken = camera.read(stop)
        if taken is None:
            return
        yield taken


@pytest.mark.long
@pytest.mark.parametrize("direction, line, speed", [("right", 0.5, 0.5), ("left", 0.3, 1.5), ("down", 0.7, 0.5),
                                                    ("up", 0.5, 0.2)])
def test_an_item_is_at_the_line_when_the_truth_says_so(tiles, direction, line, speed):
    truth = []
    options = PLAIN._replace(direction=direction, line=line, speed=speed, gap=1.0)
    camera = SimulatedCamera(tiles, options, on_item=truth.append)
    upright = direction in ("up", "down")
    length = 360 if upright else 640
    at = length * (1 - line if direction in ("left", "up") else line)
    seen = []
    for mono_s, image in frames_of(camera):
        white = np.argwhere((image > 200).all(axis=2))
        for item in truth:
            if len(white) and item.number == len(seen) and mono_s >= item.line_mono_s:
                places = white[:, 0 if upright else 1]
                speed_px = speed * camera.view.pixels_per_metre * (-1 if direction in ("left", "up") else 1)
                middle = (places.min() + places.max()) / 2 + (item.line_mono_s - mono_s) * speed_px
                seen.append((item.number, middle))
    assert [number for number, _ in seen] == [0, 1, 2]
    assert all(abs(middle - at) < 2 for _, middle in seen), (at, seen)


def test_every_item_of_a_folder_comes_with_its_class_and_none_is_shown_twice_before_all_were(tiles):
    truth = []
    for _ in frames_of(SimulatedCamera(tiles, PLAIN._replace(items=6), on_item=truth.append)):
        pass
    assert [item.number for item in truth] == list(range(6))
    for pair in (truth[:2], truth[2:4], truth[4:]):
        assert sorted(item.class_name for item in pair) == ["glass", "paper"]
    assert all(os.path.isfile(item.source) and item.class_name in item.source for item in truth)
    assert all(a.line_mono_s < b.line_mono_s for a, b in zip(truth, truth[1:]))


def test_a_seed_gives_the_same_frames_and_another_one_others():
    def some(seed):
        options = PLAIN._replace(seed=seed, noise=0.02, shake=1.0, drift=0.1, items=0, turn=90.0)
        return [image.copy() for _, image in frames_of(SimulatedCamera("", options), 220)]
    first, again, other = some(3), some(3), some(4)
    assert all((a == b).all() for a, b in zip(first, again))
    assert not any((a == b).all() for a, b in zip(first, other))
    assert np.std([image.mean() for image in first]) > 1  # the light drifts, items pass


def test_touching_items_overlap_in_time_and_say_so(tiles):
    truth = []
    for _ in frames_of(SimulatedCamera(tiles, PLAIN._replace(items=40, touching=0.4, seed=2), on_item=truth.append)):
        pass
    pairs = [(a, b) for a, b in zip(truth, truth[1:])
             if (b.line_mono_s - a.line_mono_s) * 0.5 < (a.length_m + b.length_m) / 2]
    assert len(pairs) >= 5 and all(a.touching and b.touching for a, b in pairs)
    assert {item.number for item in truth if item.touching} == {item.number for pair in pairs for item in pair}


def test_a_belt_that_stops_and_reverses_is_told_where_it_is():
    travel = Travel([(0.0, 0.5), (2.0, 0.0), (5.0, -0.25), (6.0, 1.0)])
    assert [travel.at(t) for t in (1.0, 2.0, 4.0, 6.0, 7.0)] == pytest.approx([0.5, 1.0, 1.0, 0.75, 1.75])
    assert travel.when(1.0) == pytest.approx(2.0) and travel.when(1.5) == pytest.approx(6.75)
    assert travel.speed_at(5.5) == -0.25 and Travel([(0.0, 0.0)]).when(1.0) == float("inf")
    with pytest.raises(ValueError):
        Travel([(1.0, 0.5)])


def test_at_a_cameras_own_pace_frames_that_nobody_took_are_dropped(clock):
    camera = SimulatedCamera("", PLAIN._replace(pace="real", items=0), clock)
    stop = threading.Event()
    start = clock.mono_s()
    times = []
    for pause_s in (0.0, 0.0, 0.11, 0.0, 0.0):
        clock.move(pause_s)
        times.append(camera.read(stop)[0] - start)
    assert times == pytest.approx([0.0, 0.02, 0.12, 0.14, 0.16]) and camera.dropped == 4  # those at 0.04 to 0.10
    assert clock.mono_s() - start == pytest.approx(0.16)  # it waited for each


def test_the_source_writes_its_truth_and_knows_its_geometry(tmp_path):
    path = str(tmp_path / "truth.jsonl")
    uri = "sim:?items=2&pace=fast&width=320&height=180&view=0.8&line=0.6&direction=left&ejectors=0,0.7&truth="
    source = open_source(uri + path, False, threading.Event(), lambda key: False, Clock())
    assert source.moving and source.geometry == {"line": 0.6, "direction": "left", "pixels_per_metre": 400.0}
    frames = list(source)
    with open(path) as file:
        truth = [json.loads(line) for line in file]
    assert [item["number"] for item in truth] == [0, 1] and set(truth[0]) == {
        "number", "class_name", "source", "line_mono_s", "touching", "length_m", "ejectors_mono_s"}
    for item in truth:
        assert item["ejectors_mono_s"] == pytest.approx([item["line_mono_s"], item["line_mono_s"] + 1.4])
    assert frames[0].image_bgr.shape == (180, 320, 3) and frames[0].source == "sim:#1" and len(frames) > 100
    assert frames[1].captured_mono_s - frames[0].captured_mono_s == pytest.approx(1 / 30.0)
    assert frames[9].captured_wall_s - frames[0].captured_wall_s == pytest.approx(9 / 30.0, abs=0.05)  # two clocks


@pytest.mark.parametrize("word, uri, kind, parts", [
    ("negative speed", "sim:?speed=-1", UsageError, ["speed=-1", "from 0.01 to 10"]),
    ("not a number", "sim:?fps=fast", UsageError, ["fps=fast", "from 1.0 to 240.0"]),
    ("an ejector before the line", "sim:?ejectors=0.5,-1", UsageError, ["ejectors=0.5,-1", "from 0 to 100"]),
    ("ejectors that are no numbers", "sim:?ejectors=a", UsageError, ["ejectors=a", "metres"]),
    ("no such option", "sim:?sped=1", UsageError, ["sped", "did you mean speed"]),
    ("no such direction", "sim:?direction=rigth", UsageError, ["direction=rigth", "did you mean right"]),
    ("nan", "sim:?noise=nan", UsageError, ["noise=nan"]),
    ("no folder", "sim:/nowhere/at/all", SourceError, ["/nowhere/at/all", "FOLDER/CLASS"]),
    ("truth in no folder", "sim:?truth=/nowhere/t", SourceError, ["truth=/nowhere/t", "No such file"]),
])
def test_what_is_refused(word, uri, kind, parts):
    with pytest.raises(kind) as caught:
        SimulatedBelt(uri, threading.Event())
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


def test_pictures_that_cannot_be_read_are_passed_over(tiles, tmp_path):
    with open(str(tmp_path / "tiles" / "glass" / "bad.jpg"), "wb") as file:
        file.write(b"\xff\xd8 no picture")
    truth = []
    for _ in frames_of(SimulatedCamera(tiles, PLAIN._replace(items=4), on_item=truth.append)):
        pass
    assert len(truth) == 4 and not any("bad" in item.source for item in truth)
    os.remove(os.path.join(tiles, "glass", "1.png"))
    os.remove(os.path.join(tiles, "paper", "1.png"))
    with pytest.raises(SourceError, match="none of its pictures can be read"):
        list(frames_of(SimulatedCamera(tiles, PLAIN)))


def test_a_cut_out_shows_the_belt_through(tmp_path):
    os.makedirs(str(tmp_path / "c" / "metal"))
    ring = np.zeros((100, 100, 4), np.uint8)
    cv2.circle(ring, (50, 50), 40, (255, 255, 255, 255), 8)
    cv2.imwrite(str(tmp_path / "c" / "metal" / "ring.png"), ring)
    camera = SimulatedCamera(str(tmp_path / "c"), PLAIN._replace(items=1))
    whitest = max((int((image > 200).all(axis=2).sum()) for _, image in frames_of(camera)))
    side = 0.1 * camera.view.pixels_per_metre
    assert 0.1 * side ** 2 < whitest < 0.35 * side ** 2  # a ring, neither a disc nor a square


def test_a_reader_that_stalled_for_long_gets_what_is_there_then(clock):
    camera = SimulatedCamera("", PLAIN._replace(pace="real", items=0, item=0.08, gap=0.02, fps=30.0), clock)
    stop = threading.Event()
    camera.read(stop)
    clock.move(30.0)  # more drawn items have passed by than are kept
    mono_s, image = camera.read(stop)
    assert image.std() > 10 and camera.dropped > 800


def test_a_name_that_is_no_text(tmp_path):
    os.makedirs(str(tmp_path / "t" / "glass"))
    fine, data = cv2.imencode(".png", np.full((90, 120, 3), 255, np.uint8))
    with open(os.path.join(os.fsencode(str(tmp_path / "t" / "glass")), b"b\xfc.png"), "wb") as file:
        file.write(data.tobytes())
    truth = []
    for _ in frames_of(SimulatedCamera(str(tmp_path / "t"), PLAIN._replace(items=1), on_item=truth.append)):
        pass
    assert fine and len(truth) == 1
    truth[0].source.encode("utf-8")  # as text, for the journal and the truth


def test_options_are_parsed():
    assert parse("sim:/a/b?speed=1.5&seed=7") == ("/a/b", Options(speed=1.5, seed=7))
    assert parse("sim:") == ("", Options())


def test_drawn_items_that_are_said_to_touch_lie_over_each_other():
    camera = SimulatedCamera("", Options(seed=4, items=40, touching=0.5, pace="fast", fps=5.0, width=640, height=360))
    view, checked = camera.view, []
    stop, last = threading.Event(), None
    while camera.read(stop) is not None:
        for item in camera._items:
            if item.touching and last is not None and item.number == last.number + 1:
                covers = []
                for one in (last, item):
                    cover = np.zeros((view.across_px, 2 * view.along_px), np.uint8)
                    taken = (camera._sprite(one).through.min(axis=2) < 0.95).astype(np.uint8)
                    x, y = (int(round(middle - side / 2)) for middle, side in zip(
                        camera._scene.position(one, last.along_m), taken.shape[::-1]))
                    left, top = max(0, -x - view.along_px), max(0, -y)
                    part = taken[top:, left:]
                    place = cover[y + top:y + top + part.shape[0],
                                  x + left + view.along_px:x + left + view.along_px + part.shape[1]]
                    place[:] = part[:place.shape[0], :place.shape[1]]
                    covers.append(cover)
                checked.append(int((covers[0] & covers[1]).sum()))
            if last is None or item.number > last.number:
                last = item
    assert len(checked) >= 12 and min(checked) > 0, checked

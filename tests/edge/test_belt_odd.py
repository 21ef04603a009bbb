"""What goes wrong on real belts: they run back, cameras are lost or jitter, the light goes, things are too long."""

import threading

import cv2
import numpy as np
import pytest

from edge.frames.base import Frame
from edge.frames.belt_layout import Travel
from edge.frames.simulated_belt import Options, SimulatedCamera
from edge.gate.belt import BeltGate
from edge.settings import Gate

pytestmark = pytest.mark.long  # of numpy and OpenCV alone
FAST = Options(width=640, height=360, pace="fast", items=12, direction="right")
EMPTY, THING = 50, 190  # grey levels


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    (folder / "a").mkdir()
    for number in range(8):
        cv2.imwrite(str(folder / "a" / "{}.png".format(number)), np.full((120, 160, 3), 150 + 12 * number, np.uint8))
    return str(folder)


def watch(folder, options, travel=None, taken=lambda number, time_s: time_s, change=lambda number, image: image):
    """What lay there, and what a gate made of it; taken: when the camera says that it took a frame, None: never."""
    truth, items, number = [], [], 0
    camera = SimulatedCamera(folder, options, on_item=truth.append, travel=travel)
    gate, stop = BeltGate(Gate(line=options.line, direction=options.direction)), threading.Event()
    while True:
        frame = camera.read(stop)
        if frame is None:
            return truth, items, gate
        number += 1
        time_s = taken(number, frame[0])
        if time_s is not None:
            items += gate.offer(Frame("", "", change(number, frame[1]), None, time_s, 0.0, 0.0))


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("back_s", [0.5, 0.7, 1.4])
def test_a_belt_that_runs_back_by_less_than_the_view_counts_nothing_twice(tiles, seed, back_s):
    travel = Travel([(0.0, 0.5), (6.0, -0.5), (6.0 + back_s, 0.5)])  # 0.25 to 0.7 m, of 0.8: some leave the view
    truth, items, _ = watch(tiles, FAST._replace(seed=seed), travel)
    assert len(truth) == len(items) == 12


def test_a_thing_that_left_backwards_and_was_taken_away_is_not_awaited_for_ever():
    rows = {"first": 40, "another": 130}

    def frames():
        places = ([("first", x) for x in range(-30, 180, 3)] + [("first", x) for x in range(180, -40, -3)]
                  + [("first", -40)] * 20 + [("another", x) for x in range(-30, 350, 3)]
                  + [("first", x) for x in range(-30, 350, 3)])
        for number in range(80 + len(places)):
            image = np.full((200, 320, 3), EMPTY, np.uint8)
            if number >= 80:
                name, x = places[number - 80]
                image[rows[name]:rows[name] + 30, max(0, x):max(0, x + 40)] = THING
            yield Frame("", "", image, None, number / 30.0, 0.0, 0.0)
    gate = BeltGate(Gate(direction="right", min_area_px=200))
    assert sum(len(gate.offer(frame)) for frame in frames()) == 3


@pytest.mark.parametrize("word, taken, travel", [
    ("lost for 10 s, and the belt stood", lambda number, time_s: None if 180 < number < 481 else time_s,
     [(0.0, 0.5), (5.95, 0.0), (16.1, 0.5)]),
    ("the clock jumps by 10 s", lambda number, time_s: time_s + 10.0 * (number > 180), [(0.0, 0.5)]),
    ("the clock stands still for two frames", lambda number, time_s: time_s - (number == 181) / 30.0, [(0.0, 0.5)]),
])
@pytest.mark.parametrize("seed", [1, 4])
def test_a_stream_that_was_lost_loses_nothing_and_counts_nothing_twice(tiles, word, taken, travel, seed):
    truth, items, gate = watch(tiles, FAST._replace(seed=seed), Travel(travel), taken)
    assert len(truth) == len(items) == 12 and gate.background.relearned == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_frame_rate_that_varies_changes_nothing(tiles, seed):
    rng = np.random.RandomState(seed)
    gaps = iter(np.cumsum(rng.randint(1, 5, 10000)))  # at 60 frames/s: 15 to 60 frames/s
    due = [next(gaps)]

    def taken(number, time_s):
        if number < due[0]:
            return None
        due[0] = next(gaps)
        return time_s
    truth, items, _ = watch(tiles, FAST._replace(seed=seed, fps=60.0), None, taken)
    assert len(truth) == len(items) == 12
    assert max(abs(item.line_mono_s - true.line_mono_s) for true, item in zip(truth, items)) * 0.5 < 0.02


def test_a_region_that_is_covered_is_learned_anew_and_sorting_goes_on(tiles, caplog):
    rng = np.random.RandomState(0)

    def covered(number, image):  # by a sheet that flutters, from the 4th to the 8th second: no gain explains that
        if 120 < number < 240:
            return cv2.resize(255 * rng.randint(0, 2, (45, 80, 1)).astype(np.uint8), (640, 360))[..., None].repeat(3, 2)
        return image
    truth, items, gate = watch(tiles, FAST._replace(items=30, seed=5), change=covered)
    assert gate.background.relearned >= 1 and "learned anew" in caplog.text
    late = [true for true in truth if true.line_mono_s > truth[0].line_mono_s + 10]
    found = [item for item in items if item.line_mono_s > truth[0].line_mono_s + 10]
    assert len(found) == len(late) >= 5


def test_what_is_no_belt_leaves_no_speed_behind_beside_which_all_would_seem_to_stand(tiles):
    rng = np.random.RandomState(0)

    def waved_over(number, image):  # by something that covers half of it, and passes for things at any speed
        return cv2.resize(rng.randint(80, 256, (9, 16, 3)).astype(np.uint8), (640, 360)
                          ) if 120 < number < 240 else image
    truth, items, _ = watch(tiles, FAST._replace(items=30, seed=5), change=waved_over)
    late = [true for true in truth if true.line_mono_s > truth[0].line_mono_s + 9]
    found = [item for item in items if item.line_mono_s > truth[0].line_mono_s + 9]
    assert len(found) == len(late) >= 5


@pytest.mark.long
def test_light_off_and_on_again_is_survived(tiles):
    truth, items, gate = watch(tiles, FAST._replace(items=30, seed=6), change=lambda number, image: (
        image // 40 if 150 < number < 300 else image))
    late = [true for true in truth if true.line_mono_s > truth[0].line_mono_s + 12]
    found = [item for item in items if item.line_mono_s > truth[0].line_mono_s + 12]
    assert len(found) == len(late) >= 5


def strip(length, step, gap=200, things=8, fps=30.0):
    """Frames of a belt 320 pixels long on which things of one length pass, step pixels a frame."""
    for number in range(80 + (things * (length + gap) + 320) // step):
        image = np.full((120, 320, 3), EMPTY, np.uint8)
        for thing in range(things):
            front = step * (number - 80) - thing * (length + gap)
            if number > 80 and front > 0:
                image[40:80, max(0, front - length):front] = THING
        yield Frame("", "", image, None, number / fps, 0.0, 0.0)


@pytest.mark.parametrize("word, frames, part", [
    ("too long", lambda: strip(330, 4, gap=300, things=3), "whole in view for three frames"),
    ("too fast", lambda: strip(40, 97, gap=203, things=40, fps=5.0), "raise [source] fps"),
])
def test_what_cannot_be_counted_is_said(caplog, word, frames, part):
    gate = BeltGate(Gate(direction="right", min_area_px=200))
    assert sum(len(gate.offer(frame)) for frame in frames()) == 0
    assert caplog.text.count(part) >= 1 and len(caplog.records) <= 3


@pytest.mark.parametrize("word, length, step, gap", [
    ("short", 40, 97, 203), ("half the view", 160, 97, 203), ("once whole", 100, 210, 303),
    ("often not beyond the line", 60, 173, 171)])
def test_of_known_speed_a_thing_is_handed_on_once_however_seldom_it_was_whole(caplog, word, length, step, gap):
    gate = BeltGate(Gate(direction="right", min_area_px=200, belt_speed_mps=1.0, pixels_per_metre=5.0 * step))
    items = [item for frame in strip(length, step, gap=gap, things=12, fps=5.0) for item in gate.offer(frame)]
    assert len(items) == 12 and not caplog.records
    assert all(len(item.views) == 3 for item in items)  # one frame is enough for views that are turned each way
    for thing, item in enumerate(items):  # its middle is at 160 when its front is at 160 + length / 2
        line_s = (80 + (thing * (length + gap) + 160 + length / 2) / step) / 5.0
        assert abs(item.line_mono_s - line_s) * 5.0 * step < 4


def test_of_things_that_can_be_counted_nothing_is_said(caplog):
    gate = BeltGate(Gate(direction="right", min_area_px=200))
    assert sum(len(gate.offer(frame)) for frame in strip(60, 6)) == 8 and not caplog.records

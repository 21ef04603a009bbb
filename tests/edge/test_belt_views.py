"""What the gate makes of the frames that show a thing: laid over one another, cut at its sides, unsmeared."""

import threading

import cv2
import numpy as np
import pytest

from edge.frames.base import Frame
from edge.frames.simulated_belt import Options, SimulatedBelt, SimulatedCamera
from edge.gate import open_gate, smear, views
from edge.gate.belt import BeltGate
from edge.gate.sides import settle
from edge.gate.sights import ALIGN_PX, MOST_PX, Cut, Sight, Stacker
from edge.gate.smear import unsmeared
from edge.settings import Gate, Settings, Source

BELT = (40, 50, 45)


def print_of(height, width, seed=3, soft_px=1.0):
    """A thing with large and small marks, (height, width, 3) uint8."""
    rng = np.random.RandomState(seed)
    image = np.full((height, width, 3), 190, np.uint8)
    for _ in range(60):
        x, y, r = int(rng.randint(width)), int(rng.randint(height)), int(rng.randint(3, 5 + width // 12))
        cv2.circle(image, (x, y), r, [int(v) for v in rng.randint(0, 256, 3)], -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), soft_px)


def laid(thing, x, y, size=(480, 640), turn_deg=0.0, noise=0.0, seed=0):
    """A frame in which the middle of a thing lies at x, y."""
    h, w = thing.shape[:2]
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), turn_deg, 1.0)
    matrix[:, 2] += (x - (w - 1) / 2, y - (h - 1) / 2)
    frame = np.empty(size + (3,), np.uint8)
    frame[:] = BELT
    cover = cv2.warpAffine(np.ones((h, w), np.float32), matrix, size[::-1])[..., None]
    frame = frame * (1 - cover) + cv2.warpAffine(thing, matrix, size[::-1], flags=cv2.INTER_CUBIC) * cover
    frame += np.random.RandomState(seed).normal(0, noise, frame.shape) if noise else 0
    return np.clip(frame + 0.5, 0, 255).astype(np.uint8)


def around(thing, x, y, wrong=(0.0, 0.0), turn_deg=0.0):
    """The rectangle that a mask would say, off by wrong pixels."""
    h, w = thing.shape[:2]
    return (x + wrong[0], y + wrong[1]), (float(w), float(h)), -turn_deg


def sight_of(thing, x=200.0, y=240.0, side=261.0, filled=0.98, **how):
    frame = laid(thing, x, y, **how)
    sight = Sight(np.empty(MOST_PX * MOST_PX * 3, np.uint8), around(thing, x, y), filled, side)
    stacker = Stacker()
    stacker.begin(sight, frame)
    return sight, stacker


def spread(picture, true):
    return float(np.std(picture[40:-40, 40:-40].astype(float) - true[40:-40, 40:-40]))


def test_frames_are_laid_over_one_another_by_fractions_of_a_pixel():
    thing = print_of(180, 140)
    true = sight_of(thing)[0].picture.copy()
    sight, stacker = sight_of(thing, noise=8.0)
    alone = spread(sight.picture, true)
    for number in range(1, 8):
        x, y = 200 + 37.3 * number, 240 + 0.45 * number
        wrong = (3.0 * (-1) ** number, -2.5)  # the mask is four times as coarse as the frame
        assert stacker.add(sight, laid(thing, x, y, noise=8.0, seed=number), around(thing, x, y, wrong), 0.98)
    assert sight.frames == 8
    assert spread(sight.picture, true) < 0.6 * alone  # 1 / sqrt(8) is 0.35, had resampling no cost


@pytest.mark.parametrize("word, other", [
    ("another thing", lambda thing: print_of(180, 140, seed=9)),
    ("it rolled", lambda thing: np.roll(thing, 60, axis=0)),
    ("it shone", lambda thing: cv2.circle(thing.copy(), (70, 90), 60, (255, 255, 255), -1)),
])
def test_a_thing_that_looks_otherwise_is_no_further_frame(word, other):
    thing = print_of(180, 140)
    sight, stacker = sight_of(thing)
    before = sight.picture.copy()
    assert not stacker.add(sight, laid(other(thing), 300, 240), around(thing, 300, 240), 0.99)
    assert sight.frames == 1 and (sight.picture == before).all() and sight.filled == 0.98
    assert stacker.add(sight, laid(thing, 300, 240), around(thing, 300, 240), 0.99)


def test_the_tightest_outline_is_kept_where_it_lies_in_the_sight():
    thing = print_of(180, 140)
    sight, stacker = sight_of(thing, filled=0.9)
    x, y = 260.4, 243.2
    tight = ((x + 4.0, y - 3.0), (141.0, 182.0), 1.5)
    assert stacker.add(sight, laid(thing, x, y), tight, 0.97)
    assert sight.filled == 0.97 and sight.rectangle[1:] == tight[1:]
    assert sight.rectangle[0] == pytest.approx((204.0, 237.0), abs=0.4)
    assert stacker.add(sight, laid(thing, 320, 240), ((330.0, 240.0), (160.0, 190.0), 0.0), 0.93)
    assert sight.filled == 0.97 and sight.rectangle[1:] == tight[1:]


def test_what_is_large_is_shrunk_into_the_buffer():
    thing = print_of(420, 560)
    frame = laid(thing, 640, 360, size=(720, 1280))
    sight = Sight(np.empty(MOST_PX * MOST_PX * 3, np.uint8), around(thing, 640, 360), 0.98, 820.0)
    stacker = Stacker()
    stacker.begin(sight, frame)
    assert sight.picture.shape == (MOST_PX, MOST_PX, 3) and sight.shrink == pytest.approx(MOST_PX / 820.0)
    assert stacker.add(sight, laid(thing, 700.7, 360, size=(720, 1280)), around(thing, 700.7, 360), 0.98)
    middle = cv2.resize(frame[360 - 210:360 + 210, 640 - 210:640 + 210], (262, 262), interpolation=cv2.INTER_AREA)
    cut = sight.picture[255 - 131:255 + 131, 255 - 131:255 + 131]
    assert np.abs(cut.astype(int) - middle).mean() < 8


@pytest.mark.parametrize("size", [20, 96, ALIGN_PX])
def test_small_things_are_aligned_as_well(size):
    thing = print_of(size, size)
    side = size * 1.6
    sight, stacker = sight_of(thing, side=side)
    assert stacker.add(sight, laid(thing, 250.5, 240), around(thing, 250.5, 240, (1.0, 0.0)), 0.98)


SIDES = [("fits", (0, 0, 0, 0), 0.0), ("dirt on the left", (14, 0, 0, 0), 0.0), ("on the right", (0, 0, 13, 0), 30.0),
         ("above and below", (0, 9, 0, 11), -75.0), ("all around", (4, 4, 4, 4), 10.0)]


@pytest.mark.parametrize("word, more, turn_deg", SIDES)
def test_sides_are_found_where_the_thing_begins(word, more, turn_deg):
    thing = print_of(180, 140)
    sight, _ = sight_of(thing, side=300.0, turn_deg=turn_deg, noise=3.0)
    left, top, right, bottom = more
    angle = np.radians(-turn_deg)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    x, y = np.array([200.0, 240.0]) + along * (right - left) / 2 + across * (bottom - top) / 2
    wide = Cut(x, y, 140.0 + left + right, 180.0 + top + bottom, -turn_deg)
    belt, to_belt = np.empty((120, 160, 3), np.uint8), np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]])
    belt[:] = BELT
    found, is_box = settle(sight, wide, belt, to_belt, 2.0)
    assert is_box
    assert (found.width, found.height) == pytest.approx((140, 180), abs=2.5)
    assert (found.x, found.y) == pytest.approx((200, 240), abs=1.5)
    assert found.angle_deg == wide.angle_deg


def test_what_shows_belt_in_its_corners_is_no_box():
    thing = print_of(180, 140)
    bottle = np.empty_like(thing)
    bottle[:] = BELT
    round_mask = cv2.ellipse(np.zeros((180, 140), np.uint8), ((70, 90), (140, 180), 0), 255, -1)
    bottle[round_mask > 0] = thing[round_mask > 0]
    sight, _ = sight_of(bottle)
    belt = np.empty((120, 160, 3), np.uint8)
    belt[:] = BELT
    cut = Cut(200.0, 240.0, 140.0, 180.0, 0.0)
    assert settle(sight, cut, belt, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 2.0)[1] is False


def test_a_thing_of_the_belts_own_colour_is_cut_where_the_mask_says():
    plain = np.empty((180, 140, 3), np.uint8)
    plain[:] = np.array(BELT) + 10
    sight, _ = sight_of(plain)
    belt = np.empty((120, 160, 3), np.uint8)
    belt[:] = BELT
    cut = Cut(200.0, 240.0, 140.0, 180.0, 0.0)
    found, _ = settle(sight, cut, belt, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 2.0)
    assert found == pytest.approx(cut)


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("length", [3.0, 5.0, 9.0])
def test_what_smeared_along_the_belt_is_nearer_to_what_it_was(length, upright):
    true = print_of(200, 200, soft_px=0.5)
    box = np.ones((int(length), 1) if upright else (1, int(length))) / int(length)
    smeared = cv2.filter2D(true, -1, box)
    noisy = np.clip(smeared + np.random.RandomState(1).normal(0, 0.7, true.shape), 0, 255).astype(np.uint8)
    mended = unsmeared(noisy, length, upright)
    other = unsmeared(noisy, length, not upright)

    def off(picture):
        return np.sqrt((np.square(picture.astype(float) - true)[20:-20, 20:-20]).mean())
    assert off(mended) < 0.85 * off(noisy) < off(other)
    assert abs(float(mended.mean()) - float(noisy.mean())) < 0.5  # as bright as before


def test_what_did_not_smear_is_left_as_it_is():
    true = print_of(64, 64)
    assert unsmeared(true, smear.LEAST_PX - 0.1, False) is true
    assert unsmeared(true, 0.0, True) is true


def test_a_gate_knows_how_long_the_shutter_is_open_from_the_settings_or_from_a_simulated_camera():
    class Camera:
        moving = True
    settings = Settings(source=Source(uri="rtsp://camera", exposure_ms=4.0), gate=Gate())
    assert open_gate(settings, Camera())._exposure_s == pytest.approx(0.004)
    assert open_gate(Settings(), Camera())._exposure_s == 0.0
    belt = SimulatedBelt("sim:?exposure=3", threading.Event())
    assert open_gate(settings._replace(source=Source(uri="sim:")), belt)._exposure_s == pytest.approx(0.003)


def views_of(folder, options, exposure_s=0.0):
    """Runs a simulated belt; the first view of each picture, float."""
    truth, seen, stop = [], {}, threading.Event()
    camera = SimulatedCamera(folder, options, on_item=truth.append)
    gate = BeltGate(Gate(direction=options.direction, pixels_per_metre=camera.view.pixels_per_metre),
                    exposure_s=exposure_s)
    while True:
        taken = camera.read(stop)
        if taken is None:
            assert len(seen) == options.items
            return seen
        for item in gate.offer(Frame("", "", taken[1], None, taken[0], 0.0, 0.0)):
            true = min(truth, key=lambda one, at=item.line_mono_s: abs(one.line_mono_s - at))
            seen[true.source] = item.views[0][8:-8, 8:-8].astype(float)


@pytest.fixture(scope="module")
def prints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prints")
    (folder / "paper").mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / "paper" / "{}.png".format(number)), print_of(96, 128, seed=number, soft_px=0.6))
    return str(folder)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheets")
    (folder / "paper").mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / "paper" / "{}.png".format(number)), np.full((96, 128, 3), 120 + 20 * number, np.uint8))
    return str(folder)


SEEN = Options(width=640, height=360, seed=4, items=6, speed=0.6, drift=0.0, shake=0.0, turn=0.0, noise=0.0,
               exposure=0.0, pace="fast")


@pytest.mark.long
def test_views_have_less_noise_than_the_frames_that_they_are_of(sheets, monkeypatch):
    noisy = SEEN._replace(noise=0.03)
    many = views_of(sheets, noisy)
    monkeypatch.setattr(views, "APART", 10.0)  # of the view: looked at once
    one = views_of(sheets, noisy)
    assert max(many[name].std() / one[name].std() for name in one) < 0.6


@pytest.mark.long
@pytest.mark.parametrize("direction, width, height", [("right", 640, 360), ("down", 360, 640)])
def test_views_are_sharper_where_the_exposure_is_known(prints, direction, width, height):
    smeared = SEEN._replace(exposure=10.0, direction=direction, width=width, height=height)  # 4.8 pixels
    known, unknown = views_of(prints, smeared, 0.010), views_of(prints, smeared)
    for name in known:  # its longer side lies along the belt, and stands in the view
        along, across = (np.abs(np.diff(known[name], axis=axis)).mean()
                         / np.abs(np.diff(unknown[name], axis=axis)).mean() for axis in (0, 1))
        assert along > 1.15 and along > across + 0.05, (along, across)


@pytest.mark.parametrize("height, width", [(200, 4), (3, 60), (5, 5), (180, 24)])
def test_the_sides_of_thin_and_tiny_things_do_not_meet(height, width):
    thing = np.full((height, width, 3), 200, np.uint8)
    sight, _ = sight_of(thing, side=240.0)
    belt = np.empty((120, 160, 3), np.uint8)
    belt[:] = BELT
    cut = Cut(200.0, 240.0, float(width), float(height), 0.0)
    found, _ = settle(sight, cut, belt, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 2.0)
    assert found.width >= 1 and found.height >= 1
    assert (found.width, found.height) == pytest.approx((width, height), abs=4)

"""The belt's gate over simulated belts and a real one: what passes is handed on once, and at the right time."""

import os
import threading

import cv2
import numpy as np
import pytest

from edge.errors import SettingsError
from edge.frames.base import Frame
from edge.frames.belt_layout import Travel
from edge.frames.simulated_belt import Options, SimulatedCamera
from edge.gate import EveryFrame, Interval, open_gate
from edge.gate.belt import BeltGate
from edge.gate.blobs import Blob, find
from edge.gate.clusters import LEAST_LENGTHS, PARTED, Clusters
from edge.gate.parts import best_cut, outline_of, parted
from edge.settings import Gate, Settings, Source

FAST = Options(width=960, height=540, fps=30.0, pace="fast")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Tiles of many colours and patterns, all of one size, as photographs laid on a belt are."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.RandomState(5)
    for number in range(24):
        image = np.full((120, 160, 3), rng.randint(110, 256, 3), np.uint8)
        for _ in range(6):
            x, y = rng.randint(0, 150), rng.randint(0, 110)
            cv2.circle(image, (int(x), int(y)), int(rng.randint(5, 25)), [int(v) for v in rng.randint(0, 256, 3)], -1)
        os.makedirs(str(folder / "class{}".format(number % 3)), exist_ok=True)
        cv2.imwrite(str(folder / "class{}".format(number % 3) / "{}.png".format(number)), image)
    return str(folder)


def watch(folder, options, gate=None, travel=None, change=lambda number, image: image):
    """Runs a belt to its end: the truth, and what the gate handed on with copies of its views."""
    truth, items = [], []
    camera = SimulatedCamera(folder, options, on_item=truth.append, travel=travel)
    gate = gate or BeltGate(Gate(line=options.line, direction=options.direction,
                                 pixels_per_metre=camera.view.pixels_per_metre))
    stop, number = threading.Event(), 0
    while True:
        taken = camera.read(stop)
        if taken is None:
            return truth, items, gate
        number += 1
        frame = Frame("f{}".format(number), "", change(number, taken[1]), None, taken[0], 0.0, 0.0)
        items += [item._replace(views=tuple(view.copy() for view in item.views)) for item in gate.offer(frame)]


def times(things):
    return np.array([thing.line_mono_s for thing in things])


ON_NEWEST = pytest.mark.long("newest")


@pytest.mark.long
@pytest.mark.parametrize("word, change", [
    pytest.param("slow", {"speed": 0.3}, marks=ON_NEWEST),
    ("usual", {"speed": 0.5, "seed": 2}),
    pytest.param("fast", {"speed": 1.5, "seed": 3}, marks=ON_NEWEST),
    ("to the left, other line", {"direction": "left", "line": 0.65, "seed": 4}),
    pytest.param("down", {"direction": "down", "width": 540, "height": 960, "seed": 5}, marks=ON_NEWEST),
    pytest.param("up", {"direction": "up", "width": 540, "height": 960, "seed": 6}, marks=ON_NEWEST),
    ("light that drifts much", {"drift": 0.4, "speed": 1.0, "seed": 7}),
    pytest.param("noise and shake", {"noise": 0.04, "shake": 2.0, "speed": 1.0, "seed": 8}, marks=ON_NEWEST),
    pytest.param("60 frames a second", {"fps": 60.0, "speed": 1.0, "seed": 9}, marks=ON_NEWEST),
    pytest.param("10 frames a second", {"fps": 10.0, "speed": 0.3, "seed": 10}, marks=ON_NEWEST),
])
def test_each_item_once_and_on_time(tiles, word, change):
    options = FAST._replace(items=20, **change)
    truth, items, gate = watch(tiles, options)
    assert len(items) == len(truth) == 20
    # Of tiles 16 cm long: well within their own length, and nearest to the very item
    assert np.abs(times(items) - times(truth)).max() * options.speed < 0.02
    assert np.median(np.abs(times(items) - times(truth))) * options.speed < 0.003
    assert all(1 <= len(item.views) <= 3 for item in items) and sum(item.cluster for item in items) <= 2
    assert gate.speed_mps == pytest.approx(options.speed, rel=0.05)
    assert all(item.speed_mps == pytest.approx(options.speed, rel=0.1) for item in items[3:])


@pytest.mark.parametrize("word, change", [
    ("four views of each", {"fps": 5.0, "seed": 2}),
    ("three views", {"fps": 4.0, "speed": 1.2, "item": 0.1, "seed": 3}),
    ("two or three", {"fps": 3.0, "seed": 1}),
    ("not all whole", {"fps": 5.0, "item": 0.16, "seed": 1}),
    ("close together", {"fps": 5.0, "gap": 0.03, "seed": 4}),
    ("line near the entry", {"fps": 5.0, "line": 0.2, "seed": 1}),
    ("line near the exit: what leaves is no more whole", {"fps": 5.0, "line": 0.8, "seed": 3}),
])
@pytest.mark.parametrize("wrong", [0.9, 1.0, 1.1])
def test_what_moves_farther_than_its_length_is_followed_by_the_known_speed(tiles, word, change, wrong):
    options = FAST._replace(**dict({"items": 15, "speed": 1.0, "item": 0.08, "width": 640, "height": 360}, **change))
    gate = BeltGate(Gate(line=options.line, direction="right", pixels_per_metre=640 / options.view, min_area_px=250,
                         belt_speed_mps=wrong * options.speed))
    truth, items, _ = watch(tiles, options, gate)
    assert len(items) == len(truth) == 15
    # Of a single view the place at the line is as wrong as the speed that was given, over at most a step
    step = options.speed / options.fps
    assert np.abs(times(items) - times(truth)).max() * options.speed < 0.02 + abs(wrong - 1) * step
    assert all(item.views for item in items)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_belt_that_stands_between_few_frames_counts_nothing_twice(tiles, seed):
    options = FAST._replace(items=15, speed=1.0, fps=5.0, item=0.16, width=640, height=360, seed=seed)
    gate = BeltGate(Gate(direction="right", pixels_per_metre=800.0, belt_speed_mps=1.0, min_area_px=250))
    truth, items, _ = watch(tiles, options, gate, Travel([(0.0, 1.0), (5.1, 0.0), (9.0, 1.0)]))
    assert len(items) == len(truth) == 15


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_an_empty_belt_that_few_frames_showed_is_no_thing(seed):
    camera = SimulatedCamera("", FAST._replace(speed=10.0, fps=5.0, seed=seed), travel=Travel([(0.0, 1.0)]))
    gate, foreign = BeltGate(Gate(direction="right")), []
    for _ in range(100):
        mono_s, image = camera.read(threading.Event())
        assert gate.offer(Frame("", "", image, None, mono_s, 0.0, 0.0)) == []
        foreign += [(gate.mask > 0).mean()] if gate.mask is not None else []
    assert len(foreign) > 50 and max(foreign) < 0.02, max(foreign)


@pytest.mark.parametrize("seed", [22, 102])
def test_an_empty_belt_that_was_just_learned_is_no_thing(seed):
    """Belts with blotches, of which the first two seconds show too few to know each pixel well."""
    truth, foreign, gate = [], [], BeltGate(Gate(direction="right"))
    camera = SimulatedCamera("", Options(seed=seed, speed=1.5, pace="fast"), on_item=truth.append)
    while not truth:
        mono_s, image = camera.read(threading.Event())
        if not truth:
            assert gate.offer(Frame("", "", image, None, mono_s, 0.0, 0.0)) == []
            foreign += [(gate.mask > 0).mean()] if gate.mask is not None else []
    assert len(foreign) > 20 and max(foreign) < 0.004, max(foreign)


@pytest.mark.long
def test_views_show_the_item_and_nothing_but_it_each_another_way_up(tiles):
    truth, items, _ = watch(tiles, FAST._replace(items=12, noise=0.0, drift=0.0, seed=11))
    assert len(items) == 12
    unlike, shapes, full = [], [], 0
    for true, item in zip(truth, items):
        whole, turns = cv2.imread(true.source), []
        for view in item.views:
            lies = view.shape[1] > view.shape[0]
            assert view.dtype == np.uint8
            shapes.append(max(view.shape[:2]) / min(view.shape[:2]))
            size = (40, 30) if lies else (30, 40)
            small = cv2.resize(view, size, interpolation=cv2.INTER_AREA).astype(int)
            ways = {turn: np.abs(small - cv2.resize(np.rot90(whole, turn), size, interpolation=cv2.INTER_AREA)).mean()
                    for turn in ((0, 2) if lies else (1, 3))}
            turns.append(min(ways, key=ways.get))
            unlike.append(min(ways.values()))
        if len(turns) == 3:  # upright both ways and on one side; where both ways look the same, which is unknown
            full += len(set(turns)) == 3
            assert sum(turn % 2 for turn in turns) == 2, turns
    assert np.median(shapes) == pytest.approx(160 / 120.0, rel=0.03)
    assert full > 8, full
    assert np.mean(np.array(unlike) < 15) > 0.75, unlike  # a tile with a dark side is cut as what it seems to be


@pytest.mark.long
def test_a_belt_that_stops_for_long_neither_loses_what_lies_on_it_nor_counts_it_twice(tiles):
    options = FAST._replace(items=12, fps=10.0, speed=0.4, seed=12)
    travel = Travel([(0.0, 0.4), (5.1, 0.0), (35.1, 0.4)])
    truth, items, _ = watch(tiles, options, travel=travel)
    assert len(truth) == 12 and len(items) == 12
    assert np.abs(times(items) - times(truth)).max() < 0.15  # a frame and a half


@pytest.mark.long
def test_a_belt_that_runs_back_and_forth_makes_no_ghosts(tiles):
    options = FAST._replace(items=12, speed=0.5, seed=13)
    travel = Travel([(0.0, 0.5), (5.0, -0.25), (6.0, 0.0), (7.0, 0.5)])
    truth, items, _ = watch(tiles, options, travel=travel)
    assert len(truth) == 12 and len(items) == 12


@pytest.mark.long
@pytest.mark.parametrize("seed", [14, 15])
def test_touching_items_are_one_cluster(tiles, seed):
    truth, items, _ = watch(tiles, FAST._replace(items=60, touching=0.2, speed=1.0, seed=seed))
    pairs = [(a, b) for a, b in zip(truth[8:], truth[9:])  # before, the usual size is not known
             if a.touching and b.touching and (b.line_mono_s - a.line_mono_s) < (a.length_m + b.length_m) / 2]
    assert len(pairs) >= 5
    flagged = [item for item in items if item.cluster]
    right = 0
    for first, second in pairs:
        start_s = first.line_mono_s - first.length_m / 2
        own = [item for item in items if start_s < item.line_mono_s < second.line_mono_s + second.length_m / 2]
        right += len(own) == 1 and own[0].cluster
    alone = [item for item in truth if not item.touching]
    assert right >= 0.9 * len(pairs), (right, len(pairs))
    assert len([item for item in flagged if not any(
        abs(item.line_mono_s - true.line_mono_s) < 0.15 for true in truth if true.touching)]) <= 0.05 * len(alone)


def test_an_empty_belt_gives_nothing_whatever_the_light_does():
    def flicker(number, image):
        return cv2.convertScaleAbs(image, alpha=1.0 + 0.2 * np.sin(number / 7.0))
    truth, gate, stop = [], BeltGate(Gate(direction="right")), threading.Event()
    # Items begin where a belt of 10 m/s would be after seconds: far behind
    camera = SimulatedCamera("", FAST._replace(speed=10.0, noise=0.03, shake=1.0), on_item=truth.append,
                             travel=Travel([(0.0, 0.5)]))
    for number in range(300):
        mono_s, image = camera.read(stop)
        assert gate.offer(Frame("", "", flicker(number, image), None, mono_s, 0.0, 0.0)) == []
        assert gate.mask is None or (gate.mask > 0).mean() < 0.02
    assert truth == [] and gate.mask is not None


@pytest.mark.long
def test_light_that_is_switched_is_followed_and_sorting_goes_on(tiles):
    options = FAST._replace(items=30, speed=0.8, seed=16)
    truth, items, gate = watch(tiles, options, change=lambda number, image: (
        cv2.convertScaleAbs(image, alpha=0.35, beta=60) if number > 200 else image))
    assert len(truth) == 30
    late = [item for item in truth if item.line_mono_s > times(truth)[0] + 9]
    found = [item for item in items if item.line_mono_s > times(truth)[0] + 9]
    assert len(late) >= 4 and len(found) == len(late)


@pytest.mark.long
def test_what_stays_where_it_is_while_the_belt_moves_is_no_item(tiles):
    def with_hose(number, image):  # something falls across the picture and stays there
        if number > 120:
            image[300:312] = (40, 200, 230)
        return image
    options = FAST._replace(items=40, speed=0.8, seed=18)
    truth, items, _ = watch(tiles, options, change=with_hose)
    late = times(truth)[times(truth) > times(truth)[0] + 8]
    found = times(items)[times(items) > times(truth)[0] + 8]
    assert len(late) >= 10 and len(found) == len(late)


def test_memory_is_made_once_and_only_a_new_size_makes_it_anew():
    gate = BeltGate(Gate())
    frame = Frame("", "", np.zeros((120, 320, 3), np.uint8), None, 1.0, 0.0, 0.0)
    gate.offer(frame)
    tracker = gate.tracker
    gate.offer(frame._replace(captured_mono_s=1.1))
    assert gate.tracker is tracker
    gate.offer(frame._replace(image_bgr=np.zeros((240, 320, 3), np.uint8)))
    assert gate.tracker is not tracker
    assert gate.offer(frame._replace(image_bgr=None, error="half a frame")) == []


@pytest.mark.parametrize("region", [(0, 0, 961, 540), (900, 0, 100, 540), (0, 0, 20, 20), (0, 500, 100, 41)])
def test_a_region_outside_the_picture_is_refused(region):
    with pytest.raises(SettingsError) as caught:
        BeltGate(Gate(), region).offer(Frame("", "", np.zeros((540, 960, 3), np.uint8), None, 1.0, 0.0, 0.0))
    assert "region" in str(caught.value) and "960 x 540" in str(caught.value)


def test_a_region_is_watched_alone(tiles):
    truth, items, _ = watch(tiles, FAST._replace(items=10, seed=17, belt=0.3), gate=BeltGate(
        Gate(direction="right"), region=(100, 60, 760, 420)))
    assert len(items) == 10  # the rails beside the belt and what lies behind the region do not matter


def shape(*rectangles):
    mask = np.zeros((80, 120), np.uint8)
    for x, y, w, h in rectangles:
        mask[y:y + h, x:x + w] = 255
    return mask


def painted(*rectangles):
    """Two things in two colours: the last rectangle has the second one."""
    picture = np.full((80, 120, 3), 40, np.uint8)
    for number, (x, y, w, h) in enumerate(rectangles):
        picture[y:y + h, x:x + w] = (30, 200, 60) if number < len(rectangles) - 1 else (200, 60, 160)
    return picture


ONE_BOX, CORNERS, BRIDGE = [(10, 10, 60, 40)], [(10, 10, 40, 30), (46, 36, 40, 30)], [(5, 10, 40, 40), (45, 25, 8, 8),
                                                                                    (53, 10, 40, 40)]
BESIDE, BOTTLE = [(10, 10, 30, 50), (40, 30, 40, 40)], [(10, 20, 50, 40), (60, 32, 30, 16)]


@pytest.mark.parametrize("word, rectangles, colours, several", [
    ("one box", ONE_BOX, ONE_BOX, False),
    ("a box of two colours", ONE_BOX, [(10, 10, 30, 40), (40, 10, 30, 40)], False),
    ("two boxes at their corners", CORNERS, CORNERS, True),
    ("two boxes on a bridge", BRIDGE, BRIDGE, True),
    ("two boxes side by side", BESIDE, BESIDE, True),
    ("one thing with two dents, of one colour", BESIDE, [(0, 0, 120, 80)], False),
    ("a bottle with a cap", [(10, 20, 50, 40), (60, 36, 8, 8)], [(10, 20, 50, 40), (60, 36, 8, 8)], False),
    ("a thin strip", [(5, 10, 100, 6)], [(5, 10, 50, 6), (55, 10, 50, 6)], False),
])
def test_dents_and_colours_tell_two_things(word, rectangles, colours, several):
    mask, picture = shape(*rectangles), painted(*colours)
    assert (parted(outline_of(mask), picture) > PARTED) == several
    turned = [np.ascontiguousarray(one.swapaxes(0, 1)) for one in (mask, picture)]
    assert parted(outline_of(turned[0]), turned[1]) == pytest.approx(parted(outline_of(mask), picture), abs=0.02)


def test_a_heap_of_scraps_has_dents_wherever_it_is_cut():
    star = np.zeros((80, 120), np.uint8)
    for angle in np.arange(5) * 2 * np.pi / 5:
        cv2.line(star, (60, 40), (int(60 + 34 * np.cos(angle)), int(40 + 34 * np.sin(angle))), 255, 9)
    picture = np.where(np.arange(120)[None, :, None] < 60, (30, 200, 60), (200, 60, 160)).astype(np.uint8
                                                                                                ).repeat(80, axis=0)
    cut = best_cut(outline_of(star))
    assert cut.gain > 0.1 and cut.filled < 0.75 and parted(outline_of(star), picture) < PARTED


def test_an_outline_has_no_whiskers_but_thin_things_and_bridges_stay():
    whiskers = outline_of(shape((20, 20, 40, 30), (60, 30, 30, 2), (40, 50, 3, 20)))
    x, y, w, h = cv2.boundingRect(whiskers)
    assert (x, y) == (20, 20) and 40 <= w <= 41 and 30 <= h <= 31
    assert cv2.boundingRect(outline_of(shape((5, 10, 100, 3)))) == (5, 10, 100, 3)
    assert cv2.boundingRect(outline_of(shape(*CORNERS))) == (10, 10, 76, 56)
    assert cv2.boundingRect(outline_of(shape((0, 0, 120, 80)))) == (0, 0, 120, 80)  # up to the picture's end


class Passed:
    """What Clusters looks at of a track: a thing that lies at a place along and across the belt."""

    def __init__(self, length, looks=0.0, at=(100.0, 50.0), width=10.0, merged=0):
        self.lengths, self.parted, self.merged_seen, self.points = [length] * 3, [looks] * 3, merged, [None] * 7
        (x, y), half = at, (length - 1) / 2
        self.blob = Blob(x + half, x - half, y - width / 2, y + width / 2, length * width, looks,
                         (at, (length - 1, width - 1), 0.0), 1.0, True)


def seen(lengths):
    clusters = Clusters()
    for length in lengths:
        clusters.is_one(Passed(length))
    return clusters


LENGTHS = [40, 44, 48, 52, 56, 60] * 4


def test_what_is_longer_than_one_thing_may_be_is_several_and_looks_help():
    assert not seen(LENGTHS).is_one(Passed(62)) and seen(LENGTHS).is_one(Passed(90))
    assert seen(LENGTHS).is_one(Passed(56, looks=1.1 * PARTED)) and seen(LENGTHS).is_one(Passed(40, merged=5))
    assert seen(LENGTHS).is_one(Passed(40, looks=3 * PARTED)) and not seen(LENGTHS).is_one(Passed(40, looks=2 * PARTED))
    assert not seen(LENGTHS).is_one(Passed(50, looks=0.7 * PARTED))
    assert seen(LENGTHS).is_one(Passed(66, looks=0.7 * PARTED)) and not seen(LENGTHS).is_one(Passed(66))
    assert not seen(LENGTHS[:LEAST_LENGTHS - 1]).is_one(Passed(200))  # nothing is usual yet
    assert seen([10, 20, 40, 80] * 6).is_one(Passed(400)) and not seen([10, 20, 40, 80] * 6).is_one(Passed(90))


def test_what_becomes_longer_from_now_on_is_soon_usual_but_clusters_are_not():
    clusters = seen(LENGTHS)
    assert [clusters.is_one(Passed(100)) for _ in range(40)][-1] is False
    clusters = seen(LENGTHS)
    assert all(clusters.is_one(Passed(100, looks=2 * PARTED)) for _ in range(60)) and clusters.is_one(Passed(90))


@pytest.mark.parametrize("word, one, other, pieces", [
    ("rims beside each other", Passed(50, at=(100.0, 50.0)), Passed(48, at=(102.0, 72.0)), True),
    ("a rim just ahead of the rest", Passed(12, at=(100.0, 50.0)), Passed(50, at=(67.0, 50.0)), True),
    ("a short one ahead of a usual one", Passed(12, at=(100.0, 50.0)), Passed(50, at=(60.0, 50.0)), False),
    ("two short ones, one behind the other", Passed(20, at=(100.0, 50.0)), Passed(20, at=(74.0, 50.0)), True),
    ("two short ones, far from each other", Passed(20, at=(100.0, 50.0)), Passed(20, at=(40.0, 50.0)), False),
    ("usual ones, one behind the other", Passed(45, at=(100.0, 50.0)), Passed(45, at=(50.0, 50.0)), False),
    ("beside each other, on two lanes", Passed(50, at=(100.0, 20.0)), Passed(50, at=(100.0, 95.0)), False),
])
def test_pieces_of_one_thing_are_known_by_what_is_usual(word, one, other, pieces):
    assert seen(LENGTHS).pieces(one, [other]) == ([other] if pieces else [])
    assert Clusters().pieces(one, [other]) == []


def test_a_clear_thing_of_which_two_rims_are_seen_is_one_item_and_goes_to_review():
    def frames():
        for number in range(80 + 170):
            image = np.full((160, 320, 3), 50, np.uint8)
            for thing in range(10):
                front = 12 * (number - 80) - 180 * thing
                for row, rows, behind in ((40, 50, 0),) if thing < 8 else ((40, 6, 0), (82, 6, 14)):
                    image[row:row + rows, max(0, front - behind - 50):max(0, front - behind)] = 190
            yield Frame("", "", image, None, number / 30.0, 0.0, 0.0)
    gate = BeltGate(Gate(direction="right", min_area_px=100))
    items = [item for frame in frames() for item in gate.offer(frame)]
    assert [item.cluster for item in items] == [False] * 8 + [True] * 2


def test_blobs_are_measured_in_the_direction_of_travel():
    mask = shape((10, 20, 30, 12), (119, 0, 1, 70))
    picture = np.zeros(mask.shape + (3,), np.uint8)
    for direction, expected in (("right", (40, 10, 20, 32)), ("left", (110, 80, 20, 32)), ("down", (32, 20, 10, 40)),
                                ("up", (60, 48, 10, 40))):
        inside = [blob for blob in find(mask, picture, direction, 100) if blob.area < 1000]
        assert [(blob.front, blob.back, blob.low, blob.high) for blob in inside] == [expected] and inside[0].whole
    assert [blob.whole for blob in find(mask, picture, "right", 10)] == [False, True]
    assert find(mask, picture, "right", 100)[0].area == pytest.approx(360, rel=0.05)


@pytest.mark.parametrize("settings, kind", [
    (Settings(), EveryFrame), (Settings(gate=Gate(mode="every")), EveryFrame),
    (Settings(source=Source(interval_s=2.0)), EveryFrame)])
def test_the_gate_for_pictures(settings, kind):
    assert type(open_gate(settings, [])) is kind


@pytest.mark.parametrize("settings, parts", [
    (Settings(gate=Gate(mode="belt"), source=Source(uri="pictures")), ["belt", "pictures", "no moving belt"]),
    (Settings(gate=Gate(mode="interval"), source=Source(interval_s=2.0, uri="pictures")), ["interval", "pictures"]),
    (Settings(source=Source(region=(0, 0, 99, 99))), ["region", "belt"])])
def test_gates_that_do_not_suit(settings, parts):
    with pytest.raises(SettingsError) as caught:
        open_gate(settings, [])
    assert all(part in str(caught.value) for part in parts)


class Belt(list):
    moving = True


class KnownBelt(Belt):
    geometry = {"line": 0.5, "direction": "right", "pixels_per_metre": 1600.0}


@pytest.mark.parametrize("settings, frames, parts", [
    (Settings(gate=Gate(mode="interval")), Belt(), ["interval_s"]),
    (Settings(source=Source(interval_s=2.0)), Belt(), ["interval_s", "waits for nobody"]),
    (Settings(gate=Gate(belt_speed_mps=0.5)), Belt(), ["belt_speed_mps", "pixels_per_metre"]),
    (Settings(source=Source(region=(0, 0, 99, 99))), KnownBelt(), ["region", "simulated"])])
def test_gates_that_do_not_suit_a_belt(settings, frames, parts):
    with pytest.raises(SettingsError) as caught:
        open_gate(settings, frames)
    assert all(part in str(caught.value) for part in parts)


def test_the_gate_for_a_belt():
    interval = Settings(gate=Gate(mode="interval"), source=Source(interval_s=2.0))
    assert type(open_gate(Settings(), Belt())) is BeltGate and type(open_gate(interval, Belt())) is Interval
    assert open_gate(Settings(), KnownBelt()).settings.pixels_per_metre == 1600.0


def test_a_slow_camera_learns_in_time(tiles):
    truth, items, _ = watch(tiles, FAST._replace(items=5, fps=5.0, speed=0.2, seed=20))
    assert len(items) == len(truth) == 5


def test_an_interval_takes_a_frame_every_so_often_and_makes_up_for_none():
    gate = Interval(1.0)
    image = np.zeros((4, 4, 3), np.uint8)
    taken = [t for t in (0.0, 0.4, 0.9, 1.1, 1.9, 2.0, 5.0, 5.1, 5.9, 6.0)
             if gate.offer(Frame("", "", image, None, t, 0.0, 0.0))]
    assert taken == [0.0, 1.1, 2.0, 5.0, 6.0]


def test_the_real_belt_has_three_packs_on_it(real_clip):
    """A hand-held clip, 160 frames; region and direction from its README. Nothing here was fitted to it."""
    video = cv2.VideoCapture(real_clip)
    gate = BeltGate(Gate(direction="left"), region=(80, 222, 287, 103))
    items, number = [], 0
    while True:
        fine, image = video.read()
        if not fine:
            break
        items += gate.offer(Frame("", "", image, None, number / 30.0, 0.0, 0.0))
        number += 1
    assert number > 100 and len(items) == 3

"""scrapsort setup finds what it proposes from frames alone: a simulated belt's own geometry only judges it here."""

import os
import sys
import threading

import cv2
import numpy as np
import pytest
from helpers import scrapsort

from edge import cli, settings
from edge.commands import setup
from edge.errors import OutputError, SourceError
from edge.frames.base import Frame
from edge.frames.simulated_belt import Options, SimulatedCamera
from edge.gate.annotate import annotated
from edge.gate.belt import BeltGate
from edge.gate.motion import MotionFinder
from edge.gate.recording import Recording
from edge.gate.survey import Survey, doubts, spread
from edge.settings import Gate, Settings, Source

WIDE = Options(width=960, height=540, pace="fast")
TALL = Options(width=540, height=960, pace="fast")


class Belt:
    """A simulated belt that does not say what it knows, as a camera."""

    moving = True

    def __init__(self, folder, options, change=lambda number, image: image):
        self.truth = []
        self.camera, self._change = SimulatedCamera(folder, options, on_item=self.truth.append), change

    def __iter__(self):
        stop, number = threading.Event(), 0
        while True:
            taken = self.camera.read(stop)
            if taken is None:
                return
            number += 1
            yield Frame("", "", self._change(number, taken[1]), None, taken[0], 0.0, 0.0)


def read_toml(text):
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    return tomllib.loads(text)


def parsed(text):
    """The proposal as a run reads it."""
    return settings.parse(read_toml(text), "setup")


def counted(found, frames):
    gate = BeltGate(found.gate, found.source.region)
    return sum(len(gate.offer(frame)) for frame in frames), gate


ON_NEWEST = pytest.mark.long("newest")


@pytest.mark.long
@pytest.mark.parametrize("word, options", [
    pytest.param("right", WIDE._replace(seed=31), marks=ON_NEWEST),
    ("left and fast", WIDE._replace(seed=32, direction="left", speed=1.5)),
    pytest.param("up, few frames a second", TALL._replace(seed=33, direction="up", fps=12.0, speed=0.4),
                 marks=ON_NEWEST),
    pytest.param("down and slow, shaken", TALL._replace(seed=34, direction="down", speed=0.15, shake=1.5, item=0.12),
                 marks=ON_NEWEST),
])
def test_what_is_proposed_is_what_is_there_and_counts_right(tiles, tmp_path, word, options):
    belt = Belt(tiles, options)
    pixels_per_metre = belt.camera.view.pixels_per_metre
    found = parsed(setup.propose(belt, Settings(), 15.0, str(tmp_path / "a.jpg"), options.item))
    assert found.gate.direction == options.direction and found.gate.mode == "belt"
    assert found.gate.pixels_per_metre == pytest.approx(pixels_per_metre, rel=0.05)
    speed = found.gate.belt_speed_mps * found.gate.pixels_per_metre / pixels_per_metre
    assert speed == pytest.approx(options.speed, rel=0.01)  # in pixels: the length's error left out
    assert found.gate.belt_speed_mps == pytest.approx(options.speed, rel=0.05)
    x, y, w, h = found.source.region
    width, height = (options.width, options.height)
    assert x + w <= width and y + h <= height and w * h > 0.6 * width * height
    again = Belt(tiles, options._replace(items=8, seed=options.seed + 50))
    count, gate = counted(found, again)
    assert count == 8 == len(again.truth) and gate.speed_mps == pytest.approx(options.speed, rel=0.05)


@pytest.mark.long
def test_the_real_clip(tmp_path, real_clip):
    """Hand-held, with shoes and cables around: nothing here was fitted to it."""
    class Clip:
        moving = True

        def __iter__(self):
            video, number = cv2.VideoCapture(real_clip), 0
            while True:
                fine, image = video.read()
                if not fine:
                    return
                yield Frame("", "", image, None, number / 30.0, 0.0, 0.0)
                number += 1
    found = parsed(setup.propose(Clip(), Settings(gate=Gate(direction="down")), 20.0, str(tmp_path / "a.png")))
    assert found.gate.direction == "left" and found.gate.pixels_per_metre == 0.0
    x, y, w, h = found.source.region
    assert y <= 240 and y + h >= 310 and h < 200 and x < 130 and x + w > 340  # the README's belt: 222 to 325, 80 to 367
    assert counted(found, Clip())[0] == 3


def test_the_picture_shows_region_line_mask_and_count(tiles, tmp_path, monkeypatch):
    written = []
    put_text = cv2.putText
    monkeypatch.setattr(cv2, "putText", lambda picture, text, *more: written.append(text) or put_text(
        picture, text, *more))
    belt = Belt(tiles, WIDE._replace(seed=35, width=320, height=180))
    setup.propose(belt, Settings(), 10.0, str(tmp_path / "a.png"))
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture.shape == (540, 960, 3)  # enlarged: text must be readable
    for word, colour in (("region", (0, 220, 255)), ("line", (255, 80, 255)), ("a track that waits", (255, 200, 0))):
        assert (np.abs(picture.astype(int) - colour).max(axis=2) < 3).sum() > 100, word
    assert any(text.endswith("crossed") for text in written) and any("right, 2" in text for text in written)


def test_a_gate_that_still_learns_is_drawn_too():
    gate, image = BeltGate(Gate(direction="up")), np.zeros((90, 160, 3), np.uint8)
    gate.offer(Frame("", "", image, None, 1.0, 0.0, 0.0))
    assert gate.mask is None and annotated(image, gate, ["learning"]).shape == (450, 800, 3)


@pytest.mark.long
def test_a_clip_has_every_frame(tiles, tmp_path):
    path = str(tmp_path / "a.avi")
    belt = Belt(tiles, WIDE._replace(seed=36, items=3))
    setup.propose(belt, Settings(), 20.0, path)
    clip = cv2.VideoCapture(path)
    frames = 0
    while clip.read()[0]:
        frames += 1
    assert frames == belt.camera.number - 1 > 100 and clip.get(cv2.CAP_PROP_FPS) == pytest.approx(30, abs=1)


def test_an_empty_belt_is_one_line_that_says_what_to_do(tmp_path):
    belt = Belt("", WIDE._replace(noise=0.03, shake=1.0, items=1, gap=5.0, speed=0.01, view=5.0))
    with pytest.raises(SourceError) as caught:
        setup.propose(belt, Settings(source=Source(uri="cam")), 6.0, str(tmp_path / "a.jpg"))
    assert "source cam: nothing that moves" in str(caught.value) and "--seconds" in str(caught.value)
    assert "\n" not in str(caught.value) and not os.listdir(str(tmp_path))


def test_a_source_that_cannot_be_read_says_the_same(tmp_path):
    bad = [Frame("", "", None, None, number / 10.0, 0.0, 0.0, "half a frame") for number in range(200)]
    with pytest.raises(SourceError, match="nothing that moves"):
        setup.propose(bad, Settings(), 5.0, str(tmp_path / "a.jpg"))


def test_a_source_without_end_is_left_and_told_to_stop(tiles):
    stop = threading.Event()
    belt = Belt(tiles, WIDE._replace(seed=37, fps=10.0))
    recording, motion = setup.look(belt, 6.0, stop)
    assert stop.is_set() and recording.seconds == pytest.approx(6.0, abs=0.11) and len(recording) == 61
    assert motion.direction == "right"


def test_what_is_kept_has_a_bound():
    recording = Recording(most_bytes=1000000)
    image = np.random.RandomState(0).randint(0, 256, (540, 1920, 3)).astype(np.uint8)
    while not recording.is_full:
        assert recording.offer(image, float(len(recording))).shape == (270, 960, 3)
    assert 2 <= len(recording) < 9 and recording.scale == (2.0, 2.0) and recording.fps == 1.0
    assert [image.shape for _, image in recording] == [(270, 960, 3)] * len(recording)


def test_chance_keeps_some_of_too_many_votes(monkeypatch):
    monkeypatch.setattr("edge.gate.motion.MOST_VOTES", 300)
    finder = MotionFinder()
    for number in range(300):
        image = np.full((180, 320, 3), 40, np.uint8)
        if number > 90:
            for start in (0, 150):
                x = (start + 3 * (number - 90)) % 300
                image[60 + start // 5:100 + start // 5, x:x + 30] = 200
        finder.offer(image, number / 30.0)
    motion = finder.motion()
    assert motion.direction == "right" and motion.speed == pytest.approx(90, rel=0.03)
    assert len(finder._votes) == 300 < finder._seen


def test_things_that_move_askew_are_said_to(tmp_path, caplog):
    def frames():
        for number in range(400):
            image = np.full((270, 480, 3), 40, np.uint8)
            x = (3 * (number - 90)) % 400
            if number > 90:
                image[20 + x // 3:60 + x // 3, x:x + 50] = 200
            yield Frame("", "", image, None, number / 30.0, 0.0, 0.0)
    caplog.set_level("INFO", "scrapsort")
    found = parsed(setup.propose(frames(), Settings(), 30.0, str(tmp_path / "a.jpg")))
    assert found.gate.direction == "right" and "18 degrees" in caplog.text and "turn the camera" in caplog.text
    assert "settings say left" in caplog.text


FINE = Survey(9, 0, (100.0,) * 9, (50.0,) * 9, (900.0,) * 9, 0, (0.95, 1.05), 90.0, 0.0, 0.0, 20.0, 30.0)


@pytest.mark.parametrize("word, change, part", [
    ("nothing crossed", {"items": 0, "speeds": (), "lengths": ()}, "none was seen to cross"),
    ("one thing", {"items": 1, "speeds": (100.0,), "lengths": (50.0,)}, "only 1 thing crossed"),
    ("speeds differ", {"speeds": (60.0, 90.0, 100.0, 110.0, 140.0)}, "not steady"),
    ("lengths differ", {"lengths": (30.0, 50.0, 70.0)}, "several lengths passed, 30 to 70 px"),
    ("too fast for the camera", {"fps": 2.0}, "move 50 px from frame to frame and are 50 px long"),
    ("clusters", {"clusters": 6}, "6 of 9 things look like several"),
    ("light switched", {"relearned": 2}, "2 times"),
    ("light flickers", {"gains": (0.7, 1.3)}, "fix the camera's exposure"),
    ("dark", {"grey": 9.0}, "more light"),
    ("overexposed", {"overexposed": 0.5}, "50% of the picture is white"),
    ("a rail in the region", {"standing": 1.5}, "narrow it"),
])
def test_what_is_doubtful_is_said(word, change, part):
    assert list(doubts(FINE, 2.0, True)) == []
    said = list(doubts(FINE._replace(**change), 2.0, True))
    assert len(said) == 1 and part in said[0], said


def test_spread():
    assert spread([]) == spread([3.0]) == 0.0 and spread([90.0, 100.0, 110.0]) == pytest.approx(0.08)


def command(*arguments):
    """stdout and stderr of a command that ends well."""
    code, printed, said = scrapsort(*arguments)
    assert code == 0, said
    return printed, said


@pytest.mark.long
def test_the_command_prints_toml_alone_and_a_run_takes_it(tiles, tmp_path):
    out, toml = str(tmp_path / "look.jpg"), str(tmp_path / "gate.toml")
    source = "sim:{}?pace=fast&width=640&height=360&direction=up&seed=38".format(tiles)
    printed, said = command("setup", "--source", source, "--out", out, "--seconds", "10", "--length", "0.16",
                            "--state", str(tmp_path / "state"))
    found = parsed(printed)
    assert found.gate.direction == "up" and not any(found.source.region)  # a simulated belt refuses one
    assert "crossed the line" in said and os.path.getsize(out) > 10000
    with open(toml, "w") as file:
        file.write(printed)
    summary = "".join(command("run", "--source", source + "&items=3", "--config", toml, "--state",
                              str(tmp_path / "state"), "--quiet"))
    assert "3 items" in summary


@pytest.mark.parametrize("word, arguments, parts", [
    ("a folder", ["--source", "."], ["shows no moving belt"]),
    ("no such folder for the picture", ["--source", "sim:", "--out", "nowhere/a.jpg"], ["nowhere/a.jpg", "folder"]),
    ("not a picture", ["--source", "sim:", "--out", "a.txt"], ["a.txt", ".mp4"]),
    ("too short", ["--source", "sim:", "--seconds", "1"], ["from 5 to 600"]),
    ("no length", ["--source", "sim:", "--length", "160"], ["metres"]),
    ("not a number", ["--source", "sim:", "--length", "nan"], ["metres"]),
])
def test_wrong_usage_is_one_line(word, arguments, parts, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "_tolerant_output", lambda: None)  # it takes pytest's own stdout apart on Python 3.6
    monkeypatch.chdir(str(tmp_path))
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))
    try:
        code = cli.main(["setup", "--state", str(tmp_path)] + arguments)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err
    assert code == 2 and all(part in said for part in parts) and said.count("\n") == 1, said


def test_a_clip_that_cannot_be_written_says_so(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda self: False, raising=False)
    with pytest.raises(OutputError, match="cannot write such a clip"):
        setup.propose(Belt(tiles, WIDE._replace(seed=39)), Settings(), 8.0, str(tmp_path / "a.avi"))


def test_things_of_which_no_two_sightings_share_a_place_have_a_region_too():
    finder = MotionFinder()
    for number in range(40):
        finder.offer(np.full((320, 320, 3), 40, np.uint8), number / 10.0)
    for lane in range(13):  # one thing in each, seen twice
        for sighting in range(2):
            image = np.full((320, 320, 3), 40, np.uint8)
            image[4 + 24 * lane:20 + 24 * lane, 60 + 90 * sighting:84 + 90 * sighting] = 200
            finder.offer(image, 8.0 + 4.0 * lane + sighting / 10.0)
    motion = finder.motion()
    assert motion.direction == "right" and motion.region[3] > 280

"""Pictures that are only half there: told from whole ones, dropped and counted."""

import pytest
from cameras import SIZE, Watching
from helpers import until
from stream_server import numbered

from edge.frames.damage import Halves


@pytest.mark.parametrize("lengths", [True, False])
def test_half_pictures_are_dropped_and_counted(server, opened, lengths):
    source = opened(server(what="half", good=60, fps=60, lengths=lengths))
    watching = Watching(source)
    until(lambda: "only half there" in source.state.trouble("camera"))
    until(lambda: not source.state.trouble("camera"))  # 40 of 100 are halves
    watching.end()
    assert source.counts["bad"] >= 35 and source.counts["reopened"] == 0
    assert all(number % 100 < 60 for number in watching.numbers) and len(watching.numbers) > 20


def test_a_camera_that_gives_nothing_but_halves_is_opened_anew(server, opened):
    source = opened(server(what="half", good=0, fps=60), SIZE._replace(stall_s=0.5))
    watching = Watching(source)
    until(lambda: "only half there" in source.state.trouble("camera"))
    watching.end()
    assert not watching.numbers


def pictures(kind):
    image = numbered(5, 320, 240)
    if kind == "half":
        image[150:] = (13, 77, 99)
    elif kind == "row":
        image[150:] = image[149]
    elif kind == "grey":
        image[150:] = 128
    elif kind == "bars":
        image[200:] = 0
    elif kind == "bright":
        image[150:] = 255
    return image


@pytest.mark.parametrize("word, kind, good_before, is_half", [
    ("whole", "whole", 9, False), ("one colour", "half", 9, True), ("a row repeated", "row", 9, True),
    ("flat from the first frame on: the scene", "half", 0, False), ("grey of empty memory", "grey", 0, True),
    ("black bars", "bars", 9, False), ("burnt out", "bright", 9, False)])
def test_what_a_half_picture_is(word, kind, good_before, is_half):
    halves = Halves()
    for _ in range(good_before):
        assert not halves.is_half(pictures("whole"))
    assert halves.is_half(pictures(kind)) == is_half

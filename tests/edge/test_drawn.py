"""The drawn items: repeatable, varied, lit things on a ground, in any size, and errors of one line."""

import numpy as np
import pytest

from edge.frames import drawn
from edge.frames.drawn import MATERIALS, draw_item, draw_named

EVERY_KIND = [(material, kind) for material in MATERIALS for kind in sorted(set(drawn._KINDS[material]), key=str)]


def covered_share(picture):
    """The share of the picture that differs clearly from the ground along the top and bottom edge."""
    picture = picture.astype(np.int32)
    edge = np.concatenate([picture[:6].reshape(-1, 3), picture[-6:].reshape(-1, 3)])
    return float((np.abs(picture - np.median(edge, axis=0)).max(axis=2) > 30).mean())


def test_materials_are_the_six_in_alphabetical_order():
    assert MATERIALS == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    for material in MATERIALS:
        assert len(set(drawn._KINDS[material])) >= 3


@pytest.mark.parametrize("material", MATERIALS)
def test_same_seed_same_picture(material):
    first, second = draw_named(material, 7), draw_named(material, 7)
    assert np.array_equal(first, second)
    first[:] = 0  # the picture is the caller's own: changing it changes no later one
    assert np.array_equal(draw_named(material, 7), second)
    a = draw_item(material, np.random.RandomState(3))
    b = draw_item(material, np.random.RandomState(3))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("material", MATERIALS)
def test_other_seeds_give_other_pictures(material):
    pictures = [draw_named(material, seed, 96, 128).astype(np.float32) for seed in range(6)]
    for index, one in enumerate(pictures):
        for other in pictures[index + 1 :]:
            assert np.abs(one - other).mean() > 4.0  # more than noise: another item, place or light


def test_the_same_seed_of_two_materials_is_not_the_same_scene():
    pictures = [draw_named(material, 0, 96, 128).astype(np.float32) for material in MATERIALS]
    for index, one in enumerate(pictures):
        for other in pictures[index + 1 :]:
            assert np.abs(one - other).mean() > 4.0


def test_a_random_state_moves_on():
    rng = np.random.RandomState(11)
    assert not np.array_equal(draw_item("metal", rng, 64, 64), draw_item("metal", rng, 64, 64))


@pytest.mark.parametrize("material, kind", EVERY_KIND, ids=lambda value: getattr(value, "__name__", value))
def test_every_kind_is_a_lit_item_on_a_ground(material, kind):
    shares = []
    for seed in range(6):
        picture = drawn._photograph(kind, np.random.RandomState(seed), 192, 256, "white")
        assert picture.shape == (192, 256, 3) and picture.dtype == np.uint8
        grey = picture.astype(np.float32).mean(axis=2)
        assert 60.0 < grey.mean() < 245.0  # neither black nor blown out
        assert grey.std() > 5.0
        assert len(np.unique(picture)) > 60  # shaded, not flat
        shares.append(covered_share(picture))
    assert max(shares) > 0.05, shares
    assert min(shares) < 0.9, shares


@pytest.mark.parametrize("material", MATERIALS)
def test_the_item_is_in_the_middle_and_ground_around_it(material):
    middle, rim = [], []
    for seed in range(12):
        picture = draw_named(material, seed, 192, 256).astype(np.float32)
        corners = [picture[:16, :16], picture[:16, -16:], picture[-16:, :16], picture[-16:, -16:]]
        ground = np.median(np.concatenate([corner.reshape(-1, 3) for corner in corners]), axis=0)
        middle.append(np.abs(picture[64:128, 85:171] - ground).max(axis=2).mean())
        rim.append(np.mean([np.abs(corner - ground).max(axis=2).mean() for corner in corners]))
    assert np.mean(middle) > 2.0 * np.mean(rim)


@pytest.mark.parametrize("height_px, width_px", [(32, 32), (33, 47), (32, 200), (224, 224), (480, 640), (720, 400)])
def test_other_sizes(height_px, width_px):
    for material in MATERIALS:
        for seed in range(3):
            picture = draw_named(material, seed, height_px, width_px)
            assert picture.shape == (height_px, width_px, 3) and picture.dtype == np.uint8
            assert picture.flags.c_contiguous and picture.flags.writeable
            assert picture.std() > 4.0


def test_numpy_integers_are_sizes_and_seeds():
    assert draw_named("paper", np.int64(5), np.int32(40), np.int64(50)).shape == (40, 50, 3)
    assert np.array_equal(draw_named("paper", np.int64(5), 40, 50), draw_named("paper", 5, 40, 50))


def test_grounds_grow_darker():
    levels = []
    for ground in drawn.GROUNDS:
        corners = [draw_named("paper", seed, 96, 128, ground)[:8, :8].mean() for seed in range(12)]
        levels.append(np.median(corners))
    white, grey, belt = levels
    assert white > grey + 30 > belt + 60


def test_the_global_random_state_is_not_touched():
    np.random.seed(123)
    before = np.random.get_state()
    for material in MATERIALS:
        for seed in range(4):
            draw_named(material, seed, 64, 64)
    after = np.random.get_state()
    assert before[2] == after[2] and np.array_equal(before[1], after[1])


@pytest.mark.parametrize(
    "arguments, names",
    [
        ({"material": "wood"}, ("material", "wood", "cardboard", "trash")),
        ({"material": None}, ("material", "None", "glass")),
        ({"height_px": 31}, ("height_px", "31", "32")),
        ({"width_px": 0}, ("width_px", "0", "32")),
        ({"width_px": 64.5}, ("width_px", "64.5", "whole")),
        ({"ground": "grass"}, ("ground", "grass", "belt")),
    ],
)
def test_wrong_arguments_are_one_line(arguments, names):
    whole = {"material": "glass", "height_px": 64, "width_px": 64, "ground": "white"}
    whole.update(arguments)
    for draw, source in ((draw_item, {"rng": np.random.RandomState(0)}), (draw_named, {"seed": 0})):
        with pytest.raises(ValueError) as caught:
            draw(**dict(whole, **source))
        message = str(caught.value)
        assert "\n" not in message
        for name in names:
            assert name in message


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "7", True])
def test_wrong_seeds_are_one_line(seed):
    with pytest.raises(ValueError) as caught:
        draw_named("glass", seed, 64, 64)
    assert "seed" in str(caught.value) and repr(seed) in str(caught.value) and "\n" not in str(caught.value)

"""Views: made once, the same again, and the same whatever else is in the pool."""

import shutil

import numpy as np
import pytest

from trainer.augment import Augmentation
from trainer.errors import TrainerError
from trainer.prepare import prepare
from trainer.views import Pool, Recipe, Views

HOW = Augmentation(paste=0.5, harsh=0.5)


@pytest.fixture()
def data(drawn_data, tmp_path):
    shutil.copytree(drawn_data[0], tmp_path / "d", ignore=shutil.ignore_patterns("views-*"))
    return tmp_path / "d"


def test_views_differ_and_are_made_once(data, drawn_data):
    pool = Pool(data, drawn_data[1], 2)
    views = Views(pool, Recipe(2, 2, HOW, 0, None))
    assert [v.shape for v in views.images] == [(len(pool), 224, 224, 3)] * 2 and len(pool) == 54 + 12
    assert views.features is None
    assert not any(np.array_equal(one, other) for one, other in zip(*views.images, strict=True))
    made = {p: p.stat().st_mtime_ns for p in (data / ".cache").iterdir()}
    again = Views(Pool(data, drawn_data[1], 2), Recipe(2, 2, HOW, 0, None))
    assert np.array_equal(again.images[1], views.images[1])
    assert made == {p: p.stat().st_mtime_ns for p in (data / ".cache").iterdir()}


def test_a_view_hangs_on_its_picture_and_the_recipe_alone(data, drawn_data):
    few, many = Pool(data, drawn_data[1], 0), Pool(data, drawn_data[1], 3)
    assert np.array_equal(few.view(5, [0, 1], HOW).image_bgr, many.view(5, [0, 1], HOW).image_bgr)
    for other in ([0, 2], [1, 1]):
        assert not np.array_equal(few.view(5, [0, 1], HOW).image_bgr, few.view(5, other, HOW).image_bgr)


def test_after_an_interruption_only_what_is_missing_is_made(data, drawn_data):
    pool = Pool(data, drawn_data[1], 0)
    views = Views(pool, Recipe(2, 0, HOW, 0, None))
    first, second = sorted((data / ".cache").glob("views-*.npy"))
    content, kept = second.read_bytes(), first.stat().st_mtime_ns
    del views
    second.unlink()
    Views(pool, Recipe(2, 0, HOW, 0, None))
    assert second.read_bytes() == content and first.stat().st_mtime_ns == kept


def test_the_pasted_view_is_of_each_photograph_and_never_a_trained_one(data, drawn_data):
    pool = Pool(data, drawn_data[1], 2)
    views = Views(pool, Recipe(1, 2, HOW, 0, None))
    pasted = views.pasted()
    assert len(pasted) == pool.photographs
    assert not any(np.array_equal(a, b) for a, b in zip(pasted, views.images[0], strict=False))


def test_what_cannot_be_drawn_is_one_line(tmp_path):
    from drawn_tree import write_tree
    split = prepare(write_tree(tmp_path / "in", 7, classes=("glass", "gravel")), tmp_path / "d")
    with pytest.raises(TrainerError, match="--drawn: gravel cannot be drawn"):
        Pool(tmp_path / "d", split, 1)

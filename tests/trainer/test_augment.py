"""Augmentation: the same for the same numbers, within its bounds, and MixUp and CutMix as they are defined."""

import cv2
import numpy as np
import pytest

from edge.frames.drawn import draw_named
from trainer import on_belt
from trainer.augment import Augmentation, augment, mix
from trainer.cutout import cut_out
from trainer.grounds import draw_ground

NOTHING = Augmentation(1.0, 1.0, 0.0, False, 0.0, 0.0, 0.0, 0.0, 0.0)


def changed(image_bgr, seed, how, cutout=None, see_through=False):
    return augment(image_bgr, np.random.default_rng(seed), 224, how, cutout, see_through).image_bgr


def test_the_same_numbers_give_the_same_picture_and_others_another():
    image_bgr = draw_named("metal", 1, 320, 320)
    one, same, other = (changed(image_bgr, s, Augmentation(harsh=0.5)) for s in (1, 1, 2))
    assert one.shape == (224, 224, 3) and one.dtype == np.uint8
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_with_everything_off_the_picture_stays_as_it_is():
    image_bgr = draw_named("metal", 1, 224, 224)
    out = changed(image_bgr, 0, NOTHING)
    # one row and column may shift by half a pixel: warpAffine's grid is that of pixel centres
    assert np.abs(out.astype(int) - image_bgr).mean() < 3


@pytest.mark.parametrize("field, value", [("min_area", 0.4), ("aspect", 2.0), ("rotate_deg", 45.0), ("flip", True),
                                          ("brightness", 0.5), ("contrast", 0.5), ("saturation", 0.9),
                                          ("temperature", 0.3), ("erase", 1.0), ("harsh", 1.0), ("belt", 1.0)])
def test_each_knob_changes_the_picture(field, value):
    image_bgr = draw_named("cardboard", 3, 224, 224)
    plain = changed(image_bgr, 7, NOTHING)
    others = [changed(image_bgr, seed, NOTHING._replace(**{field: value})) for seed in range(4)]
    assert max(np.abs(c.astype(int) - plain).mean() for c in others) > 1


def red_box():
    """A red box on white board, and its cut-out."""
    image_bgr = np.full((320, 320, 3), 230, np.uint8)
    image_bgr[110:210, 90:230] = (20, 20, 200)
    cut = cut_out(image_bgr)
    assert cut.found
    return image_bgr, np.dstack([cut.board_bgr, cut.mask])


def test_pasting_keeps_the_item_and_changes_the_ground():
    image_bgr, cutout = red_box()
    how = NOTHING._replace(paste=1.0)
    seen = [augment(image_bgr, np.random.default_rng(seed), 224, how, cutout) for seed in range(12)]
    for view in seen:
        red = (view.image_bgr[..., 2].astype(int) - view.image_bgr[..., 1]) > 100
        was = (view.plain_bgr[..., 2].astype(int) - view.plain_bgr[..., 1]) > 100
        assert (red & was).sum() / (red | was).sum() > 0.85  # the teacher's picture has the item in the same place
        assert (view.plain_bgr[~was] > 150).mean() > 0.9  # and the board around it
    grounds = [view.image_bgr[:12, :12].reshape(-1, 3).mean(0) for view in seen]
    assert np.std(grounds, axis=0).max() > 15  # never the same twice
    assert np.mean([np.abs(ground - 230).max() > 30 for ground in grounds]) > 0.6


def test_a_picture_whose_item_was_not_found_is_laid_down_as_a_sheet():
    sheet = np.full((320, 320, 3), (60, 120, 190), np.uint8)
    whole = np.dstack([sheet[:128, :128], np.full((128, 128), 255, np.uint8)])
    how = NOTHING._replace(paste=1.0)
    shares = [(np.abs(changed(sheet, seed, how, whole).astype(int) - (60, 120, 190)).max(2) < 12).mean()
              for seed in range(12)]
    assert min(shares) < 0.5 and max(shares) > 0.3


def test_on_a_belt_the_whole_photograph_is_there_blurred_and_coarse_whichever_way_up():
    image_bgr = draw_named("metal", 2, 320, 320)
    corners = ((20, 20, 200), (20, 200, 20), (200, 20, 20), (20, 200, 200))  # clockwise from the top left
    image_bgr[:70, :70], image_bgr[:70, -70:], image_bgr[-70:, -70:], image_bgr[-70:, :70] = corners
    how, first, sharp, belts = NOTHING._replace(belt=1.0), [], [], 0
    for seed in range(48):
        view = augment(image_bgr, np.random.default_rng(seed), 224, how)
        plain = view.plain_bgr.astype(int)
        shares = [(np.abs(plain - colour).max(2) < 40).mean() for colour in corners]
        assert min(shares) > 0.008, (seed, shares)  # no corner is cut off
        away = [np.abs(plain[20:40, 20:40] - colour).mean() for colour in corners]
        first += [int(np.argmin(away))] if max(shares) > 0.035 and min(away) < 40 else []
        sharp.append(cv2.Laplacian(view.image_bgr, cv2.CV_32F).std() / cv2.Laplacian(view.plain_bgr, cv2.CV_32F).std())
        belts += max(shares) < 0.035  # of a photograph that fills the view a corner has 4.8 %
    assert set(first) == {0, 1, 2, 3} and len(first) > 20
    assert np.median(sharp) < 0.7 and np.std(sharp) > 0.05
    assert 4 <= belts <= 24  # cut square, with the belt around it


@pytest.mark.parametrize("blur, least, most", [(0.0, 0.95, 1.05), (on_belt.BLUR, 0.0, 0.8)])
def test_on_a_belt_things_move_while_the_shutter_is_open(monkeypatch, blur, least, most):
    for name, value in (("BLUR", blur), ("NOISE", 0.0), ("SHARPEST", 1.0), ("COARSEST", 1.0)):
        monkeypatch.setattr(on_belt, name, value)
    image_bgr = draw_named("metal", 2, 320, 320)
    views = [on_belt.on_belt(image_bgr, np.random.default_rng(seed), 224) for seed in range(12)]
    sharp = [cv2.Laplacian(seen, cv2.CV_32F).std() / cv2.Laplacian(plain, cv2.CV_32F).std() for plain, seen in views]
    assert least <= np.median(sharp) <= most, sharp


def test_what_moves_is_smeared_along_its_way_alone():
    spot = np.zeros((65, 65, 3), np.uint8)
    spot[32, 32] = 250
    for angle_rad, axis in ((0.0, 0), (np.pi / 2, 1)):
        smeared = on_belt.moved(spot, 9.0, angle_rad)[..., 0].astype(int)
        along, across = smeared.sum(axis), smeared.sum(1 - axis)
        assert (along > 0).sum() in (9, 10, 11) and (across > 0).sum() == 1
        assert abs(smeared.sum() - 250) < 15
    assert np.array_equal(on_belt.moved(spot, 0.0, 1.0), spot)


def test_the_ground_shows_through_glass_alone():
    rng = np.random.default_rng(0)
    image_bgr = np.full((320, 320, 3), 225, np.uint8)
    image_bgr[80:240, 80:240] = 215  # as clear as glass gets
    cutout = np.zeros((128, 128, 4), np.uint8)
    cutout[..., :3] = 225
    cutout[32:96, 32:96, 3] = 255
    how, differ = NOTHING._replace(paste=1.0), 0
    for seed in rng.integers(0, 1000, 12):
        glass, paper = (changed(image_bgr, seed, how, cutout, see_through) for see_through in (True, False))
        middle = slice(100, 124), slice(100, 124)
        differ += np.abs(glass[middle].astype(int) - paper[middle]).mean() > 10
    assert differ >= 4


def test_grounds_are_many_and_the_same_for_a_seed():
    first = [draw_ground(np.random.default_rng(seed), 64) for seed in range(30)]
    assert all(g.shape == (64, 64, 3) and g.dtype == np.uint8 for g in first)
    assert np.array_equal(first[3], draw_ground(np.random.default_rng(3), 64))
    means = np.array([g.reshape(-1, 3).mean(0) for g in first])
    assert means.std(0).min() > 20 and np.median([g.std() for g in first]) > 5


def test_mixing_is_a_weighted_sum_or_a_pasted_box():
    seen = set()
    for seed in range(40):
        batch = np.random.default_rng(100 + seed).normal(size=(6, 3, 32, 32)).astype(np.float32)
        original = batch.copy()
        other, share = mix(batch, np.random.default_rng(seed))
        assert 0.5 <= share <= 1.0
        kept = (batch == original).all(1)  # (6, 32, 32)
        pasted = (batch == original[other]).all(1)
        if (kept | pasted).all():
            seen.add("cutmix")
            moved = other != np.arange(6)
            assert kept[moved].mean((1, 2)) == pytest.approx(share, abs=1e-6)
        else:
            seen.add("mixup")
            assert np.allclose(batch, share * original + (1 - share) * original[other], atol=1e-4)
    assert seen == {"mixup", "cutmix"}

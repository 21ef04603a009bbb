"""Augmentation: the same for the same numbers, within its bounds, and MixUp and CutMix as they are defined."""

import numpy as np
import pytest

from edge.frames.drawn import draw_named
from trainer.augment import Augmentation, augment, mix

NOTHING = Augmentation(1.0, 1.0, 0.0, False, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_same_numbers_give_the_same_picture_and_others_another():
    image_bgr = draw_named("metal", 1, 320, 320)
    one, same, other = (augment(image_bgr, np.random.default_rng(s), 224, Augmentation()) for s in (1, 1, 2))
    assert one.shape == (224, 224, 3) and one.dtype == np.uint8
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_with_everything_off_the_picture_stays_as_it_is():
    image_bgr = draw_named("metal", 1, 224, 224)
    out = augment(image_bgr, np.random.default_rng(0), 224, NOTHING)
    # one row and column may shift by half a pixel: warpAffine's grid is that of pixel centres
    assert np.abs(out.astype(int) - image_bgr).mean() < 3


@pytest.mark.parametrize("field, value", [("min_area", 0.4), ("aspect", 2.0), ("rotate_deg", 45.0), ("flip", True),
                                          ("brightness", 0.5), ("contrast", 0.5), ("saturation", 0.9),
                                          ("temperature", 0.3), ("erase", 1.0)])
def test_each_knob_changes_the_picture(field, value):
    image_bgr = draw_named("cardboard", 3, 224, 224)
    plain = augment(image_bgr, np.random.default_rng(7), 224, NOTHING)
    changed = [augment(image_bgr, np.random.default_rng(seed), 224, NOTHING._replace(**{field: value}))
               for seed in range(4)]
    assert max(np.abs(c.astype(int) - plain).mean() for c in changed) > 1


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

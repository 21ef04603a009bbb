"""From logits to a call: temperature, pooling of views, and which threshold counts."""

import math

import numpy as np
import pytest

from edge.bundles import Bundle
from edge.decision import ACCEPT, REVIEW, Decider, softmax
from edge.errors import SettingsError

NAMES = ("glass", "metal", "paper")


def decider(threshold=0.5, temperature=1.0):
    return Decider(NAMES, temperature, dict.fromkeys(NAMES, threshold))


def logits_of(*probabilities):
    return np.log(np.array(probabilities, np.float64))


@pytest.mark.parametrize("word, logits, temperature, expected", [
    ("equal", [0.0, 0.0, 0.0], 1.0, [1 / 3.0] * 3),
    ("as they are", [math.log(1), math.log(2), math.log(5)], 1.0, [0.125, 0.25, 0.625]),
    ("shifted by a constant", [100 + math.log(1), 100 + math.log(2), 100 + math.log(5)], 1.0, [0.125, 0.25, 0.625]),
    ("a higher temperature is less sure", [0.0, 0.0, 2 * math.log(2)], 2.0, [0.25, 0.25, 0.5]),
    ("a lower one is surer", [0.0, 0.0, math.log(2)], 0.5, [1 / 6.0, 1 / 6.0, 4 / 6.0]),
    ("huge", [1e30, 0.0, -1e30], 1.0, [1.0, 0.0, 0.0]),
    ("huge and negative", [-3e38, -3e38, -3e38], 1.0, [1 / 3.0] * 3),
    ("the largest of float32", [3.4e38, 3.4e38, 0.0], 0.05, [0.5, 0.5, 0.0]),
])
def test_softmax(word, logits, temperature, expected):
    for kind in (np.float32, np.float64):
        got = softmax(np.array(logits, kind), temperature)
        assert got.dtype == np.float64
        assert np.allclose(got, expected, atol=1e-5) and abs(got.sum() - 1) < 1e-12


def test_softmax_goes_along_the_last_axis():
    logits = np.array([[0.0, 0.0], [0.0, math.log(3)]])
    assert np.allclose(softmax(logits), [[0.5, 0.5], [0.25, 0.75]])


def test_a_call_says_everything():
    call = decider().decide(logits_of([0.1, 0.7, 0.2]))
    assert call.class_name == "metal" and call.decision == ACCEPT and not call.low_confidence
    assert call.confidence == pytest.approx(0.7) and call.probabilities == pytest.approx((0.1, 0.7, 0.2))
    assert call.threshold == 0.5
    assert all(type(p) is float for p in call.probabilities + (call.confidence,))  # plain, for JSON and SQLite


def test_views_are_pooled_by_their_probabilities():
    """One view far off is outvoted; the mean of the logits would follow it."""
    views = logits_of([0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [1 - 2e-9, 1e-9, 1e-9])
    call = decider(0.45).decide(views)
    assert call.probabilities == pytest.approx((0.5, 1.3 / 3, 0.2 / 3))
    assert call.class_name == "glass"
    assert decider().decide(views[:2]).class_name == "metal"


def test_temperature_comes_before_pooling():
    views = logits_of([0.8, 0.1, 0.1], [0.2, 0.6, 0.2])
    expected = softmax(views, 2.0).mean(0)
    assert decider(temperature=2.0).decide(views).probabilities == pytest.approx(tuple(expected))


@pytest.mark.parametrize("word, share, threshold, decision", [
    ("equal is enough", 0.5, 0.5, ACCEPT),
    ("just below", 0.5, 0.5 + 1e-12, REVIEW),
    ("above", 0.5, 0.4999, ACCEPT),
    ("0 accepts all", 0.5, 0.0, ACCEPT),
    ("1 accepts hardly anything", 0.5, 1.0, REVIEW),
])
def test_threshold(word, share, threshold, decision):
    two = Decider(("a", "b"), 1.0, {"a": threshold, "b": threshold})
    call = two.decide(np.zeros((1, 2)))
    assert call.confidence == share and call.decision == decision and call.low_confidence == (decision == REVIEW)


def test_each_class_has_its_own_threshold():
    strict = Decider(NAMES, 1.0, {"glass": 0.9, "metal": 0.2, "paper": 0.2})
    assert strict.decide(logits_of([0.8, 0.1, 0.1])).decision == REVIEW
    assert strict.decide(logits_of([0.1, 0.8, 0.1])).decision == ACCEPT


@pytest.mark.parametrize("word, bundle_per_class, threshold, per_class, expected", [
    # expected: thresholds of glass, metal, paper, plastic
    ("the bundle's default", {}, 0.0, {}, (0.6, 0.6, 0.6, 0.6)),
    ("before it the bundle's per class", {"metal": 0.8}, 0.0, {}, (0.6, 0.8, 0.6, 0.6)),
    ("before it the settings' threshold", {"metal": 0.8}, 0.3, {}, (0.3, 0.3, 0.3, 0.3)),
    ("before it the settings' per class", {"metal": 0.8}, 0.3, {"paper": 0.9}, (0.3, 0.3, 0.9, 0.3)),
    ("per class without a threshold", {"metal": 0.8}, 0.0, {"metal": 0.1}, (0.6, 0.1, 0.6, 0.6)),
    ("0 for a class is a threshold", {"metal": 0.8}, 0.3, {"metal": 0.0}, (0.3, 0.0, 0.3, 0.3)),
    ("0 of the bundle for a class too", {"metal": 0}, 0.0, {}, (0.6, 0.0, 0.6, 0.6)),
])
def test_which_threshold_counts(make_bundle, word, bundle_per_class, threshold, per_class, expected):
    def edit(manifest):
        manifest["thresholds"] = {"default": 0.6, "per_class": bundle_per_class}
        manifest["temperature"] = 1.5
    bundle = Bundle(make_bundle(edit=edit))
    made = Decider.from_settings(bundle, threshold, per_class)
    assert made.temperature == 1.5 and made.classes == bundle.classes
    got = [made.decide(10 * np.eye(4)[row:row + 1]).threshold for row in range(4)]
    assert tuple(got) == expected


def test_a_class_that_the_bundle_does_not_have(make_bundle):
    with pytest.raises(SettingsError) as caught:
        Decider.from_settings(Bundle(make_bundle()), 0.5, {"wood": 0.9})
    assert "decision.per_class.wood" in str(caught.value) and "glass, metal, paper, plastic" in str(caught.value)
    assert "\n" not in str(caught.value)

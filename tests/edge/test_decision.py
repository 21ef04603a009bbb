"""From an answer to a call: temperature, pooling of views, strangers, and which threshold counts."""

import hashlib
import math
import os

import numpy as np
import pytest

from edge.bundles import Bundle, FeatureSpace, Stranger
from edge.classifier import Answer
from edge.decision import ACCEPT, CLUSTER, REVIEW, Decider, softmax
from edge.errors import BundleError, SettingsError
from edge.strangers import StrangerScore

NAMES = ("glass", "metal", "paper")


def decider(threshold=0.5, temperature=1.0):
    return Decider(NAMES, temperature, dict.fromkeys(NAMES, threshold))


def answer_of(logits, features=None):
    """An answer as classifiers give it, for the logits (k, C) of k views."""
    features = np.zeros((len(logits), 512), np.float32) if features is None else features
    return Answer(np.asarray(logits), features, 1.0, 2.0)


def logits_of(*probabilities):
    return answer_of(np.log(np.array(probabilities, np.float64)))


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


def test_what_touches_goes_to_review_however_sure_the_network_is():
    sure = logits_of([0.01, 0.98, 0.01])
    assert decider().decide(sure).decision == ACCEPT
    call = decider().decide(sure, cluster=True)
    assert (call.decision, call.reason, call.class_name) == (REVIEW, CLUSTER, "metal")


def test_a_call_says_everything():
    call = decider().decide(logits_of([0.1, 0.7, 0.2]))
    assert call.class_name == "metal" and call.decision == ACCEPT and not call.low_confidence
    assert call.confidence == pytest.approx(0.7) and call.probabilities == pytest.approx((0.1, 0.7, 0.2))
    assert call.threshold == 0.5 and call.reason == "" and call.stranger_score is None
    assert all(type(p) is float for p in call.probabilities + (call.confidence,))  # plain, for JSON and SQLite


def test_views_are_pooled_by_their_probabilities():
    """One view far off is outvoted; the mean of the logits would follow it."""
    views = logits_of([0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [1 - 2e-9, 1e-9, 1e-9])
    call = decider(0.45).decide(views)
    assert call.probabilities == pytest.approx((0.5, 1.3 / 3, 0.2 / 3))
    assert call.class_name == "glass"
    assert decider().decide(answer_of(views.logits[:2])).class_name == "metal"


def test_temperature_comes_before_pooling():
    views = logits_of([0.8, 0.1, 0.1], [0.2, 0.6, 0.2])
    expected = softmax(views.logits, 2.0).mean(0)
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
    call = two.decide(answer_of(np.zeros((1, 2))))
    assert call.confidence == share and call.decision == decision and call.low_confidence == (decision == REVIEW)
    assert call.reason == ("low_confidence" if decision == REVIEW else "")


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
    ("null of the bundle: never accepted", {"metal": None}, 0.0, {}, (0.6, None, 0.6, 0.6)),
    ("before it the settings' threshold", {"metal": None}, 0.3, {}, (0.3, 0.3, 0.3, 0.3)),
    ("before it the settings' per class", {"metal": None}, 0.0, {"metal": 0.0}, (0.6, 0.0, 0.6, 0.6)),
])
def test_which_threshold_counts(make_bundle, word, bundle_per_class, threshold, per_class, expected):
    def edit(manifest):
        manifest["thresholds"] = {"default": 0.6, "per_class": bundle_per_class}
        manifest["temperature"] = 1.5
    bundle = Bundle(make_bundle(edit=edit))
    made = Decider.from_settings(bundle, threshold, per_class)
    assert made.temperature == 1.5 and made.classes == bundle.classes
    got = [made.decide(answer_of(10 * np.eye(4)[row:row + 1])).threshold for row in range(4)]
    assert tuple(got) == expected


def test_a_class_that_the_bundle_does_not_have(make_bundle):
    with pytest.raises(SettingsError) as caught:
        Decider.from_settings(Bundle(make_bundle()), 0.5, {"wood": 0.9})
    assert "decision.per_class.wood" in str(caught.value) and "glass, metal, paper, plastic" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_is_never_accepted():
    """Not even at a probability of exactly 1, which a threshold of 1 would let pass."""
    never = Decider(NAMES, 1.0, {"glass": None, "metal": 1.0, "paper": 0.5})
    sure = [answer_of(1000 * np.eye(3)[row:row + 1]) for row in range(3)]
    calls = [never.decide(answer) for answer in sure]
    assert [call.confidence for call in calls] == [1.0] * 3
    assert [(call.decision, call.reason, call.threshold) for call in calls] == [
        (REVIEW, "always_review", None), (ACCEPT, "", 1.0), (ACCEPT, "", 0.5)]


# ---------------------------------------------------------------- strangers

LOGITS = [[2.0, 0.0, -1.0], [0.5, 0.25, 0.0]]


def energy(row, temperature):
    return -temperature * math.log(sum(math.exp(value / temperature) for value in row))


@pytest.mark.parametrize("word, rule, expected", [
    # expected: of each view of LOGITS, at the bundle's temperature of 2
    ("max_probability", Stranger("max_probability", 0.0), [-softmax(np.array(row), 2.0).max() for row in LOGITS]),
    ("max_logit", Stranger("max_logit", 0.0), [-2.0, -0.5]),
    ("energy", Stranger("energy", 0.0), [energy(row, 1.0) for row in LOGITS]),
    ("energy at a temperature of its own", Stranger("energy", 0.0, 4.0), [energy(row, 4.0) for row in LOGITS]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_scores_of_logits_are_averaged_over_views(word, rule, expected):
    two = Decider(NAMES, 2.0, dict.fromkeys(NAMES, 0.0), StrangerScore(rule, 2.0))
    for views in ([0], [1], [0, 1]):
        call = two.decide(answer_of([LOGITS[view] for view in views]))
        assert call.stranger_score == pytest.approx(np.mean([expected[view] for view in views]), abs=1e-12)
        assert type(call.stranger_score) is float


@pytest.mark.parametrize("row", [[3e38, 0.0, -3e38], [-3e38, -3e38, -3e38], [800.0, 799.0, 0.0]])
@pytest.mark.parametrize("name", ["max_probability", "max_logit", "energy"])
def test_huge_logits_do_not_overflow(name, row):
    assert math.isfinite(StrangerScore(Stranger(name, 0.0), 1.0)([row], np.zeros((1, 512), np.float32)))


def test_the_distance_of_features_is_that_to_the_nearest_mean_after_projection():
    rng = np.random.RandomState(3)
    space = FeatureSpace(rng.randn(3, 20).astype(np.float32), 0.1 * rng.randn(512, 20).astype(np.float32))
    features = rng.randn(4, 512).astype(np.float32)
    score = StrangerScore(Stranger("feature_distance", 0.0), 1.0, space)
    distances = ((features.dot(space.projection)[:, None] - space.means) ** 2).sum(2)
    assert len(set(distances.argmin(1))) > 1  # a test in which the nearest is not always the same
    for views in ([2], [0, 1, 2, 3], [3, 1]):
        got = score([[0.0] * 3] * len(views), features[views])
        assert got == pytest.approx(distances.min(1)[views].mean(), rel=1e-5) and type(got) is float


@pytest.mark.parametrize("word, score_threshold, class_threshold, decision, reason", [
    ("known and sure", -0.4, 0.5, ACCEPT, ""),
    ("equal is known", -0.5, 0.5, ACCEPT, ""),
    ("strange, though sure enough", -0.6, 0.5, REVIEW, "stranger"),
    ("strange, though everything is accepted", -0.6, 0.0, REVIEW, "stranger"),
    ("strange and unsure: strange says more", -0.6, 0.9, REVIEW, "stranger"),
    ("strange, of a class never accepted", -0.6, None, REVIEW, "stranger"),
    ("known, but unsure", -0.4, 0.9, REVIEW, "low_confidence"),
])
def test_a_stranger_goes_to_review_whatever_its_confidence(word, score_threshold, class_threshold, decision, reason):
    score = StrangerScore(Stranger("max_probability", score_threshold), 1.0)
    call = Decider(("a", "b"), 1.0, dict.fromkeys("ab", class_threshold), score).decide(answer_of(np.zeros((1, 2))))
    assert call.stranger_score == -0.5
    assert (call.decision, call.reason, call.low_confidence) == (decision, reason, decision == REVIEW)
    assert call.threshold == class_threshold


def test_a_score_that_is_no_number_is_a_stranger():
    """float16 may overflow in the features of something wild."""
    space = FeatureSpace(np.zeros((3, 2), np.float32), np.zeros((512, 2), np.float32))
    decider = Decider(NAMES, 1.0, dict.fromkeys(NAMES, 0.0),
                      StrangerScore(Stranger("feature_distance", 1e9), 1.0, space))
    with np.errstate(invalid="ignore"):
        call = decider.decide(answer_of(np.zeros((1, 3)), np.full((1, 512), np.inf, np.float32)))
    assert (call.decision, call.reason) == (REVIEW, "stranger")


@pytest.fixture
def bundle_with_space(make_bundle):
    """A bundle that tells strangers by feature_distance, its features' mean at 0: (path, its feature space's file)."""
    path = make_bundle()
    file = os.path.join(path, "strangers.npz")
    rng = np.random.RandomState(4)
    np.savez(file, means=np.zeros((4, 3), np.float32), projection=rng.randn(512, 3).astype(np.float32))
    with open(file, "rb") as opened:
        digest = hashlib.sha256(opened.read()).hexdigest()

    def edit(manifest):
        manifest["stranger"] = {"score": "feature_distance", "threshold": 10.0,
                                "file": {"path": "strangers.npz", "sha256": digest}}
    return make_bundle(edit=edit), file


def test_the_decider_of_a_bundle_with_a_feature_space(bundle_with_space):
    bundle = Bundle(bundle_with_space[0])
    bundle.verify()
    near, far = np.full((1, 512), 1e-4, np.float32), np.full((1, 512), 5.0, np.float32)
    sure = 10 * np.eye(4)[:1]
    with_score = Decider.from_settings(bundle, 0.0, {})
    assert [with_score.decide(answer_of(sure, features)).reason for features in (near, far)] == ["", "stranger"]
    switched_off = Decider.from_settings(bundle, 0.0, {}, stranger=False).decide(answer_of(sure, far))
    assert (switched_off.decision, switched_off.stranger_score) == (ACCEPT, None)


def test_a_damaged_feature_space_is_refused(bundle_with_space):
    path, file = bundle_with_space
    with open(file, "r+b") as opened:
        opened.seek(200)
        opened.write(b"x")
    for use in (lambda: Decider.from_settings(Bundle(path), 0.0, {}), Bundle(path).verify):
        with pytest.raises(BundleError) as caught:
            use()
        assert "strangers.npz is damaged" in str(caught.value) and "\n" not in str(caught.value)

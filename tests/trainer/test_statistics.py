"""Bounds against exact enumeration, intervals against the scores themselves."""

import itertools
import math

import numpy as np
import pytest

from edge.decision import softmax
from trainer.metrics import summarise
from trainer.statistics import (
    binomial_cdf,
    bootstrap_intervals,
    clopper_pearson_lower,
    crossing_probability,
    repeated_looks,
    smallest_sample,
)


def tail(count, trials, rate):
    """P(X <= count), by counting."""
    return sum(math.comb(trials, k) * rate ** k * (1 - rate) ** (trials - k) for k in range(count + 1))


@pytest.mark.parametrize("count, trials, rate", [(0, 1, 0.3), (3, 20, 0.1), (7, 300, 0.02), (300, 300, 0.02),
                                                 (-1, 5, 0.5), (40, 900, 0.05)])
def test_binomial_probabilities(count, trials, rate):
    assert binomial_cdf(count, trials, rate) == pytest.approx(tail(count, trials, rate), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("successes, trials, confidence, bound", [
    (114, 114, 0.9, 0.980004),  # 0.1 ** (1 / 114)
    (113, 113, 0.9, 0.979829),
    (50, 50, 0.95, 0.941845),
    (95, 100, 0.95, 0.897747),  # R: binom.test(95, 100, alternative = "greater", conf.level = 0.95)
    (1, 1, 0.9, 0.1),
    (0, 5, 0.9, 0.0),
])
def test_known_bounds(successes, trials, confidence, bound):
    assert clopper_pearson_lower(successes, trials, confidence) == pytest.approx(bound, abs=1e-6)


def test_a_bound_holds_as_often_as_it_says():
    trials, confidence = 25, 0.9
    bounds = [clopper_pearson_lower(k, trials, confidence) for k in range(trials + 1)]
    covered = [sum(math.comb(trials, k) * share ** k * (1 - share) ** (trials - k) for k in range(trials + 1)
                   if bounds[k] <= share) for share in np.linspace(0.005, 0.995, 199)]
    assert min(covered) >= confidence - 1e-9
    assert min(covered) < confidence + 0.01  # and is no wider than it must be


@pytest.mark.parametrize("successes, trials, confidence", [(3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1.0), (1, 2, 0.0)])
def test_nonsense_is_refused(successes, trials, confidence):
    with pytest.raises(ValueError, match=f"{successes} of {trials}"):
        clopper_pearson_lower(successes, trials, confidence)


@pytest.mark.parametrize("rate, level", [(0.02, 0.1), (0.05, 0.1), (0.01, 0.05), (0.5, 0.5)])
def test_the_smallest_sample_just_suffices(rate, level):
    n = smallest_sample(rate, level)
    assert clopper_pearson_lower(n, n, 1 - level) >= 1 - rate - 1e-9
    assert n == 1 or clopper_pearson_lower(n - 1, n - 1, 1 - level) < 1 - rate


@pytest.mark.parametrize("looks, allowed", [((3, 7, 12), (0, 1, 2)), ((5, 12), (-1, 3)), ((12,), (4,)),
                                            ((2, 4), (-1, -1))])
def test_crossing_probability_equals_that_of_all_rows(looks, allowed):
    rate, total = 0.3, 0.0
    for row in itertools.product((0, 1), repeat=12):
        if any(sum(row[:n]) <= few for n, few in zip(looks, allowed, strict=True)):
            total += rate ** sum(row) * (1 - rate) ** (12 - sum(row))
    assert crossing_probability(looks, allowed, rate) == pytest.approx(total)


@pytest.mark.parametrize("total", [250, 400, 1500])
@pytest.mark.parametrize("rate, level", [(0.02, 0.1), (0.05, 0.1), (0.1, 0.05), (0.01, 0.1)])
def test_repeated_looks_use_up_the_level_and_no_more(total, rate, level):
    looks = tuple(n for n in (math.ceil(total * i / 60) for i in range(15, 61)) if n >= smallest_sample(rate, level))
    each, allowed = repeated_looks(looks, rate, level)
    assert crossing_probability(looks, allowed, rate) <= level
    for look, few in zip(looks, allowed, strict=True):
        assert few < 0 or tail(few, look, rate) <= each
        assert tail(few + 1, look, rate) > each
    # A sixth of the level is what trainer.thresholds gives each look for the best reachable bound: never better
    assert level / 6 <= each <= level
    if crossing_probability(looks, allowed, rate) < 0.75 * level:
        assert each == pytest.approx(level, rel=1e-3)  # only as few errors are whole numbers


def answers(count=400, classes=4, seed=0, sure=2.0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return rng.normal(size=(count, classes)) + sure * np.eye(classes)[labels], labels


def test_a_single_group_gives_the_scores_themselves():
    logits, labels = answers()
    got = bootstrap_intervals(logits, labels, list("abcd"), groups=np.zeros(400), temperature=1.3, resamples=10)
    scores = summarise(logits, labels, list("abcd"), 1.3)
    for name in ("accuracy", "macro_f1", "weighted_f1", "calibration_error"):
        assert got[name] == pytest.approx([scores[name]] * 2)
    for name, one in got["per_class"].items():
        for score in ("precision", "recall", "f1"):
            assert one[score] == pytest.approx([scores["per_class"][name][score]] * 2)


def test_intervals_equal_those_of_a_loop_over_resamples():
    logits, labels = answers()
    got = bootstrap_intervals(softmax(logits), labels, list("abcd"), resamples=2000, seed=1)
    rng, loop = np.random.default_rng(2), []
    for _ in range(250):
        drawn = rng.integers(0, 400, 400)
        scores = summarise(logits[drawn], labels[drawn], list("abcd"))
        loop.append([scores["accuracy"], scores["macro_f1"], scores["calibration_error"],
                     scores["per_class"]["c"]["precision"]])
    expected = np.quantile(loop, (0.025, 0.975), axis=0)
    found = np.array([got["accuracy"], got["macro_f1"], got["calibration_error"], got["per_class"]["c"]["precision"]])
    assert np.abs(found.T - expected).max() < 0.02 and (found[:, 1] - found[:, 0]).min() > 0.02


def test_copies_of_a_picture_do_not_narrow_the_interval():
    logits, labels = answers(150)
    copies = np.repeat(np.arange(150), 4)

    def width(logits, labels, groups=None):
        low, high = bootstrap_intervals(logits, labels, list("abcd"), groups=groups, temperature=1.0)["accuracy"]
        return high - low

    once = width(logits, labels)
    assert width(logits[copies], labels[copies], copies) == pytest.approx(once, rel=0.1)
    assert width(logits[copies], labels[copies]) < 0.6 * once


def test_a_class_without_pictures_has_no_interval():
    logits, labels = answers(classes=3)
    labels = np.minimum(labels, 1)
    per_class = bootstrap_intervals(logits, labels, list("abc"), temperature=1.0, resamples=50)["per_class"]
    assert per_class["c"]["recall"] is None and per_class["c"]["f1"] is None
    assert per_class["a"]["recall"] is not None


def test_the_seed_fixes_the_interval_and_no_pictures_are_refused():
    logits, labels = answers(60)
    runs = [bootstrap_intervals(logits, labels, list("abcd"), temperature=1.0, resamples=100, seed=s)
            for s in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]
    with pytest.raises(ValueError, match="no pictures"):
        bootstrap_intervals(np.zeros((0, 2)), np.zeros(0, int), ["a", "b"])

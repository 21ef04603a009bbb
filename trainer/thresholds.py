"""Per class the lowest threshold whose purity a sample proves, and what a bundle says of it.

For class c, H(t) says: of the items called c with probability t or more, no more than the target are right. At a
threshold that leaves n of the sample accepted, the errors among them are binomial, so H(t) is tested exactly. But
thresholds are many and the data choose among them, hence multiple testing, as in "learn then test" (Angelopoulos,
Bates, Candès, Jordan and Lei 2021). Its fixed sequence, from the highest threshold down, stops at the first failure;
with samples of a few hundred one early error ends it. Nested thresholds are looks at one growing sample instead: the
items in order of their probability. A group-sequential boundary (statistics.repeated_looks) makes up for all looks
together at little cost, and the lowest threshold within it may be taken, whatever the looks before it showed.

Why that keeps 1 - confidence. The looks come from the number and probabilities of the items called c, never from
which of them are right. Given the highest probability that is left out, the items above it are independent draws of
what would be accepted. Let t* be where purity comes down to the target, and m items lie above it: each of them is an
error with the rate 1 - target. Every item further down is one at that rate or more, as long as lowering a threshold
that is too low already does not raise the purity again, which is what is assumed. So the errors at all looks below t*
are no fewer than in a row of independent trials with this rate, and such a row passes any look with a probability of
1 - confidence at most. Purity may waver at the very top: where fewer items lie than the smallest sample that could
pass, nobody looks. The item at the margin is no evidence of itself: a threshold lies above the first one left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.bundles import MANIFEST, Bundle, seal
from trainer.answers import Answers
from trainer.errors import TrainerError
from trainer.files import write_json
from trainer.statistics import clopper_pearson_lower, repeated_looks, smallest_sample

LOOKS, FIRST_LOOK = 60, 15  # at 15/60, 16/60, … of the items called so; fewer, or from the start, has less power
BOUND_LOOKS = 6  # at 1/6, 2/6, … for the best reachable bound: each look takes its share of 1 - confidence
METHOD = ("exact binomial tests of thresholds as looks at one growing sample, group-sequential boundary (Pocock 1977; "
          "Armitage, McPherson and Rowe 1969) for the multiplicity of learn-then-test (Angelopoulos et al. 2021)")


@dataclass(frozen=True)
class Choice:
    """What was chosen for one class, and what it promises. None: nothing to say, or never accepted (threshold)."""

    target: float
    reached: bool
    threshold: float | None
    called: int  # answers that were tested: called this class, in the sample of the belt
    accepted: int  # of these, at the threshold
    errors: int  # among the accepted
    purity_lower_bound: float | None  # at the corrected level; target or more where it is reached
    expected_purity: float | None
    recovery: float | None  # expected share of the class's items that are accepted
    review_share: float | None  # expected share of the items called so that go to review
    best_reachable: float | None  # the highest purity bound of any threshold, whichever the data favour
    best_reachable_threshold: float | None
    needed: int  # accepted answers without an error, at one single look, that the target takes at least


@dataclass(frozen=True)
class Look:
    """One threshold: the items above `below`, the first one left out, are accepted."""

    accepted: int
    errors: int
    threshold: float
    level: float  # at which this look alone is tested


def choose(answers: Answers, targets: Mapping[str, float], confidence: float, *, best_effort: bool = False,
           seed: int = 0) -> dict[str, Choice]:
    """The choice for each class. A target out of reach: never accept, or with best_effort the best bound there is.

    targets: purity by class, each strictly between 0 and 1. The promise holds for each class by itself.
    """
    return {name: _choose_one(answers, c, targets[name], confidence, best_effort, _rng(seed, c))
            for c, name in enumerate(answers.classes)}


def _choose_one(answers: Answers, c: int, target: float, confidence: float, best_effort: bool,
                rng: np.random.Generator) -> Choice:
    picked, reserve = answers.sample(c, rng)
    items = _in_order(answers, c, picked)
    delta = (1 - confidence) * (1 - reserve)
    look = _lowest_passing(*items, target, delta)
    best, bound = _best_bound(*items, delta)
    reached = look is not None
    if look is None and best_effort:
        look = best
    lower = None
    if look is not None:
        lower = clopper_pearson_lower(look.accepted - look.errors, look.accepted, 1 - look.level)
    threshold = look.threshold if look else None
    return Choice(target, reached, threshold, len(picked), look.accepted if look else 0, look.errors if look else 0,
                  lower, answers.purity(c, threshold), answers.recovery(c, threshold),
                  answers.review_share(c, threshold), bound, best.threshold if best else None,
                  smallest_sample(1 - target, delta))


def _rng(seed: int, c: int) -> np.random.Generator:
    return np.random.default_rng([seed, c])


def _in_order(answers: Answers, c: int, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n,) of the picked answers, highest first, and errors (n + 1,) among the first 0, 1, … of them."""
    order = picked[np.argsort(-answers.confidence[picked], kind="stable")]
    return answers.confidence[order], np.concatenate([[0], np.cumsum(answers.labels[order] != c)])


def _look_sizes(confidence: np.ndarray, parts: int, first: int, least: int) -> tuple[int, ...]:
    """How many of confidence (n,), falling, each look accepts: about i / parts of all, at least `least`."""
    total = len(confidence)
    sizes = [math.ceil(total * i / parts) for i in range(first, parts + 1)]
    # Equal probabilities cannot be told apart by a threshold: those of the first one left out are all left out
    whole = {int(np.searchsorted(-confidence, -confidence[n])) if n < total else total for n in sizes}
    return tuple(sorted(n for n in whole if n >= max(least, 1)))


def _lowest_passing(confidence: np.ndarray, errors: np.ndarray, target: float, delta: float) -> Look | None:
    # Nothing is lost by starting at the smallest sample that could pass: which that is hangs on no answer being right
    sizes = _look_sizes(confidence, LOOKS, FIRST_LOOK, smallest_sample(1 - target, delta))
    if not sizes:
        return None
    level, allowed = repeated_looks(sizes, 1 - target, delta)
    passed = [n for n, few in zip(sizes, allowed, strict=True) if errors[n] <= few]
    return _look(confidence, errors, passed[-1], level) if passed else None


def _best_bound(confidence: np.ndarray, errors: np.ndarray, delta: float) -> tuple[Look | None, float | None]:
    """The look with the highest lower bound of purity, and that; bounds that hold for all looks at once."""
    sizes = _look_sizes(confidence, BOUND_LOOKS, 1, 1)
    looks = [_look(confidence, errors, n, delta / len(sizes)) for n in sizes]
    bounds = [clopper_pearson_lower(one.accepted - one.errors, one.accepted, 1 - one.level) for one in looks]
    if not max(bounds, default=0.0) > 0:
        return None, None
    best = max(range(len(looks)), key=lambda i: (bounds[i], i))
    return looks[best], bounds[best]


def _look(confidence: np.ndarray, errors: np.ndarray, size: int, level: float) -> Look:
    lowest = float(confidence[size - 1])
    if size == len(confidence):
        # All of them: nothing is known of items less sure than the least sure one
        return Look(size, int(errors[size]), math.floor(lowest * 1000) / 1000, level)
    return Look(size, int(errors[size]), short_number(float(confidence[size]), lowest), level)


def short_number(above: float, up_to: float) -> float:
    """The number with the fewest digits (three at least) that is greater than one and at most the other."""
    for digits in range(3, 17):
        number = math.floor(above * 10 ** digits + 1) / 10 ** digits
        if above < number <= up_to:
            return number
    return up_to


def check(answers: Answers, targets: Mapping[str, float], confidence: float, resamples: int,
          seed: int = 0) -> dict[str, dict]:
    """Whether the promise holds when these answers are the whole truth, by class.

    The answers stand for the belt: as many are drawn with replacement, thresholds are chosen on the draw alone, and
    their purity is that among all answers. Gives {violations: share of the draws whose threshold misses the target,
    reached: share with a threshold, recovery: its mean, 0 where there is none}.
    """
    sums = {name: np.zeros(3) for name in answers.classes}
    for number in tqdm(range(resamples), desc="check", unit="draw", leave=False):
        rng = np.random.default_rng([seed, 1, number])
        drawn = answers.resampled(rng)
        for c, name in enumerate(answers.classes):
            picked, reserve = drawn.sample(c, rng)
            look = _lowest_passing(*_in_order(drawn, c, picked), targets[name], (1 - confidence) * (1 - reserve))
            if look is not None:
                purity = answers.purity(c, look.threshold)
                missed = purity is not None and purity < targets[name] - 1e-12
                sums[name] += missed, 1, answers.recovery(c, look.threshold) or 0.0
    return {name: dict(zip(("violations", "reached", "recovery"), map(float, s / resamples), strict=True))
            for name, s in sums.items()}


def policy(answers: Answers, choices: Mapping[str, Choice], purity: float, confidence: float) -> dict:
    """What the manifest says of how the thresholds came about."""
    return {"kind": "purity", "target": purity, "confidence": confidence,
            "per_class_targets": {name: one.target for name, one in choices.items() if one.target != purity},
            "mix": answers.mix, "method": METHOD, "source": answers.source, "note": answers.note,
            "classes": {name: _rounded(asdict(one)) for name, one in choices.items()}}


def _rounded(values: dict) -> dict:
    """Six digits are plenty, except for a threshold, which is exact; a bound is rounded down."""
    down = ("purity_lower_bound", "best_reachable")
    return {key: value if not isinstance(value, float) or "threshold" in key else
            math.floor(value * 1e6) / 1e6 if key in down else round(value, 6) for key, value in values.items()}


def write_thresholds(path: Path, choices: Mapping[str, Choice], how: dict) -> None:
    """Put thresholds (null: always reviewed) and policy into the bundle's manifest, sealed anew, atomically.

    Raises TrainerError when the bundle is not a folder, BundleError when it is damaged.
    """
    if not path.is_dir():
        raise TrainerError(f"{path}: only a bundle that is a folder can be changed; unpack the .tar first")
    manifest = dict(Bundle(str(path)).manifest)
    manifest["thresholds"] = dict(manifest["thresholds"], policy=how,
                                  per_class={name: one.threshold for name, one in choices.items()})
    write_json(path / MANIFEST, seal(manifest))
    Bundle(str(path))  # what was written is what the appliance accepts

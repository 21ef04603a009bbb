"""What a finite number of pictures proves: exact binomial bounds, repeated looks, bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from edge.decision import softmax

BISECTIONS = 40
CALIBRATION_BINS = 15  # those of metrics.expected_calibration_error
RESAMPLES_AT_ONCE = 250  # bounds the memory: 250 x 2,500 groups are 5 MB


@lru_cache(maxsize=64)
def _log_factorials(size: int) -> np.ndarray:
    return np.array([math.lgamma(i + 1) for i in range(size)])


def binomial_pmf(trials: int, rate: float, up_to: int | None = None) -> np.ndarray:
    """P(X = 0), P(X = 1), … P(X = up_to) for X of trials with this rate, strictly between 0 and 1; float64."""
    last = trials if up_to is None else min(up_to, trials)
    logs = _log_factorials(1 << (trials + 1).bit_length())  # a few sizes, so that the cache is hit
    k = np.arange(last + 1)
    return np.exp(logs[trials] - logs[k] - logs[trials - k] + k * math.log(rate) + (trials - k) * math.log1p(-rate))


def binomial_cdf(count: int, trials: int, rate: float) -> float:
    """P(X <= count) for X of trials with this rate, strictly between 0 and 1."""
    return min(1.0, float(binomial_pmf(trials, rate, count).sum())) if count >= 0 else 0.0


@lru_cache(maxsize=4096)
def clopper_pearson_lower(successes: int, trials: int, confidence: float) -> float:
    """The exact one-sided lower bound of a share (Clopper and Pearson 1934): 114 of 114 at 0.9 give 0.98.

    The true share is at least the bound in at least this share of all samples. Raises ValueError unless
    0 <= successes <= trials and 0 < confidence < 1.
    """
    if not 0 <= successes <= trials or not 0 < confidence < 1:
        raise ValueError(f"{successes} of {trials} at {confidence}: 0 <= successes <= trials, 0 < confidence < 1")
    if successes == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        share = (low + high) / 2
        if share < 1 and binomial_cdf(trials - successes, trials, 1 - share) <= 1 - confidence:
            low = share
        else:
            high = share
    return low


def smallest_sample(rate: float, level: float) -> int:
    """How many trials, all without an error, it takes to show at this level that errors are rarer than rate."""
    return math.ceil(math.log(level) / math.log1p(-rate) - 1e-9)


def crossing_probability(looks: Sequence[int], allowed: Sequence[int], rate: float) -> float:
    """How likely a row of independent trials, each an error with this rate, ever shows few enough errors.

    The row is looked at after looks[i] trials (rising); few enough are at most allowed[i] (rising, -1: never). Exact:
    the recursion of Armitage, McPherson and Rowe (1969) over the number of errors so far.
    """
    return _crossing(_steps(looks, rate, max(allowed, default=-1)), allowed)


def _steps(looks: Sequence[int], rate: float, most: int) -> list[np.ndarray]:
    """How the errors between one look and the next are distributed, up to `most` of them."""
    return [binomial_pmf(look - before, rate, max(most, 0))
            for before, look in zip([0, *looks[:-1]], looks, strict=True)]


def _crossing(steps: Sequence[np.ndarray], allowed: Sequence[int]) -> float:
    size = max(allowed, default=-1) + 1  # errors only add up: with more than that no later look can be passed
    alive, crossed = np.ones(1), 0.0  # alive[k]: P(k errors so far, never few enough)
    for step, few in zip(steps, allowed, strict=True):
        alive = np.convolve(alive, step[:size])[:size] if size else alive
        crossed += float(alive[:few + 1].sum())
        alive[:few + 1] = 0
    return crossed


@lru_cache(maxsize=4096)
def repeated_looks(looks: tuple[int, ...], rate: float, level: float) -> tuple[float, tuple[int, ...]]:
    """How many errors each of several looks at one growing sample may show, so that all together keep the level.

    looks: rising sample sizes. Returns the level at which each look alone is tested and the errors allowed at each
    (-1: none is few enough). A row of trials with errors at this rate passes any of the looks with a probability of
    at most level. These are the constant boundaries of group-sequential tests (Pocock 1977) with exact binomial
    probabilities; they allow no less than dividing the level among the looks (Bonferroni).
    """
    most = _allowed(looks[-1], rate, level)
    tails = [np.cumsum(binomial_pmf(look, rate, most + 1)) for look in looks]
    steps = _steps(looks, rate, most)

    def allowed(each: float) -> tuple[int, ...]:
        return tuple(int(np.searchsorted(tail, each, side="right")) - 1 for tail in tails)

    low, high = level / len(looks), level
    if _crossing(steps, allowed(high)) <= level:
        return high, allowed(high)
    for _ in range(10):  # to a thousandth of the way
        each = (low + high) / 2
        if _crossing(steps, allowed(each)) <= level:
            low = each
        else:
            high = each
    return low, allowed(low)


def _allowed(trials: int, rate: float, level: float) -> int:
    return int(np.searchsorted(np.cumsum(binomial_pmf(trials, rate)), level, side="right")) - 1


def bootstrap_intervals(answers: np.ndarray, labels: np.ndarray, classes: Sequence[str], *,
                        groups: np.ndarray | None = None, temperature: float | None = None, resamples: int = 2000,
                        seed: int = 0, confidence: float = 0.95) -> dict:
    """Percentile bootstrap intervals (Efron 1979) of the scores of metrics.summarise, as [low, high].

    answers (N, C): probabilities, or logits where temperature is given. labels (N,) indices into classes. groups (N,):
    pictures of a group are drawn together (cluster bootstrap, Davison and Hinkley 1997, 3.8), since near-duplicates
    are no independent evidence. Keys: accuracy, macro_f1, weighted_f1, calibration_error, and per_class {class:
    {precision, recall, f1}}; null where no resample has the class. The calibration error of a finite sample is
    too large on average, that of a resample more so: read its interval as a rough one. Raises ValueError for no rows.
    """
    if not len(labels):
        raise ValueError("bootstrap_intervals: no pictures")
    probabilities = softmax(answers, temperature) if temperature is not None else np.asarray(answers, np.float64)
    count = len(classes)
    members = np.unique(groups, return_inverse=True)[1] if groups is not None else np.arange(len(labels))
    size = int(members.max()) + 1
    rows = _rows_by_group(probabilities, labels, count, members.reshape(-1), size)
    rng, scores = np.random.default_rng(seed), []
    for start in range(0, resamples, RESAMPLES_AT_ONCE):
        times = rng.multinomial(size, np.full(size, 1 / size), size=min(RESAMPLES_AT_ONCE, resamples - start))
        scores.append(_scores(times @ rows, count))
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)

    def interval(name: str, column: int | None = None) -> list[float] | None:
        values = np.concatenate([one[name] for one in scores])
        values = values if column is None else values[:, column]
        values = values[np.isfinite(values)]
        return [float(v) for v in np.quantile(values, tails)] if len(values) else None

    result: dict = {name: interval(name) for name in ("accuracy", "macro_f1", "weighted_f1", "calibration_error")}
    result["per_class"] = {c: {name: interval(name, i) for name in ("precision", "recall", "f1")}
                           for i, c in enumerate(classes)}
    return result


def _rows_by_group(probabilities: np.ndarray, labels: np.ndarray, count: int, members: np.ndarray,
                   size: int) -> np.ndarray:
    """(groups, C * C + bins) float64: each group's confusion counts, then its surplus of hits over confidence."""
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    rows = np.zeros((size, count * count + CALIBRATION_BINS))
    np.add.at(rows, (members, labels * count + predicted), 1)
    np.add.at(rows, (members, count * count + bins), (predicted == labels) - confidence)
    return rows


def _scores(sums: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Scores of (R, C * C + bins) sums over resamples, by the rules of metrics.summarise; absent classes are NaN."""
    confusion = sums[:, :count * count].reshape(-1, count, count)
    total = confusion.sum((1, 2))
    hits, true, said = np.einsum("rcc->rc", confusion), confusion.sum(2), confusion.sum(1)
    there = true > 0
    precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
    recall = np.divide(hits, true, out=np.full_like(hits, np.nan), where=there)
    f1 = np.divide(2 * hits, true + said, out=np.full_like(hits, np.nan), where=there)
    return {"accuracy": hits.sum(1) / total, "macro_f1": np.nanmean(f1, 1),
            "weighted_f1": np.nansum(f1 * true, 1) / total,
            "calibration_error": np.abs(sums[:, count * count:]).sum(1) / total,
            "precision": precision, "recall": recall, "f1": f1}

"""Answers whose truth is known, and what part of the belt each stands for: from fold models, or from a site's journal.

Precision depends on what is on the belt, so each answer belongs to a stratum with a known share of the belt. Where
that share is not the answers' own, `sample` draws a part of the answers that is a true sample of the belt: exact
binomial tests do not hold for weighted counts (the sampling of von Neumann 1951, by whole strata).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.bundles import Bundle
from edge.decision import ACCEPT, ERROR, STRANGER, softmax
from edge.journal import schema
from trainer.errors import TrainerError
from trainer.oof import OutOfFold
from trainer.statistics import binomial_cdf

OF_FOLDS = ("each answered by a model that had not seen it or a near-duplicate; the bundle's own model is another one, "
            "taught with more pictures, and these are not its answers")
OF_JOURNAL = ("the labelled items are taken as a random part of what was accepted and of what was reviewed: labels of "
              "only what looks easy, or odd, give thresholds for that")
OVERFLOW = 0.01  # how likely a draw of strata may ask for more answers than there are; it is then drawn again
NEVER = -1  # called: goes to review whatever the confidence
ITEMS = ("SELECT items.*, runs.classes FROM items JOIN runs ON runs.id = items.run "
         "WHERE items.decision != ? AND items.model_version = ? ORDER BY items.id")


@dataclass(frozen=True)
class Answers:
    """Row i of each array is about the same item, one of each group of near-duplicates."""

    classes: tuple[str, ...]
    called: np.ndarray  # (N,) int64, the class with the highest probability; NEVER: a stranger
    confidence: np.ndarray  # (N,) float64, its probability
    labels: np.ndarray  # (N,) int64, the truth
    strata: np.ndarray  # (N,) int64; the items of a stratum are a random sample of it
    shares: np.ndarray  # (S,) float64, of the belt's items, sum 1
    stratum_calls: np.ndarray  # (S,) int64, the one class that is called in a stratum, or -1
    source: str
    mix: dict[str, float] | str
    note: str  # what must be known of them to believe what they prove

    @property
    def weights(self) -> np.ndarray:
        """(N,) float64: the share of the belt's items that each answer stands for."""
        counts = np.bincount(self.strata, minlength=len(self.shares))
        return (self.shares / np.maximum(counts, 1))[self.strata]

    def sample(self, c: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """Indices (n,) of answers that call class c and are an honest sample of those on the belt; and a reserve.

        All of them where each stands for as much of the belt. Otherwise strata are drawn by their shares, as often
        as leaves overflows rare, and answers within each without replacement. What is then proved at a level of
        delta * (1 - reserve) holds at delta: to draw again makes nothing likelier by more than 1 / (1 - reserve).
        None at all when some stratum has no answer.
        """
        used = np.flatnonzero((self.shares > 0) & ((self.stratum_calls == c) | (self.stratum_calls == -1)))
        counts, shares = np.bincount(self.strata, minlength=len(self.shares))[used], self.shares[used]
        if not len(used) or not counts.all():
            return np.zeros(0, np.int64), 0.0
        reserve = 0.0
        if np.allclose(shares / counts, (shares / counts)[0], rtol=1e-9):
            drawn = np.flatnonzero(np.isin(self.strata, used))
        else:
            reserve, shares = OVERFLOW, shares / shares.sum()
            size = largest_draw(shares, counts)
            wanted = rng.multinomial(size, shares)
            while (wanted > counts).any():
                wanted = rng.multinomial(size, shares)
            drawn = np.concatenate([rng.permutation(np.flatnonzero(self.strata == s))[:n]
                                    for s, n in zip(used, wanted, strict=True)])
        return drawn[self.called[drawn] == c], reserve

    def accepted(self, c: int, threshold: float | None) -> np.ndarray:
        """(N,) bool: called class c with at least this probability; none for a threshold of None."""
        return (self.called == c) & (self.confidence >= (np.inf if threshold is None else threshold))

    def purity(self, c: int, threshold: float | None) -> float | None:
        """The expected share of right ones among the accepted items of class c, or None when nothing is accepted."""
        weights = self.weights * self.accepted(c, threshold)
        return float(weights[self.labels == c].sum() / weights.sum()) if weights.sum() > 0 else None

    def recovery(self, c: int, threshold: float | None) -> float | None:
        """The expected share of the class's items that are accepted as such; None when it has none."""
        weights = self.weights * (self.labels == c)
        return float(weights[self.accepted(c, threshold)].sum() / weights.sum()) if weights.sum() > 0 else None

    def review_share(self, c: int, threshold: float | None) -> float | None:
        """The expected share of the items called class c that go to review; None when none is called so."""
        weights = self.weights * (self.called == c)
        return float(weights[~self.accepted(c, threshold)].sum() / weights.sum()) if weights.sum() > 0 else None

    def resampled(self, rng: np.random.Generator) -> Answers:
        """As many answers, drawn with replacement within each stratum: another sample of the same belt."""
        rows = [np.flatnonzero(self.strata == s) for s in np.unique(self.strata)]
        chosen = np.concatenate([rng.choice(r, len(r)) for r in rows])
        return replace(self, called=self.called[chosen], confidence=self.confidence[chosen],
                       labels=self.labels[chosen], strata=self.strata[chosen])


def largest_draw(shares: np.ndarray, counts: np.ndarray) -> int:
    """How many answers can be drawn with these shares (S,) so that one of counts (S,) is too few at most rarely."""
    def overflow(size: int) -> float:
        return sum(1 - binomial_cdf(int(n), size, float(w)) for n, w in zip(counts, shares, strict=True) if size > n)

    low, high = 0, int((counts / shares).min()) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if overflow(middle) <= OVERFLOW else (low, middle)
    return low


def of_folds(oof: OutOfFold, groups: Sequence[int], temperature: float, mix: Mapping[str, float] | None = None,
             strangers: np.ndarray | None = None, seed: int = 0) -> Answers:
    """The answers of fold models, thinned to one of each group of near-duplicates, which are no independent evidence.

    groups: that of each picture of oof. mix: shares of the belt by class; classes that it does not name share the
    rest as in the data. strangers (N,) bool: go to review whatever the confidence. Raises TrainerError.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(oof.labels))  # which of a group is kept must not hang on its name
    kept = np.sort(order[np.unique(np.asarray(groups)[order], return_index=True)[1]])
    probabilities = softmax(oof.logits[kept], temperature)
    called = probabilities.argmax(1)
    if strangers is not None:
        called[strangers[kept]] = NEVER
    labels = oof.labels[kept]
    source = (f"out-of-fold answers of {len(np.unique(oof.folds))} fold models, {len(kept)} pictures, one of each "
              f"group of near-duplicates, split {oof.split_hash[:12]}")
    common: dict[str, Any] = {"classes": oof.classes, "called": called, "confidence": probabilities.max(1),
                              "labels": labels, "source": source, "note": OF_FOLDS}
    if mix is None:
        return Answers(strata=np.zeros(len(kept), np.int64), shares=np.ones(1), stratum_calls=np.full(1, -1),
                       mix="as in the data", **common)
    shares = full_mix(mix, oof.classes, np.bincount(labels, minlength=len(oof.classes)))
    return Answers(strata=labels, shares=shares, stratum_calls=np.full(len(shares), -1),
                   mix={c: round(float(w), 6) for c, w in zip(oof.classes, shares, strict=True)}, **common)


def full_mix(mix: Mapping[str, float], classes: Sequence[str], counts: np.ndarray) -> np.ndarray:
    """The share of each class (C,): as named, the rest divided as in counts (C,). Raises TrainerError."""
    unknown = sorted(set(mix) - set(classes))
    if unknown:
        raise TrainerError(f"--mix {unknown[0]}: no such class; allowed: {', '.join(classes)}")
    shares = np.array([mix.get(c, 0.0) for c in classes])
    named = np.array([c in mix for c in classes])
    rest, others = 1 - shares.sum(), np.where(named, 0, counts)
    if (shares < 0).any() or rest < -1e-6 or (rest > 1e-6 and others.sum() == 0):
        raise TrainerError(f"--mix: the shares add up to {shares.sum():g}: each from 0, together 1 at most (what is "
                           "missing goes to the classes not named), and exactly 1 when all are named")
    shares = shares + (max(rest, 0.0) * others / others.sum() if others.sum() else 0)
    empty = [c for c, w, n in zip(classes, shares, counts, strict=True) if w > 0 and n == 0]
    if empty:
        raise TrainerError(f"--mix {empty[0]}: there is no picture of this class to answer for its share")
    return shares / shares.sum()


def of_journal(state: str, bundle: Bundle) -> Answers:
    """The items of a site that this model sorted and a person labelled, confirmed or corrected.

    A stratum is what was called a class and accepted, or sent to review; its share counts the unlabelled ones, too,
    so that many labels from review do not outweigh a few from among the accepted. An item sorted twice (same source
    key) counts once. Raises TrainerError when no accepted item is labelled, JournalError.
    """
    rows = _journal_rows(state, bundle)
    called = np.array([bundle.classes.index(r["class"]) for r in rows], np.int64)
    accepted = np.array([r["decision"] == ACCEPT for r in rows])
    stranger = np.array([r["review_reason"] == STRANGER for r in rows])
    labelled = np.array([r["override_class"] is not None for r in rows])
    if not labelled[accepted].any():
        raise TrainerError(
            f"{state}: {int(labelled.sum())} of {len(rows)} items of model {bundle.version} are labelled, but none of "
            f"the {int(accepted.sum())} accepted ones: review items are the doubtful ones and prove nothing about the "
            "purity of what was accepted; label a random share of the accepted with `scrapsort review label ITEM "
            "CLASS`, or sort for a while with --override")
    strata = np.where(stranger, 2 * len(bundle.classes), 2 * called + accepted)
    shares = np.bincount(strata, minlength=2 * len(bundle.classes) + 1) / len(rows)
    calls = np.append(np.repeat(np.arange(len(bundle.classes)), 2), len(bundle.classes))  # strangers are no class's
    labels = np.array([bundle.classes.index(r["override_class"]) if r["override_class"] else 0 for r in rows], np.int64)
    confidence = np.array([r["confidence"] for r in rows])
    source = (f"journal: {int(labelled.sum())} labelled of {len(rows)} items of model {bundle.version}, "
              f"{int((labelled & accepted).sum())} labelled of {int(accepted.sum())} accepted")
    return Answers(bundle.classes, np.where(stranger, NEVER, called)[labelled], confidence[labelled],
                   labels[labelled], strata[labelled], shares, calls, source, "as in the journal", OF_JOURNAL)


def _journal_rows(state: str, bundle: Bundle) -> list[sqlite3.Row]:
    connection = schema.connect_existing(state)
    try:
        rows = connection.execute(ITEMS, (ERROR, bundle.version)).fetchall()
    except sqlite3.Error as error:
        raise schema.explain(error, state) from error
    finally:
        connection.close()
    once = {}
    for row in rows:
        if tuple(json.loads(row["classes"])) != bundle.classes:
            raise TrainerError(f"{state}: item {row['id']} has the classes {row['classes']}, the bundle {bundle.path} "
                               f"{', '.join(bundle.classes)}; give the bundle that sorted there")
        if row["source_key"] not in once or row["override_class"] is not None:
            once[row["source_key"]] = row
    if not once:
        raise TrainerError(f"{state}: no item of model {bundle.version} in its journal; the answers of another model "
                           "say nothing about this one: give the bundle that sorted there")
    return list(once.values())

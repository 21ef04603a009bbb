"""From the network's answer to a call: temperature, softmax, pooling of views, strangers, threshold of the class."""

import math
from typing import TYPE_CHECKING, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edge.bundles import Bundle
from edge.errors import SettingsError
from edge.strangers import StrangerScore

if TYPE_CHECKING:
    from edge.classifier.base import Answer  # noqa: F401  # classifiers are checked with softmax: a circle at run time

ACCEPT, REVIEW, ERROR = "accept", "review", "error"
LOW_CONFIDENCE, STRANGER, ALWAYS_REVIEW, CLUSTER = "low_confidence", "stranger", "always_review", "cluster"


class Call(NamedTuple):
    """What was decided about one item."""

    class_name: str
    confidence: float  # the probability of class_name, 0 to 1
    probabilities: Tuple[float, ...]  # (C,), in the order of the bundle's classes
    threshold: Optional[float]  # that of class_name; None: no confidence is enough for it
    decision: str  # accept or review
    stranger_score: Optional[float] = None  # higher is stranger; None: not looked for
    reason: str = ""  # of review: low_confidence, always_review, stranger or cluster (these whatever the confidence)

    @property
    def low_confidence(self) -> bool:
        """Whether the item goes to review, for whatever reason."""
        return self.decision == REVIEW


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities along the last axis, float64, of logits divided by temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Decider:
    """Applies one bundle's temperature, one set of thresholds and, where there is one, a stranger score."""

    def __init__(self, classes: Sequence[str], temperature: float, thresholds: Mapping[str, Optional[float]],
                 stranger: Optional[StrangerScore] = None):
        """thresholds: by class; None: always reviewed."""
        self.classes = tuple(classes)
        self.temperature = temperature
        self._thresholds = tuple(thresholds[name] for name in self.classes)
        self._stranger = stranger

    @classmethod
    def from_settings(cls, bundle: Bundle, threshold: float, per_class: Mapping[str, float],
                      stranger: bool = True) -> "Decider":
        """Thresholds by class: settings per class, else the settings' threshold where set, else the bundle's.

        stranger: whether to use the bundle's stranger score, if it has one. Raises SettingsError when per_class names
        a class that the bundle does not have, BundleError when what the score needs is damaged.
        """
        for name in per_class:
            if name not in bundle.classes:
                raise SettingsError("decision.per_class.{}: no such class; allowed: {}".format(
                    name, ", ".join(bundle.classes)))
        thresholds: Dict[str, Optional[float]] = {}
        for name in bundle.classes:
            default = threshold or bundle.thresholds.get(name, bundle.threshold)
            thresholds[name] = per_class.get(name, default)
        score = StrangerScore.of_bundle(bundle) if stranger else None
        return cls(bundle.classes, bundle.temperature, thresholds, score)

    def decide(self, answer: "Answer", cluster: bool = False) -> Call:
        """Decide about one item from the answer for its k views; their probabilities and scores are averaged.

        cluster: they show several things that touch.
        """
        rows = answer.logits.tolist()
        pooled = [0.0] * len(self.classes)
        for row in rows:  # for a handful of numbers plain Python is ten times as fast as arrays
            highest = max(row)
            powers = [math.exp((value - highest) / self.temperature) for value in row]
            share = 1 / (sum(powers) * len(rows))
            pooled = [sum_so_far + power * share for sum_so_far, power in zip(pooled, powers)]
        confidence = max(pooled)
        best = pooled.index(confidence)
        threshold = self._thresholds[best]
        score = None if self._stranger is None else self._stranger(rows, answer.features)
        reason = CLUSTER if cluster else self._reason(confidence, threshold, score)
        return Call(self.classes[best], confidence, tuple(pooled), threshold, REVIEW if reason else ACCEPT, score,
                    reason)

    def _reason(self, confidence: float, threshold: Optional[float], score: Optional[float]) -> str:
        """Why an item goes to review, the reason that says most; empty: it does not."""
        if self._stranger is not None and score is not None and self._stranger.is_stranger(score):
            return STRANGER
        if threshold is None:
            return ALWAYS_REVIEW
        return "" if confidence >= threshold else LOW_CONFIDENCE

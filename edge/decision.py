"""From the network's answer to a call: temperature, softmax, pooling of views, threshold of the class."""

import math
from typing import Dict, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from edge.bundles import Bundle
from edge.errors import SettingsError

ACCEPT, REVIEW, ERROR = "accept", "review", "error"


class Call(NamedTuple):
    """What was decided about one item."""

    class_name: str
    confidence: float  # the probability of class_name, 0 to 1
    probabilities: Tuple[float, ...]  # (C,), in the order of the bundle's classes
    threshold: float  # that of class_name
    decision: str  # accept, or review when confidence is below threshold

    @property
    def low_confidence(self) -> bool:
        """Whether the item goes to review."""
        return self.decision == REVIEW


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities along the last axis, float64, of logits divided by temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Decider:
    """Applies one bundle's temperature and one set of thresholds."""

    def __init__(self, classes: Sequence[str], temperature: float, thresholds: Mapping[str, float]):
        self.classes = tuple(classes)
        self.temperature = temperature
        self._thresholds = tuple(thresholds[name] for name in self.classes)

    @classmethod
    def from_settings(cls, bundle: Bundle, threshold: float, per_class: Mapping[str, float]) -> "Decider":
        """Thresholds by class: settings per class, else the settings' threshold where set, else the bundle's.

        Raises SettingsError when per_class names a class that the bundle does not have.
        """
        for name in per_class:
            if name not in bundle.classes:
                raise SettingsError("decision.per_class.{}: no such class; allowed: {}".format(
                    name, ", ".join(bundle.classes)))
        thresholds: Dict[str, float] = {}
        for name in bundle.classes:
            default = threshold or bundle.thresholds.get(name, bundle.threshold)
            thresholds[name] = per_class.get(name, default)
        return cls(bundle.classes, bundle.temperature, thresholds)

    def decide(self, logits: np.ndarray) -> Call:
        """Decide about one item from the logits (k, C) of its k views; their probabilities are averaged."""
        pooled = [0.0] * len(self.classes)
        for row in logits.tolist():  # for a handful of numbers plain Python is ten times as fast as arrays
            highest = max(row)
            powers = [math.exp((value - highest) / self.temperature) for value in row]
            share = 1 / (sum(powers) * len(logits))
            pooled = [sum_so_far + power * share for sum_so_far, power in zip(pooled, powers)]
        confidence = max(pooled)
        best = pooled.index(confidence)
        threshold = self._thresholds[best]
        return Call(self.classes[best], confidence, tuple(pooled), threshold,
                    ACCEPT if confidence >= threshold else REVIEW)

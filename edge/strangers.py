"""How strange an item is: scores that are the higher, the less it resembles anything that the network was taught.

max_probability   -max p, at the bundle's temperature (Hendrycks and Gimpel 2017)
max_logit         -max of the logits (Hendrycks et al. 2022)
energy            -T logsumexp(logits / T), T in the manifest (Liu et al. 2020)
feature_distance  squared distance of the projected features from the nearest class mean; with a projection that
                  whitens the classes' shared covariance it is Mahalanobis' (Lee et al. 2018)
"""

import math
from typing import List, Optional, Sequence

import numpy as np

from edge.bundles import Bundle, FeatureSpace, Stranger


class StrangerScore:
    """One score, ready to use: what it computes with exists before the first item. Not for several threads at once."""

    def __init__(self, rule: Stranger, temperature: float, space: Optional[FeatureSpace] = None):
        """temperature: the bundle's; space: needed for feature_distance."""
        self.rule = rule
        self._temperature = rule.temperature if rule.score == "energy" else temperature
        self._space = space
        if space is not None:
            self._projected = np.zeros(space.projection.shape[1], np.float32)
            self._differences = np.zeros(space.means.shape, np.float32)
            self._distances = np.zeros(len(space.means), np.float32)
        self._of_view = {"max_probability": self._max_probability, "max_logit": self._max_logit,
                         "energy": self._energy, "feature_distance": self._feature_distance}[rule.score]

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Optional["StrangerScore"]:
        """The score that the bundle names, or None. Raises BundleError when its file is damaged."""
        if bundle.stranger is None:
            return None
        space = bundle.feature_space() if bundle.stranger.file is not None else None
        return cls(bundle.stranger, bundle.temperature, space)

    def __call__(self, logits: Sequence[List[float]], features: np.ndarray) -> float:
        """The mean score of an item's k views. logits: k lists of C numbers; features: (k, 512) float32."""
        return sum(self._of_view(row, features[view]) for view, row in enumerate(logits)) / len(logits)

    def is_stranger(self, score: float) -> bool:
        """Whether a score is beyond the threshold; one that is not a number is, too."""
        return not score <= self.rule.threshold

    def _max_probability(self, logits: List[float], features: np.ndarray) -> float:
        highest = max(logits)
        return -1 / sum(math.exp((value - highest) / self._temperature) for value in logits)

    def _max_logit(self, logits: List[float], features: np.ndarray) -> float:
        return -max(logits)

    def _energy(self, logits: List[float], features: np.ndarray) -> float:
        highest = max(logits)
        powers = sum(math.exp((value - highest) / self._temperature) for value in logits)
        return -highest - self._temperature * math.log(powers)

    def _feature_distance(self, logits: List[float], features: np.ndarray) -> float:
        assert self._space is not None  # the bundle has been checked
        np.dot(features, self._space.projection, out=self._projected)
        np.subtract(self._space.means, self._projected, out=self._differences)
        np.multiply(self._differences, self._differences, out=self._differences)
        np.sum(self._differences, axis=1, out=self._distances)
        return float(self._distances.min())

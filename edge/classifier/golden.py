"""The golden check: a classifier is used only if it answers known pictures as the bundle says."""

from typing import NamedTuple

import numpy as np

from edge.bundles import Golden
from edge.classifier.base import Classifier
from edge.decision import softmax
from edge.errors import BundleError


class GoldenResult(NamedTuple):
    """How a classifier's answers compare with those in the bundle."""

    pictures: int
    decided: int  # pictures whose best class leads by more than twice the tolerance
    agreed: int  # of those, the ones with the same best class
    worst_error: float  # largest difference of a probability

    def within(self, tolerance: float) -> bool:
        """Whether every decided picture agrees and no probability is off by more than tolerance."""
        return self.agreed == self.decided and self.worst_error <= tolerance


def compare(classifier: Classifier, golden: Golden) -> GoldenResult:
    """Run the golden pictures through an open classifier and compare with its role's answers."""
    tolerance = classifier.bundle.files[classifier.role].tolerance
    decided = agreed = 0
    worst = 0.0
    for image_rgb, expected_logits in zip(golden.images_rgb, golden.logits[classifier.role]):
        expected = softmax(expected_logits, classifier.bundle.temperature)
        got = softmax(classifier.classify_resized(image_rgb).logits[0], classifier.bundle.temperature)
        error = float(np.abs(got - expected).max())
        worst = max(worst, error if np.isfinite(error) else 1.0)
        runner_up, best = np.sort(expected)[-2:]
        if best - runner_up > 2 * tolerance:
            decided += 1
            agreed += int(np.argmax(got) == np.argmax(expected))
    return GoldenResult(len(golden.images_rgb), decided, agreed, worst)


def check(classifier: Classifier, golden: Golden) -> GoldenResult:
    """As compare; raises BundleError when the classifier does not answer as the bundle says."""
    result = compare(classifier, golden)
    tolerance = classifier.bundle.files[classifier.role].tolerance
    if not result.within(tolerance):
        raise BundleError("{}: {} on {} {} does not give the golden answers: {} of {} classes agree, "
                          "a probability is off by {:.4f} (allowed {:.4f})".format(
                              classifier.bundle.path, classifier.role, classifier.backend, classifier.device,
                              result.agreed, result.decided, result.worst_error, tolerance))
    return result

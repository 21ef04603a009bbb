"""Scores against scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from edge.decision import softmax
from trainer.metrics import expected_calibration_error, summarise


def test_scores_equal_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    logits = rng.normal(size=(300, 4)) + 1.5 * np.eye(4)[labels]
    scores, predicted = summarise(logits, labels, list("abcd"), temperature=1.7), logits.argmax(1)
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    for average in ("macro", "weighted"):
        expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted, average=average)
        got = [scores[f"{average}_{name}"] for name in ("precision", "recall", "f1")]
        assert got == pytest.approx(expected[:3])
    assert scores["confusion"] == sklearn_metrics.confusion_matrix(labels, predicted).tolist()
    assert scores["loss"] == pytest.approx(sklearn_metrics.log_loss(labels, softmax(logits, 1.7)))


def test_a_class_without_pictures_does_not_count_in_the_macro_means():
    scores = summarise(np.eye(3)[[0, 0, 1]] * 9, np.array([0, 0, 1]), list("abc"))
    assert scores["macro_f1"] == 1.0 and scores["per_class"]["c"]["recall"] is None


@pytest.mark.parametrize("confidence, right, expected", [
    (0.8, 8, 0.0),  # as sure as right
    (0.8, 4, 0.4),  # too sure
    (0.6, 10, 0.4),  # not sure enough
])
def test_calibration_error_of_ten_equal_answers(confidence, right, expected):
    probabilities = np.tile([confidence, 1 - confidence], (10, 1))
    labels = np.array([0] * right + [1] * (10 - right))
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)

"""Scores from logits: accuracy, precision, recall, F1, confusion, calibration, by the appliance's own softmax."""

from __future__ import annotations

import numpy as np

from edge.decision import softmax


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins of confidence (Guo et al. 2017)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(right[bin_of == b].sum() - confidence[bin_of == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))


def summarise(logits: np.ndarray, labels: np.ndarray, classes: list[str], temperature: float = 1.0) -> dict:
    """All scores of logits (N, C) against labels (N,), as plain numbers for metrics.json.

    A class without a picture has null for recall and F1 and does not count in the macro means.
    """
    probabilities = softmax(logits, temperature)
    predicted, count = probabilities.argmax(1), len(classes)
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (labels, predicted), 1)
    hits, true, said = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    precision = np.divide(hits, said, out=np.zeros(count), where=said > 0)
    recall = np.divide(hits, true, out=np.zeros(count), where=true > 0)
    f1 = np.divide(2 * hits, true + said, out=np.zeros(count), where=true + said > 0)
    there, share = true > 0, true / max(true.sum(), 1)
    nll = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))
    result = {"pictures": int(len(labels)), "accuracy": float(hits.sum() / max(len(labels), 1)),
              "loss": float(nll.mean()), "calibration_error": expected_calibration_error(probabilities, labels)}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        result[f"macro_{name}"] = float(values[there].mean())
        result[f"weighted_{name}"] = float((values * share).sum())
    result["per_class"] = {c: {"pictures": int(true[i]), "precision": float(precision[i]),
                               "recall": float(recall[i]) if there[i] else None,
                               "f1": float(f1[i]) if there[i] else None} for i, c in enumerate(classes)}
    result["confusion"] = confusion.tolist()
    return result


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that gives the labels the highest likelihood (Guo et al. 2017), found on a fine grid."""
    grid = np.exp(np.linspace(np.log(0.2), np.log(5), 400))
    nll = [-np.log(np.maximum(softmax(logits, t)[np.arange(len(labels)), labels], 1e-12)).mean() for t in grid]
    return float(grid[int(np.argmin(nll))])

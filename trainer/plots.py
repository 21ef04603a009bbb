"""The pictures that go with an evaluation."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from edge.decision import softmax
from edge.frames import pictures
from trainer.files import write_atomically
from trainer.statistics import CALIBRATION_BINS as BINS

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  # the backend must be chosen first

MISTAKES_SHOWN = 24


def _save(figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def confusion_matrix(confusion: list[list[int]], classes: list[str], path: Path) -> None:
    """Rows are true classes, columns predicted ones; colour is the share of the row."""
    counts = np.array(confusion)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(1 + len(classes), len(classes)))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center", color="white" if share[row, column] > 0.5
                  else "black")
    _save(figure, path)


def training_history(history: list[dict], path: Path) -> None:
    """Loss, and accuracy and macro-F1, over the epochs; validation only at the epochs that looked at any pictures."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for axes, key, label in ((left, "train_loss", "training (smoothed labels, augmented)"),
                             (left, "val_loss", "validation"), (right, "val_accuracy", "accuracy"),
                             (right, "val_macro_f1", "macro-F1")):
        _curve(axes, history, key, label)
    _finish_curves(left, "loss")
    _finish_curves(right, "validation score")
    _save(figure, path)


def fold_histories(histories: dict[str, list[dict]], path: Path) -> None:
    """Training loss, and accuracy on the pictures held back, over the epochs of several runs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for name, history in histories.items():
        _curve(left, history, "train_loss", name)
        _curve(right, history, "val_accuracy", name)
    _finish_curves(left, "training loss")
    _finish_curves(right, "accuracy on the held-back fold")
    _save(figure, path)


def _curve(axes, history: list[dict], key: str, label: str) -> None:
    """One line, through the epochs that have the key; a dot each where they are not all."""
    seen = [h for h in history if h.get(key) is not None]
    if seen:
        axes.plot([h["epoch"] for h in seen], [h[key] for h in seen], label=label,
                  marker="" if len(seen) == len(history) > 1 else "o", markersize=4)


def _finish_curves(axes, what: str) -> None:
    axes.set(xlabel="epoch", ylabel=what)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no pictures were held back", ha="center", transform=axes.transAxes)


def per_class(scores: dict[str, dict], classes: list[str], path: Path) -> None:
    """Precision, recall and F1 of each class with their intervals; scores by role, as of evaluate_roles."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 1 + 0.55 * len(classes)), sharey=True)
    for axes, key in zip(panels, ("precision", "recall", "f1"), strict=True):
        for number, (role, one) in enumerate(scores.items()):
            rows = [(place, one["per_class"][c][key], one["intervals"]["per_class"][c][key])
                    for place, c in enumerate(classes) if one["per_class"][c][key] is not None]
            shift = 0.2 * (number - (len(scores) - 1) / 2)
            for place, _, bounds in rows:
                if bounds:
                    axes.plot(bounds, [place + shift] * 2, color=f"C{number}", alpha=0.6)
            axes.plot([value for _, value, _ in rows], [place + shift for place, _, _ in rows], "o",
                      color=f"C{number}", markersize=4, label=role)
        axes.set(xlabel={"f1": "F1"}.get(key, key), xlim=(0, 1.02), yticks=range(len(classes)), yticklabels=classes)
        axes.grid(alpha=0.3)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=8, loc="lower left")
    _save(figure, path)


def reliability(probabilities: np.ndarray, labels: np.ndarray, title: str, path: Path) -> None:
    """Bars of accuracy against confidence, of (N, C) probabilities, and below how many answers each bar stands for.

    A network that is as right as it is sure has its bars on the diagonal (DeGroot and Fienberg 1983).
    """
    rows = reliability_bins(probabilities, labels)
    figure, (upper, lower) = plt.subplots(2, 1, figsize=(5.5, 6.5), sharex=True, height_ratios=(3, 1))
    middles, width = [(low + high) / 2 for low, high, *_ in rows], 0.92 / BINS
    upper.bar(middles, [accuracy for *_, accuracy in rows], width, label="accuracy")
    upper.plot([confidence for *_, confidence, _ in rows], [accuracy for *_, accuracy in rows], "o", color="tab:red",
               markersize=4, label="at the mean confidence")
    upper.plot([0, 1], [0, 1], ":", color="grey", label="as right as sure")
    upper.set(ylabel="accuracy", ylim=(0, 1.02), xlim=(0, 1), title=title)
    upper.legend(fontsize=8, loc="upper left")
    lower.bar_label(lower.bar(middles, [count for _, _, count, *_ in rows], width, color="grey"), fontsize=7)
    lower.set_yscale("symlog")
    lower.set(xlabel="confidence", ylabel="answers", ylim=(0, 4 * max(count for _, _, count, *_ in rows)))
    _save(figure, path)


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray) -> list[tuple[float, float, int, float, float]]:
    """(from, to, answers, mean confidence, accuracy) of each bin of confidence that has any, those of the error."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bin_of = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [(b / BINS, (b + 1) / BINS, int((bin_of == b).sum()), float(confidence[bin_of == b].mean()),
             float(right[bin_of == b].mean())) for b in np.unique(bin_of)]


def against_float(reference: np.ndarray, answers: dict[str, np.ndarray], name: str, path: Path) -> None:
    """A panel a role: its probability of float's class over float's own; red where its answer is another class.

    reference (N, C) and answers by role (N, C) are probabilities; name is the reference's.
    """
    figure, grid = plt.subplots(1, len(answers), figsize=(4.2 * len(answers), 4.2), squeeze=False)
    best, rows = reference.argmax(1), np.arange(len(reference))
    for axes, (role, probabilities) in zip(grid.flat, answers.items(), strict=True):
        same = probabilities.argmax(1) == best
        for chosen, colour, label in ((same, "tab:blue", "same class"), (~same, "tab:red", "another class")):
            axes.plot(reference[rows, best][chosen], probabilities[rows, best][chosen], "o", markersize=3, alpha=0.6,
                      color=colour, label=f"{label}: {int(chosen.sum())}")
        axes.plot([0, 1], [0, 1], ":", color="grey")
        axes.set(xlabel=f"confidence of {name}", ylabel=f"{role}'s probability of the same class", xlim=(0, 1.02),
                 ylim=(0, 1.02))
        axes.legend(fontsize=8, loc="upper left")
        axes.grid(alpha=0.3)
    figure.tight_layout()
    _save(figure, path)


def latency(rows: dict[str, dict[str, float]], path: Path) -> None:
    """One stacked bar a measurement: the stages of an item, each its median in ms."""
    stages = list(dict.fromkeys(stage for row in rows.values() for stage in row))
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * len(rows)))
    left = np.zeros(len(rows))
    for stage in stages:
        widths = np.array([row.get(stage, 0.0) for row in rows.values()])
        axes.barh(list(rows), widths, left=left, label=stage)
        left += widths
    axes.set(xlabel="ms, median of each stage")
    axes.invert_yaxis()
    axes.legend(fontsize=8, ncols=len(stages), loc="lower right", bbox_to_anchor=(1, 1))
    _save(figure, path)


def mistakes(evaluation, role: str, data: Path, path: Path) -> None:
    """A sheet of the wrong answers given with the most confidence."""
    probabilities = softmax(evaluation.logits[role], evaluation.bundle.temperature)
    predicted = probabilities.argmax(1)
    wrong = [i for i in np.argsort(-probabilities.max(1)) if predicted[i] != evaluation.labels[i]][:MISTAKES_SHOWN]
    columns = 6
    rows = max(1, -(-len(wrong) // columns))
    figure, grid = plt.subplots(rows, columns, figsize=(2.6 * columns, 2.5 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, wrong, strict=False):
        file = evaluation.files[index]
        image_bgr = pictures.read(str(data / evaluation.split_name / file["path"]))
        axes.imshow(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB))
        axes.set_title(f"{file['path']}\n-> {evaluation.bundle.classes[predicted[index]]} "
                       f"{probabilities[index].max():.0%}", fontsize=8)
    figure.suptitle(f"{len(wrong)} of the wrong answers of {role}, most confident first" if wrong else
                    f"{role}: no wrong answers")
    _save(figure, path)

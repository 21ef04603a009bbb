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
    """Loss, and accuracy and macro-F1, over the epochs."""
    epochs = [h["epoch"] for h in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for key, label in (("train_loss", "training (smoothed labels, augmented)"), ("val_loss", "validation")):
        left.plot(epochs, [h[key] for h in history], label=label)
    left.set(xlabel="epoch", ylabel="loss")
    for key, label in (("val_accuracy", "accuracy"), ("val_macro_f1", "macro-F1")):
        right.plot(epochs, [h[key] for h in history], label=label)
    right.set(xlabel="epoch", ylabel="validation score")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
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

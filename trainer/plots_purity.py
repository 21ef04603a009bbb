"""Purity against recovery, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trainer.answers import Answers
from trainer.plots import _save, plt
from trainer.thresholds import Choice

COLUMNS = 3


def purity_recovery(answers: Answers, choices: Mapping[str, Choice], confidence: float, path: Path) -> None:
    """One panel a class: expected purity over recovery as the threshold falls, the target, what was chosen."""
    rows = -(-len(answers.classes) // COLUMNS)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 3 * rows), squeeze=False)
    for axes in grid.flat[len(answers.classes):]:
        axes.axis("off")
    for axes, (c, name) in zip(grid.flat, enumerate(answers.classes), strict=False):
        recovery, purity = curve(answers, c)
        one = choices[name]
        axes.plot(recovery, purity, color="tab:blue", label="expected purity")
        axes.axhline(one.target, color="grey", linestyle=":", label="target")
        if one.threshold is not None:
            axes.plot([one.recovery] * 2, [one.purity_lower_bound, one.expected_purity], color="tab:red", marker="o",
                      markersize=4, label=f"chosen, and its bound at {confidence:g}")
            axes.set_title(f"{name}: from {one.threshold:.4g}")
        else:
            axes.set_title(f"{name}: always reviewed")
        low = min([one.target, *purity, one.purity_lower_bound or 1.0])
        axes.set(xlabel="recovery", ylabel="purity", xlim=(0, 1.01), ylim=(max(0.0, low - 0.02), 1.005))
        axes.grid(alpha=0.3)
    grid.flat[0].legend(fontsize=7, loc="lower left")
    mix = answers.mix if isinstance(answers.mix, str) else "as stated"
    figure.suptitle(f"Mix: {mix}; {answers.source}", fontsize=8)
    figure.tight_layout()
    _save(figure, path)


def curve(answers: Answers, c: int) -> tuple[np.ndarray, np.ndarray]:
    """Recovery (n,) and purity (n,), both expected, at the probability of each of the n answers called class c."""
    order = np.flatnonzero(answers.called == c)
    order = order[np.argsort(-answers.confidence[order], kind="stable")]
    last = np.append(np.diff(answers.confidence[order]) != 0, True)[:len(order)]  # of equal probabilities
    weights, right = answers.weights[order], answers.labels[order] == c
    accepted, hits = np.cumsum(weights)[last], np.cumsum(weights * right)[last]
    all_of_class = answers.weights[answers.labels == c].sum()
    some = accepted > 0
    return hits[some] / max(all_of_class, 1e-300), hits[some] / accepted[some]

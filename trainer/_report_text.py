"""How a report writes: every number is rounded here, and tables can be read without rendering them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

NONE = "-"
WIDTH = 110


def share(value: float | None) -> str:
    """A share measured on hundreds of pictures: 93.4%."""
    return NONE if value is None else f"{value:.1%}"


def exact_share(value: float | None) -> str:
    """A share that is held against a limit: 99.56%."""
    return NONE if value is None else f"{value:.2%}"


def lower_bound(value: float | None) -> str:
    """A bound that is proved, rounded down: 98.02%."""
    return NONE if value is None else f"{math.floor(value * 1e4 + 1e-9) / 100:.2f}%"


def score(value: float | None) -> str:
    """Precision, recall, F1, AUROC: 0.914."""
    return NONE if value is None else f"{value:.3f}"


def small(value: float | None) -> str:
    """Calibration errors, differences of probabilities, temperatures: 0.0506."""
    return NONE if value is None else f"{value:.4f}"


def points(value: float) -> str:
    """A difference of two shares in percentage points: +1.2."""
    return f"{100 * value:+.1f}"


def exact_points(value: float) -> str:
    """A difference in percentage points that is held against a limit: +0.44."""
    return f"{100 * value:+.2f}"


def milliseconds(value: float | None) -> str:
    """12.35."""
    return NONE if value is None else f"{value:.2f}"


def rate(value: float) -> str:
    """Items a second, minutes, ratios of one digit: 31.4."""
    return f"{value:.1f}"


def share_with(value: float | None, bounds: Sequence[float] | None) -> str:
    """A share and its interval: 93.4% [89.9, 96.5]."""
    return share(value) + (f" [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]" if bounds else "")


def score_with(value: float | None, bounds: Sequence[float] | None) -> str:
    """A score and its interval: 0.914 [0.871, 0.949]."""
    return score(value) + (f" [{score(bounds[0])}, {score(bounds[1])}]" if bounds else "")


def small_with(value: float, bounds: Sequence[float] | None) -> str:
    """A small number and its interval: 0.0506 [0.0354, 0.0812]."""
    return small(value) + (f" [{small(bounds[0])}, {small(bounds[1])}]" if bounds else "")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """A Markdown table whose columns are aligned in the text, too; the first `left` of them to the left."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) if i < left else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(row, widths, strict=True))) + " |" for row in cells]
    rule = "|" + "|".join("-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def paragraph(text: str) -> str:
    """Text in lines of a readable length."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def bullets(lines: Sequence[str]) -> str:
    """A list; each of its lines is kept as one."""
    return "\n".join(f"- {line}" for line in lines)


def picture(title: str, name: str) -> str:
    """A plot that lies beside the report."""
    return f"![{title}]({name})"


def code(lines: Sequence[str]) -> str:
    """Commands, one a line."""
    return "\n".join(["```sh", *lines, "```"])


def missing(what: str, command: str, option: str = "") -> str:
    """The one line that stands for what nobody has made yet; command has no leading `python3 -m`."""
    return f"Not here yet: {what}. `python3 -m {command}` makes it" + (f"; then give `{option}`." if option else ".")


def place(path: Path) -> str:
    """A path that means something on another machine: from here on where it lies below, else its name alone."""
    here, there = Path.cwd(), path.resolve()
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else there.name

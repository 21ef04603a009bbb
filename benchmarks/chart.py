"""A bar chart as SVG, written without any package: a Jetson seldom has one for plots."""

import math
from typing import Sequence, Tuple
from xml.sax.saxutils import escape

WIDTH_PX, BAR_PX, GAP_PX, FONT_PX = 960, 18, 8, 13
BAR, DOUBTFUL, PUBLISHED = "#2f6f4f", "#c9892b", "#9aa5b1"


def bars(title: str, measured: Sequence[Tuple[str, float, bool]], published: Sequence[Tuple[str, float]]) -> str:
    """Horizontal bars with their figures. measured: (label, value, whether it is doubtful), published: (label, value).

    The scale is logarithmic: devices differ by hundreds.
    """
    rows = [(label, value, DOUBTFUL if doubtful else BAR) for label, value, doubtful in measured]
    rows += [(label, value, PUBLISHED) for label, value in published]
    lowest = min([value for _, value, _ in rows if value > 0] or [1.0])
    highest = max([value for _, value, _ in rows] or [1.0])
    left, top = 20 + int(0.56 * FONT_PX * max([len(label) for label, _, _ in rows] or [0])), 3 * FONT_PX
    height = top + len(rows) * (BAR_PX + GAP_PX) + 3 * FONT_PX
    lines = ['<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
             'font-family="sans-serif" font-size="{2}">'.format(left + WIDTH_PX // 2 + 90, height, FONT_PX),
             '<rect width="100%" height="100%" fill="white"/>',
             _text(10, 1.5 * FONT_PX, title + " (logarithmic)", "start", "bold")]
    for number, (label, value, colour) in enumerate(rows):
        y = top + number * (BAR_PX + GAP_PX)
        length = _length(value, lowest, highest)
        lines += [_text(left - 8, y + BAR_PX - 5, label, "end"),
                  '<rect x="{}" y="{}" width="{:.1f}" height="{}" fill="{}"/>'.format(left, y, length, BAR_PX, colour),
                  _text(left + length + 6, y + BAR_PX - 5, "{:.4g}".format(value), "start")]
    x, y = 10, height - FONT_PX
    for name, colour in (("measured", BAR), ("measured, not valid", DOUBTFUL), ("published by others", PUBLISHED)):
        lines += ['<rect x="{}" y="{}" width="12" height="12" fill="{}"/>'.format(x, y - 11, colour),
                  _text(x + 18, y, name, "start")]
        x += 170
    return "\n".join(lines + ["</svg>"]) + "\n"


def _length(value: float, lowest: float, highest: float) -> float:
    """Pixels; the lowest value has a stub of a bar."""
    if value <= 0:
        return 0.0
    whole = WIDTH_PX // 2
    span = math.log(highest / lowest) if highest > lowest else 0.0
    return whole * (0.08 + 0.92 * math.log(value / lowest) / span) if span else float(whole)


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return '<text x="{:.0f}" y="{:.0f}" text-anchor="{}" font-weight="{}">{}</text>'.format(
        x, y, anchor, weight, escape(text))


"""Draws what a gate sees into a picture of the belt: region, line, mask, tracks, speed and count."""

import math
from typing import Sequence, Tuple

import cv2
import numpy as np

from edge.gate.belt import BeltGate

LEAST_PX = 720  # shorter pictures are enlarged: text must be readable
REGION, LINE, TINT, WAITING, DONE, TEXT = ((0, 220, 255), (255, 80, 255), (80, 200, 0), (255, 200, 0), (120, 255, 120),
                                           (255, 255, 255))  # BGR
FONT = cv2.FONT_HERSHEY_SIMPLEX
AHEAD = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
ARROW = 0.12  # of the region's length


def annotated(image: np.ndarray, gate: BeltGate, lines: Sequence[str]) -> np.ndarray:
    """A copy of image, the (h, w, 3) uint8 BGR frame that was offered last, with all that drawn into it.

    lines: text for the top left corner. Small pictures come back enlarged by a whole number.
    """
    zoom = max(1, int(math.ceil(LEAST_PX / max(image.shape[:2]))))
    picture = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR) if zoom > 1 else image.copy()
    x, y, w, h = (zoom * value for value in gate.watched)
    if gate.mask is not None:
        inside = picture[y:y + h, x:x + w]
        mask = cv2.resize(gate.mask, (w, h), interpolation=cv2.INTER_NEAREST)
        inside[mask > 0] = inside[mask > 0] // 2 + np.array(TINT, np.uint8) // 2
    thick = max(1, int(round(max(picture.shape[:2]) / 500)))
    cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), REGION, thick)
    _draw_line(picture, gate, (x, y, w, h), thick)
    _draw_tracks(picture, gate, zoom, thick)
    _write(picture, lines, thick)
    return picture


def _draw_line(picture: np.ndarray, gate: BeltGate, watched: Tuple[int, int, int, int], thick: int) -> None:
    """The line, and an arrow over it in the direction of travel."""
    x, y, w, h = watched
    ahead = AHEAD[gate.settings.direction]
    share = gate.settings.line if sum(ahead) > 0 else 1 - gate.settings.line
    if ahead[0]:
        at, half = (int(x + share * w), y + h // 2), int(ARROW * w / 2)
        cv2.line(picture, (at[0], y), (at[0], y + h - 1), LINE, thick + 1)
    else:
        at, half = (x + w // 2, int(y + share * h)), int(ARROW * h / 2)
        cv2.line(picture, (x, at[1]), (x + w - 1, at[1]), LINE, thick + 1)
    cv2.arrowedLine(picture, (at[0] - ahead[0] * half, at[1] - ahead[1] * half),
                    (at[0] + ahead[0] * half, at[1] + ahead[1] * half), LINE, thick + 1, tipLength=0.3)


def _draw_tracks(picture: np.ndarray, gate: BeltGate, zoom: int, thick: int) -> None:
    """The rectangle of each track that was just seen, its number, and the way that its middle came."""
    if gate.mask is None or not gate.tracker.tracks:
        return
    x, y, w, h = gate.watched
    latest_s = max(track.seen_s for track in gate.tracker.tracks)
    ahead = AHEAD[gate.settings.direction]
    for track in gate.tracker.tracks:
        if track.seen_s < latest_s:
            continue
        colour = DONE if track.handed_on else WAITING
        corners = (cv2.boxPoints(track.blob.rectangle) + 0.5) * gate.scale + (x, y)
        cv2.polylines(picture, [np.rint(corners * zoom).astype(np.int32)], True, colour, thick)
        middle = corners.mean(axis=0) * zoom
        moved = (track.points[-1].middle - track.points[0].middle) * gate.scale * zoom
        tail = (int(middle[0] - ahead[0] * moved), int(middle[1] - ahead[1] * moved))
        cv2.line(picture, tail, (int(middle[0]), int(middle[1])), colour, thick)
        _text(picture, str(track.number), (int(middle[0]) + 4 * thick, int(middle[1]) - 4 * thick), colour, thick)


def _write(picture: np.ndarray, lines: Sequence[str], thick: int) -> None:
    for number, line in enumerate(lines):
        _text(picture, line, (10, int((number + 1) * 26 * _size(picture))), TEXT, thick)


def _size(picture: np.ndarray) -> float:
    return max(0.6, max(picture.shape[:2]) / 1300.0)


def _text(picture: np.ndarray, text: str, place: Tuple[int, int], colour: Tuple[int, int, int], thick: int) -> None:
    """Text with a dark rim, which is readable on anything."""
    for colour_of, width in (((0, 0, 0), 3 * thick + 1), (colour, thick)):
        cv2.putText(picture, text, place, FONT, _size(picture), colour_of, width, cv2.LINE_AA)

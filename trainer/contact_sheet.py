"""Contact sheets: many small pictures with captions on one page."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from trainer.files import write_atomically

THUMBNAIL_PX = 160  # longer side
COLUMNS = 6
GAP_PX, LINE_PX, TITLE_PX = 8, 14, 28
PAPER, INK, MISSING = (255, 255, 255), (30, 30, 30), (215, 215, 215)
LETTER_PX = 5.6  # a little more than the mean width of FONT at its scale here
FONT, SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.33


def thumbnail(image_bgr: np.ndarray) -> bytes:
    """A JPEG of (H, W, 3) uint8 BGR whose longer side is THUMBNAIL_PX."""
    scale = THUMBNAIL_PX / max(image_bgr.shape[:2])
    size = [max(1, round(side * scale)) for side in image_bgr.shape[1::-1]]
    return cv2.imencode(".jpg", cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA))[1].tobytes()


def contact_sheet(entries: list[tuple[list[bytes | None], list[str]]], title: str, path: Path) -> None:
    """Write entries as a PNG: each is its thumbnails (one or two), side by side, over its caption lines.

    A thumbnail is JPEG bytes, or None for a picture that cannot be shown: a grey field. Raises OSError.
    """
    abreast = max((len(shown) for shown, _ in entries), default=1)
    width = abreast * THUMBNAIL_PX + 2 * GAP_PX
    tiles = [_tile(shown, lines, width) for shown, lines in entries]
    columns = COLUMNS // abreast
    rows = [_beside(tiles[i:i + columns], columns, width) for i in range(0, len(tiles), columns)]
    head = np.full((TITLE_PX, columns * width, 3), PAPER, np.uint8)
    _write(head, title, (GAP_PX, TITLE_PX - 9), 0.45)
    page = cv2.imencode(".png", np.vstack([head, *rows]))[1].tobytes()
    write_atomically(path, lambda file: file.write(page))


def _beside(tiles: list[np.ndarray], columns: int, width: int) -> np.ndarray:
    height = max(tile.shape[0] for tile in tiles)
    row = np.full((height, columns * width, 3), PAPER, np.uint8)
    for i, tile in enumerate(tiles):
        row[:tile.shape[0], i * width:(i + 1) * width] = tile
    return row


def _tile(shown: list[bytes | None], lines: list[str], width: int) -> np.ndarray:
    pictures = [_decoded(jpeg) for jpeg in shown]
    high = max(picture.shape[0] for picture in pictures)
    lines = [part for line in lines for part in _wrapped(line, int((width - 2 * GAP_PX) / LETTER_PX))]
    tile = np.full((high + (len(lines) + 1) * LINE_PX, width, 3), PAPER, np.uint8)
    left = GAP_PX
    for picture in pictures:  # those of one entry touch, so that it is seen what belongs together
        tile[:picture.shape[0], left:left + picture.shape[1]] = picture
        left += picture.shape[1]
    for i, line in enumerate(lines):
        _write(tile, line, (GAP_PX, high + (i + 1) * LINE_PX - 3), SCALE)
    return tile


def _decoded(jpeg: bytes | None) -> np.ndarray:
    if jpeg is None:
        return np.full((THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX, 3), MISSING, np.uint8)
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def _wrapped(line: str, letters: int) -> list[str]:
    parts = [""]
    for word in line.split():
        if parts[-1] and len(parts[-1]) + 1 + len(word) > letters:
            parts.append("")
        parts[-1] = f"{parts[-1]} {word}".lstrip()
    return parts


def _write(image: np.ndarray, text: str, corner: tuple[int, int], scale: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's own letters end there
    cv2.putText(image, plain, corner, FONT, scale, INK, 1, cv2.LINE_AA)

"""What an audit finds, and what it keeps of each picture."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import cv2
import numpy as np

from edge.frames import pictures
from trainer.contact_sheet import thumbnail
from trainer.files import write_atomically
from trainer.prepare import perceptual_hash

KINDS = {  # in the order in which they are worth looking at
    "damaged": "missing, unreadable, or changed since prepare",
    "same-file-two-labels": "one file under two labels",
    "near-duplicate-two-labels": "almost one picture, two labels",
    "mislabel": "models that never saw it are sure of another label",
    "turned-duplicate": "almost one picture, turned or mirrored",
    "same-item": "probably one item photographed again, by deep features",
    "near-duplicate": "almost one picture",
    "odd-size": "not the size or shape of the others, or tiny",
    "odd-exposure": "clipped, dark, bright or flat",
    "blurred": "far less sharp than the others",
    "odd-file": "another file format, transparency, no colour, turned by EXIF",
    "look-alike": "in one group by its hash, but the details differ",
    "left-out": "prepare could not use it",
}
SEVERITIES = ("high", "medium", "low")
SYMMETRIES = [(mirrored, turns) for mirrored in (False, True) for turns in range(4)]  # mirrored first, then turned

DETAIL_PX = 64
MEASURED_PX = 512  # longer side at which sharpness is measured, so that large photographs compare


@dataclass(frozen=True)
class Finding:
    """One thing to look at; a row of audit.csv."""

    kind: str  # one of KINDS
    severity: str  # high: it spoils training or its figures; medium: look at it; low: good to know
    path: str  # below the data folder: SPLIT/CLASS/NAME
    other_path: str = ""
    label: str = ""
    suggested_label: str = ""
    value: float = 0.0  # bits (duplicates), margin (mislabel), distance ratio (same-item), else what reason says
    reason: str = ""


@dataclass
class Findings:
    """All findings, most important first within each kind, and what the contact sheets need."""

    rows: list[Finding]
    pictures: int
    looked_for_mislabels: bool
    thumbnails: dict[str, bytes] = field(default_factory=dict)  # path -> JPEG, small

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [row for row in self.rows if row.kind == kind]

    def label_pairs(self) -> Counter:
        """How many likely mislabels there are by (label, suggested label)."""
        return Counter((row.label, row.suggested_label) for row in self.of("mislabel"))

    def write_csv(self, path: Path) -> None:
        """One row a finding."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [f.name for f in fields(Finding)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) | {"value": f"{row.value:.4g}"} for row in self.rows)
        write_atomically(path, lambda file: file.write(text.getvalue().encode()))


@dataclass(frozen=True)
class Photo:
    """What one look at a picture keeps."""

    path: str
    label: str
    split: str
    group: int
    sha256: str
    format: str
    size: tuple[int, int]  # width, height in pixels, as shown
    quarter_turn: bool  # EXIF says: shown with width and height exchanged
    alpha: bool
    grey: bool
    luma: np.ndarray  # (256,) float64, the share of each grey level
    sharpness: float  # log of the Laplacian's variance over the picture's own: a pale sheet is not blurred
    hashes: np.ndarray  # (8,) uint64, of the SYMMETRIES
    detail: np.ndarray  # (DETAIL_PX, DETAIL_PX) uint8, grey
    thumbnail: bytes


def finding(kind: str, severity: str, path: str, label: str, reason: str, value: float = 0.0) -> Finding:
    """A finding about one picture."""
    return Finding(kind, severity, path, label=label, value=value, reason=reason)


def look(data: Path, entry: dict) -> Photo:
    """One look at the picture of a split's entry. Raises PictureError."""
    path = f"{entry['split']}/{entry['path']}"
    raw = pictures.read_bytes(str(data / path))
    info, image_bgr = pictures.probe(raw), pictures.decode(raw)
    height, width = image_bgr.shape[:2]
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY)
    tiny = cv2.cvtColor(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    scale = MEASURED_PX / max(width, height)
    measured = grey if scale >= 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return Photo(
        path, entry["label"], entry["split"], entry["group"], hashlib.sha256(raw).hexdigest(), info.format,
        (width, height), (info.width_px, info.height_px) == (height, width) and width != height,
        info.format == "png" and raw[25] in (4, 6),  # the colour type of its header
        bool((image_bgr == image_bgr[..., :1]).all()), np.bincount(grey.ravel(), minlength=256) / grey.size,
        float(np.log((cv2.Laplacian(measured, cv2.CV_32F).var() + 0.01) / (measured.var() + 1.0))),
        np.array([perceptual_hash(turned(tiny, s)) for s in SYMMETRIES], np.uint64),
        cv2.resize(grey, (DETAIL_PX, DETAIL_PX), interpolation=cv2.INTER_AREA), thumbnail(image_bgr))


def turned(image: np.ndarray, symmetry: tuple[bool, int]) -> np.ndarray:
    """image mirrored, or not, then turned counter-clockwise by quarters."""
    mirrored, turns = symmetry
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, turns))

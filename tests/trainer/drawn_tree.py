"""A folder of drawn pictures, one sub-folder a class."""

from pathlib import Path

import cv2

from edge.frames.drawn import MATERIALS, draw_named

ROOT = Path(__file__).resolve().parents[2]


def write_tree(root, per_class, classes=MATERIALS, size=(96, 128), seed=0):
    """Fill root/CLASS/CLASS<n>.jpg; a class that cannot be drawn gets glass. Returns root."""
    for label in classes:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            picture = draw_named(label if label in MATERIALS else "glass", seed + number, *size)
            cv2.imwrite(str(root / label / f"{label}{number}.jpg"), picture)
    return root

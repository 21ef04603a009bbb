"""Decoded pictures, once on disk: an epoch is then bound by compute, not by JPEG.

Training pictures are kept larger than the network's input, so that a crop still has detail; validation and test ones
are exactly what the appliance's own preprocessing makes of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.frames import pictures
from edge.preprocess import InputSpec, Preprocessor
from trainer.files import write_atomically

TRAIN_PX = 320  # a crop of half the area is still 224 pixels high


def cached(data: Path, split: dict, part: str, spec: InputSpec, side_px: int | None = None) -> tuple:
    """The decoded pictures of one part (train, val or test) of a prepared data set.

    Returns (images, labels, files): images (N, S, S, 3) uint8 BGR, memory-mapped read-only; labels (N,) int64, indices
    into split["classes"]; files, the split's entries in the same order. S is side_px or the network's input size.
    """
    files = [f for f in split["files"] if f["split"] == part]
    labels = np.array([split["classes"].index(f["label"]) for f in files], np.int64)
    if side_px:
        spec = spec._replace(height_px=side_px, width_px=side_px)
    name = f"{split['hash'][:16]}-{part}-{spec.height_px}x{spec.width_px}-{spec.resize}.npy"
    path = data / ".cache" / name
    if not path.exists():
        _fill(path, [data / part / f["path"] for f in files], spec)
    return np.load(path, mmap_mode="r"), labels, files


def _fill(path: Path, sources: list[Path], spec: InputSpec) -> None:
    preprocessor = Preprocessor(spec)
    shape = (len(sources), spec.height_px, spec.width_px, 3)

    def write(file) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for source in tqdm(sources, desc=f"decode {path.stem.split('-')[1]}", unit="picture", leave=False):
            file.write(preprocessor.resize(pictures.read(str(source))).tobytes())

    write_atomically(path, write)

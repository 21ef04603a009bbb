"""Out-of-fold answers: what models that never saw a picture, or its near-duplicates, say of it."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import TrainerError
from trainer.files import write_atomically

FORMAT = "scrapsort-oof-1"


@dataclass(frozen=True)
class OutOfFold:
    """The pooled answers of the fold models; row i of each array is about the same picture."""

    classes: tuple[str, ...]
    split_hash: str
    paths: tuple[str, ...]  # (N,) as in split.json: CLASS/NAME
    labels: np.ndarray  # (N,) int64, indices into classes
    folds: np.ndarray  # (N,) int64, the fold whose model answered, which had not seen the picture
    logits: np.ndarray  # (N, C) float32, not divided by a temperature
    features: np.ndarray  # (N, 512) float32; each fold has its own feature space
    about: dict  # how they were made: options, grouping, seeds, accuracy by fold

    def save(self, path: Path) -> None:
        """Write everything to one .npz, atomically."""
        head = {"format": FORMAT, "classes": self.classes, "split_hash": self.split_hash, "paths": self.paths,
                "about": self.about}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, head=np.array(json.dumps(head)), labels=self.labels, folds=self.folds,
                            logits=self.logits, features=self.features)
        write_atomically(path, lambda file: file.write(buffer.getvalue()))

    @classmethod
    def load(cls, path: Path) -> OutOfFold:
        """Read what save wrote. Raises TrainerError."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                head = json.loads(str(arrays["head"]))
                rows = {name: arrays[name] for name in ("labels", "folds", "logits", "features")}
        except FileNotFoundError:
            raise TrainerError(f"{path}: no out-of-fold answers; run `python3 -m trainer crossvalidate` "
                               "first") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise TrainerError(f"{path}: not out-of-fold answers of this trainer ({error}); "
                               "run `python3 -m trainer crossvalidate` again") from error
        if head.get("format") != FORMAT or len({len(r) for r in rows.values()} | {len(head["paths"])}) != 1:
            raise TrainerError(f"{path}: format {head.get('format')!r} or its rows do not fit; {FORMAT} is needed")
        return cls(tuple(head["classes"]), head["split_hash"], tuple(head["paths"]), about=head["about"], **rows)

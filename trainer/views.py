"""What training looks at: each picture's augmented views, made once, and what a teacher sees in each.

Views hang on the picture and the augmentation alone, so every fold, every experiment on the network and a resumed run
share them; an epoch then costs no augmentation, and the teacher is asked once.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edge.frames.drawn import MATERIALS, draw_named
from edge.preprocess import InputSpec, Preprocessor
from trainer.augment import Augmentation, View, augment
from trainer.cache import TRAIN_PX, cached
from trainer.cutout import cached_cutouts
from trainer.errors import TrainerError
from trainer.files import sha256_of, write_atomically
from trainer.teacher import Teacher, load_teacher

SEE_THROUGH = ("glass", "plastic")
DRAWN_SEED = 2_000_000_000  # of training's drawings, apart from the demo's, the tests' and the golden ones
PASTED_SEED = 1_000_000  # of the one view a picture that tells how the network does on strange grounds
VERSION = 1  # of what augment makes of the same random numbers; count it up when that changes


@dataclass(frozen=True)
class Recipe:
    """What the views of a data set hang on."""

    views: int
    drawn: int  # drawn pictures of each class, behind the photographs
    how: Augmentation
    seed: int
    teacher: Path | None


class Pool:
    """The photographs of train and val, and drawn pictures behind them, as they are before augmentation."""

    def __init__(self, data: Path, split: dict, drawn: int):
        spec = InputSpec()
        parts = [cached(data, split, part, spec, TRAIN_PX) for part in ("train", "val")]
        self.data, self.split, self.classes = data, split, split["classes"]
        self.files = [file for _, _, files in parts for file in files]
        self.photographs = len(self.files)
        self._arrays = [images for images, _, _ in parts] + [_drawings(self.classes, drawn)]
        self._cutouts = [cached_cutouts(data / ".cache" / f"{split['hash'][:16]}-{part}-cutouts.npy", images)
                         for part, (images, _, _) in zip(("train", "val"), parts, strict=True)]
        self.labels = np.concatenate([labels for _, labels, _ in parts]
                                     + [np.repeat(np.arange(len(self.classes)), drawn)])
        self._starts = np.cumsum([0] + [len(array) for array in self._arrays])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def picture(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Picture (TRAIN_PX, TRAIN_PX, 3) uint8 BGR and its cut-out; drawings lie on grounds already and have none."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - self._starts[part]
        return np.asarray(self._arrays[part][row]), (self._cutouts[part][row] if part < len(self._cutouts) else None)

    def view(self, index: int, seed: list[int], how: Augmentation) -> View:
        """One augmented view of a picture; the same for the same seed and picture, whatever else is in the pool."""
        image, cutout = self.picture(index)
        rng = np.random.default_rng([*seed, self._number(index)])
        see_through = self.classes[self.labels[index]] in SEE_THROUGH
        return augment(image, rng, InputSpec().height_px, how, cutout, see_through)

    def _number(self, index: int) -> int:
        return int(self.files[index]["sha256"][:8], 16) if index < self.photographs else index - self.photographs


class Views:
    """views[v] is a memory-mapped array (N, H, W, 3) uint8 BGR; features[v] (N, 1280) float16, or None."""

    def __init__(self, pool: Pool, recipe: Recipe):
        self.pool, self.recipe = pool, recipe
        folder = pool.data / ".cache"
        teacher = sha256_of(recipe.teacher) if recipe.teacher else None
        self.key = key = key_of([VERSION, pool.split["hash"], recipe.drawn, recipe.how, recipe.seed, cv2.__version__])
        paths = [folder / f"views-{key}-{v}.npy" for v in range(recipe.views)]
        wanted = [folder / f"views-{key}-{v}-{key_of(teacher)}.npy" for v in range(recipe.views)] if teacher else []
        network = None
        for v, path in enumerate(tqdm(paths, desc="views", unit="view", leave=False)):
            if not path.exists() or (wanted and not wanted[v].exists()):
                if wanted and network is None:
                    network = Teacher(load_teacher(recipe.teacher))
                self._make(v, path, wanted[v] if wanted else None, network)
        self.images = [np.load(path, mmap_mode="r") for path in paths]
        self.features = [np.load(path) for path in wanted] or None

    def _make(self, v: int, path: Path, wanted: Path | None, network) -> None:
        size, pool = InputSpec().height_px, self.pool
        images = np.empty((len(pool), size, size, 3), np.uint8)
        features = np.empty((len(pool), 1280), np.float16)

        def one(index: int) -> tuple[int, np.ndarray]:
            view = pool.view(index, [self.recipe.seed, v], self.recipe.how)
            images[index] = view.image_bgr
            return index, view.plain_bgr

        with ThreadPoolExecutor(2) as workers:
            for chunk in tqdm(_chunks(len(pool), 32), desc=f"view {v}", unit="batch", leave=False):
                plain = [picture for _, picture in workers.map(one, chunk)]
                if network is not None:
                    features[chunk.start:chunk.stop] = network(_normalised(plain))
        if wanted:
            write_atomically(wanted, lambda file: np.save(file, features))
        write_atomically(path, lambda file: np.save(file, images))

    def pasted(self) -> np.ndarray:
        """One view of each photograph on a drawn ground, (photographs, H, W, 3) uint8 BGR, never trained on."""
        how = self.recipe.how._replace(paste=1.0, erase=0.0)
        key = key_of([VERSION, self.pool.split["hash"], how, PASTED_SEED, cv2.__version__])
        path = self.pool.data / ".cache" / f"views-{key}-pasted.npy"
        if not path.exists():
            images = np.stack([self.pool.view(i, [PASTED_SEED], how).image_bgr for i in
                               tqdm(range(self.pool.photographs), desc="paste", unit="picture", leave=False)])
            write_atomically(path, lambda file: np.save(file, images))
        return np.load(path, mmap_mode="r")


def key_of(value) -> str:
    """A short name for a cache of what value describes."""
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:12]


def _chunks(count: int, size: int) -> list[range]:
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _normalised(pictures_bgr: list[np.ndarray]) -> np.ndarray:
    """Pictures as the network gets them, (N, 3, H, W) float32."""
    spec = InputSpec()
    preprocessor, batch = Preprocessor(spec), np.empty((len(pictures_bgr), *spec.shape[1:]), np.float32)
    for row, picture in enumerate(pictures_bgr):
        preprocessor.normalise(picture, batch[row:row + 1])
    return batch


def _drawings(classes: list[str], count: int) -> np.ndarray:
    """count drawn pictures of each class, (C * count, TRAIN_PX, TRAIN_PX, 3) uint8 BGR."""
    undrawable = [name for name in classes if name not in MATERIALS] if count else []
    if undrawable:
        raise TrainerError(f"--drawn: {', '.join(undrawable)} cannot be drawn, only {', '.join(MATERIALS)}")
    preprocessor = Preprocessor(InputSpec(height_px=TRAIN_PX, width_px=TRAIN_PX))
    jobs = list(itertools.product(classes, range(count)))
    drawn = np.empty((len(jobs), TRAIN_PX, TRAIN_PX, 3), np.uint8)
    for row, (name, number) in enumerate(tqdm(jobs, desc="draw", unit="picture", leave=False)):
        drawn[row] = preprocessor.resize(draw_named(name, DRAWN_SEED + number))
    return drawn

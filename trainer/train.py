"""Training, top to bottom: data, network, epochs, the checkpoint that is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Iterator

import numpy as np
import torch
from tqdm import tqdm

from edge.preprocess import InputSpec, Preprocessor
from trainer.ahead import ahead
from trainer.augment import Augmentation
from trainer.batches import Batches, Loss
from trainer.cache import cached
from trainer.errors import TrainerError
from trainer.files import write_atomically
from trainer.folds import assign_folds
from trainer.metrics import summarise
from trainer.model import Sorter, initialise
from trainer.prepare import read_split
from trainer.regrow import BATCH as MAPS_BATCH
from trainer.regrow import Maps, regrow
from trainer.run import Run, ancestor, make_deterministic, pick_device, predict
from trainer.views import Pool, Recipe, Views

CALIBRATION_PICTURES = 256  # an .npz's BatchNorm statistics come from these
LOOK_EVERY = 5  # epochs between looks at a fold that chooses nothing
PARTS = "train, all, fold:K/N or random:K/N"


@dataclass(frozen=True)
class Options:
    """Hyper-parameters; those that shape the result go into the checkpoint and the bundle's provenance."""

    epochs: int = 20
    cycles: int = 1  # of so many epochs, each with its own rise and fall of the rate (Loshchilov and Hutter 2017)
    batch_size: int = 32
    lr: float = 0.001  # peak, of whatever starts from scratch
    lr_loaded: float = 0.3  # times lr, for stages whose weights were loaded: they need less
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    mix: float = 0.7  # share of batches whose pictures are mixed in pairs, by MixUp and CutMix in turn
    warmup: float = 0.2  # share of all steps until the peak of the one-cycle schedule
    ema: float = 0.998  # average of the weights per step; what is validated and kept
    small_px: int = 160  # pictures of this size ...
    small: float = 0.0  # ... for this share of a cycle's epochs, the first ones; then full size (Touvron et al. 2019)
    init: str = "imagenet"
    freeze: int = 0
    regrow: int = 0  # epochs beforehand in which layer4 and the head alone learn, when the rest was loaded
    views: int = 16  # augmented versions of each picture, made once; an epoch takes one of them
    paste: float = 0.0  # share of views on drawn grounds
    harsh: float = 0.0  # probability of each of the harsher changes of light and camera
    belt: float = 0.0  # share of views that a belt's camera and the gate might have cut out
    drawn: int = 0  # drawn pictures per class mixed into each epoch
    teacher: str = ""  # .npz of a MobileNetV2, whose features the student learns to predict
    teacher_weight: float = 5.0  # of that loss, beside cross-entropy
    seed: int = 0
    threads: int = 0  # of the CPU; 0: all. Part of the result, as sums are split by it
    amp: str = "auto"  # bfloat16 where the device is fast at it: auto, on, off
    device: str = "auto"

    def recipe(self) -> Recipe:
        """What the views hang on. The seed of the network is not part of it: repeated runs share their views."""
        return Recipe(self.views, self.drawn, Augmentation(paste=self.paste, harsh=self.harsh, belt=self.belt), 0,
                      Path(self.teacher) if self.teacher else None)


@dataclass(frozen=True)
class Selection:
    """Rows of the pool to train on, and the photographs to look at meanwhile."""

    rows: np.ndarray
    held: np.ndarray  # indices into the pool's photographs; may be empty
    keep_best: bool  # whether held chooses the epoch that is kept; else the last one is


def select(pool: Pool, part: str) -> Selection:
    """The pictures of a part: train (val chooses the epoch), all (of train and val, the last epoch is kept), fold:K/N
    (all but fold K of N, near-duplicates together), random:K/N (the same without regard to near-duplicates).

    Raises TrainerError.
    """
    drawn, photographs = np.arange(pool.photographs, len(pool)), np.arange(pool.photographs)
    if part == "all":
        return Selection(np.concatenate([photographs, drawn]), photographs[:0], False)
    if part == "train":
        held = np.array([file["split"] == "val" for file in pool.files])
        if not held.any():
            raise TrainerError(f"{pool.data}: no picture in val; more than 5 a class are needed")
        return Selection(np.concatenate([photographs[~held], drawn]), photographs[held], True)
    kind, _, numbers = part.partition(":")
    fold, _, count = numbers.partition("/")
    if kind not in ("fold", "random") or not (fold.isdigit() and count.isdigit()) or not int(fold) < int(count) >= 2:
        raise TrainerError(f"--part {part}: allowed: {PARTS}, K from 0 to N - 1")
    held = assign_folds(pool.files, int(count), grouped=kind == "fold") == int(fold)
    return Selection(np.concatenate([photographs[~held], drawn]), photographs[held], False)


def train(data: Path, out: Path, options: Options, part: str = "train", stop_after: int | None = None) -> dict:
    """Train on a part (see select) of a prepared data set; leaves best.pt, last.pt, history.json and, for a part that
    holds pictures back, held.npz (rows, logits, features, pasted_logits of the kept weights) in out.

    Returns the history. A run that was stopped goes on from last.pt, if its options, part and split are the same, and
    so does a finished one that is asked for more cycles; on a CPU it then ends with the same weights as an unbroken
    one. stop_after ends after that many epochs of this call.
    Raises TrainerError.
    """
    split = read_split(data)
    forebear = ancestor(options.init, split, part)
    device = pick_device(options.device)
    make_deterministic(options, device)
    spec = InputSpec()
    pool = Pool(data, split, options.drawn)
    selection = select(pool, part)
    views = Views(pool, options.recipe())
    held_images, held_labels = held_pictures(data, split, spec, selection.held), pool.labels[selection.held]

    model = Sorter(len(split["classes"]))
    batches = Batches(views, selection.rows, options.batch_size, options.mix, options.seed)
    loss_of = Loss(pool.labels[selection.rows], len(split["classes"]), options.label_smoothing,
                   options.teacher_weight, device)
    run = Run(model, options, part, device, split, steps=options.epochs * batches.steps)
    history, epochs = run.resume(out), options.epochs * options.cycles
    if history is None:
        fresh = initialise(model, options.init, _calibration(pool, selection.rows, spec))
        if options.regrow:
            fresh = _regrown(run, fresh, views, selection.rows, loss_of, out)
        run.start(fresh)
        history = []
    best = max((h["val_macro_f1"] for h in history if "val_macro_f1" in h), default=-1.0)

    if len(history) > epochs:
        raise TrainerError(f"{out}: has {len(history)} epochs, more than {epochs} (--epochs times --cycles); give "
                           "another --out")
    if len(history) < epochs:
        (out / "held.npz").unlink(missing_ok=True)  # of the cycles before
    for epoch in range(len(history), epochs):
        started, losses = time.monotonic(), []
        if epoch and epoch % options.epochs == 0:
            run.begin_cycle()
        run.training_mode()
        side_px = options.small_px if epoch < round(options.small * options.epochs) else spec.height_px
        bar = tqdm(ahead(batches.pictures(epoch, side_px)), total=batches.steps,
                   desc=f"epoch {epoch + 1}/{epochs}", unit="batch", leave=False)
        for batch in bar:
            losses.append(run.step(batch.images, lambda logits, guess, b=batch: loss_of(b, logits, guess)))
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
        entry = {"epoch": epoch + 1, "train_loss": float(np.mean(losses)), "lr": run.learning_rate}
        if len(held_labels) and (selection.keep_best or epoch % LOOK_EVERY == 0 or epoch + 1 == epochs):
            logits, _ = predict(run.average, held_images, spec, device, run.autocast)
            scores = summarise(logits, held_labels, split["classes"])
            entry |= {"val_loss": scores["loss"], "val_accuracy": scores["accuracy"],
                      "val_macro_f1": scores["macro_f1"]}
        history.append(entry | {"seconds": round(time.monotonic() - started, 1)})
        improved = selection.keep_best and entry["val_macro_f1"] > best
        if improved or (not selection.keep_best and epoch + 1 == epochs):
            best = entry.get("val_macro_f1", -1.0)
            run.save_best(out, history, forebear)
        run.save_last(out, history)
        tqdm.write(", ".join(f"{k} {v:.4g}" for k, v in history[-1].items()))
        if stop_after and epoch + 1 >= stop_after:
            return {"history": history, "best": best, "out": str(out)}
    _save_held(out, run, views, selection, held_images, spec)
    return {"history": history, "best": best, "out": str(out)}


def _regrown(run: Run, fresh: set[str], views: Views, rows: np.ndarray, loss_of: Loss, out: Path) -> set[str]:
    """Let layer4 and the head learn alone; returns what is fresh afterwards: nothing."""
    options, spec = run.options, InputSpec()
    rest = sorted(name for name in fresh if not name.startswith(("layer4", "fc")))
    if rest:
        raise TrainerError(f"--regrow: {rest[0]} and {len(rest) - 1} more start from scratch, too; it needs weights "
                           "for everything but layer4 and the last layer")
    everything = _calibration(views.pool, np.arange(views.pool.photographs), spec)
    common = Sorter(len(run.split["classes"]))
    initialise(common, options.init, everything)
    maps = Maps(views, common, options, run.device)
    regrow(run, maps.arrays, Batches(views, rows, MAPS_BATCH, options.mix, options.seed), loss_of, out)
    return set()


def held_pictures(data: Path, split: dict, spec: InputSpec, rows: np.ndarray) -> np.ndarray:
    """Photographs of the pool as the appliance would see them: (len(rows), H, W, 3) uint8 BGR."""
    images = [cached(data, split, part, spec)[0] for part in ("train", "val")]
    first = len(images[0])
    return np.stack([np.asarray(images[0][r] if r < first else images[1][r - first]) for r in rows]) if len(rows) \
        else np.empty((0, spec.height_px, spec.width_px, 3), np.uint8)


def _save_held(out: Path, run: Run, views: Views, selection: Selection, images: np.ndarray, spec: InputSpec) -> None:
    """What the kept weights say of the pictures that were held back, as photographed and on drawn grounds."""
    if not len(selection.held) or (out / "held.npz").exists():
        return
    kept = torch.load(out / "best.pt", map_location="cpu", weights_only=True)
    run.average.module.load_state_dict(kept["model"])
    logits, features = predict(run.average, images, spec, run.device, run.autocast)
    pasted, _ = predict(run.average, views.pasted()[selection.held], spec, run.device, run.autocast)
    write_atomically(out / "held.npz", lambda file: np.savez(
        file, rows=selection.held, logits=logits, features=features, pasted_logits=pasted))


def _calibration(pool: Pool, rows: np.ndarray, spec: InputSpec) -> Iterator[torch.Tensor]:
    """CALIBRATION_PICTURES training pictures, spread over all classes, as the network sees them."""
    preprocessor, rows = Preprocessor(spec), rows[rows < pool.photographs]
    for place in np.linspace(0, len(rows) - 1, min(CALIBRATION_PICTURES, len(rows))).astype(int):
        buffer = np.empty(spec.shape, np.float32)
        preprocessor(pool.picture(rows[place])[0], buffer)
        yield torch.from_numpy(buffer)


def option_names() -> list[str]:
    """The names of all options, as the command line uses them."""
    return [field.name for field in fields(Options)]

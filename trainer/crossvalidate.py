"""Cross-validation: a model a fold, and their pooled answers about pictures that they have not seen."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from trainer.errors import TrainerError
from trainer.files import write_json
from trainer.metrics import expected_calibration_error, fit_temperature, softmax, summarise
from trainer.oof import OutOfFold
from trainer.prepare import read_split
from trainer.train import Options, train


def crossvalidate(data: Path, out: Path, options: Options, folds: int = 5, grouped: bool = True) -> dict:
    """Train a model a fold over train and val (the test split stays apart); leaves oof.npz and scores.json in out.

    grouped keeps near-duplicates in one fold; without it they lie on both sides, as in most published figures. Where
    options.init is the out of an earlier call, each fold goes on from its own checkpoint there. What is finished is
    not done again. Returns the scores. Raises TrainerError.
    """
    if folds < 2:
        raise TrainerError(f"--folds {folds}: at least 2")
    split = read_split(data)
    kind = "fold" if grouped else "random"
    for fold in range(folds):
        start = Path(options.init) / f"fold-{fold}" / "best.pt"
        own = replace(options, init=str(start)) if Path(options.init).is_dir() else options
        train(data, out / f"fold-{fold}", own, f"{kind}:{fold}/{folds}")
    answers, pasted = _pooled(out, split, options, folds, kind)
    answers.save(out / "oof.npz")
    scores = score(answers, pasted)
    write_json(out / "scores.json", scores)
    return scores


def _pooled(out: Path, split: dict, options: Options, folds: int, kind: str) -> tuple[OutOfFold, np.ndarray]:
    parts = []
    for fold in range(folds):
        with np.load(out / f"fold-{fold}" / "held.npz") as arrays:
            parts.append({name: arrays[name] for name in arrays.files})
    rows = np.concatenate([part["rows"] for part in parts])
    order = np.argsort(rows)
    files = [f for name in ("train", "val") for f in split["files"] if f["split"] == name]
    if not np.array_equal(rows[order], np.arange(len(files))):
        raise TrainerError(f"{out}: its folds do not hold each picture once; give another --out")

    def pool(name: str) -> np.ndarray:
        return np.concatenate([part[name] for part in parts])[order]

    labels = np.array([split["classes"].index(f["label"]) for f in files], np.int64)
    number = np.concatenate([np.full(len(part["rows"]), fold) for fold, part in enumerate(parts)])[order]
    by_fold = [float((part["logits"].argmax(1) == labels[part["rows"]]).mean()) for part in parts]
    kept = torch.load(out / "fold-0" / "best.pt", map_location="cpu", weights_only=True)
    about = {"options": asdict(options) | {"init": Path(options.init).name, "teacher": Path(options.teacher).name},
             "started_from": kept["started_from"], "folds": folds, "grouped": kind == "fold",
             "accuracy_by_fold": by_fold}
    return OutOfFold(tuple(split["classes"]), split["hash"], tuple(f["path"] for f in files), labels, number,
                     pool("logits"), pool("features"), about), pool("pasted_logits")


def score(answers: OutOfFold, pasted_logits: np.ndarray | None = None) -> dict:
    """Scores of pooled answers; calibration with the temperature of all, and of each fold with the others'."""
    temperature = fit_temperature(answers.logits, answers.labels)
    crossed = np.empty(answers.logits.shape)
    for fold in np.unique(answers.folds):
        mine = answers.folds == fold
        crossed[mine] = softmax(answers.logits[mine], fit_temperature(answers.logits[~mine], answers.labels[~mine]))
    by_fold = np.array(answers.about["accuracy_by_fold"])
    scores = {"split_hash": answers.split_hash, "about": answers.about, "temperature": temperature,
              "accuracy_mean_of_folds": float(by_fold.mean()), "accuracy_spread_of_folds": float(by_fold.std(ddof=1)),
              "calibration_error_crossed": expected_calibration_error(crossed, answers.labels),
              "pooled": summarise(answers.logits, answers.labels, list(answers.classes), temperature)}
    if pasted_logits is not None:
        scores["pasted"] = summarise(pasted_logits, answers.labels, list(answers.classes), temperature)
    return scores


def lines(scores: dict) -> list[str]:
    """The scores as a table for people."""
    pooled, folds = scores["pooled"], scores["about"]["accuracy_by_fold"]
    how = "near-duplicates together" if scores["about"]["grouped"] else "pictures at random"
    text = [f"{len(folds)} folds, {how}: accuracy {' '.join(f'{a:.4f}' for a in folds)}, "
            f"mean {scores['accuracy_mean_of_folds']:.4f} "
            f"(spread {scores['accuracy_spread_of_folds']:.4f})",
            f"pooled {pooled['pictures']} pictures: accuracy {pooled['accuracy']:.4f}, macro-F1 "
            f"{pooled['macro_f1']:.4f}, calibration error {pooled['calibration_error']:.4f} at temperature "
            f"{scores['temperature']:.4f} ({scores['calibration_error_crossed']:.4f} with that of the other folds)"]
    text += [f"    {name:<10s} {one['pictures']:4d}  precision {one['precision']:.3f}  recall {one['recall']:.3f}"
             for name, one in pooled["per_class"].items() if one["pictures"]]
    if "pasted" in scores:
        text.append(f"on drawn grounds: accuracy {scores['pasted']['accuracy']:.4f}, "
                    f"macro-F1 {scores['pasted']['macro_f1']:.4f}")
    return text

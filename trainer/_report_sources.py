"""What a report is made from: read, checked against one split, and measured anew; nothing is taken on trust."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.bundles import Bundle
from edge.classifier.base import Answer
from edge.decision import ACCEPT, Call, Decider
from edge.frames import pictures
from edge.preprocess import Preprocessor
from trainer import crossvalidate, elsewhere
from trainer.errors import TrainerError
from trainer.evaluate import Evaluation, evaluate_roles
from trainer.files import sha256_of
from trainer.metrics import summarise
from trainer.oof import OutOfFold
from trainer.prepare import read_split
from trainer.statistics import bootstrap_intervals
from trainer.strangers import answer

PART = "test"


@dataclass(frozen=True)
class Given:
    """Where everything lies; what is None or empty has not been made yet."""

    bundle: Path
    data: Path
    out: Path
    crossvalidation: Path | None = None
    random: Path | None = None
    random_against: Path | None = None
    checkpoint: Path | None = None
    elsewhere: Path | None = None
    experiments: tuple[Path, ...] = ()
    benchmarks: tuple[Path, ...] = ()
    photographs: bool = False


@dataclass(frozen=True)
class Folds:
    """A cross-validation, scored from its answers."""

    answers: OutOfFold
    groups: np.ndarray  # (N,) int64, of near-duplicates, in the order of the answers
    scores: dict  # as of crossvalidate.score
    intervals: dict  # of the pooled scores
    pasted: dict | None  # scores on drawn grounds
    histories: dict[str, list]  # by fold

    @property
    def right(self) -> np.ndarray:
        """(N,) bool."""
        return self.answers.logits.argmax(1) == self.answers.labels


@dataclass(frozen=True)
class Reference:
    """The float answers that the other roles are held against."""

    name: str  # a role, or "torch, float32"
    logits: np.ndarray  # (N, C) float32
    scores: dict


@dataclass(frozen=True)
class Trial:
    """One experiment; None: not known."""

    name: str
    options: dict
    part: str
    pictures: int | None
    accuracy: float | None
    macro_f1: float | None
    pasted: float | None  # accuracy on drawn grounds
    minutes: float
    note: str


@dataclass(frozen=True)
class Sources:
    """Everything a report says comes from here."""

    given: Given
    bundle: Bundle
    split: dict
    evaluation: Evaluation
    main: str  # the role whose details are told: the first of the manifest
    calls: list[Call]  # of the role main, about the test pictures
    state: dict | None  # of the checkpoint
    reference: Reference
    folds: Folds | None
    random: Folds | None
    random_against: Folds | None  # by groups, with the options of random; None: folds are that
    elsewhere: list[dict]
    trials: list[Trial]
    benchmarks: dict[str, dict]  # by the file's name

    @property
    def accepted(self) -> tuple[int, int]:
        """How many test pictures the role main accepts, and how many of these are right."""
        hits = [call.class_name == self.bundle.classes[label]
                for call, label in zip(self.calls, self.evaluation.labels, strict=True) if call.decision == ACCEPT]
        return len(hits), sum(hits)


def gather(given: Given) -> Sources:
    """Read and measure. Raises TrainerError where things do not belong together, BundleError for a damaged bundle."""
    bundle, split = Bundle(str(given.bundle)), read_split(given.data)
    _check_pictures(given.data, split)
    evaluation = evaluate_roles(bundle, given.data, split, PART)
    if not evaluation.logits or not evaluation.files:
        raise TrainerError(f"{given.bundle}: nothing to measure: a role that a CPU can run and pictures in {PART} of "
                           f"{given.data} are needed")
    main = next(iter(evaluation.logits))
    state, model = _checkpoint(given, bundle)
    return Sources(given, bundle, split, evaluation, main, _calls(evaluation, main, given.data), state,
                   _reference(evaluation, model, given.data), _folds(given.crossvalidation, bundle, split, True),
                   _folds(given.random, bundle, split, False), _folds(given.random_against, bundle, split, True),
                   _elsewhere(given, evaluation, main),
                   [_trial(run, split) for run in given.experiments],
                   {path.name: _benchmark(path) for path in given.benchmarks})


def _check_pictures(data: Path, split: dict) -> None:
    """The split's hash covers what its list says of the pictures; this, that the measured ones are those."""
    for file in tqdm(split["files"], desc="check pictures", unit="picture", leave=False):
        path = data / file["split"] / file["path"]
        if file["split"] == PART and (not path.is_file() or sha256_of(path) != file["sha256"]):
            raise TrainerError(f"{path}: is missing or not the picture of {data}/split.json; run prepare again")


def _calls(evaluation: Evaluation, role: str, data: Path) -> list[Call]:
    """What the appliance would decide about each test picture, strangers included."""
    bundle, logits = evaluation.bundle, evaluation.logits[role]
    features = np.zeros((len(logits), 512), np.float32)
    if bundle.stranger is not None and bundle.stranger.file is not None:  # told by features, which are not kept
        images = ((f["label"], pictures.read(str(data / PART / f["path"]))) for f in evaluation.files)
        features = answer(bundle, (role,), images, len(logits), "features of test pictures")[role].features
    decider = Decider.from_settings(bundle, 0.0, {})
    return [decider.decide(Answer(logits[i:i + 1], features[i:i + 1], 0.0, 0.0)) for i in range(len(logits))]


def _checkpoint(given: Given, bundle: Bundle):
    """The checkpoint that the bundle was made from, and its network."""
    from trainer.export import load_checkpoint, weights_id
    if given.checkpoint is None:
        return None, None
    state, model = load_checkpoint(given.checkpoint)
    if bundle.version.rpartition("-")[2] != weights_id(state):
        raise TrainerError(f"{given.checkpoint}: {given.bundle}, version {bundle.version}, was made from another "
                           f"checkpoint than this one ({weights_id(state)}); give that, or leave out --checkpoint")
    return state, model


def _reference(evaluation: Evaluation, model, data: Path) -> Reference:
    """float32 of the bundle, else of the checkpoint, else the bundle's first role."""
    first = "fp32" if "fp32" in evaluation.logits else next(iter(evaluation.logits))
    if model is None or first == "fp32":
        return Reference(first, evaluation.logits[first], evaluation.scores[first])
    import torch
    bundle = evaluation.bundle
    preprocessor, tensor, rows = Preprocessor(bundle.input), np.empty(bundle.input.shape, np.float32), []
    for file in tqdm(evaluation.files, desc="evaluate torch", unit="picture", leave=False):
        preprocessor(pictures.read(str(data / PART / file["path"])), tensor)
        with torch.inference_mode():
            rows.append(model(torch.from_numpy(tensor))[0][0].numpy())
    logits = np.stack(rows)
    return Reference("torch, float32", logits, summarise(logits, evaluation.labels, list(bundle.classes),
                                                         bundle.temperature))


def _folds(folder: Path | None, bundle: Bundle, split: dict, grouped: bool) -> Folds | None:
    if folder is None:
        return None
    answers = OutOfFold.load(folder / "oof.npz")
    if answers.split_hash != split["hash"] or answers.classes != bundle.classes:
        raise TrainerError(f"{folder}: is of split {answers.split_hash[:12]}, the data hold {split['hash'][:12]}; run "
                           "`python3 -m trainer crossvalidate` on them")
    if answers.about["grouped"] is not grouped:
        raise TrainerError(f"{folder}: its folds were {'drawn at random' if grouped else 'made of whole groups'}; "
                           "--crossvalidation takes groups of near-duplicates, --random those of crossvalidate "
                           "--random")
    right, group = answers.logits.argmax(1) == answers.labels, {f["path"]: f["group"] for f in split["files"]}
    # The accuracies that it says it had are not read: they come from the answers, like all else
    answers = replace(answers, about=answers.about | {
        "accuracy_by_fold": [float(right[answers.folds == fold].mean()) for fold in np.unique(answers.folds)]})
    groups = np.array([group[path] for path in answers.paths])
    histories = {f"fold {k}": json.loads(path.read_text()) for k in range(answers.about["folds"])
                 if (path := folder / f"fold-{k}" / "history.json").exists()}
    return Folds(answers, groups, crossvalidate.score(answers), bootstrap_intervals(
        answers.logits, answers.labels, answers.classes, groups=groups, temperature=bundle.temperature),
        _pasted(folder, answers), histories)


def _pasted(folder: Path, answers: OutOfFold) -> dict | None:
    paths = [folder / f"fold-{k}" / "held.npz" for k in range(answers.about["folds"])]
    if not all(path.exists() for path in paths):
        return None
    logits = np.zeros_like(answers.logits)
    for path in paths:
        with np.load(path) as arrays:
            logits[arrays["rows"]] = arrays["pasted_logits"]
    return summarise(logits, answers.labels, list(answers.classes))


def _elsewhere(given: Given, evaluation: Evaluation, main: str) -> list[dict]:
    if given.elsewhere is None:
        return []
    roles = dict.fromkeys((main, *(role for role in evaluation.logits if role.startswith("int8"))))
    return [elsewhere.judge(evaluation.bundle, role, given.elsewhere) for role in roles]


def _trial(run: Path, split: dict) -> Trial:
    """Raises TrainerError when the folder is no run, or one on another split."""
    from trainer.export import load_checkpoint
    if not (run / "history.json").exists():
        raise TrainerError(f"{run}: no history.json; give the folder that `python3 -m trainer train` wrote")
    history = json.loads((run / "history.json").read_text())
    minutes = sum(epoch["seconds"] for epoch in history) / 60
    if not (run / "best.pt").exists():
        return Trial(run.name, {}, "", None, None, None, None, minutes, f"stopped after {len(history)} epochs")
    state, _ = load_checkpoint(run / "best.pt")
    if state["split_hash"] != split["hash"]:
        raise TrainerError(f"{run}: was trained on split {state['split_hash'][:12]}, the data hold "
                           f"{split['hash'][:12]}; its figures cannot stand beside the others")
    part, epochs = state.get("part", "train"), len(state["history"])
    head = (run.name, state["options"], part)
    if not (run / "held.npz").exists():
        kept = state["history"][-1]
        counted = sum(split["counts"]["val"].values()) if part == "train" else None
        return Trial(*head, counted, kept.get("val_accuracy"), kept.get("val_macro_f1"), None, minutes,
                     f"epoch {epochs} kept")
    with np.load(run / "held.npz") as arrays:
        rows, logits, pasted = arrays["rows"], arrays["logits"], arrays["pasted_logits"]
    files = [f for name in ("train", "val") for f in split["files"] if f["split"] == name]
    labels = np.array([split["classes"].index(files[row]["label"]) for row in rows])
    scores = summarise(logits, labels, split["classes"])
    return Trial(*head, len(rows), scores["accuracy"], scores["macro_f1"], float((pasted.argmax(1) == labels).mean()),
                 minutes, f"epoch {epochs} kept")


def _benchmark(path: Path) -> dict:
    try:
        result = json.loads(path.read_text())
    except FileNotFoundError:
        raise TrainerError(f"{path}: no such file; `python3 -m benchmarks latency -o {path.name}` writes one") from None
    except ValueError as error:
        raise TrainerError(f"{path}: not JSON ({error}); give what `python3 -m benchmarks … -o FILE` wrote") from error
    if not isinstance(result, dict):
        raise TrainerError(f"{path}: not figures of `python3 -m benchmarks … -o FILE`")
    return result


def difference_interval(folds: Folds, random: Folds, resamples: int = 2000, seed: int = 0) -> Sequence[float]:
    """95 % interval of (accuracy at random - accuracy by groups): a paired bootstrap over groups of near-duplicates.

    The two are of the same pictures, so what makes a picture hard cancels out (Efron and Tibshirani 1993, 8.3).
    """
    place = {path: i for i, path in enumerate(random.answers.paths)}
    gain = random.right[[place[path] for path in folds.answers.paths]].astype(int) - folds.right
    members = np.unique(folds.groups, return_inverse=True)[1].ravel()
    sums, sizes = np.bincount(members, gain), np.bincount(members)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    return [float(v) for v in np.quantile((times @ sums) / (times @ sizes), (0.025, 0.975))]

"""Which score tells strangers from known items, and from which value on.

The threshold accepts a share of known items, 95 % unless told otherwise. What is known comes from pictures that the
answering network was not fitted to. For scores of the logits these are the out-of-fold answers: thousands, but of the
fold models, which are not quite the bundle's network. A distance in feature space cannot use them, for each fold model
has features of its own: its class means come from the bundle's features of training pictures, its threshold from those
of the test pictures. So that scores can be compared, each is also measured with the same test pictures as known ones.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.bundles import MANIFEST, STRANGER_SCORES, Bundle, BundleFile, FeatureSpace, Stranger, seal
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.frames import pictures
from edge.strangers import StrangerScore
from trainer.drawn_strangers import KINDS, draw_stranger
from trainer.errors import TrainerError
from trainer.files import write_atomically, write_json
from trainer.oof import OutOfFold
from trainer.real_strangers import real_strangers

ACCEPT = 0.95
TIE = 0.005  # of AUROC: less is within the chance of a few hundred pictures, and the simpler score wins
SHRINKAGE = 0.1  # of the covariance towards a sphere: 512 directions, a few thousand pictures
FLOAT_ROLES = ("fp32", "fp16")
FEATURE_SCORES = ("feature_distance",)


@dataclass(frozen=True)
class Outputs:
    """What one role of a bundle says of N pictures."""

    logits: np.ndarray  # (N, C) float32
    features: np.ndarray  # (N, 512) float32
    names: tuple[str, ...]  # (N,) of the class, the kind or the folder of each picture


@dataclass(frozen=True)
class Measured:
    """One score. Each AUROC and share is by what the strangers are: rendered, or real."""

    rule: Stranger
    known: int  # pictures from which the threshold comes
    auroc: dict[str, float]  # against those
    auroc_test: dict[str, float]  # against the test pictures, the same for every score
    caught: dict[str, float]  # share of strangers above the threshold
    accepted: dict[str, float]  # share of test pictures at or below it, by role
    caught_by_role: dict[str, float]  # of rendered strangers
    caught_by_name: dict[str, dict[str, float]]  # by kind, or folder


@dataclass(frozen=True)
class Report:
    """All scores of one bundle, in the order of STRANGER_SCORES."""

    bundle: Bundle
    role: str  # that answered
    accept: float
    space: FeatureSpace
    counts: dict[str, int]  # pictures: out of fold, training, test, rendered, real
    rows: tuple[Measured, ...]

    def best(self) -> Measured:
        """The score with the highest AUROC of rendered strangers against the test pictures; of ties the simplest."""
        highest = max(row.auroc_test["rendered"] for row in self.rows)
        return next(row for row in self.rows if row.auroc_test["rendered"] >= highest - TIE)


def auroc(known: np.ndarray, strangers: np.ndarray) -> float:
    """Chance that a stranger scores higher than a known item, ties counting half (Mann and Whitney 1947)."""
    values, places, counts = np.unique(np.concatenate([known, strangers]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[places.ravel()]  # of equal values their mean rank
    wins = ranks[len(known):].sum() - len(strangers) * (len(strangers) + 1) / 2.0
    return float(wins / (len(known) * len(strangers)))


def threshold_at(known: np.ndarray, accept: float = ACCEPT) -> float:
    """The lowest score, rounded up to 6 digits, at or below which `accept` of the known ones lie."""
    place = math.ceil(accept * len(known) - 1e-9) - 1
    return math.ceil(float(np.sort(known)[place]) * 1e6) / 1e6


def fit_feature_space(features: np.ndarray, labels: np.ndarray, classes: int) -> FeatureSpace:
    """Class means, and the projection that makes the classes' shared covariance a unit sphere (Lee et al. 2018).

    features: (N, 512) float32 of training pictures; labels: (N,). Raises TrainerError for a class without a picture.
    """
    counts = np.bincount(labels, minlength=classes)
    if counts.min() == 0:
        raise TrainerError(f"class number {int(counts.argmin())} has no training picture, so no mean in feature space")
    features = features.astype(np.float64)
    means = np.stack([features[labels == c].mean(0) for c in range(classes)])
    covariance = np.cov((features - means[labels]).T, bias=True)
    variance = np.trace(covariance) / len(covariance)
    values, axes = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * variance * np.eye(len(covariance)))
    projection = axes / np.sqrt(np.maximum(values, 1e-12))
    return FeatureSpace((means @ projection).astype(np.float32), np.ascontiguousarray(projection, np.float32))


def scores_of(rule: Stranger, temperature: float, answers: Outputs, space: FeatureSpace | None = None) -> np.ndarray:
    """The score of each picture, (N,) float64, by the appliance's own code. temperature: the bundle's."""
    score = StrangerScore(rule, temperature, space if rule.score in FEATURE_SCORES else None)
    return np.array([score([row], answers.features[i:i + 1]) for i, row in enumerate(answers.logits.tolist())])


def answer(bundle: Bundle, roles: tuple[str, ...], images: Iterable[tuple[str, np.ndarray]], total: int | None,
           what: str) -> dict[str, Outputs]:
    """The answers of each role to (name, BGR picture) pairs, shown as `what` while it takes its time."""
    opened = {role: OnnxRuntimeClassifier(bundle, role).open() for role in roles}
    rows: dict[str, list] = {role: [] for role in roles}
    names = []
    try:
        for name, image in tqdm(images, total=total, desc=what, unit="picture", leave=False):
            names.append(name)
            for role, classifier in opened.items():
                said = classifier.classify([image])
                rows[role].append((said.logits[0].copy(), said.features[0].copy()))
    finally:
        for classifier in opened.values():
            classifier.close()
    shapes = (len(bundle.classes), 512)
    return {role: Outputs(*(np.array([pair[i] for pair in rows[role]], np.float32).reshape(-1, shapes[i])
                            for i in (0, 1)), tuple(names)) for role in roles}


def rendered_strangers(per_kind: int, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Drawn strangers of every kind, in the size of the photographs."""
    for kind in KINDS:
        for number in range(per_kind):
            yield kind, draw_stranger(kind, seed + number)


def measure(bundle: Bundle, oof: OutOfFold, data: Path, split: dict, real: tuple[Path, ...] = (), per_kind: int = 40,
            accept: float = ACCEPT, seed: int = 0) -> Report:
    """Measure every score. real: folders and files of pictures and videos of strangers. Raises TrainerError."""
    _check(bundle, oof, data, split)
    role = next((r for r in FLOAT_ROLES if r in bundle.files), None)
    if role is None:
        raise TrainerError(f"{bundle.path}: has no float model; export it with --roles fp16 int8_cpu")
    roles = (role, *(r for r in ("int8_cpu",) if r in bundle.files))
    parts = {part: [f for f in split["files"] if f["split"] == part] for part in ("train", "test")}
    train = answer(bundle, (role,), _read(data, parts["train"]), len(parts["train"]), "training pictures")[role]
    test = answer(bundle, roles, _read(data, parts["test"]), len(parts["test"]), "test pictures")
    strangers = {"rendered": answer(bundle, roles, rendered_strangers(per_kind, seed), per_kind * len(KINDS),
                                    "rendered strangers")}
    if real:
        strangers["real"] = answer(bundle, roles, real_strangers(real), None, "real strangers")
    space = fit_feature_space(train.features, np.array([bundle.classes.index(name) for name in train.names]),
                              len(bundle.classes))
    known = Outputs(oof.logits, oof.features, oof.paths)
    rows = tuple(_measure(Stranger(score, 0.0), bundle.temperature, accept, role,
                          test[role] if score in FEATURE_SCORES else known, test, strangers, space)
                 for score in STRANGER_SCORES)
    counts = {"out of fold": len(oof.paths), "training": len(train.names), "test": len(test[role].names),
              **{what: len(by_role[role].names) for what, by_role in strangers.items()}}
    return Report(bundle, role, accept, space, counts, rows)


def _check(bundle: Bundle, oof: OutOfFold, data: Path, split: dict) -> None:
    if tuple(split["classes"]) != bundle.classes or oof.classes != bundle.classes:
        raise TrainerError(f"classes differ: {data} has {', '.join(split['classes'])}, the out-of-fold answers "
                           f"{', '.join(oof.classes)}, {bundle.path} {', '.join(bundle.classes)}")
    trained_on = bundle.manifest.get("provenance", {}).get("split_hash")
    if not split["hash"] == trained_on == oof.split_hash:
        raise TrainerError(f"splits differ: {data} holds {split['hash'][:12]}, the out-of-fold answers are of "
                           f"{oof.split_hash[:12]}, {bundle.path} was trained on {str(trained_on)[:12]}")
    for part in ("train", "test"):
        if not any(f["split"] == part for f in split["files"]):
            raise TrainerError(f"{data}: no picture in {part}; more than 5 a class are needed")


def _read(data: Path, files: list[dict]) -> Iterator[tuple[str, np.ndarray]]:
    for file in files:
        yield file["label"], pictures.read(str(data / file["split"] / file["path"]))


def _measure(rule: Stranger, temperature: float, accept: float, role: str, known: Outputs, test: dict[str, Outputs],
             strangers: dict[str, dict[str, Outputs]], space: FeatureSpace) -> Measured:
    def scores(answers: Outputs) -> np.ndarray:
        return scores_of(rule, temperature, answers, space)

    of_known, of_test = scores(known), {r: scores(answers) for r, answers in test.items()}
    rule = rule._replace(threshold=threshold_at(of_known, accept))
    of_strangers = {what: scores(by_role[role]) for what, by_role in strangers.items()}
    above = {what: values > rule.threshold for what, values in of_strangers.items()}
    by_name = {what: {name: float(above[what][np.array(by_role[role].names) == name].mean())
                      for name in dict.fromkeys(by_role[role].names)} for what, by_role in strangers.items()}
    return Measured(
        rule, len(of_known), {what: auroc(of_known, values) for what, values in of_strangers.items()},
        {what: auroc(of_test[role], values) for what, values in of_strangers.items()},
        {what: float(hits.mean()) for what, hits in above.items()},
        {r: float((values <= rule.threshold).mean()) for r, values in of_test.items()},
        {r: float((scores(answers) > rule.threshold).mean()) for r, answers in strangers["rendered"].items()}, by_name)


def write(report: Report, chosen: Measured) -> dict:
    """Put the chosen score into the bundle, sealed again; returns the manifest's entry. Raises TrainerError."""
    folder = Path(report.bundle.path)
    if not folder.is_dir():
        raise TrainerError(f"{folder}: a .tar is not changed; give the bundle as a folder")
    entry = {"score": chosen.rule.score, "threshold": chosen.rule.threshold, **_about(report, chosen)}
    if chosen.rule.score == "energy":
        entry["temperature"] = chosen.rule.temperature
    kept = None
    if chosen.rule.score in FEATURE_SCORES:
        buffer = io.BytesIO()
        np.savez(buffer, means=report.space.means, projection=report.space.projection)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        # A name of its own: until the manifest is replaced, the bundle stays whole with the earlier file
        kept = BundleFile(f"strangers-{digest[:12]}.npz", digest)
        write_atomically(folder / kept.path, lambda file: file.write(buffer.getvalue()))
        entry["file"] = {"path": kept.path, "sha256": kept.sha256}
    write_json(folder / MANIFEST, seal({**report.bundle.manifest, "stranger": entry}))
    for stale in folder.glob("strangers-*.npz"):
        if kept is None or stale.name != kept.path:
            stale.unlink()
    Bundle(str(folder)).verify()
    return entry


def _about(report: Report, chosen: Measured) -> dict:
    """Where threshold and figures come from."""
    known = (f"{chosen.known} test pictures, answered by {report.role}" if chosen.rule.score in FEATURE_SCORES
             else f"{chosen.known} out-of-fold answers of the fold models")

    def rounded(shares: dict[str, float]) -> dict[str, float]:
        return {name: round(share, 4) for name, share in shares.items()}

    return {"accepts": report.accept, "known": known, "strangers": {
        what: report.counts[what] for what in chosen.auroc}, "strangers_answered_by": report.role,
        "auroc": rounded(chosen.auroc), "auroc_of_test_pictures": rounded(chosen.auroc_test),
        "caught": rounded(chosen.caught), "accepted_of_test_pictures": rounded(chosen.accepted)}


def lines(report: Report, chosen: Measured) -> list[str]:
    """The report for people."""
    kinds = list(chosen.auroc)
    counts = ", ".join(f"{what} {count}" for what, count in report.counts.items())
    text = [f"pictures: {counts}; strangers and test pictures are answered by the bundle's {report.role}, out-of-fold "
            "ones by the fold models",
            f"{'score':<17s} {'threshold':>11s}  {'known':<12s}" + "".join(
                f"  {what + ':':<9s} {'AUROC':>6s} {'caught':>7s} {'AUROC, test':>12s}" for what in kinds)]
    for row in report.rows:
        known = f"{row.known} {'test' if row.rule.score in FEATURE_SCORES else 'oof'}"
        text.append(f"{row.rule.score:<17s} {row.rule.threshold:11.4f}  {known:<12s}" + "".join(
            f"  {'':<9s} {row.auroc[what]:6.3f} {row.caught[what]:7.1%} {row.auroc_test[what]:12.3f}" for what in kinds)
            + ("  <- chosen" if row is chosen else ""))
    same = ", which are the known ones," if chosen.rule.score in FEATURE_SCORES else ""
    text.append(f"the threshold accepts {report.accept:.0%} of the known; of the test pictures{same} " + ", ".join(
        f"{share:.1%} by {role}" for role, share in chosen.accepted.items()) + "; of the rendered strangers are caught "
        + ", ".join(f"{share:.1%} by {role}" for role, share in chosen.caught_by_role.items()))
    for what, by_name in chosen.caught_by_name.items():
        text.append(f"caught, {what}: " + ", ".join(f"{name} {share:.0%}" for name, share in by_name.items()))
    return text

"""Scores of a bundle as the appliance would get them: pictures are read, prepared and classified by edge's code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.bundles import Bundle
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.decision import softmax
from edge.frames import pictures
from trainer.errors import TrainerError
from trainer.files import write_json
from trainer.metrics import summarise
from trainer.statistics import bootstrap_intervals


@dataclass
class Evaluation:
    """Answers and scores of each role on one split."""

    bundle: Bundle
    split_name: str
    files: list[dict]
    labels: np.ndarray  # (N,)
    logits: dict[str, np.ndarray]  # role -> (N, C) float32
    scores: dict[str, dict]  # role -> as of metrics.summarise

    def manifest_entry(self) -> dict:
        """What a bundle's manifest says of its accuracy."""
        return {"split": self.split_name, "roles": self.scores, "agreement": self.agreement()}

    def agreement(self) -> dict:
        """How often, and how closely, each role answers as the first one does."""
        reference = next(iter(self.logits))
        return {f"{role} with {reference}": compare(self.logits[role], self.logits[reference],
                                                    self.bundle.temperature)
                for role in self.logits if role != reference}


def compare(logits: np.ndarray, reference: np.ndarray, temperature: float) -> dict:
    """Share of pictures with the same best class, and the largest difference of a probability."""
    same = (logits.argmax(1) == reference.argmax(1)).mean()
    worst = np.abs(softmax(logits, temperature) - softmax(reference, temperature)).max()
    return {"same_class": round(float(same), 6), "largest_probability_difference": round(float(worst), 6)}


def evaluate_roles(bundle: Bundle, data: Path, split: dict, part: str) -> Evaluation:
    """Classify every picture of one part (train, val or test) with each role that a CPU can run."""
    if tuple(split["classes"]) != bundle.classes:
        raise TrainerError(f"{data}: classes {', '.join(split['classes'])}; the bundle {bundle.path} has "
                           f"{', '.join(bundle.classes)}")
    trained_on = bundle.manifest.get("provenance", {}).get("split_hash")
    if trained_on != split["hash"]:
        raise TrainerError(f"{bundle.path}: was trained on split {str(trained_on)[:12]}, {data} holds "
                           f"{split['hash'][:12]}; its {part} pictures may have been trained on")
    seen = bundle.manifest["provenance"].get("part", "train")
    if part == "val" and seen != "train":
        raise TrainerError(f"{bundle.path}: was trained on val, too (--part {seen}); evaluate on test")
    files = [f for f in split["files"] if f["split"] == part]
    labels = np.array([bundle.classes.index(f["label"]) for f in files])
    logits = {}
    for role in bundle.files:
        if role == "int8_trt":
            continue
        with OnnxRuntimeClassifier(bundle, role) as classifier:
            logits[role] = np.stack([
                classifier.classify([pictures.read(str(data / part / f["path"]))]).logits[0].copy()
                for f in tqdm(files, desc=f"evaluate {role}", unit="picture", leave=False)])
    groups = np.array([f["group"] for f in files])
    scores = {role: summarise(answers, labels, list(bundle.classes), bundle.temperature) | {
        "intervals": bootstrap_intervals(answers, labels, bundle.classes, groups=groups,
                                         temperature=bundle.temperature)} for role, answers in logits.items()}
    return Evaluation(bundle, part, files, labels, logits, scores)


def evaluate(bundle: Bundle, data: Path, split: dict, part: str, out: Path, checkpoint: Path | None = None) -> dict:
    """Score a bundle and leave metrics.json, confusion_matrix.png and mistakes.png in out; returns the metrics.

    With a checkpoint also the agreement with torch and training_history.png.
    """
    from trainer import plots
    evaluation = evaluate_roles(bundle, data, split, part)
    metrics = {"bundle": f"{bundle.name} {bundle.version}", "split_hash": split["hash"],
               "temperature": bundle.temperature, **evaluation.manifest_entry()}
    main = next(iter(evaluation.logits))
    if checkpoint:
        metrics["agreement_with_torch"], history = _against_torch(evaluation, data, checkpoint)
        plots.training_history(history, out / "training_history.png")
    write_json(out / "metrics.json", metrics)
    plots.confusion_matrix(evaluation.scores[main]["confusion"], list(bundle.classes), out / "confusion_matrix.png")
    plots.mistakes(evaluation, main, data, out / "mistakes.png")
    return metrics


def _against_torch(evaluation: Evaluation, data: Path, checkpoint: Path) -> tuple[dict, list]:
    """Torch's own answers to the same pictures, in float32."""
    import torch

    from edge.preprocess import Preprocessor
    from trainer.export import load_checkpoint
    state, model = load_checkpoint(checkpoint)
    bundle = evaluation.bundle
    preprocessor, tensor = Preprocessor(bundle.input), np.empty(bundle.input.shape, np.float32)
    answers = []
    for file in tqdm(evaluation.files, desc="evaluate torch", unit="picture", leave=False):
        preprocessor(pictures.read(str(data / evaluation.split_name / file["path"])), tensor)
        with torch.inference_mode():
            answers.append(model(torch.from_numpy(tensor))[0][0].numpy())
    reference = np.stack(answers)
    return {role: compare(logits, reference, bundle.temperature)
            for role, logits in evaluation.logits.items()}, state["history"]


def lines(metrics: dict) -> list[str]:
    """The metrics as a table for people."""
    text = []
    for role, scores in metrics["roles"].items():
        spread = scores.get("intervals", {})  # bundles made before there were any have none
        text.append(f"{role}, {metrics['split']}, {scores['pictures']} pictures: "
                    f"accuracy {scores['accuracy']:.4f}{_interval(spread.get('accuracy'))}, "
                    f"F1 macro {scores['macro_f1']:.4f}{_interval(spread.get('macro_f1'))} "
                    f"weighted {scores['weighted_f1']:.4f}{_interval(spread.get('weighted_f1'))}, "
                    f"precision macro {scores['macro_precision']:.4f}, recall macro {scores['macro_recall']:.4f}, "
                    f"calibration error {scores['calibration_error']:.4f}"
                    f"{_interval(spread.get('calibration_error'))}")
        for name, one in scores["per_class"].items():
            if one["pictures"]:
                around = spread.get("per_class", {}).get(name, {})
                text.append(f"    {name:<10s} {one['pictures']:4d}  " + "  ".join(
                    f"{key} {one[key.lower()]:.3f}{_interval(around.get(key.lower()))}"
                    for key in ("precision", "recall", "F1")))
    for what, one in {**metrics["agreement"], **{f"{role} with torch": value for role, value in
                                                 metrics.get("agreement_with_torch", {}).items()}}.items():
        text.append(f"{what}: same class {one['same_class']:.4f}, largest difference of a probability "
                    f"{one['largest_probability_difference']:.5f}")
    return text


def _interval(bounds: list[float] | None) -> str:
    return f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""

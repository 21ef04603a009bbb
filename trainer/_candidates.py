"""Ways to quantise one network, each scored against float on the validation pictures, the best first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from tqdm import tqdm

from edge.decision import softmax
from edge.preprocess import InputSpec, Preprocessor
from trainer._distil import distil
from trainer._fakequant import Network, correct_biases, histograms
from trainer._qdq import SCHEMES, Scheme, with_pairs
from trainer._ranges import RANGES, grid
from trainer.cache import cached
from trainer.errors import TrainerError
from trainer.metrics import expected_calibration_error, fit_temperature

METHODS = ("auto", *RANGES, "distilled")
CALIBRATION_PICTURES, CALIBRATION_BATCH = 256, 32
BIAS_PICTURES = 64  # all their activations of one layer are in memory at once
LEAST_AGREEMENT, MOST_DROP_POINTS = 0.99, 0.5


@dataclass(frozen=True)
class Candidate:
    """A quantised model and how it does on the validation pictures, as score says."""

    method: str
    model: onnx.ModelProto
    scores: dict

    @property
    def good(self) -> bool:
        """Whether it may stand in for float."""
        return self.scores["agreement"] >= LEAST_AGREEMENT and self.scores["accuracy_drop_points"] <= MOST_DROP_POINTS


@dataclass(frozen=True)
class Reference:
    """Pictures with their labels, and what the float network says of them."""

    images: np.ndarray  # (N, H, W, 3) uint8 BGR of the network's size
    labels: np.ndarray  # (N,)
    logits: np.ndarray  # (N, C) float32
    temperature: float
    spec: InputSpec

    @classmethod
    def of(cls, float_model: onnx.ModelProto, data: Path, split: dict, part: str, spec: InputSpec,
           temperature: float | None = None) -> Reference:
        """Let the float model answer a part of the data; a temperature that is not given is fitted. TrainerError."""
        images, labels, _ = cached(data, split, part, spec)
        if not len(images):
            raise TrainerError(f"{data}: no picture in {part}; more than 5 a class are needed")
        logits = answers(float_model, images, spec, f"float, {part}")
        return cls(images, labels, logits, temperature or fit_temperature(logits, labels), spec)

    def score(self, model: onnx.ModelProto, what: str) -> dict:
        """A quantised model against the float one, on the same pictures."""
        logits = answers(model, self.images, self.spec, what)
        exact, rounded = softmax(self.logits, self.temperature), softmax(logits, self.temperature)
        accuracy, accuracy_float = ((p.argmax(1) == self.labels).mean() for p in (rounded, exact))
        divergence = (exact * (np.log(np.maximum(exact, 1e-12)) - np.log(np.maximum(rounded, 1e-12)))).sum(1)
        values = {"agreement": (exact.argmax(1) == rounded.argmax(1)).mean(),
                  "accuracy": accuracy, "accuracy_float": accuracy_float,
                  "accuracy_drop_points": 100 * (accuracy_float - accuracy),
                  "calibration_error": expected_calibration_error(rounded, self.labels),
                  "calibration_error_float": expected_calibration_error(exact, self.labels),
                  "largest_probability_difference": np.abs(exact - rounded).max(),
                  "mean_divergence": divergence.mean()}
        return {"pictures": len(self.labels)} | {name: round(float(value), 6) for name, value in values.items()}


def answers(model: onnx.ModelProto, images: Sequence[np.ndarray], spec: InputSpec, what: str) -> np.ndarray:
    """Logits (N, C) float32 that ONNX Runtime gives on the CPU to images (H, W, 3) uint8 BGR of the network's size."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    preprocessor, tensor, rows = Preprocessor(spec), np.empty(spec.shape, np.float32), []
    for image in tqdm(images, desc=f"score {what}", unit="picture", leave=False):
        preprocessor.normalise(np.asarray(image), tensor)
        rows.append(session.run(["logits"], {"image": tensor})[0])
    return np.concatenate(rows)


def quantised(float_model: onnx.ModelProto, role: str, data: Path, split: dict, reference: Reference,
              method: str = "auto") -> list[Candidate]:
    """Quantise for a role of _qdq.SCHEMES, calibrated on training pictures; what was tried, the best first.

    Each way to choose ranges is tried with and without bias correction; auto tries them all and distils the best, which
    method distilled does with mse's. The best: good enough first, then the answers' mean divergence from float's, which
    says more than agreement does with a few hundred pictures. Raises TrainerError.
    """
    if method not in METHODS:
        raise TrainerError(f"--method {method}: allowed: {', '.join(METHODS)}")
    if not len(cached(data, split, "train", reference.spec)[0]):
        raise TrainerError(f"{data}: no picture in train; more than 5 a class are needed")
    found = list(_candidates(float_model, role, cached(data, split, "train", reference.spec)[0], reference, method))
    return sorted(found, key=lambda c: (not c.good, c.scores["mean_divergence"]))


def _candidates(float_model: onnx.ModelProto, role: str, images: np.ndarray, reference: Reference,
                method: str) -> Iterator[Candidate]:
    scheme, spec = SCHEMES[role], reference.spec
    exact, best = Network(float_model, scheme), None
    batches = _calibration(images, spec)
    seen = histograms(exact, tqdm(batches, desc=f"calibrate {role}", unit="batch", leave=False))
    names = {"auto": list(RANGES), "distilled": ["mse"]}.get(method, [method])
    for name in tqdm(names, desc=f"quantise {role}", unit="method", leave=False):
        network = Network(float_model, scheme)
        network.grids = {tensor: grid(*RANGES[name](h, scheme), scheme) for tensor, h in seen.items()}
        for label in (name, f"{name} + bias correction"):
            if label != name:
                correct_biases(network, exact, torch.cat(batches)[::CALIBRATION_PICTURES // BIAS_PICTURES])
            candidate = _candidate(label, float_model, scheme, network, reference)
            yield candidate
            if best is None or candidate.scores["mean_divergence"] < best[0].scores["mean_divergence"]:
                best = candidate, {key: value.clone() for key, value in network.state_dict().items()}, network.grids
    if method in ("auto", "distilled") and best:
        network = Network(float_model, scheme)
        network.load_state_dict(best[1])
        network.grids = best[2]
        distil(network, exact, images, spec)
        yield _candidate(f"{best[0].method} + distillation", float_model, scheme, network, reference)


def _candidate(method: str, float_model: onnx.ModelProto, scheme: Scheme, network: Network,
               reference: Reference) -> Candidate:
    model = with_pairs(float_model, scheme, network.grids, network.weights(), network.biases())
    return Candidate(method, model, reference.score(model, method))


def _calibration(images: np.ndarray, spec: InputSpec) -> list[torch.Tensor]:
    """Training pictures spread over all classes, as the network sees them, in batches."""
    chosen = np.linspace(0, len(images) - 1, min(CALIBRATION_PICTURES, len(images))).astype(int)
    preprocessor, pictures = Preprocessor(spec), np.empty((len(chosen), *spec.shape[1:]), np.float32)
    for row, index in enumerate(chosen):
        preprocessor.normalise(np.asarray(images[index]), pictures[row:row + 1])
    return list(torch.from_numpy(pictures).split(CALIBRATION_BATCH))


def table(role: str, candidates: list[Candidate]) -> list[str]:
    """What was tried, for people."""
    width = max(len(c.method) for c in candidates)
    first = candidates[0].scores
    rows = [f"{role} on {first['pictures']} pictures of val; float: accuracy {first['accuracy_float']:.4f}, "
            f"calibration error {first['calibration_error_float']:.4f}",
            f"  {'method':{width}s}  agreement  drop (points)  calibration error  largest difference  divergence"]
    for c in candidates:
        s = c.scores
        rows.append(f"  {c.method:{width}s}  {s['agreement']:9.4f}  {s['accuracy_drop_points']:13.2f}  "
                    f"{s['calibration_error']:17.4f}  {s['largest_probability_difference']:18.4f}  "
                    f"{s['mean_divergence']:10.5f}")
    return rows

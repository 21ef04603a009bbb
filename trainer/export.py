"""From a checkpoint to a model bundle: ONNX by role, golden answers, manifest; and TorchScript beside it."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import pickle
import subprocess
import tempfile
import warnings
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import torch
from tqdm import tqdm

from edge.bundles import FORMAT, MANIFEST, Bundle, seal
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.decision import softmax
from edge.frames.drawn import MATERIALS as DRAWN
from edge.frames.drawn import draw_named
from edge.preprocess import InputSpec, Preprocessor
from trainer.cache import cached
from trainer.errors import TrainerError
from trainer.evaluate import evaluate_roles
from trainer.files import write_atomically, write_json
from trainer.model import Sorter
from trainer.prepare import read_split
from trainer.train import _autocast, predict

OPSET, IR_VERSION = 13, 7  # what TensorRT 8.2 and ONNX Runtime 1.10 read
GOLDEN_PER_CLASS, GOLDEN_SEED = 4, 3_000_000_000
CALIBRATION_PICTURES = 300
# Largest difference of a probability that the same role may show on another machine or version: float16 is summed in
# another order; in int8 a value on the edge of two steps may fall either way
TOLERANCE = {"fp32": 0.001, "fp16": 0.02, "int8_cpu": 0.1}
DEFAULT_ROLES = ("fp16", "int8_cpu")
DEFAULT_THRESHOLD = 0.7


def export(checkpoint: Path, data: Path, out: Path, *, name: str, roles: tuple[str, ...] = DEFAULT_ROLES,
           license_text: str = "not stated", torchscript: Path | None = None) -> dict:
    """Write a bundle with these roles to the folder out; returns its manifest.

    The checkpoint's split must be that of data: temperature comes from val, metrics from test. Raises TrainerError.
    """
    state, model = load_checkpoint(checkpoint)
    split = read_split(data)
    if split["hash"] != state["split_hash"]:
        raise TrainerError(f"{checkpoint}: was trained on split {state['split_hash'][:12]}, {data} holds "
                           f"{split['hash'][:12]}; its test pictures may have been trained on")
    empty = [part for part in ("val", "test") if not any(split["counts"][part].values())]
    if empty:
        raise TrainerError(f"{data}: no picture in {' and '.join(empty)}; more than 5 a class are needed")
    spec = InputSpec()
    float_model = to_onnx(model, spec)
    if torchscript:
        write_torchscript(model, spec, torchscript)
    files = {}
    for role in tqdm(roles, desc="export", unit="role", leave=False):
        converted = convert(float_model, role, data, split, spec)
        content = converted.SerializeToString()
        path = out / f"model-{role}.onnx"
        write_atomically(path, lambda file, content=content: file.write(content))
        files[role] = {"path": path.name, "sha256": hashlib.sha256(content).hexdigest(), "opset": OPSET,
                       "ir_version": converted.ir_version, "tolerance": TOLERANCE[role]}
    for stale in set(out.glob("model-*.onnx")) - {out / f["path"] for f in files.values()}:
        stale.unlink()
    val_images, val_labels, _ = cached(data, split, "val", spec)
    val_logits = predict(model, val_images, spec, torch.device("cpu"), _autocast("off", torch.device("cpu")))
    manifest = {
        "format": FORMAT, "name": name, "version": _version(state),
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "classes": state["classes"],
        "license": license_text,
        "provenance": _provenance(state), "input": {
            "name": "image", "shape": list(spec.shape), "dtype": "float32", "colour_order": "RGB",
            "resize": spec.resize, "mean": list(spec.mean), "std": list(spec.std)},
        "output": {"logits": [1, len(state["classes"])], "features": [1, 512]},
        "temperature": round(fit_temperature(val_logits, val_labels), 4),
        "thresholds": {"default": DEFAULT_THRESHOLD, "per_class": {}, "policy": "fixed default, not yet derived"},
        "stranger": None, "files": files}
    _add_golden(out, manifest, spec)
    write_json(out / MANIFEST, seal(manifest))
    manifest["metrics"] = evaluate_roles(Bundle(str(out)), data, split, "test").manifest_entry()
    write_json(out / MANIFEST, seal(manifest))
    return manifest


def load_checkpoint(path: Path) -> tuple[dict, Sorter]:
    """A checkpoint's contents and its network in eval mode. Raises TrainerError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model = Sorter(len(state["classes"]))
        model.load_state_dict(state["model"])
    except FileNotFoundError:
        raise TrainerError(f"{path}: no such checkpoint; run `python3 -m trainer train` first") from None
    except (KeyError, RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise TrainerError(f"{path}: not a checkpoint of this trainer ({str(error).splitlines()[0]})") from error
    return state, model.eval()


def to_onnx(model: Sorter, spec: InputSpec) -> onnx.ModelProto:
    """The network as ONNX: opset 13, IR 7, batch 1, input image, outputs logits and features, BatchNorm folded in."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter writes opset 18 and newer; converting that down loses to exporting it right at once
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(model, (torch.zeros(spec.shape),), buffer, opset_version=OPSET, dynamo=False,
                          input_names=["image"], output_names=["logits", "features"], do_constant_folding=True)
    return _normalised(onnx.load_from_string(buffer.getvalue()))


def write_torchscript(model: Sorter, spec: InputSpec, path: Path) -> None:
    """The network as TorchScript, for those who load it with libtorch; torch itself would rather have torch.export."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.trace(model, torch.zeros(spec.shape))
        write_atomically(path, lambda file: torch.jit.save(script, file))


def convert(float_model: onnx.ModelProto, role: str, data: Path, split: dict, spec: InputSpec) -> onnx.ModelProto:
    """The model in one of the roles fp32, fp16 and int8_cpu. Raises TrainerError for another."""
    if role == "fp32":
        return float_model
    if role == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
        half = OnnxModel(convert_float_to_float16(copy.deepcopy(float_model), keep_io_types=True))
        half.topological_sort()  # the converter appends the casts of the inputs at the end
        return _normalised(half.model)
    if role == "int8_cpu":
        return _quantised(float_model, data, split, spec)
    raise TrainerError(f"role {role}: allowed: {', '.join(TOLERANCE)}")


def _quantised(float_model: onnx.ModelProto, data: Path, split: dict, spec: InputSpec) -> onnx.ModelProto:
    """QDQ for CPUs: activations uint8 per tensor, weights int8 per channel, calibrated on training pictures."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    images, _, _ = cached(data, split, "train", spec)
    chosen = np.linspace(0, len(images) - 1, min(CALIBRATION_PICTURES, len(images))).astype(int)
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(float_model, source)
        with _Quiet():
            quantize_static(
                source, target, _Reader(images, chosen, spec), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                # 7-bit weights: AVX2 without VNNI adds two 8-bit products in 16 bits and would saturate
                reduce_range=True, calibrate_method=CalibrationMethod.MinMax)
        return _normalised(onnx.load(target))


class _Reader:
    """Feeds calibration pictures as the quantiser wants them."""

    def __init__(self, images: np.ndarray, chosen: np.ndarray, spec: InputSpec):
        self._preprocessor, self._images, self._left, self._spec = Preprocessor(spec), images, list(chosen), spec

    def get_next(self) -> dict | None:
        """The next input, or None at the end."""
        if not self._left:
            return None
        tensor = np.empty(self._spec.shape, np.float32)
        self._preprocessor.normalise(np.asarray(self._images[self._left.pop(0)]), tensor)
        return {"image": tensor}


def _normalised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep to the contract: the default domain alone, opset 13, IR 7, no tool's traces."""
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if foreign or opset != OPSET:
        raise TrainerError(f"ONNX export gave opset {opset} and domains {sorted(foreign)}: opset {OPSET} in the "
                           "default domain is needed; use the pinned versions of requirements/")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    model.ir_version = min(model.ir_version, IR_VERSION)
    model.doc_string, model.producer_name, model.producer_version = "", "scrapsort", ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    return model


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that gives the labels the highest likelihood (Guo et al. 2017), found on a fine grid."""
    grid = np.exp(np.linspace(np.log(0.2), np.log(5), 400))
    nll = [-np.log(np.maximum(softmax(logits, t)[np.arange(len(labels)), labels], 1e-12)).mean() for t in grid]
    return float(grid[int(np.argmin(nll))])


def _add_golden(out: Path, manifest: dict, spec: InputSpec) -> None:
    """Draw the golden pictures and let each role answer them; drawn, because photographs belong to others."""
    preprocessor, images = Preprocessor(spec), []
    for number in range(GOLDEN_PER_CLASS):
        for label in manifest["classes"]:
            drawable = label in DRAWN
            image_bgr = draw_named(label, GOLDEN_SEED + number) if drawable else _pattern(label, number, spec)
            images.append(preprocessor.resize(image_bgr)[:, :, ::-1].copy())
    arrays = {"images_rgb": np.stack(images)}
    unknown = np.zeros((len(images), len(manifest["classes"])), np.float32)
    placeholders = {f"logits_{role}": unknown for role in manifest["files"]}
    write_json(out / MANIFEST, seal(manifest | {"golden": _store(out, arrays | placeholders)}))
    bundle = Bundle(str(out))
    for role in manifest["files"]:
        with OnnxRuntimeClassifier(bundle, role) as classifier:
            arrays[f"logits_{role}"] = np.concatenate(
                [classifier.classify_resized(image).logits.copy() for image in images])
    manifest["golden"] = _store(out, arrays)


def _store(out: Path, arrays: dict) -> dict:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(out / "golden.npz", lambda file: file.write(buffer.getvalue()))
    return {"path": "golden.npz", "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}


def _pattern(label: str, number: int, spec: InputSpec) -> np.ndarray:
    """A picture for a class that we cannot draw: soft coloured noise, fixed by class and number."""
    import cv2
    seed = int.from_bytes(hashlib.sha256(f"{label}/{number}".encode()).digest()[:4], "big")
    noise = np.random.RandomState(seed).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    return cv2.resize(noise, (spec.width_px, spec.height_px), interpolation=cv2.INTER_CUBIC)


def _provenance(state: dict) -> dict:
    return {"data_set": state["source"], "split_hash": state["split_hash"], "git_commit": _git_commit(),
            "initialisation": state["options"]["init"], "initialisation_sha256": state["init_sha256"],
            "hyper_parameters": state["options"], "started_from": state.get("started_from"),
            "epochs_done": len(state["history"]),
            "validation": state["history"][-1], "torch": state["torch"], "device": state["device"],
            "temperature": "fitted on the validation split"}


def _git_commit() -> str | None:
    try:
        return subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, check=True, text=True,
                              capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(state: dict) -> str:
    """Date and the weights' own hash: two different models never share a version."""
    digest = hashlib.sha256()
    for key, value in sorted(state["model"].items()):
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return f"{datetime.now(timezone.utc):%Y.%m.%d}-{digest.hexdigest()[:8]}"


class _Quiet:
    """The quantiser warns about pre-processing that this graph does not need."""

    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *exc) -> None:
        logging.root.setLevel(self._level)

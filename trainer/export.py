"""From a checkpoint to a model bundle: ONNX by role, golden answers, manifest; and TorchScript beside it."""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import pickle
import subprocess
import warnings
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import onnx
import torch
from tqdm import tqdm

from edge.bundles import FORMAT, MANIFEST, Bundle, seal
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.frames.drawn import MATERIALS as DRAWN
from edge.frames.drawn import draw_named
from edge.preprocess import InputSpec, Preprocessor
from trainer._candidates import Reference, quantised
from trainer._qdq import SCHEMES
from trainer.cache import cached
from trainer.errors import TrainerError
from trainer.evaluate import evaluate_roles
from trainer.files import write_atomically, write_json
from trainer.metrics import fit_temperature
from trainer.model import Sorter
from trainer.oof import OutOfFold
from trainer.prepare import read_split
from trainer.run import autocast, predict

OPSET, IR_VERSION = 13, 7  # what TensorRT 8.2 and ONNX Runtime 1.10 read
GOLDEN_PER_CLASS, GOLDEN_SEED = 4, 3_000_000_000
# Largest difference of a probability that the same role may show on another machine or version: float16 is summed in
# another order; in int8 a value on the edge of two steps may fall either way
TOLERANCE = {"fp32": 0.001, "fp16": 0.02, "int8_cpu": 0.1, "int8_trt": 0.1}
DEFAULT_ROLES = ("fp16", "int8_cpu")
DEFAULT_THRESHOLD = 0.7


def export(checkpoint: Path, data: Path, out: Path, *, name: str, roles: tuple[str, ...] = DEFAULT_ROLES,
           license_text: str = "not stated", torchscript: Path | None = None, oof: Path | None = None) -> dict:
    """Write a bundle with these roles to the folder out; returns its manifest.

    The checkpoint's split must be that of data: metrics come from test. The temperature comes from the out-of-fold
    answers in oof, which are many, or without them from val, unless that was trained on. Raises TrainerError.
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
    temperature, calibration = _calibrate(model, state, data, split, spec, oof)
    float_model = to_onnx(model, spec)
    if torchscript:
        write_torchscript(model, spec, torchscript)
    files, quantisation = {}, {}
    for role in tqdm(roles, desc="export", unit="role", leave=False):
        if role in SCHEMES:
            # A quick method; `trainer quantize` tries them all
            best, *_ = quantised(float_model, role, data, split,
                                 Reference.of(float_model, data, split, "val", spec), method="mse")
            converted, quantisation[role] = normalised(best.model), {"method": best.method, "val": best.scores}
            if not best.good:
                tqdm.write(f"{role}: agrees with float on {best.scores['agreement']:.4f} of val and is "
                           f"{best.scores['accuracy_drop_points']:.2f} points less accurate; see `trainer quantize`")
        else:
            converted = convert(float_model, role)
        content = converted.SerializeToString()
        files[role] = entry(role, converted, content)
        write_atomically(out / files[role]["path"], lambda file, content=content: file.write(content))
    for stale in set(out.glob("model-*.onnx")) - {out / f["path"] for f in files.values()}:
        stale.unlink()
    manifest = {
        "format": FORMAT, "name": name, "version": _version(state),
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "classes": state["classes"],
        "license": license_text,
        "provenance": _provenance(state) | {"temperature": calibration}, "input": {
            "name": "image", "shape": list(spec.shape), "dtype": "float32", "colour_order": "RGB",
            "resize": spec.resize, "mean": list(spec.mean), "std": list(spec.std)},
        "output": {"logits": [1, len(state["classes"])], "features": [1, 512]},
        "temperature": temperature,
        "thresholds": {"default": DEFAULT_THRESHOLD, "per_class": {}, "policy": "fixed default, not yet derived"},
        "stranger": None, "files": files, "quantisation": quantisation}
    _add_golden(out, manifest, spec)
    write_json(out / MANIFEST, seal(manifest))
    manifest["metrics"] = evaluate_roles(Bundle(str(out)), data, split, "test").manifest_entry()
    write_json(out / MANIFEST, seal(manifest))
    return manifest


def _calibrate(model: Sorter, state: dict, data: Path, split: dict, spec: InputSpec,
               oof: Path | None) -> tuple[float, str]:
    """The temperature, and where it comes from. Raises TrainerError."""
    if oof is not None:
        answers = OutOfFold.load(oof)
        if answers.split_hash != split["hash"] or list(answers.classes) != list(split["classes"]):
            raise TrainerError(f"{oof}: is of split {answers.split_hash[:12]}, {data} holds {split['hash'][:12]}; run "
                               "`python3 -m trainer crossvalidate` on it")
        return (round(fit_temperature(answers.logits, answers.labels), 4),
                f"fitted on {len(answers.labels)} out-of-fold answers of {len(set(answers.folds))} fold models")
    if state.get("part", "train") != "train":
        raise TrainerError(f"val was trained on (--part {state['part']}) and cannot calibrate; give --oof, made by "
                           "`python3 -m trainer crossvalidate`")
    images, labels, _ = cached(data, split, "val", spec)
    logits, _ = predict(model, images, spec, torch.device("cpu"), autocast("off", torch.device("cpu")))
    return round(fit_temperature(logits, labels), 4), "fitted on the validation split"


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
    return normalised(onnx.load_from_string(buffer.getvalue()))


def write_torchscript(model: Sorter, spec: InputSpec, path: Path) -> None:
    """The network as TorchScript, for those who load it with libtorch; torch itself would rather have torch.export."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.trace(model, torch.zeros(spec.shape))
        write_atomically(path, lambda file: torch.jit.save(script, file))


def entry(role: str, model: onnx.ModelProto, content: bytes) -> dict:
    """What a manifest's `files` says of one role; content is the model as written."""
    return {"path": f"model-{role}.onnx", "sha256": hashlib.sha256(content).hexdigest(), "opset": OPSET,
            "ir_version": model.ir_version, "tolerance": TOLERANCE[role]}


def convert(float_model: onnx.ModelProto, role: str) -> onnx.ModelProto:
    """The model in role fp32 or fp16. Raises TrainerError for another."""
    if role == "fp32":
        return float_model
    if role == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
        half = OnnxModel(convert_float_to_float16(copy.deepcopy(float_model), keep_io_types=True))
        half.topological_sort()  # the converter appends the casts of the inputs at the end
        return normalised(half.model)
    raise TrainerError(f"role {role}: allowed: {', '.join(TOLERANCE)}")


def normalised(model: onnx.ModelProto) -> onnx.ModelProto:
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
    write_json(out / MANIFEST, seal(manifest | {"golden": store_golden(out, arrays | placeholders)}))
    bundle = Bundle(str(out))
    for role in manifest["files"]:
        with OnnxRuntimeClassifier(bundle, role) as classifier:
            arrays[f"logits_{role}"] = np.concatenate(
                [classifier.classify_resized(image).logits.copy() for image in images])
    manifest["golden"] = store_golden(out, arrays)


def store_golden(out: Path, arrays: dict) -> dict:
    """Write golden.npz: images_rgb (N, H, W, 3) uint8 and logits_ROLE (N, C) float32; returns its manifest entry."""
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
            "teacher_sha256": state.get("teacher_sha256"), "part": state.get("part", "train"),
            "epochs_done": len(state["history"]),
            "validation": state["history"][-1], "torch": state["torch"], "device": state["device"]}


def _git_commit() -> str | None:
    try:
        return subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, check=True, text=True,
                              capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(state: dict) -> str:
    """Date and the weights' own hash: two different models never share a version."""
    return f"{datetime.now(timezone.utc):%Y.%m.%d}-{weights_id(state)}"


def weights_id(state: dict) -> str:
    """The start of the hash of a checkpoint's weights, in hexadecimal; a bundle's version ends with it."""
    digest = hashlib.sha256()
    for key, value in sorted(state["model"].items()):
        digest.update(key.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]

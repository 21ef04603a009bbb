"""INT8 roles of a bundle that exists: made from its checkpoint, held against float, refused if they fall short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from edge.bundles import MANIFEST, Bundle, seal
from trainer._candidates import LEAST_AGREEMENT, MOST_DROP_POINTS, Candidate, Reference, answers, quantised, table
from trainer.errors import TrainerError
from trainer.evaluate import evaluate_roles
from trainer.export import entry, load_checkpoint, normalised, store_golden, to_onnx, weights_id
from trainer.files import write_atomically, write_json
from trainer.prepare import read_split


@dataclass(frozen=True)
class Quantisation:
    """What was tried for each role, the best first, and what it was tried on."""

    bundle: Bundle
    data: Path
    split: dict
    float_model: onnx.ModelProto
    candidates: dict[str, list[Candidate]]

    def report(self) -> dict:
        """All figures, for a JSON file."""
        return {"bundle": f"{self.bundle.name} {self.bundle.version}", "split_hash": self.split["hash"], "part": "val",
                "least_agreement": LEAST_AGREEMENT, "most_drop_points": MOST_DROP_POINTS,
                "roles": {role: [{"method": c.method, "good": c.good} | c.scores for c in found]
                          for role, found in self.candidates.items()}}

    def lines(self) -> list[str]:
        """All figures as a table for people, and which is kept."""
        return [line for role, found in self.candidates.items()
                for line in [*table(role, found), f"  best: {found[0].method}"]]

    def check(self) -> None:
        """Raises TrainerError when a role's best is not good enough to stand in for float."""
        for role, (best, *_) in self.candidates.items():
            if not best.good:
                raise TrainerError(
                    f"{role}: agreement {best.scores['agreement']:.4f} ({LEAST_AGREEMENT} is needed), accuracy drop "
                    f"{best.scores['accuracy_drop_points']:.2f} points ({MOST_DROP_POINTS} is allowed) on val by "
                    f"{best.method}; {self.bundle.path} is left as it was; try another --method, or --force")


def quantize(checkpoint: Path, data: Path, out: Path, roles: tuple[str, ...] = ("int8_cpu", "int8_trt"),
             method: str = "auto") -> Quantisation:
    """Try to quantise the network of the bundle folder out; writes nothing. Raises TrainerError and BundleError.

    The checkpoint must be the bundle's own, and the data those that it was trained on. Ranges, and what is distilled,
    come from train, the choice among methods from val, both through edge's preprocessing. int8_trt is answered by ONNX
    Runtime on the CPU here, which rounds where its graph says; TensorRT sums in another order.
    """
    state, model = load_checkpoint(checkpoint)
    split, bundle = read_split(data), Bundle(str(out))
    if not out.is_dir():
        raise TrainerError(f"{out}: a .tar cannot be changed; unpack it and give the folder")
    if split["hash"] != state["split_hash"]:
        raise TrainerError(f"{checkpoint}: was trained on split {state['split_hash'][:12]}, {data} holds "
                           f"{split['hash'][:12]}; give the data that it was trained on")
    if bundle.version.rpartition("-")[2] != weights_id(state):
        raise TrainerError(f"{out}: version {bundle.version} was made from another checkpoint than {checkpoint} "
                           f"({weights_id(state)}); run `python3 -m trainer export` first")
    float_model = to_onnx(model, bundle.input)
    reference = Reference.of(float_model, data, split, "val", bundle.input, bundle.temperature)
    return Quantisation(bundle, data, split, float_model, {
        role: quantised(float_model, role, data, split, reference, method) for role in roles})


def add_roles(work: Quantisation) -> dict:
    """Write each role's best to the bundle: model, golden answers, manifest with figures on val and test, new seal.

    Returns the manifest. Other roles, and their golden answers, stay as they are.
    """
    bundle, spec, out = work.bundle, work.bundle.input, Path(work.bundle.path)
    golden, manifest = bundle.golden(), dict(bundle.manifest)
    images_bgr = golden.images_rgb[:, :, :, ::-1]
    arrays = {"images_rgb": golden.images_rgb} | {f"logits_{role}": golden.logits[role] for role in golden.logits}
    files, notes = dict(manifest["files"]), dict(manifest.get("quantisation", {}))
    test = Reference.of(work.float_model, work.data, work.split, "test", spec, bundle.temperature)
    contents = {}
    for role, (best, *_) in work.candidates.items():
        model = normalised(best.model)
        contents[role] = model.SerializeToString()
        files[role] = entry(role, model, contents[role])
        arrays[f"logits_{role}"] = answers(model, images_bgr, spec, f"golden {role}")
        notes[role] = {"method": best.method, "val": best.scores, "test": test.score(model, f"{role}, test")}
    for role, content in contents.items():
        write_atomically(out / files[role]["path"], lambda file, content=content: file.write(content))
    manifest |= {"files": files, "quantisation": notes, "golden": store_golden(out, arrays)}
    write_json(out / MANIFEST, seal(manifest))
    manifest["metrics"] = evaluate_roles(Bundle(str(out)), work.data, work.split, "test").manifest_entry()
    write_json(out / MANIFEST, seal(manifest))
    return manifest

"""Export and evaluate: the ONNX contract, the bundle, and that every road gives the same answers."""

import json

import numpy as np
import onnx
import pytest
import torch

from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.decision import softmax
from edge.frames import pictures
from edge.preprocess import Preprocessor
from trainer.errors import TrainerError
from trainer.evaluate import evaluate
from trainer.export import export, fit_temperature, load_checkpoint
from trainer.train import Options, train

ROLES = ("fp32", "fp16", "int8_cpu")


@pytest.fixture(scope="module")
def exported(drawn_data, tmp_path_factory):
    """A bundle of all roles from a briefly trained network: (bundle folder, checkpoint, manifest)."""
    run, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("bundle")
    train(drawn_data[0], run, Options(epochs=2, batch_size=16, init="none", amp="off", device="cpu", views=2))
    manifest = export(run / "best.pt", drawn_data[0], out, name="drawn", roles=ROLES,
                      torchscript=run / "model.ts")
    return out, run, manifest


@pytest.mark.parametrize("role", ROLES)
def test_the_onnx_files_keep_to_the_contract(exported, role):
    out, _, manifest = exported
    model = onnx.load(out / manifest["files"][role]["path"])
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert model.ir_version <= 7 and {n.domain for n in model.graph.node} == {""}
    initializers = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initializers]
    shapes = {v.name: ([d.dim_value for d in v.type.tensor_type.shape.dim], v.type.tensor_type.elem_type)
              for v in [*inputs, *model.graph.output]}
    assert shapes == {"image": ([1, 3, 224, 224], onnx.TensorProto.FLOAT),
                      "logits": ([1, 6], onnx.TensorProto.FLOAT), "features": ([1, 512], onnx.TensorProto.FLOAT)}
    types = {i.data_type for i in model.graph.initializer if np.prod(i.dims) > 5000}
    assert types == {{"fp32": onnx.TensorProto.FLOAT, "fp16": onnx.TensorProto.FLOAT16,
                      "int8_cpu": onnx.TensorProto.INT8}[role]}
    operators = {n.op_type for n in model.graph.node}
    assert "BatchNormalization" not in operators
    assert ("QuantizeLinear" in operators) == (role == "int8_cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_every_road_gives_torchs_answers(exported, drawn_data):
    out, run, _ = exported
    data, split = drawn_data
    state, model = load_checkpoint(run / "best.pt")
    script = torch.jit.load(run / "model.ts")
    bundle = Bundle(str(out))
    preprocessor, tensor = Preprocessor(bundle.input), np.empty(bundle.input.shape, np.float32)
    tolerance = {"fp32": 1e-4, "fp16": 2e-2, "int8_cpu": 0.2}
    for role in ROLES:
        with OnnxRuntimeClassifier(bundle, role) as classifier:
            for file in split["files"][::7]:
                image_bgr = pictures.read(str(data / file["split"] / file["path"]))
                preprocessor(image_bgr, tensor)
                with torch.inference_mode():
                    logits, features = model(torch.from_numpy(tensor))
                    scripted, _ = script(torch.from_numpy(tensor))
                assert torch.allclose(logits, scripted, atol=1e-4)
                answer = classifier.classify([image_bgr])
                gap = np.abs(softmax(answer.logits) - softmax(logits.numpy())).max()
                assert gap <= tolerance[role], role
                if role == "fp32":
                    assert np.allclose(answer.features, features.numpy(), atol=1e-3)


def test_the_manifest_says_where_it_comes_from(exported, drawn_data):
    _, run, manifest = exported
    provenance = manifest["provenance"]
    assert provenance["split_hash"] == drawn_data[1]["hash"] and provenance["initialisation"] == "none"
    assert provenance["hyper_parameters"]["batch_size"] == 16
    assert sorted(manifest["metrics"]["roles"]) == sorted(ROLES) and manifest["metrics"]["split"] == "test"
    for role in ROLES:
        assert manifest["metrics"]["roles"][role]["pictures"] == 6
    assert 0.2 <= manifest["temperature"] <= 5


def test_the_bundle_opens_and_a_foreign_split_is_refused(exported, tmp_path):
    out, run, _ = exported
    bundle = Bundle(str(out))
    bundle.verify()
    with open_classifier(bundle) as classifier:
        assert classifier.role == "int8_cpu"
    with pytest.raises(TrainerError, match="prepare"):
        export(run / "best.pt", tmp_path, tmp_path / "b", name="x")
    from drawn_tree import write_tree

    from trainer.prepare import prepare
    prepare(write_tree(tmp_path / "in", 5, seed=50), tmp_path / "other")
    with pytest.raises(TrainerError, match="may have been trained on"):
        export(run / "best.pt", tmp_path / "other", tmp_path / "b", name="x")


def test_evaluating_on_another_split_is_refused(exported, drawn_data, tmp_path):
    foreign = dict(drawn_data[1], hash="0" * 64)
    with pytest.raises(TrainerError, match="may have been trained on"):
        evaluate(Bundle(str(exported[0])), drawn_data[0], foreign, "test", tmp_path)


def test_golden_pictures_are_drawn_and_answered_by_each_role(exported):
    golden = Bundle(str(exported[0])).golden()
    assert golden.images_rgb.shape == (24, 224, 224, 3) and sorted(golden.logits) == sorted(ROLES)
    assert np.ptp(golden.logits["fp32"]) > 0 and not np.array_equal(golden.logits["fp32"], golden.logits["int8_cpu"])


def test_evaluate_leaves_figures_and_pictures(exported, drawn_data, tmp_path):
    out, run, manifest = exported
    metrics = evaluate(Bundle(str(out)), *drawn_data, "test", tmp_path, run / "best.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["confusion_matrix.png", "metrics.json", "mistakes.png",
                                                          "training_history.png"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["roles"] == manifest["metrics"]["roles"], "the manifest's figures can be had again"
    assert metrics["agreement_with_torch"]["fp32"]["same_class"] == 1.0
    assert metrics["agreement_with_torch"]["fp32"]["largest_probability_difference"] < 1e-4
    for name in ("confusion_matrix.png", "mistakes.png", "training_history.png"):
        assert min(pictures.read(str(tmp_path / name)).shape[:2]) > 100


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_again(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    labels = np.array([rng.choice(5, p=p) for p in softmax(logits)])
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.1)

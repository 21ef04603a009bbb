"""Quantisation: where the graphs round, that they run where they must, and that a bad one never gets into a bundle."""

import argparse
import json
import subprocess
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from drawn_tree import ROOT
from onnx import numpy_helper

from edge.bundles import Bundle
from edge.frames.drawn import MATERIALS, draw_named
from edge.preprocess import InputSpec, Preprocessor
from trainer import _candidates
from trainer._distil import distil
from trainer._fakequant import Network, correct_biases, histograms
from trainer._qdq import SCHEMES, with_pairs
from trainer._ranges import RANGES, Histogram, grid, minmax, on_grid, weight_scale
from trainer.commands import quantize as command
from trainer.errors import TrainerError
from trainer.export import export, normalised, to_onnx
from trainer.model import Sorter
from trainer.train import Options, train

ROLES = tuple(SCHEMES)
SPEC = InputSpec()
OLD_PYTHON = ROOT / ".venv" / "test-py3.6" / "bin" / "python"  # scripts/test makes it; it has ONNX Runtime 1.10


@pytest.fixture(scope="module")
def images():
    """Drawn pictures, (12, 224, 224, 3) uint8 BGR."""
    preprocessor = Preprocessor(SPEC)
    return np.stack([preprocessor.resize(draw_named(name, 700 + number, 96, 128)).copy()
                     for number in range(2) for name in MATERIALS])


@pytest.fixture(scope="module")
def batch(images):
    """The same as the network sees them."""
    preprocessor, tensors = Preprocessor(SPEC), np.empty((len(images), *SPEC.shape[1:]), np.float32)
    for image, row in zip(images, tensors, strict=True):
        preprocessor.normalise(image, row[None])
    return torch.from_numpy(tensors)


@pytest.fixture(scope="module")
def float_model(batch):
    """A network that nobody trained, but whose BatchNorm knows the pictures."""
    torch.manual_seed(0)
    model = Sorter(len(MATERIALS)).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one batch tells all
    with torch.no_grad():
        model(batch)
    return to_onnx(model.eval(), SPEC)


@pytest.fixture(scope="module")
def networks(float_model, batch):
    """Role -> the rounding network with min-max grids."""
    found = {}
    for role, scheme in SCHEMES.items():
        found[role] = Network(float_model, scheme)
        seen = histograms(found[role], [batch])
        found[role].grids = {name: grid(*minmax(h, scheme), scheme) for name, h in seen.items()}
    return found


@pytest.fixture(scope="module")
def models(float_model, networks):
    """Role -> the ONNX model of that network."""
    return {role: _written(float_model, network) for role, network in networks.items()}


def _written(float_model, network):
    return normalised(with_pairs(float_model, network.scheme, network.grids, network.weights(), network.biases()))


class Graph:
    """Who makes and who reads a tensor, and what a constant holds."""

    def __init__(self, model):
        self.nodes = list(model.graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        self.outputs = {value.name for value in model.graph.output}

    def of(self, operator):
        return [node for node in self.nodes if node.op_type == operator]

    def readers(self, tensor):
        return [node for node in self.nodes for name in node.input if name == tensor]

    def made_by(self, tensor):
        return self.maker[tensor].op_type if tensor in self.maker else None

    def axis(self, node):
        return next((a.i for a in node.attribute if a.name == "axis"), 1)


@pytest.mark.parametrize("role", ROLES)
def test_the_files_keep_to_the_contract(models, role):
    model = models[role]
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)] and model.ir_version <= 7
    assert {node.domain for node in model.graph.node} == {""}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in [*model.graph.input, *model.graph.output]}
    assert shapes == {"image": [1, 3, 224, 224], "logits": [1, 6], "features": [1, 512]}


@pytest.mark.parametrize("role", ROLES)
def test_no_convolution_reads_float(models, role):
    graph, kind = Graph(models[role]), np.int8 if SCHEMES[role].signed else np.uint8
    assert len(graph.of("Conv")) == 20
    for conv in graph.of("Conv"):
        activation, weight = (graph.maker[name] for name in conv.input[:2])
        assert (activation.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear"), conv.name
        assert graph.made_by(activation.input[0]) == "QuantizeLinear"
        scale, zero = (graph.constants[name] for name in activation.input[1:])
        assert scale.shape == () and zero.dtype == kind and (zero == 0 or not SCHEMES[role].signed)
        scale, zero = (graph.constants[name] for name in weight.input[1:])
        assert len(scale) > 1 and graph.axis(weight) == 0 and zero.dtype == np.int8 and not zero.any()
    for operator in ("MaxPool", "GlobalAveragePool"):
        assert all(graph.made_by(node.input[0]) == "DequantizeLinear" for node in graph.of(operator))


def test_tensorrt_gets_float_weights_behind_pairs_and_float_biases(models):
    graph = Graph(models["int8_trt"])
    assert {value.dtype for value in graph.constants.values() if value.size > 512} == {np.dtype(np.float32)}
    assert not [name for name, value in graph.constants.items() if value.dtype == np.int32]
    for conv in graph.of("Conv"):
        quantize = graph.maker[graph.maker[conv.input[1]].input[0]]
        assert quantize.op_type == "QuantizeLinear" and graph.axis(quantize) == 0
        scale = graph.constants[quantize.input[1]]
        steps = graph.constants[quantize.input[0]] / scale[:, None, None, None]
        assert np.abs(steps - np.rint(steps)).max() < 1e-3 and np.abs(steps).max() <= 127.01
        assert graph.constants[conv.input[2]].dtype == np.float32 and graph.made_by(conv.input[2]) is None


def test_tensorrt_gets_a_pair_for_each_consumer(models):
    graph = Graph(models["int8_trt"])
    for node in graph.of("QuantizeLinear"):
        assert [n.op_type for n in graph.readers(node.output[0])] == ["DequantizeLinear"]
    for node in graph.of("DequantizeLinear"):
        assert len(graph.readers(node.output[0])) == 1 and node.output[0] not in graph.outputs
        assert graph.made_by(node.input[0]) == "QuantizeLinear"


def test_tensorrt_gets_pairs_on_the_identity_branch_and_not_behind_the_convolution_before_the_sum(models):
    graph = Graph(models["int8_trt"])
    assert len(graph.of("Add")) == 8
    for add in graph.of("Add"):
        assert [graph.made_by(name) for name in add.input] == ["Conv", "DequantizeLinear"]
        conv = graph.maker[add.input[0]]
        # The main branch ends with a 3 x 3 kernel, the identity has one of 1 x 1 or none
        assert graph.constants[graph.maker[graph.maker[conv.input[1]].input[0]].input[0]].shape[2:] == (3, 3)
        behind = graph.maker[graph.maker[graph.maker[add.input[1]].input[0]].input[0]]
        assert behind.op_type in ("Relu", "MaxPool", "Conv")
        if behind.op_type == "Conv":
            weight = graph.maker[graph.maker[behind.input[1]].input[0]].input[0]
            assert graph.constants[weight].shape[2:] == (1, 1)
        (relu,) = graph.readers(add.output[0])
        assert relu.op_type == "Relu"
        assert {n.op_type for n in graph.readers(relu.output[0])} == {"QuantizeLinear"}


def test_cpus_get_stored_seven_bit_weights_and_whole_biases(models):
    graph = Graph(models["int8_cpu"])
    for conv in graph.of("Conv"):
        activation, weight, bias = (graph.maker[name] for name in conv.input)
        numbers = graph.constants[weight.input[0]]
        assert numbers.dtype == np.int8 and 32 < np.abs(numbers.astype(int)).max() <= 64
        assert graph.constants[bias.input[0]].dtype == np.int32
        product = graph.constants[activation.input[1]] * graph.constants[weight.input[1]]
        assert np.allclose(graph.constants[bias.input[1]], product, rtol=1e-6, atol=0)
    for add in graph.of("Add"):
        assert [graph.made_by(name) for name in add.input] == ["DequantizeLinear"] * 2
    for node in graph.of("QuantizeLinear"):
        if graph.made_by(node.input[0]) == "Relu":
            assert graph.constants[node.input[2]] == 0


def test_onnx_runtime_fuses_all_of_it(models, tmp_path):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    onnxruntime.InferenceSession(models["int8_cpu"].SerializeToString(), options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert (counts["QLinearConv"], counts["QLinearAdd"]) == (20, 8)
    assert not counts["Conv"] and not counts["Add"] and not counts["Relu"] and not counts["MaxPool"]
    assert (counts["QuantizeLinear"], counts["DequantizeLinear"]) == (1, 1), "at the picture, and before the pooling"


def test_other_operators_are_refused(float_model):
    model = onnx.ModelProto.FromString(float_model.SerializeToString())
    model.graph.node[1].op_type = "Sigmoid"
    with pytest.raises(TrainerError, match="Sigmoid"):
        Network(model, SCHEMES["int8_cpu"])


def _with_outlier():
    counts = np.zeros(2048)
    counts[:512] = np.exp(-np.linspace(0, 6, 512)) * 1e5
    counts[-1] = 1
    return Histogram(counts, 0.0, 8.0)


@pytest.mark.parametrize("name, low, high", [("minmax", 8, 8), ("percentile", 1.5, 2.5), ("entropy", 0.4, 2.5),
                                             ("mse", 1.5, 8)])
def test_ranges_of_a_tensor_with_one_outlier(name, low, high):
    for scheme in SCHEMES.values():
        least, most = RANGES[name](_with_outlier(), scheme)
        assert least == 0 and low <= most <= high


def test_mses_range_has_the_least_error():
    histogram = _with_outlier()
    for scheme in SCHEMES.values():
        errors = {name: (histogram.counts * (on_grid(histogram.centres, grid(*f(histogram, scheme), scheme), scheme)
                                             - histogram.centres) ** 2).sum() for name, f in RANGES.items()}
        assert errors["mse"] <= 1.1 * min(errors.values()) and errors["mse"] < 0.5 * errors["minmax"]


@pytest.mark.parametrize("low, high", [(-1.3, 2.6), (0.0, 5.0), (-3.0, -0.1), (0.0, 0.0)])
def test_zero_is_always_exact(low, high):
    for scheme in SCHEMES.values():
        chosen = grid(low, high, scheme)
        assert on_grid(np.zeros(1), chosen, scheme) == 0 and chosen.scale > 0
        inside = np.linspace(low, high, 50)
        assert np.abs(on_grid(inside, chosen, scheme) - inside).max() <= chosen.scale * 1.01


@pytest.mark.parametrize("levels, gain", [(4, 0.9), (64, 1.0)])
def test_weight_scales_are_no_worse_than_the_largest_weights(levels, gain):
    weight = np.random.default_rng(0).normal(size=(8, 64, 3, 3)).astype(np.float32)
    weight[3] = 0

    def error(scale):
        wide = np.maximum(scale, 1e-12)[:, None, None, None]
        return ((np.clip(np.rint(weight / wide), -levels, levels) * wide - weight) ** 2).sum((1, 2, 3))

    largest = np.abs(weight).max((1, 2, 3)) / levels
    chosen = error(weight_scale(weight, levels))
    assert (chosen <= error(largest) + 1e-9).all() and chosen.sum() < gain * error(largest).sum()


def _rough(float_model, batch, role="int8_cpu"):
    """A network whose activations are cut off at a third of their reach: something is left to mend."""
    scheme = SCHEMES[role]
    network, exact = Network(float_model, scheme), Network(float_model, scheme)
    network.grids = {name: grid(h.low / 3, h.high / 3, scheme) for name, h in histograms(exact, [batch]).items()}
    return network, exact


def _distance(network, exact, batch):
    with torch.inference_mode():
        return float((network(batch)[1] - exact(batch)[1]).square().mean())


@pytest.mark.parametrize("role", ROLES)
def test_torch_rounds_as_the_file_does(float_model, images, batch, role):
    network, _ = _rough(float_model, batch, role)
    with torch.inference_mode():
        expected = network(batch[:4])[0].numpy()
    exact = _candidates.answers(float_model, images[:4], SPEC, "float")
    written = _candidates.answers(_written(float_model, network), images[:4], SPEC, role)
    assert np.abs(written - expected).mean() < 0.3 * np.abs(written - exact).mean(), "what is trained is what runs"


def test_bias_correction_brings_the_features_closer(float_model, batch):
    network, exact = _rough(float_model, batch)
    before = _distance(network, exact, batch)
    correct_biases(network, exact, batch)
    assert _distance(network, exact, batch) < 0.95 * before


def test_distillation_brings_the_features_closer(float_model, images, batch, monkeypatch):
    monkeypatch.setattr("trainer._distil.PASSES", 6)
    network, exact = _rough(float_model, batch)
    before = _distance(network, exact, batch)
    distil(network, exact, images, SPEC)
    assert _distance(network, exact, batch) < 0.9 * before


@pytest.fixture(scope="module")
def trained(drawn_data, tmp_path_factory):
    """(checkpoint, data, bundle with fp16 alone) of a briefly trained network."""
    run, out = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("bundle")
    train(drawn_data[0], run, Options(epochs=2, batch_size=16, init="none", amp="off", device="cpu", views=2))
    export(run / "best.pt", drawn_data[0], out, name="drawn", roles=("fp16",))
    return run / "best.pt", drawn_data[0], out


def _main(trained, *more):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    checkpoint, data, out = trained
    arguments = parser.parse_args(["quantize", "--checkpoint", str(checkpoint), "--data", str(data),
                                   "--bundle", str(out), "--method", "mse", *map(str, more)])
    return arguments.run(arguments)


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_role_that_falls_short_leaves_the_bundle_as_it_was(trained, monkeypatch, capsys):
    monkeypatch.setattr(_candidates, "LEAST_AGREEMENT", 1.01)
    before = _contents(trained[2])
    with pytest.raises(TrainerError, match="int8_cpu: agreement .* left as it was"):
        _main(trained, "--roles", "int8_cpu")
    assert _contents(trained[2]) == before
    assert "mse + bias correction" in capsys.readouterr().out, "the figures are shown all the same"


def test_both_roles_are_added_and_the_others_stay(trained, tmp_path, capsys):
    checkpoint, data, out = trained
    before, golden_before = _contents(out), Bundle(str(out)).golden()
    _main(trained, "--force", "--report", tmp_path / "report.json")
    bundle = Bundle(str(out))
    bundle.verify()
    assert sorted(bundle.files) == ["fp16", "int8_cpu", "int8_trt"]
    assert (out / "model-fp16.onnx").read_bytes() == before["model-fp16.onnx"]
    golden = bundle.golden()
    assert np.array_equal(golden.logits["fp16"], golden_before.logits["fp16"])
    for role in ROLES:
        model = onnx.load(out / bundle.files[role].path)
        again = _candidates.answers(model, golden.images_rgb[:, :, :, ::-1], SPEC, role)
        assert np.allclose(golden.logits[role], again, atol=1e-5) and np.ptp(again) > 0
        notes = bundle.manifest["quantisation"][role]
        assert notes["method"].startswith("mse") and notes["val"]["pictures"] == notes["test"]["pictures"] == 6
        assert notes["test"]["largest_probability_difference"] < 0.1
    assert bundle.manifest["metrics"]["roles"]["int8_cpu"]["pictures"] == 6
    report = json.loads((tmp_path / "report.json").read_text())
    assert [c["method"] for c in report["roles"]["int8_trt"]].count("mse") == 1
    assert "agreement" in capsys.readouterr().out


def test_another_checkpoint_is_refused(trained, tmp_path):
    checkpoint, data, out = trained
    state = torch.load(checkpoint, weights_only=True)
    state["model"]["net.fc.bias"] += 1
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(TrainerError, match="another checkpoint"):
        _main((tmp_path / "other.pt", data, out))


@pytest.mark.skipif(not OLD_PYTHON.exists(), reason="no .venv/test-py3.6: scripts/test makes it where it finds a 3.6")
@pytest.mark.parametrize("role", ROLES)
def test_onnx_runtime_1_10_on_python_3_6_gives_the_same_answers(models, images, batch, tmp_path, role):
    onnx.save(models[role], tmp_path / "model.onnx")
    np.save(tmp_path / "pictures.npy", batch[:4].numpy())
    code = ("import sys, json, numpy as np, onnxruntime as o\n"
            "s = o.InferenceSession(sys.argv[1] + '/model.onnx', providers=['CPUExecutionProvider'])\n"
            "x = np.load(sys.argv[1] + '/pictures.npy')\n"
            "a = [s.run(['logits'], {'image': x[i:i + 1]})[0][0].tolist() for i in range(len(x))]\n"
            "print(json.dumps([sys.version_info[:2], o.__version__, a]))")
    done = subprocess.run([OLD_PYTHON, "-c", code, tmp_path], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    python, version, answers = json.loads(done.stdout)
    assert python == [3, 6] and version.startswith("1.10")
    here = _candidates.answers(models[role], images[:4], SPEC, role)
    assert np.abs(np.array(answers) - here).max() < 0.1 * np.ptp(here)

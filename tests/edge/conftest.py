"""What the tests of edge share: a clock that is moved by hand, small real bundles, records, and places that fill up."""

import hashlib
import json
import logging
import os
import shutil
import socket
import struct
import subprocess
import types

import numpy as np
import pytest

from edge.bundles import Bundle, seal
from edge.clock import Clock
from edge.journal import Record

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = os.path.join(REPOSITORY, "models", "trashnet-resnet18")
CLASSES = ("glass", "metal", "paper", "plastic")
SIDE = 8  # height and width of a tiny bundle's input in pixels


def pytest_collection_modifyitems(items):
    """scripts/test sets SCRAPSORT_SHORT for all Pythons but the newest: to oldest, or to between."""
    short = os.environ.get("SCRAPSORT_SHORT")
    for item in items:
        long = item.get_closest_marker("long")
        if long and "newest" in long.args and short:
            item.add_marker(pytest.mark.skip(reason="a long test: it runs on the newest Python"))
        elif long and short == "between":
            item.add_marker(pytest.mark.skip(reason="a long test: it runs on the oldest and the newest Python"))


@pytest.fixture(autouse=True)
def _log_of_the_test():
    """The log as it is before a command sets it up, whatever an earlier test did to it."""
    logger = logging.getLogger("scrapsort")
    logger.propagate, logger.handlers[:] = True, []
    yield
    logger.propagate, logger.handlers[:] = True, []


# ---------------------------------------------------------------- time

class FakeClock(Clock):
    """Stands still until it is moved; waiting moves it. during_wait(clock) is called in each wait."""

    def __init__(self, mono_s=100.0, wall_s=1763802900.0):
        super().__init__()
        self.mono, self.wall, self.waits, self.during_wait = mono_s, wall_s, [], None

    def mono_s(self):
        return self.mono

    def wall_s(self):
        return self.wall

    def synchronised(self):
        return True

    def move(self, seconds):
        self.mono += seconds
        self.wall += seconds

    def wait(self, event, seconds):
        self.waits.append(seconds)
        self.move(max(0.0, seconds))
        if self.during_wait is not None:
            self.during_wait(self)
        return event.is_set()


@pytest.fixture
def clock():
    return FakeClock()


# ---------------------------------------------------------------- a whole ONNX model in a few hundred bytes

def _varint(number):
    out = b""
    while number > 127:
        out += struct.pack("B", number & 127 | 128)
        number >>= 7
    return out + struct.pack("B", number)


def _number(field, value):
    return _varint(field << 3) + _varint(value)


def _bytes(field, value):
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _value_info(name, shape, element_type):
    dimensions = b"".join(_bytes(1, _number(1, size)) for size in shape)
    tensor = _number(1, element_type) + _bytes(2, dimensions)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _tensor(name, array):
    return (b"".join(_number(1, size) for size in array.shape) + _number(2, 1) + _bytes(8, name)
            + _bytes(9, array.astype("<f4").tobytes()))


def _node(operation, inputs, output):
    return (b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, operation))


def tiny_onnx(weights, side=SIDE, features=512, names=("image", "logits", "features")):
    """An ONNX model: the mean of each channel, times weights (3, C), are the logits; times ones the features."""
    image, logits, feature = names
    graph = b"".join(_bytes(1, node) for node in (
        _node("GlobalAveragePool", [image], "pooled"), _node("Flatten", ["pooled"], "flat"),
        _node("MatMul", ["flat", "weights"], logits), _node("MatMul", ["flat", "ones"], feature)))
    graph += _bytes(2, "tiny") + _bytes(5, _tensor("weights", weights))
    graph += _bytes(5, _tensor("ones", np.ones((3, features), np.float32)))
    graph += _bytes(11, _value_info(image, (1, 3, side, side), 1))
    graph += _bytes(12, _value_info(logits, (1, weights.shape[1]), 1))
    graph += _bytes(12, _value_info(feature, (1, features), 1))
    return _number(1, 7) + _bytes(8, _number(2, 13)) + _bytes(7, graph)


# ---------------------------------------------------------------- bundles

def sha256(data):
    return hashlib.sha256(data).hexdigest()


def write_bundle(folder, edit=None, roles=("fp16", "int8_cpu"), classes=CLASSES, models=None, golden=None,
                 resize="stretch"):
    """A whole small bundle; edit(manifest) changes it last, models and golden replace files (hashes follow)."""
    if not os.path.isdir(str(folder)):
        os.makedirs(str(folder))
    rng = np.random.RandomState(5)
    weights = rng.randn(3, len(classes)).astype(np.float32)
    images = rng.randint(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)
    images[np.arange(5), :, :, np.arange(5) % 3] //= 4  # five clearly different colours
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pooled = ((images / 255.0 - mean) / std).mean((1, 2))
    files, entries = {}, {}
    for role in roles:
        files["model-" + role + ".onnx"] = (models or {}).get(role) or tiny_onnx(weights)
        entries[role] = {"path": "model-" + role + ".onnx", "opset": 13, "ir_version": 7, "tolerance": 0.01}
    answers = {"logits_" + role: pooled.dot(weights).astype(np.float32) for role in roles}
    answers.update(golden or {})
    golden_path = os.path.join(str(folder), "golden.npz")
    np.savez(golden_path, **dict({"images_rgb": images}, **answers))
    for name, data in files.items():
        with open(os.path.join(str(folder), name), "wb") as file:
            file.write(data)
    for role in roles:
        entries[role]["sha256"] = sha256(files["model-" + role + ".onnx"])
    with open(golden_path, "rb") as file:
        golden_sha256 = sha256(file.read())
    manifest = {
        "format": "scrapsort-bundle-1", "name": "tiny", "version": "1", "classes": list(classes),
        "input": {"name": "image", "shape": [1, 3, SIDE, SIDE], "dtype": "float32", "colour_order": "RGB",
                  "resize": resize, "mean": list(mean), "std": list(std)},
        "temperature": 1.0, "thresholds": {"default": 0.5, "per_class": {}}, "files": entries,
        "golden": {"path": "golden.npz", "sha256": golden_sha256}}
    if edit is not None:
        edit(manifest)
    with open(os.path.join(str(folder), "manifest.json"), "w") as file:
        json.dump(seal(manifest), file)
    return str(folder)


@pytest.fixture
def make_bundle(tmp_path):
    """make_bundle(name="tiny", **write_bundle's) -> path of a small real bundle."""
    return lambda name="tiny", **keywords: write_bundle(tmp_path / name, **keywords)


@pytest.fixture
def tiny_weights():
    """The weights (3, C) of the models in make_bundle's bundles."""
    return np.random.RandomState(5).randn(3, len(CLASSES)).astype(np.float32)


@pytest.fixture
def make_onnx():
    return tiny_onnx


@pytest.fixture(scope="session")
def shipped_path():
    return SHIPPED


@pytest.fixture(scope="session")
def shipped():
    """The bundle of the repository: real, but its answers change with every training."""
    return Bundle(SHIPPED)


@pytest.fixture
def benchmark(monkeypatch, capsys):
    """benchmark(*words) runs `python3 -m benchmarks …` here; its exit code, output and errors."""
    from benchmarks.__main__ import main

    def run(*words):
        monkeypatch.setattr("sys.argv", ["benchmarks"] + [str(word) for word in words])
        try:
            code = main()
        except SystemExit as ended:  # argparse
            code = ended.code
        return (code,) + tuple(capsys.readouterr())
    return run


# ---------------------------------------------------------------- journal

@pytest.fixture
def make_record():
    """make_record(sequence, **changes) -> an accepted item as the loop hands it over."""
    def make(sequence=1, **changes):
        record = Record(sequence, "/belt/{}.jpg".format(sequence), "/belt/{}.jpg|10|20".format(sequence),
                        5.0 + sequence, 1763802900.0 + sequence, "accept", "metal", 0.75, (0.1, 0.75, 0.1, 0.05), 0.7,
                        "2026.11-a", "onnxruntime", "int8", 1.0, 2.0, 3.0, 0.5, 6.5)
        return record._replace(**changes)
    return make


@pytest.fixture
def run_of():
    """What Journal.begin asks of a classifier, without a model."""
    bundle = types.SimpleNamespace(classes=CLASSES, name="tiny", version="2026.11-a")
    return types.SimpleNamespace(bundle=bundle, backend="onnxruntime", device="CPUExecutionProvider",
                                 precision="int8")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB of its own: small_disk.path, and small_disk.read_only()."""
    path = str(tmp_path / "disk")
    os.mkdir(path)
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root on Linux")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], stderr=subprocess.PIPE,
                             check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here: {}".format(mounted.stderr.decode().strip()))
    yield types.SimpleNamespace(
        path=path, read_only=lambda: subprocess.check_call(["mount", "-o", "remount,ro", path]))
    subprocess.check_call(["umount", "-l", path])


# ---------------------------------------------------------------- network

@pytest.fixture
def free_port():
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]

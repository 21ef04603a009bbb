"""Small real bundles, made here: a whole ONNX model in a few hundred bytes, and all that belongs to it."""

import hashlib
import json
import os
import struct

import numpy as np

from edge.bundles import seal

CLASSES = ("glass", "metal", "paper", "plastic")
SIDE = 8  # height and width of a tiny bundle's input in pixels


def varint(number):
    out = b""
    while number > 127:
        out += struct.pack("B", number & 127 | 128)
        number >>= 7
    return out + struct.pack("B", number)


def _number(field, value):
    return varint(field << 3) + varint(value)


def _bytes(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


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

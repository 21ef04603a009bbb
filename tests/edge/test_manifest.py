"""Manifests of bundles: whole, for us and unchanged, or refused in one line that names the field."""

import os

import pytest
from helpers import one_line
from manifests import put, rewrite, without

from edge.bundles import Bundle
from edge.errors import BundleError

BROKEN = [
    # change, what the line must name
    (put("format", "scrapsort-bundle-2"), ["format 'scrapsort-bundle-2'", "scrapsort-bundle-1"]),
    (without("format"), ["format None"]),
    (put("name", ""), ["name = ''", "text"]),
    (put("name", 5), ["name = 5", "text"]),
    (without("name"), ["name = None"]),
    (put("version", None), ["version = None"]),
    (put("version", ["1"]), ["version = ['1']"]),
    (without("classes"), ["classes = None"]),
    (put("classes", "glass"), ["classes = 'glass'", "two or more different names"]),
    (put("classes", ["glass"]), ["classes = ['glass']"]),
    (put("classes", ["glass", "glass"]), ["classes", "different"]),
    (put("classes", ["glass", ""]), ["classes"]),
    (put("classes", ["glass", 5]), ["classes"]),
    (put("classes", ["glass", ["metal"]]), ["classes"]),
    (without("input"), ["input = None", "object"]),
    (put("input", [1]), ["input = [1]"]),
    (put("input", "shape", "224"), ["input.shape = '224'"]),
    (put("input", "shape", [1, 3, 8]), ["input.shape = [1, 3, 8]"]),
    (put("input", "shape", [2, 3, 8, 8]), ["input.shape = [2, 3, 8, 8]"]),
    (put("input", "shape", [1, 8, 8, 3]), ["input.shape"]),
    (put("input", "shape", [1, 3, "8", 8]), ["input.shape"]),
    (put("input", "shape", [1, 3, 8.0, 8]), ["input.shape"]),
    (put("input", "shape", [1, 3, 0, 8]), ["input.shape"]),
    (put("input", "shape", [1, 3, 8, -8]), ["input.shape"]),
    (put("input", "shape", [1, 3, 8, True]), ["input.shape"]),
    (put("input", "shape", [1, 3, 10 ** 6, 10 ** 6]), ["input.shape", "4096"]),
    (put("input", "dtype", "uint8"), ["input", "uint8", "float32"]),
    (put("input", "colour_order", "BGR"), ["input", "BGR", "RGB"]),
    (put("input", "resize", "squeeze"), ["input.resize = 'squeeze'", "stretch or letterbox or crop"]),
    (put("input", "resize", ["crop"]), ["input.resize"]),
    (without("input", "resize"), ["input.resize = None"]),
    (without("input", "mean"), ["input.mean = None", "three numbers"]),
    (put("input", "mean", [0.5, 0.5]), ["input.mean = [0.5, 0.5]"]),
    (put("input", "mean", ["a", "b", "c"]), ["input.mean = 'a'"]),
    (put("input", "mean", [0.5, 0.5, float("nan")]), ["input.mean = nan"]),
    (put("input", "std", 1), ["input.std = 1"]),
    (put("input", "std", [1, 1, 0]), ["input.std = 0"]),
    (put("input", "std", [1, -1, 1]), ["input.std = -1"]),
    (put("input", "std", [1, None, 1]), ["input.std = None"]),
    (put("temperature", 0), ["temperature = 0", "0.05", "20"]),
    (put("temperature", float("nan")), ["temperature = nan"]),
    (put("temperature", True), ["temperature = True"]),
    (put("temperature", None), ["temperature = None"]),
    (put("temperature", "1"), ["temperature = '1'"]),
    (without("thresholds"), ["thresholds = None", "object"]),
    (put("thresholds", 0.7), ["thresholds = 0.7"]),
    (put("thresholds", "default", 1.1), ["thresholds.default = 1.1", "0.0", "1.0"]),
    (put("thresholds", "default", None), ["thresholds.default = None"]),
    (put("thresholds", "default", "0.7"), ["thresholds.default = '0.7'"]),
    (put("thresholds", "per_class", []), ["thresholds.per_class = []", "object"]),
    (put("thresholds", "per_class", {"wood": 0.5}), ["thresholds.per_class = 'wood'", "one of the classes"]),
    (put("thresholds", "per_class", {"glass": 2}), ["thresholds.per_class.glass = 2"]),
    (put("thresholds", "per_class", {"glass": "x"}), ["thresholds.per_class.glass = 'x'"]),
    (put("thresholds", "policy", 5), ["thresholds.policy = 5", "a text or an object"]),
    (put("thresholds", "policy", ["purity"]), ["thresholds.policy = ['purity']"]),
    (put("stranger", "energy"), ["stranger = 'energy'", "an object or null"]),
    (put("stranger", False), ["stranger = False"]),
    (put("stranger", {}), ["stranger.score = None", "max_probability or max_logit or energy or feature_distance"]),
    (put("stranger", {"score": "odin", "threshold": 0}), ["stranger.score = 'odin'"]),
    (put("stranger", {"score": ["energy"], "threshold": 0}), ["stranger.score = ['energy']"]),
    (put("stranger", {"score": "energy"}), ["stranger.threshold = None", "a number"]),
    (put("stranger", {"score": "energy", "threshold": "0"}), ["stranger.threshold = '0'"]),
    (put("stranger", {"score": "energy", "threshold": True}), ["stranger.threshold = True"]),
    (put("stranger", {"score": "energy", "threshold": float("nan")}), ["stranger.threshold = nan"]),
    (put("stranger", {"score": "energy", "threshold": float("inf")}), ["stranger.threshold = inf"]),
    (put("stranger", {"score": "energy", "threshold": 0, "temperature": 0}), ["stranger.temperature = 0", "0.05"]),
    (put("stranger", {"score": "energy", "threshold": 0, "temperature": None}), ["stranger.temperature = None"]),
    (put("stranger", {"score": "feature_distance", "threshold": 0}), ["stranger.file.path = None"]),
    (put("stranger", {"score": "feature_distance", "threshold": 0, "file": {"path": "../s.npz", "sha256": "0" * 64}}),
     ["stranger.file.path = '../s.npz'", "plain file name"]),
    (put("stranger", {"score": "feature_distance", "threshold": 0, "file": {"path": "s.npz", "sha256": "0"}}),
     ["stranger.file.sha256 = '0'"]),
    (without("files"), ["files = None", "object"]),
    (put("files", {}), ["files = {}", "at least one"]),
    (put("files", []), ["files = []"]),
    (put("files", "int4", {}), ["files = 'int4'", "fp32, fp16, int8_trt, int8_cpu"]),
    (put("files", "fp16", None), ["files.fp16.path = None"]),
    (put("files", "fp16", "model.onnx"), ["files.fp16.path = None"]),
    (without("files", "fp16", "path"), ["files.fp16.path = None"]),
    (put("files", "fp16", "path", ""), ["files.fp16.path = ''"]),
    (put("files", "fp16", "path", 5), ["files.fp16.path = 5"]),
    (put("files", "fp16", "path", "../model-fp16.onnx"), ["files.fp16.path = '../model-fp16.onnx'", "plain file name"]),
    (put("files", "fp16", "path", "/etc/passwd"), ["files.fp16.path = '/etc/passwd'"]),
    (put("files", "fp16", "path", "below/model.onnx"), ["files.fp16.path"]),
    (put("files", "fp16", "path", ".."), ["files.fp16.path = '..'"]),
    (put("files", "fp16", "path", "."), ["files.fp16.path = '.'"]),
    (without("files", "fp16", "sha256"), ["files.fp16.sha256 = None", "64 hexadecimal digits"]),
    (put("files", "fp16", "sha256", "abc"), ["files.fp16.sha256 = 'abc'"]),
    (put("files", "fp16", "sha256", 5), ["files.fp16.sha256 = 5"]),
    (put("files", "fp16", "tolerance", "0.1"), ["files.fp16.tolerance = '0.1'"]),
    (put("files", "fp16", "tolerance", None), ["files.fp16.tolerance = None"]),
    (put("files", "fp16", "tolerance", -1), ["files.fp16.tolerance = -1"]),
    (put("files", "fp16", "tolerance", float("nan")), ["files.fp16.tolerance = nan"]),
    (without("golden"), ["golden = None", "object"]),
    (put("golden", "golden.npz"), ["golden = 'golden.npz'"]),
    (put("golden", "path", "../golden.npz"), ["golden.path = '../golden.npz'"]),
    (put("golden", "sha256", "0"), ["golden.sha256 = '0'"]),
    (lambda manifest: [manifest], ["format 'list'"]),
    (lambda manifest: "text", ["format 'str'"]),
]


@pytest.mark.parametrize("change, names", BROKEN, ids=[getattr(case[0], "word", "not an object") for case in BROKEN])
def test_a_broken_field_is_named(make_bundle, change, names):
    path = make_bundle()
    rewrite(path, change)
    with pytest.raises(BundleError) as caught:
        Bundle(path)
    message = one_line(caught)
    assert message.startswith(path)
    for name in names:
        assert name in message[len(path):]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b'{"format": "scrapsort-bundle-1",}'])
def test_a_manifest_that_is_no_json(make_bundle, content):
    path = make_bundle()
    with open(os.path.join(path, "manifest.json"), "wb") as file:
        file.write(content)
    with pytest.raises(BundleError) as caught:
        Bundle(path)
    assert "manifest.json is not JSON" in one_line(caught)


@pytest.mark.parametrize("change", [
    put("temperature", 1.01), put("thresholds", "default", 0.51), put("version", "2"), put("note", "added"),
    put("classes", ["metal", "glass", "paper", "plastic"]), put("files", "fp16", "tolerance", 0.9), without("seal"),
    put("seal", None),
], ids=lambda change: change.word)
def test_a_manifest_that_was_edited_by_hand_is_refused(make_bundle, change):
    """Nothing else would notice another threshold, or classes in another order."""
    path = make_bundle()
    rewrite(path, lambda manifest: None, sealed=False)  # writing it again as it is changes nothing
    Bundle(path)
    rewrite(path, change, sealed=False)
    with pytest.raises(BundleError) as caught:
        Bundle(path)
    assert "manifest.json" in one_line(caught) and "seal" in str(caught.value)

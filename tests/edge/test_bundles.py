"""Model bundles: whole and unchanged, or refused in one line; and where they are looked for."""

import io
import os

import numpy as np
import pytest
from helpers import one_line
from manifests import put, rewrite

from edge import bundles
from edge.bundles import Bundle, find
from edge.errors import BundleError

# ---------------------------------------------------------------- what is read

def test_a_whole_bundle(make_bundle):
    bundle = Bundle(make_bundle(edit=put("thresholds", {"default": 0.6, "per_class": {"glass": 0.9}})))
    assert (bundle.name, bundle.version) == ("tiny", "1")
    assert bundle.classes == ("glass", "metal", "paper", "plastic")
    assert bundle.input == (8, 8, "stretch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (bundle.temperature, bundle.threshold, bundle.thresholds) == (1.0, 0.6, {"glass": 0.9})
    assert sorted(bundle.files) == ["fp16", "int8_cpu"] and bundle.files["fp16"].tolerance == 0.01
    assert bundle.golden().images_rgb.shape == (5, 8, 8, 3)
    assert sorted(bundle.golden().logits) == ["fp16", "int8_cpu"]
    bundle.verify()


def test_the_bundle_of_the_repository_verifies(shipped):
    shipped.verify()
    assert shipped.classes == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    assert {"fp16", "int8_cpu"} <= set(shipped.files)
    assert shipped.input.shape == (1, 3, 224, 224)
    assert len(shipped.golden().images_rgb) >= 24


def test_what_is_optional(make_bundle):
    def change(manifest):
        del manifest["temperature"]
        manifest["thresholds"] = {}
        del manifest["files"]["fp16"]["tolerance"]
    bundle = Bundle(make_bundle(edit=change))
    assert (bundle.temperature, bundle.threshold, bundle.thresholds) == (1.0, 0.7, {})
    assert bundle.files["fp16"].tolerance == 0.0


@pytest.mark.parametrize("value, expected", [
    (None, None),
    ({"score": "energy", "threshold": -3}, ("energy", -3.0, 1.0, None)),
    ({"score": "energy", "threshold": -3.5, "temperature": 2, "auroc": {"rendered": 0.9}}, ("energy", -3.5, 2.0, None)),
    ({"score": "max_logit", "threshold": 0.5}, ("max_logit", 0.5, 1.0, None)),
    ({"score": "max_probability", "threshold": -0.5}, ("max_probability", -0.5, 1.0, None)),
    ({"score": "feature_distance", "threshold": 40, "file": {"path": "s.npz", "sha256": "0" * 64}},
     ("feature_distance", 40.0, 1.0, ("s.npz", "0" * 64, 0.0))),
])
def test_how_strangers_are_told(make_bundle, value, expected):
    bundle = Bundle(make_bundle(edit=put("stranger", value)))
    assert bundle.stranger == expected
    assert Bundle(make_bundle(name="without")).stranger is None  # older bundles do not mention it


def test_thresholds_of_null_and_their_policy(make_bundle):
    policy = {"kind": "purity", "target": 0.98}
    for given in (policy, "fixed", None):
        thresholds = {"default": 0.6, "per_class": {"glass": None, "metal": 1}, "policy": given}
        bundle = Bundle(make_bundle(edit=put("thresholds", thresholds)))
        assert bundle.thresholds == {"glass": None, "metal": 1} and bundle.threshold_policy == given


# ---------------------------------------------------------------- the files

@pytest.mark.parametrize("name", ["model-fp16.onnx", "model-int8_cpu.onnx", "golden.npz"])
@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_a_flipped_bit_is_refused(make_bundle, name, where):
    path = make_bundle()
    with open(os.path.join(path, name), "r+b") as file:
        data = bytearray(file.read())
        data[int(where * len(data)) if where >= 0 else -1] ^= 1
        file.seek(0)
        file.write(data)
    bundle = Bundle(path)  # the manifest is whole
    with pytest.raises(BundleError) as caught:
        bundle.verify()
    assert name in one_line(caught) and "sha256" in str(caught.value)
    read = bundle.golden if name == "golden.npz" else lambda: bundle.read(name[len("model-"):-len(".onnx")])
    with pytest.raises(BundleError):  # whoever reads it, reads it through its hash
        read()


def test_a_flipped_bit_in_the_shipped_bundle_is_refused(tmp_path, shipped_path):
    path = str(tmp_path / "copy")
    os.mkdir(path)
    for name in os.listdir(shipped_path):
        os.symlink(os.path.join(shipped_path, name), os.path.join(path, name))
    Bundle(path).verify()
    name = Bundle(path).files["fp16"].path
    with open(os.path.join(path, name), "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 16
    os.unlink(os.path.join(path, name))
    with open(os.path.join(path, name), "wb") as file:
        file.write(data)
    with pytest.raises(BundleError, match="damaged"):
        Bundle(path).verify()


@pytest.mark.parametrize("name", ["manifest.json", "model-fp16.onnx", "golden.npz"])
def test_a_missing_file(make_bundle, name):
    path = make_bundle()
    os.unlink(os.path.join(path, name))
    with pytest.raises(BundleError) as caught:
        Bundle(path).verify()
    assert name in one_line(caught) and "not found" in str(caught.value)


def test_a_file_that_cannot_be_read(make_bundle):
    path = make_bundle()
    os.unlink(os.path.join(path, "model-fp16.onnx"))
    os.mkdir(os.path.join(path, "model-fp16.onnx"))
    with pytest.raises(BundleError) as caught:
        Bundle(path).read("fp16")
    assert "model-fp16.onnx cannot be read" in one_line(caught)


def test_a_role_that_is_not_there(make_bundle):
    with pytest.raises(BundleError, match="has no fp32 model; it has fp16, int8_cpu"):
        Bundle(make_bundle()).read("fp32")


IMAGES = np.zeros((5, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("word, golden, names", [
    ("another size", {"images_rgb": np.zeros((5, 9, 8, 3), np.uint8)}, ["(5, 9, 8, 3)", "(N, 8, 8, 3) uint8"]),
    ("floats", {"images_rgb": IMAGES.astype(np.float32)}, ["golden pictures"]),
    ("none", {"images_rgb": IMAGES[:0]}, ["golden pictures", "(0, 8, 8, 3)"]),
    ("one number", {"images_rgb": np.array(5)}, ["golden pictures"]),
    ("too few answers", {"logits_fp16": np.zeros((4, 4), np.float32)}, ["fp16", "(4, 4)", "(5, 4) is needed"]),
    ("another number of classes", {"logits_int8_cpu": np.zeros((5, 6), np.float32)}, ["int8_cpu", "(5, 6)"]),
    ("answers that run code", {"logits_fp16": np.array([os.getpid, None], object)}, ["golden.npz"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_golden_answers_that_do_not_fit(make_bundle, word, golden, names):
    path = make_bundle(golden=golden)
    with pytest.raises(BundleError) as caught:
        Bundle(path).golden()
    message = one_line(caught)
    for name in names:
        assert name in message


@pytest.mark.parametrize("word, content", [
    ("empty", b""), ("text", b"hello"), ("a zip cut short", b"PK\x03\x04" + b"\0" * 50), ("one array", None),
    ("a zip of nothing", b"PK\x05\x06" + b"\0" * 18),
], ids=lambda value: value if isinstance(value, str) else "")
def test_golden_answers_that_are_no_npz(make_bundle, word, content):
    path = make_bundle()
    if content is None:
        stream = io.BytesIO()
        np.save(stream, IMAGES)
        content = stream.getvalue()
    with open(os.path.join(path, "golden.npz"), "wb") as file:
        file.write(content)
    rewrite(path, put("golden", "sha256", bundles.hashlib.sha256(content).hexdigest()))
    with pytest.raises(BundleError) as caught:
        Bundle(path).golden()
    assert "golden.npz" in one_line(caught)


def test_answers_of_a_role_are_missing(make_bundle):
    def change(manifest):
        manifest["files"]["fp32"] = dict(manifest["files"]["fp16"])
    with pytest.raises(BundleError, match="golden answers of fp32 have shape None"):
        Bundle(make_bundle(edit=change)).golden()


# ---------------------------------------------------------------- .tar

def test_no_bundle_at_all(tmp_path):
    for path in (str(tmp_path / "nowhere"), str(tmp_path / "nowhere.tar"), str(tmp_path)):
        with pytest.raises(BundleError) as caught:
            Bundle(path)
        assert "not found" in one_line(caught)


# ---------------------------------------------------------------- find

def test_where_a_bundle_is_looked_for(tmp_path, monkeypatch, shipped_path):
    state = str(tmp_path / "state")
    given, configured = str(tmp_path / "given"), str(tmp_path / "configured")
    current = os.path.join(state, "models", "current")
    for path in (given, configured, current):
        os.makedirs(path)
    assert find(given, configured, state) == given
    assert find(None, configured, state) == configured
    assert find(None, "", state) == find("", "", state) == current
    os.rmdir(current)
    assert os.path.samefile(find(None, "", state), shipped_path)
    monkeypatch.setattr(bundles, "shipped", lambda: [])
    with pytest.raises(BundleError) as caught:
        find(None, "", state)
    assert "--bundle" in one_line(caught)


@pytest.mark.parametrize("given, configured", [("nowhere", ""), (None, "nowhere"), ("nowhere", "configured")])
def test_a_bundle_that_was_named_is_never_replaced_by_another(tmp_path, given, configured):
    (tmp_path / "configured").mkdir()
    named = [name and str(tmp_path / name) for name in (given, configured)]
    with pytest.raises(BundleError) as caught:
        find(named[0], named[1], str(tmp_path))
    assert "nowhere" in one_line(caught)


def test_only_folders_with_a_manifest_are_shipped(shipped_path):
    found = bundles.shipped()
    assert any(os.path.samefile(path, shipped_path) for path in found)
    assert all(os.path.isfile(os.path.join(path, "manifest.json")) for path in found)


def test_a_current_bundle_that_leads_nowhere_is_not_passed_over(tmp_path):
    (tmp_path / "models").mkdir()
    os.symlink(str(tmp_path / "gone"), str(tmp_path / "models" / "current"))
    with pytest.raises(BundleError, match="not found"):
        Bundle(find(None, "", str(tmp_path)))

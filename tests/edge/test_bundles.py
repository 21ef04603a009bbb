"""Model bundles: whole, for us and unchanged, or refused in one line that names the field."""

import hashlib
import io
import json
import os
import tarfile

import numpy as np
import pytest

from edge import bundles
from edge.bundles import Bundle, find, seal
from edge.errors import BundleError


def rewrite(path, change, sealed=True):
    """Change the manifest of a bundle folder; the change may also return another value for the whole file."""
    file = os.path.join(path, "manifest.json")
    with open(file) as opened:
        manifest = json.load(opened)
    replaced = change(manifest)
    manifest = manifest if replaced is None else replaced
    with open(file, "w") as opened:
        json.dump(seal(manifest) if sealed and isinstance(manifest, dict) else manifest, opened)


def put(*keys_and_value):
    """put("input", "shape", 5)(manifest) sets manifest["input"]["shape"] = 5."""
    def change(manifest):
        for key in keys_and_value[:-2]:
            manifest = manifest[key]
        manifest[keys_and_value[-2]] = keys_and_value[-1]
    change.word = " ".join(str(part) for part in keys_and_value)[:60]
    return change


def without(*keys):
    def change(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]
    change.word = "without " + " ".join(keys)
    return change


def one_line(caught):
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    return message


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


SPACE = {"means": np.zeros((4, 3), np.float32), "projection": np.zeros((512, 3), np.float32)}


def bundle_with(make_bundle, arrays):
    """A bundle with a feature space of these arrays, in a folder and as .tar."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    entry = {"path": "space.npz", "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    path = make_bundle(edit=put("stranger", {"score": "feature_distance", "threshold": 1, "file": entry}))
    with open(os.path.join(path, "space.npz"), "wb") as file:
        file.write(buffer.getvalue())
    with tarfile.open(path + ".tar", "w") as archive:
        archive.add(path, "tiny")
    return path, path + ".tar"


def test_a_feature_space_is_read_from_folder_and_tar(make_bundle):
    for path in bundle_with(make_bundle, dict(SPACE, more=np.arange(3))):
        space = Bundle(path).feature_space()
        assert all(np.array_equal(getattr(space, name), SPACE[name]) for name in SPACE)
        Bundle(path).verify()
    with pytest.raises(BundleError, match="no feature space"):
        Bundle(make_bundle(edit=put("stranger", {"score": "energy", "threshold": 1}))).feature_space()


@pytest.mark.parametrize("word, change, names", [
    ("no means", {"means": None}, ["has no array means"]),
    ("no projection", {"projection": None}, ["has no array projection"]),
    ("means of another number of classes", {"means": np.zeros((3, 3), np.float32)}, ["(3, 3)", "(4, d)"]),
    ("another number of features", {"projection": np.zeros((64, 3), np.float32)}, ["(64, 3)", "(512, d)"]),
    ("they do not fit each other", {"projection": np.zeros((512, 4), np.float32)}, ["(4, 3)", "(512, 4)"]),
    ("a flat projection", {"projection": np.zeros(512, np.float32)}, ["(512,)"]),
    ("nothing left", {"projection": np.zeros((512, 0), np.float32), "means": np.zeros((4, 0), np.float32)},
     ["(512, 0)"]),
    ("float64 would not fit the buffers", {"means": np.zeros((4, 3))}, ["float32"]),
    ("not a number", {"means": np.full((4, 3), np.nan, np.float32)}, ["finite"]),
    ("an object", {"means": np.array([None, 1])}, ["space.npz"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_feature_space_that_does_not_fit_is_refused(make_bundle, word, change, names):
    arrays = {name: array for name, array in dict(SPACE, **change).items() if array is not None}
    for use in (Bundle.feature_space, Bundle.verify):
        with pytest.raises(BundleError) as caught:
            use(Bundle(bundle_with(make_bundle, arrays)[0]))
        for name in names + ["space.npz"]:
            assert name in one_line(caught)


# ---------------------------------------------------------------- the manifest

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

def packed(path, tar, prefix):
    """prefix None: the folder itself; else each file under that prefix."""
    with tarfile.open(tar, "w") as archive:
        if prefix is None:
            archive.add(path, arcname=os.path.basename(path))
        else:
            for name in sorted(os.listdir(path)):
                archive.add(os.path.join(path, name), arcname=prefix + name)
    return tar


@pytest.mark.parametrize("prefix", [None, "", "./"], ids=["of the folder", "of its contents", "of ./"])
def test_a_tar_is_the_same_bundle(make_bundle, tmp_path, prefix):
    folder = Bundle(make_bundle())
    tar = Bundle(packed(folder.path, str(tmp_path / "b.tar"), prefix))
    tar.verify()
    assert tar.manifest == folder.manifest
    assert tar.read("fp16") == folder.read("fp16") and tar.read("int8_cpu") == folder.read("int8_cpu")
    assert np.array_equal(tar.golden().images_rgb, folder.golden().images_rgb)


def test_a_tar_cut_at_any_place(make_bundle, tmp_path):
    tar = packed(make_bundle(), str(tmp_path / "b.tar"), "")
    with open(tar, "rb") as file:
        data = file.read()
    used = len(data.rstrip(b"\0"))
    for length in list(range(0, used, 1021)) + [1, 511, 512, 513, used - 1]:
        with open(tar, "wb") as file:
            file.write(data[:length])
        with pytest.raises(BundleError) as caught:
            Bundle(tar).verify()
        one_line(caught)


@pytest.mark.parametrize("word, content", [
    ("empty", b""), ("text", b"hello" * 300), ("gzip", b"\x1f\x8b\x08" + b"\0" * 600), ("zeros", b"\0" * 10240),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_file_that_is_no_tar(tmp_path, word, content):
    path = tmp_path / "b.tar"
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        Bundle(str(path))
    assert str(path) in one_line(caught)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE], ids=["a link", "a folder"])
def test_a_tar_in_which_something_else_stands_for_a_file(make_bundle, tmp_path, kind):
    path = make_bundle()
    tar = str(tmp_path / "b.tar")
    with tarfile.open(tar, "w") as archive:
        archive.add(os.path.join(path, "manifest.json"), arcname="manifest.json")
        other = tarfile.TarInfo("model-fp16.onnx")
        other.type, other.linkname = kind, os.path.join(path, "model-fp16.onnx")
        archive.addfile(other)
    with pytest.raises(BundleError, match="no model-fp16.onnx in it"):
        Bundle(tar).read("fp16")


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

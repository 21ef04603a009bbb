"""The contract of a classifier, on real ONNX sessions: tiny models whose answers can be worked out, and the shipped."""

import hashlib
import json
import os
import sys
import warnings

import numpy as np
import onnxruntime
import pytest

from edge.bundles import Bundle, seal
from edge.classifier import base, choose, golden, open_classifier
from edge.classifier import onnxruntime as backend
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.errors import BackendError, BundleError, UsageError
from edge.frames.drawn import draw_named
from edge.preprocess import Preprocessor

ROLES = ("fp16", "int8_cpu")


def plain_session(bundle, role):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(bundle.read(role), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=ROLES)
def opened(request, shipped):
    """The shipped bundle's classifier, open, once for each of its roles."""
    with OnnxRuntimeClassifier(shipped, request.param) as classifier:
        yield classifier


@pytest.fixture
def tiny(make_bundle):
    with open_classifier(Bundle(make_bundle())) as classifier:
        yield classifier


def view(seed, height_px=64, width_px=48):
    return draw_named("metal", seed, height_px, width_px)


# ---------------------------------------------------------------- answers

def test_what_the_shipped_models_say_is_what_a_plain_session_says(opened):
    session = plain_session(opened.bundle, opened.role)
    preprocessor, tensor = Preprocessor(opened.bundle.input), np.zeros(opened.bundle.input.shape, np.float32)
    for seed, (height, width) in enumerate([(384, 512), (224, 224), (64, 96)]):
        image = view(seed, height, width)
        preprocessor(image, tensor)
        logits, features = session.run(["logits", "features"], {"image": tensor})
        answer = opened.classify([image])
        assert answer.logits.shape == (1, len(opened.bundle.classes)) and answer.logits.dtype == np.float32
        assert answer.features.shape == (1, 512) and answer.features.dtype == np.float32
        assert np.allclose(answer.logits, logits, rtol=1e-4, atol=1e-4)
        assert np.allclose(answer.features, features, rtol=1e-4, atol=1e-4)
        assert answer.preprocess_ms > 0 and answer.infer_ms > 0


def test_the_shipped_models_give_their_golden_answers(opened):
    result = golden.check(opened, opened.bundle.golden())
    assert result.within(opened.bundle.files[opened.role].tolerance)
    assert result.pictures == len(opened.bundle.golden().images_rgb)
    assert 0 < result.agreed == result.decided <= result.pictures


def test_views_in_rows_are_as_each_alone(opened):
    views = [view(seed, 100 + 20 * seed, 120) for seed in range(base.MAX_VIEWS)]
    alone = [[part.copy() for part in opened.classify([one])[:2]] for one in views]
    together = opened.classify(views)
    assert together.logits.shape == (base.MAX_VIEWS, len(opened.bundle.classes))
    assert together.features.shape == (base.MAX_VIEWS, 512)
    for row, (logits, features) in enumerate(alone):
        assert np.array_equal(together.logits[row], logits[0])
        assert np.array_equal(together.features[row], features[0])
    assert len({row.tobytes() for row in together.logits}) == base.MAX_VIEWS  # they were different pictures


def test_a_tiny_model_gives_the_answer_worked_out_by_hand(tiny, tiny_weights):
    colour_bgr = np.array([10, 120, 240], np.uint8)
    answer = tiny.classify([np.tile(colour_bgr, (20, 30, 1))])
    pooled = (colour_bgr[::-1] / 255.0 - tiny.bundle.input.mean) / tiny.bundle.input.std
    assert np.allclose(answer.logits[0], pooled.dot(tiny_weights), atol=1e-4)
    assert np.allclose(answer.features[0], pooled.sum(), atol=1e-4)


def test_a_golden_picture_is_taken_as_it_is(tiny):
    known = tiny.bundle.golden()
    for image_rgb, expected in zip(known.images_rgb, known.logits[tiny.role]):
        assert np.allclose(tiny.classify_resized(image_rgb).logits[0], expected, atol=1e-4)


def test_the_answers_buffers_are_used_again(tiny):
    """An Answer is valid until the next classify; nothing is allocated for one."""
    first = tiny.classify([view(1), view(2)])
    kept, where = first.logits.copy(), (first.logits.ctypes.data, first.features.ctypes.data)
    second = tiny.classify([view(3)])
    assert (second.logits.ctypes.data, second.features.ctypes.data) == where
    assert not np.array_equal(first.logits[0], kept[0])  # overwritten
    assert np.array_equal(first.logits[1], kept[1])
    third = tiny.classify([view(1), view(2)])
    assert third.logits.ctypes.data == where[0] and np.array_equal(third.logits, kept)


# ---------------------------------------------------------------- state and shapes

def test_use_before_open_and_after_close(make_bundle):
    classifier = OnnxRuntimeClassifier(Bundle(make_bundle()), "fp16")
    with pytest.raises(BackendError, match="before open or after close"):
        classifier.classify([view(1)])
    classifier.close()  # never opened: nothing to do
    assert classifier.open() is classifier
    assert classifier.classify([view(1)]).logits.shape == (1, 4)
    classifier.close()
    classifier.close()
    for use in (lambda: classifier.classify([view(1)]), lambda: classifier.classify_resized(np.zeros((8, 8, 3), "u1"))):
        with pytest.raises(BackendError, match="before open or after close"):
            use()
    with classifier:  # and may be opened again
        assert classifier.classify([view(1)]).logits.shape == (1, 4)
    with pytest.raises(BackendError):
        classifier.classify([view(1)])


@pytest.mark.parametrize("views, names", [
    ([], ["0 views", "1 to 8"]),
    ([np.zeros((9, 9, 3), np.uint8)] * 9, ["9 views", "1 to 8"]),
])
def test_how_many_views(tiny, views, names):
    with pytest.raises(ValueError) as caught:
        tiny.classify(views)
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize("word, bad", [
    ("grey", np.zeros((9, 9), np.uint8)), ("alpha", np.zeros((9, 9, 4), np.uint8)),
    ("floats", np.zeros((9, 9, 3), np.float32)), ("empty", np.zeros((0, 9, 3), np.uint8)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_view_that_does_not_fit_raises_and_costs_only_itself(tiny, word, bad):
    before = tiny.classify([view(1)]).logits.copy()
    for views in ([bad], [view(2), bad]):
        with pytest.raises(ValueError) as caught:
            tiny.classify(views)
        assert str(bad.shape) in str(caught.value) and not isinstance(caught.value, UsageError)
    assert np.array_equal(tiny.classify([view(1)]).logits, before)


@pytest.mark.parametrize("image", [np.zeros((9, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_a_golden_picture_that_does_not_fit_raises(tiny, image):
    with pytest.raises(ValueError):
        tiny.classify_resized(image)


# ---------------------------------------------------------------- models that are not for us

@pytest.mark.parametrize("word, keywords, classes", [
    ("another number of classes", {}, 6),
    ("another number of features", {"features": 256}, 4),
    ("another size of input", {"side": 16}, 4),
    ("another name of the input", {"names": ("input", "logits", "features")}, 4),
    ("another name of an output", {"names": ("image", "output", "features")}, 4),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_model_of_another_shape_is_refused(make_bundle, make_onnx, word, keywords, classes):
    model = make_onnx(np.ones((3, classes), np.float32), **keywords)
    bundle = Bundle(make_bundle(models={"fp16": model}))
    with pytest.raises(BackendError) as caught:
        OnnxRuntimeClassifier(bundle, "fp16").open()
    message = str(caught.value)
    assert bundle.path in message and "is needed" in message and len(message.splitlines()) == 1


@pytest.mark.parametrize("model", [b"", b"no model at all", b"\x08\x07" * 50])
def test_a_file_that_is_no_model_is_refused(make_bundle, model):
    bundle = Bundle(make_bundle(roles=("fp16",), models={"fp16": model or b"\0"}))
    with pytest.raises(BackendError) as caught:
        open_classifier(bundle)
    assert "cannot load the fp16 model" in str(caught.value) and len(str(caught.value).splitlines()) == 1


# ---------------------------------------------------------------- which one answers

@pytest.mark.parametrize("precision, role, given", [
    ("auto", "int8_cpu", "int8"), ("int8", "int8_cpu", "int8"), ("fp16", "fp16", "fp16"), ("fp32", "fp32", "fp32")])
def test_precision_asked_for(make_bundle, precision, role, given):
    with open_classifier(Bundle(make_bundle(roles=("fp32", "fp16", "int8_cpu"))), "auto", precision) as classifier:
        assert (classifier.role, classifier.precision, classifier.notes) == (role, given, [])
        assert (classifier.backend, classifier.device) == ("onnxruntime", "CPUExecutionProvider")


@pytest.mark.parametrize("roles, expected", [
    (("fp32", "fp16", "int8_cpu"), "int8_cpu"), (("fp32", "fp16"), "fp32"), (("fp16",), "fp16"),
    (("int8_trt", "fp16"), "fp16"),
])
def test_auto_takes_the_fastest_there_is(make_bundle, roles, expected):
    with open_classifier(Bundle(make_bundle(roles=roles))) as classifier:
        assert classifier.role == expected and classifier.notes == []


@pytest.mark.parametrize("roles, precision", [(("fp16",), "int8"), (("fp16",), "fp32"), (("int8_trt",), "auto")])
def test_a_precision_that_the_bundle_lacks(make_bundle, roles, precision):
    with pytest.raises(BundleError) as caught:
        open_classifier(Bundle(make_bundle(roles=roles)), "auto", precision)
    assert "no model for precision " + precision in str(caught.value) and roles[0] in str(caught.value)


def with_other_golden_answers(shipped_path, folder, roles):
    """A copy of the shipped bundle in which the answers of some roles are another picture's."""
    os.mkdir(folder)
    with open(os.path.join(shipped_path, "manifest.json")) as file:
        manifest = json.load(file)
    for name in [entry["path"] for entry in manifest["files"].values()]:
        os.symlink(os.path.join(shipped_path, name), os.path.join(folder, name))
    with np.load(os.path.join(shipped_path, "golden.npz")) as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    for role in roles:
        changed["logits_" + role] = -changed["logits_" + role]
    np.savez(os.path.join(folder, "golden.npz"), **changed)
    with open(os.path.join(folder, "golden.npz"), "rb") as file:
        manifest["golden"]["sha256"] = hashlib.sha256(file.read()).hexdigest()
    with open(os.path.join(folder, "manifest.json"), "w") as file:
        json.dump(seal(manifest), file)
    return Bundle(folder)


def test_a_shipped_model_with_other_answers_is_passed_over(shipped_path, tmp_path):
    bundle = with_other_golden_answers(shipped_path, str(tmp_path / "b"), ["int8_cpu"])
    with open_classifier(bundle) as classifier:
        assert classifier.role in ("fp32", "fp16")
        assert len(classifier.notes) == 1
        assert classifier.notes[0].startswith("int8_cpu passed over: ") and "golden" in classifier.notes[0]
        assert classifier.classify([view(1)]).logits.shape == (1, len(bundle.classes))
    with pytest.raises(BundleError) as caught:  # asked for by name, nothing else will do
        open_classifier(bundle, "auto", "int8")
    assert "int8_cpu on onnxruntime CPUExecutionProvider does not give the golden answers" in str(caught.value)


def test_no_model_with_the_right_answers(make_bundle):
    wrong = -np.ones((5, 4), np.float32) * [[9, 0, 0, 0]]
    bundle = Bundle(make_bundle(golden={"logits_fp16": wrong, "logits_int8_cpu": wrong}))
    with pytest.raises(BundleError, match="fp16 on onnxruntime CPUExecutionProvider does not give the golden answers"):
        open_classifier(bundle)


def test_auto_passes_over_a_model_that_cannot_be_loaded(make_bundle):
    with open_classifier(Bundle(make_bundle(models={"int8_cpu": b"\0"}))) as classifier:
        assert classifier.role == "fp16"
        assert len(classifier.notes) == 1 and "int8_cpu passed over: " in classifier.notes[0]
        assert "cannot load" in classifier.notes[0]


def test_auto_passes_over_a_file_that_was_changed(make_bundle):
    path = make_bundle()
    with open(os.path.join(path, "model-int8_cpu.onnx"), "ab") as file:
        file.write(b"\0")
    with open_classifier(Bundle(path)) as classifier:
        assert classifier.role == "fp16" and "damaged" in classifier.notes[0]


def test_several_passed_over_are_all_named(make_bundle):
    with open_classifier(Bundle(make_bundle(
            roles=("fp32", "fp16", "int8_cpu"), models={"int8_cpu": b"\0", "fp32": b"\0"}))) as classifier:
        assert [note.split()[0] for note in classifier.notes] == ["int8_cpu", "fp32"] and classifier.role == "fp16"


# ---------------------------------------------------------------- the golden check itself

def test_how_golden_answers_are_compared(make_bundle):
    """Temperature is applied, answers too close to call are not held against it, NaN is the largest error."""
    path = make_bundle(edit=lambda manifest: manifest.update(temperature=2.0))
    with open_classifier(Bundle(path)) as classifier:
        known = classifier.bundle.golden()
        same = golden.compare(classifier, known)
        assert same.agreed == same.decided <= same.pictures == 5 and same.worst_error < 1e-4 and same.within(1e-4)
        answers = known.logits[classifier.role].copy()
        shifted = golden.Golden(known.images_rgb, {classifier.role: answers + 5})  # the same probabilities
        assert golden.compare(classifier, shifted).worst_error < 1e-4
        flat = golden.Golden(known.images_rgb, {classifier.role: 0 * answers})  # nothing decided, all off
        result = golden.compare(classifier, flat)
        assert result.decided == 0 and result.worst_error > 0.01 and not result.within(0.01)
        broken = golden.Golden(known.images_rgb, {classifier.role: answers * np.nan})
        assert golden.compare(classifier, broken).worst_error == 1.0


@pytest.mark.parametrize("agreed, decided, worst, within", [
    (5, 5, 0.1, True), (5, 5, 0.1001, False), (4, 5, 0.0, False), (0, 0, 0.0, True)])
def test_within(agreed, decided, worst, within):
    assert golden.GoldenResult(5, decided, agreed, worst).within(0.1) == within


# ---------------------------------------------------------------- CUDA asked for, but not there

@pytest.fixture
def claimed_cuda(monkeypatch):
    """onnxruntime-gpu is installed, driver or libraries are not: the package claims what no session gets."""
    if backend.CUDA in onnxruntime.get_available_providers():
        pytest.skip("CUDA is really here")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [backend.CUDA, backend.CPU])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnxruntime's own word on it
        yield


def test_cuda_that_cannot_be_used_is_said(make_bundle, claimed_cuda):
    assert backend.providers() == [backend.CUDA, backend.CPU]
    with open_classifier(Bundle(make_bundle(roles=("fp32", "fp16", "int8_cpu")))) as classifier:
        assert classifier.device == "CPUExecutionProvider"
        assert len(classifier.notes) == 1
        assert "CUDAExecutionProvider could not be used, fell back to CPUExecutionProvider" in classifier.notes[0]
        assert classifier.classify([view(1)]).logits.shape == (1, 4)


def test_order_of_roles_with_and_without_cuda(make_bundle, claimed_cuda, monkeypatch):
    bundle = Bundle(make_bundle(roles=("fp32", "fp16", "int8_cpu")))
    tried = []
    monkeypatch.setattr(choose, "check", lambda classifier, golden: tried.append(classifier.role))
    with open_classifier(bundle) as classifier:  # the session falls back, so what is fastest on a CPU is taken
        assert tried == ["int8_cpu"] and classifier.role == "int8_cpu"  # a session that fell back is not checked
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", backend.CPU])
    assert backend.providers() == [backend.CPU]  # nothing that was never tried
    with open_classifier(bundle) as classifier:
        assert classifier.role == "int8_cpu" and classifier.notes == []
    with open_classifier(bundle, precision="fp16") as classifier:
        assert classifier.role == "fp16"


def test_on_another_device_the_input_is_bound_anew_for_each_picture(tiny, monkeypatch):
    """ONNX Runtime copies an input to its device when it is bound, not when it is run."""
    class Binding:
        def __init__(self):
            self.bound = []

        def bind_input(self, name, device, number, kind, shape, pointer):
            self.bound.append((name, device, shape, pointer))

    class Session:
        def run_with_iobinding(self, binding):
            assert len(binding.bound) == 1, "run on an old copy"
            del binding.bound[:]

    tiny.device = backend.CUDA
    monkeypatch.setattr(tiny, "_session", Session())
    monkeypatch.setattr(tiny, "_bindings", [Binding() for _ in tiny._bindings])
    for _ in range(2):
        tiny.classify([view(1), view(2)])


def test_a_failure_while_sorting_is_a_backend_error(tiny, monkeypatch):
    class Session:
        def run_with_iobinding(self, binding):
            raise RuntimeError("CUDA failure 700\nsecond line")
    monkeypatch.setattr(tiny, "_session", Session())
    with pytest.raises(BackendError) as caught:
        tiny.classify([view(1)])
    assert "CUDA failure 700" in str(caught.value) and "\n" not in str(caught.value)
    assert tiny.device in str(caught.value)


def test_onnxruntime_missing_is_said_with_the_remedy(make_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        open_classifier(Bundle(make_bundle()))

"""The TensorRT backend on the doubles of all API generations, which compute real answers in the buffers they get."""

import gc
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import tensorrt_doubles

from edge.bundles import Bundle
from edge.classifier import cuda_compiler, golden, kernel
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.classifier.tensorrt import TensorRtClassifier
from edge.classifier.tensorrt import classifier as classifier_module
from edge.errors import BackendError, PlanError


@pytest.fixture
def plan(doubles, make_bundle, tmp_path):
    return tensorrt_doubles.build(doubles.tensorrt, make_bundle(), tmp_path / "engines")


@pytest.fixture
def bundle(make_bundle):
    return Bundle(make_bundle())


@pytest.fixture(scope="session")
def twin_path(tmp_path_factory):
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here for the kernel's twin on the CPU: install g++")
    path = str(tmp_path_factory.mktemp("twin") / "preprocess.so")
    subprocess.check_call([compiler, "-x", "c++", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o", path,
                           kernel.SOURCE])
    return path


@pytest.fixture
def twin(twin_path, monkeypatch):
    """Kernels are run by what a C++ compiler makes of preprocess.cu."""
    monkeypatch.setenv("PYCUDA_DOUBLE_TWIN", twin_path)


@pytest.fixture
def others():
    """Threads of CUDA that are there already: those that other tests had to leave behind, for they hang."""
    return set(threading.enumerate())


def cuda_threads(others):
    return [thread for thread in threading.enumerate() if thread.name == "cuda" and thread not in others]


def pictures(count):
    rng = np.random.RandomState(3)
    return [rng.randint(0, 256, (20 + 7 * n, 30, 3)).astype(np.uint8) for n in range(count)]


def test_the_answers_are_those_of_onnx_runtime_on_the_same_model(bundle, plan):
    views = pictures(3)
    with OnnxRuntimeClassifier(bundle, "fp16").open() as expected, TensorRtClassifier(bundle, plan) as got:
        wanted, answer = expected.classify(views), got.classify(views)
        assert np.abs(answer.logits - wanted.logits).max() < 1e-5
        assert np.abs(answer.features - wanted.features).max() < 1e-4
        assert np.ptp(answer.logits, axis=0).max() > 0.1  # three pictures, three answers
        assert (got.backend, got.precision, got.device) == ("tensorrt", "fp16", "NVIDIA Tegra X1")
        assert golden.check(got, bundle.golden()).agreed == 5


@pytest.mark.parametrize("memory", ["copy", "mapped"])
def test_both_kinds_of_memory_give_the_same_answers(bundle, plan, doubles, memory):
    with TensorRtClassifier(bundle, plan, memory) as classifier:
        assert golden.check(classifier, bundle.golden()).worst_error < 1e-4
        own = classifier._image_buffer  # the kernel writes it and the engine reads it: the GPU's own
        assert not own.mapped and own in classifier._cuda.buffers
        assert {buffer.mapped for buffer in classifier._cuda.buffers if buffer is not own} == {memory == "mapped"}


@pytest.mark.parametrize("memory", ["copy", "mapped"])
def test_the_kernel_makes_the_input_of_pictures_of_any_size(bundle, plan, twin, memory):
    views = pictures(4) + [pictures(1)[0][3:18, 5:22], pictures(1)[0][:, ::-1]]  # parts of a larger one; mirrored
    with OnnxRuntimeClassifier(bundle, "fp16").open() as expected, TensorRtClassifier(bundle, plan, memory) as got:
        wanted, answer = expected.classify(views), got.classify(views)
        assert np.abs(answer.logits - wanted.logits).max() < 1e-5 and got.notes == []
        assert golden.check(got, bundle.golden()).agreed == 5
        got._function._run = lambda packed: None  # it is the kernel that has done it: without it nothing is
        assert np.abs(got.classify(views).logits - wanted.logits).max() > 0.1


def test_what_is_too_large_for_the_gpu_s_buffer_goes_over_the_cpu(bundle, plan, twin, monkeypatch):
    monkeypatch.setattr(classifier_module, "FRAME_BYTES", 3 * 30 * 30)
    views = pictures(3)  # 30 wide: the first two fit
    with OnnxRuntimeClassifier(bundle, "fp16").open() as expected, TensorRtClassifier(bundle, plan) as got:
        for order in (views, views[::-1]):
            assert np.abs(got.classify(order).logits - expected.classify(order).logits).max() < 1e-5


def test_a_kernel_that_the_gpu_does_not_take_is_noted_and_the_cpu_does_it(bundle, plan, doubles):
    doubles.cuda_fault("kernel")
    with TensorRtClassifier(bundle, plan) as classifier:
        assert golden.check(classifier, bundle.golden()).agreed == 5
        assert classifier.notes == ["the CPU preprocesses: the GPU does not take the kernel: cuModuleLoadDataEx "
                                    "failed: no kernel image is available for execution on the device"]


def test_a_kernel_that_cannot_be_compiled_is_noted_and_the_cpu_does_it(bundle, plan, monkeypatch):
    monkeypatch.setattr(cuda_compiler, "find", lambda troubles: [])
    with TensorRtClassifier(bundle, plan) as classifier:
        assert golden.check(classifier, bundle.golden()).agreed == 5
        note, = classifier.notes
        assert note.startswith("the CPU preprocesses: the GPU's preprocessing cannot be compiled") and "\n" not in note


@pytest.mark.parametrize("view", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8),
                                  np.zeros((5, 5, 3), np.float32), np.zeros((0, 5, 3), np.uint8)])
def test_what_is_no_picture_is_refused_before_the_gpu(bundle, plan, view):
    with TensorRtClassifier(bundle, plan) as classifier, pytest.raises(ValueError, match="uint8 BGR is needed"):
        classifier.classify([view])


def test_mapped_memory_is_refused_on_a_gpu_with_memory_of_its_own(bundle, plan, doubles, monkeypatch):
    monkeypatch.setenv("PYCUDA_DOUBLE_DEVICE", "NVIDIA Tegra X1/5.3/0")
    with pytest.raises(BackendError, match="cuda_memory = mapped: NVIDIA Tegra X1 has memory of its own; use copy"):
        TensorRtClassifier(bundle, plan, "mapped").open()
    assert doubles.driver.counters["retained"] == doubles.driver.counters["released"] == 0


def test_everything_is_freed_on_the_thread_that_owns_the_context(bundle, plan, doubles, others):
    classifier = TensorRtClassifier(bundle, plan).open()
    assert len(cuda_threads(others)) == 1
    classifier.close()
    classifier.close()
    counters = doubles.driver.counters
    assert counters["allocated"] == counters["freed"] > 0 and counters["retained"] == counters["released"] == 1
    assert cuda_threads(others) == []
    assert classifier.notes == []
    assert doubles.driver._live == {}
    with pytest.raises(BackendError, match="after close"):
        classifier.classify(pictures(1))


@pytest.mark.long
def test_nothing_is_allocated_for_ten_thousand_pictures(bundle, plan, doubles, twin):
    view = pictures(1)
    with TensorRtClassifier(bundle, plan) as classifier:
        cuda, before = classifier._cuda, dict(doubles.driver.counters)
        made = (cuda.allocations, len(cuda.buffers))
        doubles.driver.Stream.synchronize = _without_inference(doubles.driver.Stream.synchronize)
        marks = []
        tracemalloc.start()
        try:
            for count in (1000, 10000):  # the interpreter's and tracemalloc's own caches fill in the first
                for _ in range(count):
                    classifier.classify(view)
                gc.collect()
                marks.append((tracemalloc.get_traced_memory()[0], sys.getallocatedblocks()))
        finally:
            tracemalloc.stop()
        assert (cuda.allocations, len(cuda.buffers)) == made and doubles.driver.counters == before
        grown, more = marks[1][0] - marks[0][0], marks[1][1] - marks[0][1]
        print("10,000 pictures: {} bytes and {} blocks more".format(grown, more))
        assert grown < 10000 and more < 200  # less than a byte a picture: the interpreter's own caches


def _without_inference(synchronize):
    """The stream, with its copies but without ONNX Runtime, whose own allocations are not ours."""
    def without(stream):
        stream._waiting = [work for work in stream._waiting if "EngineRoom" not in work.__qualname__]
        synchronize(stream)
    return without


def test_timed_it_tells_each_stage(bundle, plan, doubles):
    with TensorRtClassifier(bundle, plan) as classifier:
        classifier.classify(pictures(1))
        assert classifier.stages_ms == {}
        classifier.timed = True
        doubles.tensorrt_fault("slow")
        classifier.classify(pictures(1))
        assert list(classifier.stages_ms) == ["copy in", "kernel", "infer", "copy out"]
        assert classifier.stages_ms["infer"] > 6 > classifier.stages_ms["copy out"] >= 0


FAULTS = [
    ("tensorrt", "deserialize", "does not take the plan: [runtime.cpp"),
    ("tensorrt", "context", "makes no execution context: out of memory?"),
    ("tensorrt", "enqueue", "does not run the engine: it gives no reason"),
    ("cuda", "alloc", "cuMemAlloc failed: out of memory"),
    ("cuda", "sync", "inference failed: cuStreamSynchronize failed: an illegal memory access"),
    ("cuda", "nogpu", "no GPU found"),
    ("cuda", "init", "cuInit failed"),
]


@pytest.mark.parametrize("where, fault, words", FAULTS, ids=[fault[1] for fault in FAULTS])
def test_what_fails_at_open_is_one_line_and_leaves_nothing_behind(bundle, plan, doubles, others, where, fault, words):
    getattr(doubles, where + "_fault")(fault)
    with pytest.raises(BackendError) as raised:
        TensorRtClassifier(bundle, plan).open()
    assert words in str(raised.value) and "\n" not in str(raised.value)
    counters = doubles.driver.counters
    assert counters["retained"] == counters["released"] and doubles.driver._live == {}
    assert cuda_threads(others) == []


@pytest.mark.parametrize("where, fault, words", [
    ("tensorrt", "enqueue", "does not run the engine"), ("cuda", "htod", "cuMemcpyHtoDAsync failed"),
    ("cuda", "sync", "illegal memory access")])
def test_what_fails_in_the_middle_is_one_line(bundle, plan, doubles, where, fault, words):
    with TensorRtClassifier(bundle, plan) as classifier:
        classifier.classify(pictures(1))
        getattr(doubles, where + "_fault")(fault)
        with pytest.raises(BackendError, match=words):
            classifier.classify(pictures(1))


def test_a_gpu_that_hangs_is_left_behind_in_time(bundle, plan, doubles, monkeypatch):
    monkeypatch.setattr(classifier_module, "ANSWER_S", 0.3)
    classifier = TensorRtClassifier(bundle, plan).open()
    doubles.cuda_fault("hang")
    started = time.monotonic()
    with pytest.raises(BackendError, match="inference did not end within 0.3 s"):
        classifier.classify(pictures(1))
    with pytest.raises(BackendError, match="inference did not end within 0.3 s"):
        classifier.classify(pictures(1))  # it stays so
    classifier.close()
    assert time.monotonic() - started < 3
    assert "did not end" in classifier.notes[0]


def test_a_plan_of_another_version_is_refused_by_its_fingerprint_and_by_tensorrt(bundle, plan, doubles):
    other = plan._replace(sidecar=plan.sidecar._replace(
        fingerprint=plan.sidecar.fingerprint._replace(tensorrt="7.1.3")))
    with pytest.raises(PlanError, match="was built for tensorrt 7.1.3, not {}".format(doubles.tensorrt.__version__)):
        TensorRtClassifier(bundle, other).open()
    doubles.tensorrt.__version__, real = "9.9", doubles.tensorrt.__version__
    try:
        plan_of_99 = plan._replace(sidecar=plan.sidecar._replace(
            fingerprint=plan.sidecar.fingerprint._replace(tensorrt="9.9")))
        with pytest.raises(BackendError, match="TensorRT 9.9 does not take the plan: .*Version tag does not match"):
            TensorRtClassifier(bundle, plan_of_99).open()
    finally:
        doubles.tensorrt.__version__ = real


def test_a_changed_plan_is_refused(bundle, plan):
    with open(plan.path, "r+b") as file:
        file.seek(40)
        file.write(b"x")
    with pytest.raises(PlanError, match="is damaged: its sha256 is not the one of .*json; run: python3 -m engines"):
        TensorRtClassifier(bundle, plan).open()


def test_an_engine_of_another_model_is_refused_before_its_buffers_are_bound(doubles, make_bundle, make_onnx, tmp_path,
                                                                            tiny_weights):
    path = make_bundle(models={"fp16": make_onnx(tiny_weights, names=("image", "scores", "features"))})
    plan = tensorrt_doubles.build(doubles.tensorrt, path, tmp_path / "engines")
    with pytest.raises(BackendError, match="has the tensors .*scores.* are needed"):
        TensorRtClassifier(Bundle(path), plan).open()


def test_without_the_packages_it_says_how_to_get_them(bundle, plan, doubles, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(BackendError, match="TensorRT is not there .*--system-site-packages"):
            TensorRtClassifier(bundle, plan).open()
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(BackendError, match="pycuda is not installed .*CUDA_ROOT=/usr/local/cuda"):
        TensorRtClassifier(bundle, plan).open()

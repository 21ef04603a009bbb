"""When a backend fails the belt goes on with the next, and takes a better engine when there is one.

On the doubles of TensorRT and CUDA, which compute real answers; what looks every second is made to look by hand here.
"""

import logging
import os
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorrt_doubles

from edge import plans
from edge.bundles import Bundle
from edge.classifier import choose, failover, open_classifier
from edge.classifier.failover import Failover, open_for_run
from edge.classifier.onnxruntime import CPU, CUDA, OnnxRuntimeClassifier
from edge.classifier.tensorrt import TensorRtClassifier
from edge.commands.status import lines
from edge.errors import BackendError, BundleError
from edge.health import State
from edge.settings import Model

ROLES = ("fp32", "fp16", "int8_trt", "int8_cpu")
ON_THE_CPU = "in use: onnxruntime int8 (CPUExecutionProvider)"


@pytest.fixture
def doubles(tmp_path, monkeypatch):
    """Of one generation: that of JetPack 4."""
    made = tensorrt_doubles.Doubles("8_2", tmp_path)
    made.install(monkeypatch)
    yield made
    for name in tensorrt_doubles.MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def belt(doubles, make_bundle, tmp_path, clock, caplog):
    """belt.open(...) -> a Failover on belt.bundle and the engines that belt.build(precision, p50_ms) has put there."""
    state, opened = str(tmp_path / "state"), []
    os.mkdir(state)
    caplog.set_level(logging.INFO, "scrapsort")
    path = make_bundle(roles=ROLES)
    conditions = State(os.path.join(state, "status.json"), clock)

    def build(precision="fp16", p50_ms=8.0, **changes):
        return tensorrt_doubles.build(doubles.tensorrt, path, plans.folder_of(state), precision,
                                      **dict({"latency_ms": {"p50": p50_ms}}, **changes))

    def make(backend="auto", precision="auto", watch=False):
        opened.append(Failover(Bundle(path), Model(backend=backend, precision=precision), state, conditions, clock,
                               watch).open())
        return opened[-1]

    def lines(*words):
        """Of the log, but for a note that depends on which CUDA compilers are here."""
        said = [record.getMessage() for record in caplog.records]
        return [line for line in said if all(word in line for word in words) and "the CPU preprocesses" not in line]

    yield SimpleNamespace(open=make, build=build, bundle=Bundle(path), state=state, conditions=conditions, lines=lines,
                          trouble=lambda: conditions.trouble("backend"), facts=conditions.as_dict)
    for one in opened:
        one.close()


def view(number=1):
    return np.random.RandomState(number).randint(0, 256, (30, 40, 3)).astype(np.uint8)


def used(classifier):
    return classifier.backend, classifier.precision


def expected(bundle, number=1):
    """What ONNX Runtime says of view(number)."""
    with OnnxRuntimeClassifier(bundle, "int8_cpu", [CPU]) as classifier:
        return classifier.classify([view(number)]).logits.copy()


# ---------------------------------------------------------------- at the start of a run

def without_tensorrt(belt, doubles, monkeypatch):
    belt.build()
    monkeypatch.setitem(sys.modules, "tensorrt", None)


def without_pycuda(belt, doubles, monkeypatch):
    belt.build()
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)


def without_gpu(belt, doubles, monkeypatch):
    belt.build()
    doubles.cuda_fault("nogpu")


def without_an_engine(belt, doubles, monkeypatch):
    pass


def stale_plan(belt, doubles, monkeypatch):
    plan = belt.build()
    plans.rewrite(plan, plan.sidecar._replace(fingerprint=plan.sidecar.fingerprint._replace(tensorrt="7.1.3.0")))


def corrupt_plan(belt, doubles, monkeypatch):
    with open(belt.build().path, "r+b") as file:
        file.seek(40)
        file.write(b"x")


def corrupt_sidecar(belt, doubles, monkeypatch):
    with open(belt.build().path.replace(".plan", ".json"), "w") as file:
        file.write("{")


def refused_plan(belt, doubles, monkeypatch):
    belt.build(refused="its answers are off by 0.3")


def plan_with_other_answers(belt, doubles, monkeypatch):
    belt.build()
    doubles.tensorrt_fault("wrong")


def plan_that_is_not_taken(belt, doubles, monkeypatch):
    belt.build()
    doubles.tensorrt_fault("deserialize")


def plan_that_meets_a_bug(belt, doubles, monkeypatch):
    belt.build()

    def fail(self):
        raise AttributeError("no such attribute in this TensorRT")
    monkeypatch.setattr(TensorRtClassifier, "_open", fail)


def no_memory_for_it(belt, doubles, monkeypatch):
    belt.build()
    doubles.cuda_fault("alloc")


@pytest.mark.parametrize("happens, words", [
    (without_tensorrt, "TensorRT is not there"),
    (without_pycuda, "pycuda is not installed"),
    (without_gpu, "no GPU found"),
    (without_an_engine, "no engine for tiny 1 in"),
    (stale_plan, "was built for tensorrt 7.1.3.0, not"),
    (corrupt_plan, "is damaged: its sha256"),
    (corrupt_sidecar, "is damaged: Expecting"),
    (refused_plan, "its answers are off by 0.3"),
    (plan_with_other_answers, "does not give the golden answers"),
    (plan_that_is_not_taken, "does not take the plan"),
    (plan_that_meets_a_bug, "AttributeError('no such attribute in this TensorRT'"),
    (no_memory_for_it, "cuMemAlloc failed: out of memory"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_keeps_an_engine_from_being_used_is_one_line_and_the_cpu_sorts(belt, doubles, monkeypatch, happens, words):
    happens(belt, doubles, monkeypatch)
    classifier = belt.open()
    assert used(classifier) == ("onnxruntime", "int8")
    assert np.allclose(classifier.classify([view()]).logits, expected(belt.bundle), atol=1e-4)
    assert words in belt.trouble() and belt.trouble().endswith(ON_THE_CPU) and "\n" not in belt.trouble()
    assert belt.lines() == ["backend: " + belt.trouble()]
    assert (belt.facts()["backend"], belt.facts()["precision"]) == used(classifier)
    if happens not in (without_tensorrt, without_pycuda, without_gpu, refused_plan):  # whose words are another's
        assert "run: python3 -m engines build" in belt.trouble()
    for _ in range(3):
        classifier.look()
    assert len(belt.lines()) == 1  # and it is not said again
    with open_classifier(belt.bundle, state=belt.state) as plain:  # classify and doctor
        assert used(plain) == used(classifier) and [words in note for note in plain.notes] == [True]
    doubles.tensorrt_fault()
    known_when_opened = (corrupt_plan, plan_with_other_answers, plan_that_is_not_taken, plan_that_meets_a_bug,
                         no_memory_for_it)
    explained = any(words in line for line in choose.explain(belt.bundle, state=belt.state))
    assert explained == (happens not in known_when_opened)
    with pytest.raises((BackendError, BundleError)) as raised:  # asked for by name, nothing else will do
        happens is plan_that_is_not_taken and doubles.tensorrt_fault("deserialize")
        happens is plan_with_other_answers and doubles.tensorrt_fault("wrong")
        belt.open("tensorrt")
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_with_a_fitting_engine_all_is_well(belt):
    plan = belt.build()
    classifier = belt.open()
    assert used(classifier) == ("tensorrt", "fp16") and belt.trouble() == "" and belt.lines() == []
    assert classifier.device == belt.facts()["device"] == plan.sidecar.fingerprint.gpu
    assert belt.facts()["conditions"]["backend"]["ok"]
    assert np.allclose(classifier.classify([view()]).logits, expected(belt.bundle), atol=1e-4)
    golden = belt.bundle.golden()
    assert np.allclose(classifier.classify_resized(golden.images_rgb[0]).logits[0], golden.logits["fp16"][0], atol=1e-3)


@pytest.mark.parametrize("built, precision, taken", [
    ([("fp32", 20.0), ("fp16", 8.0), ("int8", 5.0)], "auto", "int8"),
    ([("fp32", 20.0), ("fp16", 8.0), ("int8", 9.0)], "auto", "fp16"),
    ([("fp32", 20.0), ("fp16", 8.0), ("int8", 5.0)], "fp32", "fp32"),
    ([("fp32", 20.0)], "fp16", None),
])
def test_of_several_engines_the_fastest_is_taken_or_the_precision_asked_for(belt, built, precision, taken):
    for one, p50_ms in built:
        belt.build(one, p50_ms)
    assert used(belt.open(precision=precision)) == (("tensorrt", taken) if taken else ("onnxruntime", precision))
    assert belt.trouble() == "" or "no engine of precision fp16 for tiny 1" in belt.trouble()


def test_an_engine_that_a_simpler_one_beats_is_passed_over_unless_asked_for(belt):
    belt.build("fp16", 8.0)
    belt.build("int8", 7.9, slower="no faster than fp16")
    assert used(belt.open()) == ("tensorrt", "fp16") and belt.trouble() == ""  # nothing is wrong with that
    assert any("no faster than fp16" in line for line in choose.explain(belt.bundle, state=belt.state))
    assert used(belt.open(precision="int8")) == ("tensorrt", "int8")


def test_where_nobody_expects_tensorrt_its_absence_is_a_remark_alone(make_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(choose, "_is_wanted", lambda folder: False)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    bundle = Bundle(make_bundle(roles=ROLES))
    with open_classifier(bundle, state=str(tmp_path)) as classifier:
        assert classifier.notes == []
    lines = choose.explain(bundle, state=str(tmp_path))
    assert lines[0].startswith("in this order: onnxruntime int8 (CPUExecutionProvider), then onnxruntime fp32")
    assert "TensorRT is not there" in lines[1]
    with pytest.raises(BackendError, match="TensorRT is not there"):
        open_classifier(bundle, "tensorrt", state=str(tmp_path))


def test_onnx_runtime_asked_for_by_name_is_all_there_is(belt, doubles, monkeypatch):
    belt.build()
    wishes = Model(backend="onnxruntime", precision="fp16")
    with open_for_run(belt.bundle, wishes, belt.state, belt.conditions) as classifier:
        assert used(classifier) == ("onnxruntime", "fp16") and type(classifier) is OnnxRuntimeClassifier
        assert belt.facts()["backend"] == "onnxruntime" and belt.facts()["precision"] == "fp16"

        def fail(row):
            raise BackendError("ONNX Runtime failed on a whim")
        monkeypatch.setattr(classifier, "_infer", fail)
        with pytest.raises(BackendError, match="on a whim"):
            classifier.classify([view()])


# ---------------------------------------------------------------- in the middle of a run

@pytest.mark.parametrize("stands_by", [True, False], ids=["standby", "at once"])
@pytest.mark.parametrize("where, fault, words", [
    ("cuda", "sync", "illegal memory access"), ("cuda", "htod", "cuMemcpyHtoDAsync failed"),
    ("tensorrt", "enqueue", "does not run the engine"), ("cuda", "hang", "did not end within 1 s")])
def test_the_item_whose_backend_fails_is_answered_by_the_next(belt, doubles, where, fault, words, stands_by):
    plan = belt.build()
    classifier = belt.open()
    if stands_by:
        classifier.look()
    assert np.allclose(classifier.classify([view(1)]).logits, expected(belt.bundle, 1), atol=1e-4)
    getattr(doubles, where + "_fault")(fault)
    started = time.monotonic()
    answer = classifier.classify([view(2)])
    took_ms = (time.monotonic() - started) * 1000
    assert took_ms < 6000  # 2 s on an idle machine
    assert np.allclose(answer.logits, expected(belt.bundle, 2), atol=1e-4)
    assert took_ms >= answer.infer_ms > (900 if fault == "hang" else 0)  # what was lost belongs to that item
    assert used(classifier) == ("onnxruntime", "int8")
    assert belt.trouble().startswith("tensorrt fp16 (plan {}) failed: ".format(plan.name))
    assert words in belt.trouble() and belt.trouble().endswith("; " + ON_THE_CPU)
    assert belt.lines() == ["backend: " + belt.trouble()]
    assert (belt.facts()["backend"], belt.facts()["precision"]) == ("onnxruntime", "int8")


def test_a_standby_that_is_just_being_opened_is_waited_for(belt, doubles, monkeypatch):
    belt.build()
    classifier = belt.open()
    opened, go, really = [], threading.Event(), OnnxRuntimeClassifier._open

    def slowly(self):
        opened.append(self.role)
        assert go.wait(20)
        really(self)
    monkeypatch.setattr(OnnxRuntimeClassifier, "_open", slowly)
    thread = threading.Thread(target=classifier.look)
    thread.start()
    while not opened:
        time.sleep(0.01)
    doubles.cuda_fault("sync")
    threading.Timer(0.3, go.set).start()
    assert classifier.classify([view()]).logits.shape == (1, 4)
    thread.join()
    assert used(classifier) == ("onnxruntime", "int8") and opened == ["int8_cpu"]  # not another one besides


def test_on_the_cpu_nothing_stands_by_and_a_failure_opens_the_next(belt, monkeypatch):
    classifier = belt.open()
    classifier.look()
    assert classifier._standby is None  # memory is short on a Nano
    really = OnnxRuntimeClassifier._infer

    def fail(self, row):
        if self.role == "int8_cpu":
            raise BackendError("ONNX Runtime failed on a whim")
        really(self, row)
    monkeypatch.setattr(OnnxRuntimeClassifier, "_infer", fail)
    classifier.classify([view()])
    assert used(classifier) == ("onnxruntime", "fp32") and "on a whim; in use: onnxruntime fp32" in belt.trouble()


def test_when_the_last_one_fails_the_reason_ends_the_run(belt, monkeypatch):
    classifier = belt.open()

    def fail(self, row):
        raise BackendError("ONNX Runtime failed in {}".format(self.role))
    monkeypatch.setattr(OnnxRuntimeClassifier, "_infer", fail)
    with pytest.raises(BackendError, match="ONNX Runtime failed in int8_cpu"):
        classifier.classify([view()])


def test_a_bad_picture_is_no_failure_of_the_backend(belt):
    belt.build()
    classifier = belt.open()
    with pytest.raises(ValueError):
        classifier.classify([np.zeros((4, 4), np.uint8)])
    with pytest.raises(ValueError):
        classifier.classify([])
    assert used(classifier) == ("tensorrt", "fp16") and belt.trouble() == ""


def test_what_failed_is_tried_again_only_when_its_plan_has_changed(belt, doubles, monkeypatch):
    tried, make = [], TensorRtClassifier.__init__

    def noting(self, bundle, plan, memory):
        tried.append(plan.name)
        make(self, bundle, plan, memory)
    monkeypatch.setattr(TensorRtClassifier, "__init__", noting)
    plan = belt.build()
    classifier = belt.open()
    classifier.look()
    doubles.cuda_fault("sync")
    classifier.classify([view()])
    doubles.cuda_fault()
    for _ in range(5):
        classifier.look()
        classifier.classify([view()])
    assert tried == [plan.name] and used(classifier) == ("onnxruntime", "int8")
    status = os.stat(plan.path)
    os.utime(plan.path, (status.st_atime, status.st_mtime + 5))  # as if copied from elsewhere: the same bytes, anew
    for _ in range(2):
        classifier.look()
    classifier.classify([view()])
    assert tried == [plan.name] * 2 and used(classifier) == ("tensorrt", "fp16")
    assert belt.trouble() == "" and belt.lines()[-1] == "backend: well again"


def test_an_engine_that_is_refused_while_it_sorts_is_left_at_the_next_item(belt, monkeypatch):
    plan = belt.build()
    classifier = belt.open()
    plans.rewrite(plan, plan.sidecar._replace(refused="its answers are off by 0.3"))
    for _ in range(2):
        classifier.look()
    for _ in range(2):  # a second item is no reason to leave the CPU, too
        classifier.classify([view()])
        assert used(classifier) == ("onnxruntime", "int8")
    assert belt.lines() == ["backend: {}: its answers are off by 0.3; {}".format(plan.path, ON_THE_CPU)]
    plans.rewrite(plan, plan.sidecar)
    for _ in range(2):
        classifier.look()
    classifier.classify([view()])
    assert used(classifier) == ("tensorrt", "fp16") and belt.trouble() == ""


def test_after_a_failure_the_next_best_engine_is_fetched_while_the_cpu_sorts(belt, doubles):
    belt.build("fp16", 8.0)
    int8 = belt.build("int8", 5.0)
    classifier = belt.open()
    classifier.look()
    assert used(classifier) == ("tensorrt", "int8")
    doubles.cuda_fault("sync")
    classifier.classify([view()])
    assert used(classifier) == ("onnxruntime", "int8")
    doubles.cuda_fault()
    classifier.look()
    classifier.classify([view()])
    assert used(classifier) == ("tensorrt", "fp16")
    assert belt.lines("now tensorrt fp16 (plan ", "), was onnxruntime int8 (CPUExecutionProvider)")
    assert "plan {}) failed: ".format(int8.name) in belt.trouble() and "in use: tensorrt fp16" in belt.trouble()
    doubles.cuda_fault("sync")  # and that one, too: what sorted before stands by
    opened_before = classifier._standby.classifier
    classifier.classify([view()])
    assert classifier._active.classifier is opened_before and used(classifier) == ("onnxruntime", "int8")
    assert belt.trouble().count(") failed: ") == 2


@pytest.fixture
def cuda(monkeypatch):
    """ONNX Runtime has CUDA: it computes on the CPU, but names CUDA as its device; cuda.works = False: falls back."""
    really, wishes = OnnxRuntimeClassifier._open, SimpleNamespace(works=True)

    def opening(self):
        on_cuda, self._wanted = CUDA in self._wanted, [CPU]
        really(self)
        if on_cuda and wishes.works:
            self.device = CUDA
        elif on_cuda:
            self.notes.append("{} could not be used, fell back to {}".format(CUDA, CPU))
    monkeypatch.setattr(OnnxRuntimeClassifier, "_open", opening)
    monkeypatch.setattr(choose, "providers", lambda: [CUDA, CPU])
    return wishes


def test_between_engines_and_the_cpu_there_is_onnx_runtime_on_cuda(belt, doubles, cuda):
    belt.build()
    classifier = belt.open()
    classifier.look()
    doubles.tensorrt_fault("enqueue")  # of this engine; the GPU is well
    classifier.classify([view()])
    assert (classifier.backend, classifier.device) == ("onnxruntime", CPU)
    classifier.look()
    classifier.classify([view()])
    assert used(classifier) == ("onnxruntime", "fp16") and classifier.device == CUDA == belt.facts()["device"]
    assert belt.trouble().endswith("; in use: onnxruntime fp16 (CUDAExecutionProvider)")
    session = classifier._active.classifier._session  # kept: its bindings point into it
    classifier._active.classifier._session = SimpleNamespace(real=session)  # and that one fails, too: it cannot run
    assert np.allclose(classifier.classify([view(2)]).logits, expected(belt.bundle, 2), atol=1e-4)
    assert (used(classifier), classifier.device) == (("onnxruntime", "int8"), CPU)
    assert "onnxruntime fp16 (CUDAExecutionProvider) failed: ONNX Runtime failed on" in belt.trouble()


def test_cuda_that_cannot_be_used_is_tried_and_said_once(belt, doubles, cuda):
    cuda.works = False
    belt.build()
    classifier = belt.open()
    classifier.look()
    doubles.tensorrt_fault("enqueue")
    for _ in range(4):
        classifier.classify([view()])
        classifier.look()
    assert (used(classifier), classifier.device) == (("onnxruntime", "int8"), CPU)
    assert belt.trouble().count("could not be used, fell back") == 1  # not once for each of its three roles
    assert len(belt.lines("could not be used")) == 1


# ---------------------------------------------------------------- a better engine

def test_a_new_engine_is_taken_between_two_items(belt):
    classifier = belt.open()
    classifier.classify([view()])
    plan = belt.build()
    classifier.look()
    assert used(classifier) == ("onnxruntime", "int8")  # seen once: someone may still be writing
    classifier.look()
    assert used(classifier) == ("onnxruntime", "int8")  # opened and checked, but nobody has asked yet
    before = classifier._active.classifier
    answer = classifier.classify([view(2)])
    assert used(classifier) == ("tensorrt", "fp16") == (belt.facts()["backend"], belt.facts()["precision"])
    assert np.allclose(answer.logits, expected(belt.bundle, 2), atol=1e-4)
    assert belt.lines()[-2:] == ["now tensorrt fp16 (plan {}), was {}".format(plan.name, ON_THE_CPU[8:]),
                                 "backend: well again"]
    assert classifier._standby.classifier is before  # not closed: it is what would be opened to stand by


def test_what_the_new_one_notes_is_said_and_stands_in_the_status(belt, monkeypatch):
    really = TensorRtClassifier._open

    def noting(self):
        really(self)
        self.notes[:] = ["half of it runs on the CPU"]
    monkeypatch.setattr(TensorRtClassifier, "_open", noting)
    classifier = belt.open()
    assert belt.facts()["notes"] == classifier.notes == []
    for precision in ("fp16", "int8"):
        belt.build(precision, 8.0 if precision == "fp16" else 5.0)
        for _ in range(2):
            classifier.look()
        classifier.classify([view()])
        assert used(classifier) == ("tensorrt", precision) and belt.trouble() == ""
        assert belt.facts()["notes"] == classifier.notes == ["half of it runs on the CPU"]
    assert belt.lines("half of it") == ["half of it runs on the CPU"]  # once
    values = dict(belt.facts(), running=True)
    assert "note   backend              half of it runs on the CPU" in lines(values)


def test_a_folder_in_which_someone_writes_is_left_alone(belt, monkeypatch):
    looked = []
    classifier = belt.open()
    monkeypatch.setattr(failover, "candidates", lambda *args: looked.append(args))
    plan = belt.build()
    for number in range(5):
        os.utime(plan.path, (number, number))
        classifier.look()
    assert looked == []


def test_a_better_engine_takes_the_place_of_another_and_a_worse_one_does_not(belt, doubles):
    belt.build("fp16", 8.0)
    classifier = belt.open()
    belt.build("fp32", 20.0)
    for _ in range(3):
        classifier.look()
        classifier.classify([view()])
    assert used(classifier) == ("tensorrt", "fp16") and belt.lines() == []
    belt.build("int8", 5.0)
    for _ in range(2):
        classifier.look()
    classifier.classify([view()])
    assert used(classifier) == ("tensorrt", "int8") and len(belt.lines("now tensorrt int8", "was tensorrt fp16")) == 1
    classifier.close()
    counters = doubles.driver.counters
    assert counters["retained"] == counters["released"] == 2 and counters["allocated"] == counters["freed"]


def test_an_engine_whose_file_is_gone_goes_on_and_none_slower_takes_its_place(belt):
    belt.build("fp16", 8.0)
    plan = belt.build("int8", 5.0)
    classifier = belt.open()
    for path in (plan.path, plan.path.replace(".plan", ".json")):
        os.unlink(path)
    for _ in range(3):
        classifier.look()
        classifier.classify([view()])
    assert used(classifier) == ("tensorrt", "int8") and belt.lines() == []


def test_a_new_engine_with_other_answers_is_said_once_and_never_used(belt, doubles):
    classifier = belt.open()
    doubles.tensorrt_fault("wrong")
    plan = belt.build()
    for _ in range(4):
        classifier.look()
        classifier.classify([view()])
    assert used(classifier) == ("onnxruntime", "int8")
    said = belt.lines("plan {} passed over: ".format(plan.name), "golden answers", "run: python3 -m engines build")
    assert len(said) == 1 and "golden" in belt.trouble()


def test_an_engine_checked_before_a_failure_is_checked_again_after_it(belt, doubles):
    belt.build("fp16", 8.0)
    classifier = belt.open()
    belt.build("int8", 5.0)
    for _ in range(2):
        classifier.look()
    ready = classifier._ready.classifier
    asked = classifier._active.classifier
    classifier._change_over, change_over = (lambda: None), classifier._change_over  # the loop has looked just before
    doubles.cuda_fault("sync")
    classifier.classify([view()])
    assert used(classifier) == ("onnxruntime", "int8") and classifier._ready is None
    doubles.cuda_fault()
    classifier._change_over = change_over
    classifier.look()
    classifier.classify([view()])
    assert used(classifier) == ("tensorrt", "int8") and classifier._active.classifier not in (ready, asked)


def test_the_thread_beside_it_does_all_that(belt, monkeypatch):
    monkeypatch.setattr(failover, "LOOK_S", 0.05)
    before = threading.enumerate()
    belt.conditions._clock.wait = lambda event, seconds: event.wait(seconds)
    classifier = belt.open(watch=True)
    belt.build()
    deadline = time.monotonic() + 30
    while used(classifier) != ("tensorrt", "fp16"):
        assert time.monotonic() < deadline
        classifier.classify([view()])
        time.sleep(0.02)
    classifier.close()
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []


# ---------------------------------------------------------------- closing

def test_a_backend_that_hangs_or_raises_in_closing_holds_nobody_up(belt, doubles, monkeypatch):
    monkeypatch.setattr(failover, "CLOSE_S", 0.3)
    go, closing = threading.Event(), []

    def hang(self):
        closing.append(self.role)
        go.wait(20)
        raise BackendError("cuMemFree failed")
    monkeypatch.setattr(TensorRtClassifier, "_close", hang)
    plan = belt.build()
    classifier = belt.open()
    classifier.look()
    doubles.cuda_fault("sync")
    started = time.monotonic()
    classifier.classify([view()])
    assert time.monotonic() - started < 6 and used(classifier) == ("onnxruntime", "int8")
    belt.conditions._clock.move(1.0)
    classifier.look()
    assert belt.lines("tensorrt fp16 (plan {}) does not close; its memory stays taken".format(plan.name))
    started = time.monotonic()
    classifier.close()
    classifier.close()
    assert time.monotonic() - started < 6 and closing == ["fp16"]
    go.set()
    deadline = time.monotonic() + 10
    while not belt.lines("does not close well: cuMemFree failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(BackendError, match="after close"):
        classifier.classify([view()])

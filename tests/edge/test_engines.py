"""engines build, list, verify and prune as commands, on the doubles of TensorRT and pycuda."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import tensorrt_doubles

from edge import plans
from engines import capabilities, preflight

pytestmark = pytest.mark.long  # each build is three processes

XAVIER, NANO, TX2 = "Xavier/7.2/1", "NVIDIA Tegra X1/5.3/1", "NVIDIA Tegra X2/6.2/1"
ROLES = ("fp16", "int8_trt")


class Bench:
    """A small bundle, a state folder and the doubles."""

    def __init__(self, doubles, make_bundle, tmp_path):
        self.doubles, self.make_bundle = doubles, make_bundle
        self.bundle = make_bundle(roles=ROLES)
        self.state = tmp_path / "state"
        self.folder = str(self.state / "engines")
        self.device = XAVIER

    def engines(self, command, *arguments, **environment):
        environment.setdefault("PYCUDA_DOUBLE_DEVICE", self.device)
        return self.doubles.run("engines", command, "--state", self.state, "--bundle", self.bundle, *arguments,
                                **environment)

    def files(self):
        return sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []

    def sidecars(self):
        found, troubles = plans.find(self.folder)
        assert troubles == []
        return {plan.sidecar.fingerprint.precision: plan.sidecar for plan in found}


@pytest.fixture
def bench(doubles, make_bundle, tmp_path):
    return Bench(doubles, make_bundle, tmp_path)


@pytest.fixture
def one(one_double, make_bundle, tmp_path):
    """As bench, with one generation alone."""
    return Bench(one_double, make_bundle, tmp_path)


@pytest.fixture
def one_double(tmp_path, monkeypatch):
    made = tensorrt_doubles.Doubles("8_2", tmp_path)
    made.install(monkeypatch)
    yield made
    for name in tensorrt_doubles.MODULES:
        sys.modules.pop(name, None)


# ---------------------------------------------------------------- build

def test_auto_builds_what_the_board_is_good_for_and_keeps_what_it_measured(bench):
    code, out, err = bench.engines("build")
    assert (code, err) == (0, "")
    assert "fp16, int8, into" in out
    sidecars = bench.sidecars()
    assert set(sidecars) == {"fp16", "int8"}
    for precision, sidecar in sidecars.items():
        made_for = sidecar.fingerprint
        assert made_for == (made_for.onnx_sha256, precision, bench.doubles.tensorrt.__version__, "10.2", "Xavier",
                            "7.2", "")
        assert sidecar.golden["agreed"] == sidecar.golden["decided"] == sidecar.golden["pictures"] == 5
        assert sidecar.golden["worst_error"] < 1e-4 and sidecar.golden["tolerance"] == 0.01
        assert sidecar.latency_ms["n"] == 300 and 0 < sidecar.latency_ms["p50"] <= sidecar.latency_ms["max"]
        assert sidecar.options["workspace_mb"] >= 16 and sidecar.build_s > 0 and sidecar.refused == ""
        assert sum(sidecar.layers.values()) == 2 and sidecar.tactics == {"conv1 + relu": "sm70_xmma_fprop"}
    if bench.doubles.generation != "11":  # up to 10 flags say the precision, on 11 the model itself does
        assert sidecars["fp16"].layers == {"FP16": 1, "FP32": 1} and sidecars["int8"].layers == {"INT8": 1, "FP32": 1}
    assert [name for name in bench.files() if name.startswith(".")] == []
    assert any(re.match(r"timing-.*-7\.2\.cache$", name) for name in bench.files())
    code, out, _ = bench.engines("build")
    assert code == 0 and out.count("is there and fits; --force builds it again") == 2


def test_classify_then_uses_the_plan(bench, tmp_path):
    import cv2
    import numpy as np
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 40, 3), (200, 20, 20), np.uint8))
    bench.engines("build")
    code, out, err = bench.doubles.run("edge", "classify", "--state", bench.state, "--bundle", bench.bundle, "--format",
                                       "json", tmp_path / "a.png", PYCUDA_DOUBLE_DEVICE=XAVIER)
    assert code == 0, err
    assert json.loads(out)["backend"] == "tensorrt"


REFUSALS = [
    (NANO, ["--precision", "int8"], 2, "--precision int8: NVIDIA Tegra X1 (compute capability 5.3), TensorRT 8.2.1.8 "
     "has no fast INT8: it would be slower than FP16; use --precision fp16"),
    (TX2, ["--precision", "int8", "fp16"], 2, "--precision int8: NVIDIA Tegra X2 (compute capability 6.2)"),
    (XAVIER, ["--precision", "fp32"], 2, "has no fp32 model, which fp32 is built from; it has fp16, int8_trt; make it "
     "on a workstation with python3 -m trainer export"),
    (NANO, ["--dla", "0"], 1, "--dla 0: NVIDIA Tegra X1 (compute capability 5.3), TensorRT 8.2.1.8 has no DLA; leave "
     "out --dla"),
]


@pytest.mark.parametrize("device, arguments, code, words", REFUSALS, ids=["nano int8", "tx2 int8", "no role", "no dla"])
def test_what_a_board_cannot_is_refused_in_one_line(one, device, arguments, code, words):
    one.device = device
    got, out, err = one.engines("build", *arguments)
    assert got == code and words in err and err.count("\n") == 1 and one.files() == []


def test_on_a_nano_auto_builds_fp16_alone_and_says_why(one):
    one.device = NANO
    code, out, _ = one.engines("build")
    assert code == 0 and set(one.sidecars()) == {"fp16"}
    assert "int8 left out: NVIDIA Tegra X1 (compute capability 5.3), TensorRT 8.2.1.8 has no fast INT8" in out


def test_a_dla_takes_fp16_alone(one):
    code, out, _ = one.engines("build", "--dla", "1", TENSORRT_DOUBLE_DLA="2")
    assert code == 0 and set(one.sidecars()) == {"fp16"} and one.sidecars()["fp16"].options["dla_core"] == 1
    assert any(name.endswith("-fp16-dla1.plan") for name in one.files())
    _, _, err = one.engines("build", "--dla", "2", TENSORRT_DOUBLE_DLA="2")
    assert "has the DLA cores 0 to 1; --dla 2 is none of them" in err


def test_a_tensorrt_without_a_dla_says_so():
    device = capabilities.Device("Orin", (8, 7), "10.16.0")
    assert capabilities.dla_refusal(device, 2, 0) == (
        "TensorRT 10.16.0 drives no DLA (the last that does is 10.7); leave out --dla")
    assert capabilities.dla_refusal(device._replace(tensorrt="10.7.0"), 2, 0) == ""


def test_a_killed_builder_is_tried_with_less_memory_and_leaves_nothing(one):
    one.doubles.tensorrt_fault("build_killed")
    code, out, _ = one.engines("build", "--precision", "fp16", "--workspace", "64")
    assert code == 1 and one.files() == []
    assert "again with a workspace of 32 MiB" in out and "again with a workspace of 16 MiB" in out
    assert "fp16: failed: engines.compiler was killed, most likely for want of memory with a workspace of 16 MiB" in out


BUILD_FAULTS = [
    ("build_null", "builds no engine: [builder.cpp::buildSerializedNetwork::751] Error Code 2: OutOfMemory"),
    ("network", "does not take the model: node 7: No importer registered for op: Wonder"),
]


@pytest.mark.parametrize("fault, words", BUILD_FAULTS, ids=[fault for fault, _ in BUILD_FAULTS])
def test_what_tensorrt_does_not_build_is_told_in_its_own_words(bench, fault, words):
    bench.doubles.tensorrt_fault(fault)
    code, out, _ = bench.engines("build", "--precision", "fp16")
    assert code == 1 and "fp16: failed: TensorRT {} {}".format(bench.doubles.tensorrt.__version__, words) in out
    assert [name for name in bench.files() if name.endswith(".plan")] == []


def test_one_precision_that_fails_does_not_cost_the_other(one):
    with open(os.path.join(one.bundle, "model-int8_trt.onnx"), "r+b") as file:
        file.write(b"x")
    code, out, _ = one.engines("build")
    assert code == 1 and set(one.sidecars()) == {"fp16"}
    assert "int8: failed: {}: model-int8_trt.onnx is damaged".format(one.bundle) in out


def test_an_engine_with_wrong_answers_is_never_used(one):
    one.doubles.tensorrt_fault("wrong")
    code, out, _ = one.engines("build", "--precision", "fp16")
    assert code == 1 and "fp16: failed: does not give the golden answers of fp16: 0 of 5 classes agree" in out
    found, _ = plans.find(one.folder)
    usable, troubles = plans.fitting(one.folder, found[0].sidecar.fingerprint)
    assert usable == [] and "does not give the golden answers" in troubles[0]
    one.doubles.tensorrt_fault()
    assert one.engines("build", "--precision", "fp16")[0] == 0  # a refused one does not count as being there
    assert one.sidecars()["fp16"].refused == ""
    one.doubles.tensorrt_fault("wrong")
    code, out, _ = one.engines("build", "--precision", "fp16", "--force")
    assert code == 1 and "stays" in out and one.sidecars()["fp16"].refused == ""  # the good one is not given for it


def test_an_engine_that_is_slower_than_a_simpler_one_is_passed_over_by_auto(one):
    assert one.engines("build", "--precision", "fp16")[0] == 0
    one.doubles.tensorrt_fault("slow")
    code, out, _ = one.engines("build", "--precision", "int8")
    sidecars = one.sidecars()
    assert code == 0 and "auto uses that" in out and sidecars["fp16"].slower == ""
    assert re.match(r"takes \d+\.\d\d ms \(p50\), fp16 takes \d+\.\d\d: auto uses that", sidecars["int8"].slower)


def test_a_builder_that_is_interrupted_takes_its_child_along_and_the_next_one_cleans_up(one):
    one.doubles.tensorrt_fault("build_slow")
    process = subprocess.Popen(
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import runpy, "
         "sys; sys.argv[:1] = ['engines']; runpy.run_module('engines', run_name='__main__')", "build", "--state",
         str(one.state), "--bundle", one.bundle, "--precision", "fp16"], cwd=tensorrt_doubles.ROOT,
        env=one.doubles.environment(PYCUDA_DOUBLE_DEVICE=XAVIER), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not any(name.endswith(".onnx") for name in one.files()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    _, out, err = one.engines("build")
    assert "process {} builds there already".format(process.pid) in err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and b"interrupted; what was complete is kept" in err
    assert one.files() == []
    with open(os.path.join(one.folder, ".x-fp16.1.plan"), "wb") as file:  # of one that was killed
        file.write(b"half")
    one.doubles.tensorrt_fault()
    assert one.engines("build", "--precision", "fp16")[0] == 0
    assert not [name for name in one.files() if name.startswith(".")]


def test_options_reach_tensorrt_and_others_build_anew(bench):
    code, out, _ = bench.engines("build", "--precision", "fp16", "--workspace", "48", "--opt-level", "5")
    assert code == 0 and bench.sidecars()["fp16"].options["workspace_mb"] == 48
    has_levels = bench.doubles.generation in ("10", "11")
    assert ("--opt-level: TensorRT" not in out) == has_levels
    _, out, _ = bench.engines("build", "--precision", "fp16", "--workspace", "48", "--opt-level", "5")
    assert "is there and fits" in out
    _, out, _ = bench.engines("build", "--precision", "fp16")
    assert "is there and fits" not in out


def test_the_timing_cache_is_read_and_renewed(one, tmp_path):
    cache = tmp_path / "t.cache"
    one.engines("build", "--precision", "fp16", "--timing-cache", cache)
    one.engines("build", "--precision", "fp16", "--timing-cache", cache, "--force")
    assert cache.read_bytes() == b"timed;timed;"


# ---------------------------------------------------------------- before a build

MEMINFO = "MemTotal: {} kB\nMemAvailable: {} kB\nSwapTotal: 0 kB\nSwapFree: {} kB\n"


@pytest.mark.parametrize("total_mb, free_mb, swap_mb, wanted, got", [
    (4000, 2000, 0, None, 256), (32000, 20000, 0, None, 1024), (4000, 600, 0, None, 100), (4000, 600, 2000, None, 256),
    (4000, 2000, 0, 64, 64), (4000, 600, 0, 512, 100)],
    ids=["nano", "xavier", "little free", "swap helps", "as wanted", "no more than there is"])
def test_the_workspace_fits_the_memory(tmp_path, total_mb, free_mb, swap_mb, wanted, got):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO.format(*(mb * 1000000 // 1024 + 1 for mb in (
        total_mb, free_mb, swap_mb))))
    assert preflight.workspace_mb(wanted, str(tmp_path)) == got


def test_too_little_memory_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO.format(4000000, 300000, 0))
    with pytest.raises(preflight.BackendError, match="307 MB of memory and swap are free, 516 are needed .*swapon"):
        preflight.workspace_mb(None, str(tmp_path))


def test_a_full_disk_is_refused_before_the_build(one, small_disk):
    one.state = small_disk.path
    code, out, err = one.engines("build")
    assert code == 1 and "MB are free, 100 are needed for a plan; python3 -m engines prune" in err
    small_disk.read_only()
    assert one.engines("build")[0] == 1


# ---------------------------------------------------------------- list, verify, prune

def test_list_tells_of_each_plan_whether_it_fits(one):
    assert "no plans in" in one.engines("list")[1]
    one.engines("build")
    _, out, _ = one.engines("list", "--format", "json")
    assert {plan["state"] for plan in json.loads(out)["plans"]} == {"fits"}
    with open(os.path.join(one.folder, next(name for name in one.files() if name.endswith("int8.plan"))), "ab") as file:
        file.write(b"x")
    _, out, _ = one.engines("list")
    assert re.search(r"^fits .*fp16\.plan", out, re.M) and re.search(r"^damaged .*int8\.plan", out, re.M)
    one.device = NANO
    _, out, _ = one.engines("list")
    assert out.count("stale") == 2 and "was built for gpu Xavier, not NVIDIA Tegra X1" in out
    other = one.make_bundle("other", roles=("fp16",), models={"fp16": None}, edit=lambda m: m.update(version="2"))
    one.bundle = other
    assert "stale" in one.engines("list")[1]  # the same model in another bundle


def test_verify_refuses_what_has_gone_bad(one):
    one.engines("build", "--precision", "fp16")
    code, out, _ = one.engines("verify")
    assert code == 0 and out.strip().splitlines()[-1].startswith("agrees: ")
    one.doubles.tensorrt_fault("wrong")
    code, out, _ = one.engines("verify")
    assert code == 1 and "refused: does not give the golden answers" in out
    assert one.sidecars()["fp16"].refused
    one.doubles.tensorrt_fault()
    assert one.engines("verify")[0] == 1  # until it is built again
    assert one.engines("build", "--precision", "fp16")[0] == one.engines("verify")[0] == 0


def test_prune_removes_what_cannot_be_used(one):
    one.engines("build")
    before = one.files()
    assert "0.0 MB freed" in one.engines("prune")[1] and one.files() == before
    one.device = NANO
    assert "would remove" in one.engines("prune", "--dry-run")[1] and one.files() == before
    code, out, _ = one.engines("prune")
    assert code == 0 and out.count("removed") == 4
    assert [name for name in one.files() if name.endswith((".plan", ".json"))] == []


def test_without_a_gpu_nothing_is_pruned_and_nothing_is_built(one):
    one.engines("build", "--precision", "fp16")
    before = one.files()
    one.doubles.cuda_fault("nogpu")
    for command in ("prune", "build"):
        code, _, err = one.engines(command)
        assert code == 1 and "no GPU found" in err and err.count("\n") == 1
    assert one.files() == before

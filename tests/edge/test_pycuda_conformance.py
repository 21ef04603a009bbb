"""Our use of pycuda, and its double, are held against the real pycuda, built here from source, without a GPU."""

import os
import subprocess

import pycuda_real
import pytest
import tensorrt_doubles
import tensorrt_real
from api_compare import differences, member_of, refuses
from api_uses import Scan
from test_tensorrt_conformance import real, recorded, refused_by, troubles

HERE = os.path.dirname(os.path.abspath(__file__))
pytestmark = pytest.mark.long("newest")


@pytest.fixture(scope="module")
def pycuda():
    return pycuda_real.kept()


def test_what_is_kept_of_the_real_one_is_what_it_offers():
    try:
        assert pycuda_real.kept() == pycuda_real.api()
    except pycuda_real.UnavailableError as error:
        pytest.skip(str(error))


def real_pycuda():
    try:
        return pycuda_real.built()
    except pycuda_real.UnavailableError as error:
        return pytest.skip(str(error))


def test_every_name_and_call_in_the_code_exists(pycuda):
    apis = {"tensorrt": {generation: real(generation) for generation in tensorrt_real.GENERATIONS},
            "pycuda": {"pycuda": pycuda}}
    scan = Scan(apis)
    assert troubles(scan) == []
    used = {(use.owner, use.member) for use in scan.uses if use.library == "pycuda"}
    print("{} names of pycuda".format(len(used)))
    assert {("", "mem_alloc"), ("Stream", "handle"), ("Context", "detach"), ("", "memcpy_dtoh_async"),
            ("PagelockedHostAllocation", "get_device_pointer")} <= used


def test_every_call_that_is_made_is_one_that_the_real_one_takes(pycuda, make_bundle, tmp_path, monkeypatch):
    lines = [line for line in recorded("10", make_bundle, tmp_path, monkeypatch) if line["module"] == "pycuda"]
    made = {(line["owner"], line["member"]) for line in lines}
    print("{} kinds of calls of {} members".format(len(lines), len(made)))
    assert [(line, refused_by(pycuda, line)) for line in lines if refused_by(pycuda, line)] == []
    assert {("", "memcpy_htod_async"), ("", "pagelocked_empty"), ("Device", "retain_primary_context"),
            ("Event", "time_till"), ("DeviceAllocation", "free"), ("PagelockedHostAllocation", "free")} <= made


def test_the_double_offers_nothing_that_the_real_one_lacks(pycuda):
    double = tensorrt_real.dump(os.path.join(HERE, "doubles", "pycuda"), "pycuda.driver")
    assert differences(double, pycuda) == []


@pytest.mark.parametrize("owner, member, positional, keywords, words", (
    ("", "memcpy_htod_async", [["int"], ["ndarray"], ["Stream"]], {}, None),
    ("", "memcpy_htod_async", [["int"], ["ndarray"], ["Stream"]], {"size": ["int"]}, "takes no size="),
    ("", "pagelocked_empty", [["tuple"], ["type"]], {"mem_flags": ["int"]}, None),
    ("", "pagelocked_empty", [["tuple"], ["type"]], {"flags": ["int"]}, "takes no flags="),
    ("Stream", "synchronize", [["int"]], {}, "takes 0 arguments, not 1"),
    ("Event", "time_till", [], {}, "needs"), ("Event", "time_till", [["Stream"]], {}, "Stream is no Event")))
def test_what_the_real_one_refuses(owner, member, positional, keywords, words, pycuda):
    why = refuses(pycuda, member_of(pycuda, owner, member)["signatures"], positional, keywords)
    assert words in why if words else why is None


def test_without_a_gpu_gpu_check_says_so_with_the_real_one(pycuda):
    python, environment = real_pycuda()
    process = subprocess.run([python, os.path.join(tensorrt_doubles.ROOT, "scripts", "gpu-check")], env=environment,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert process.returncode == 1
    assert process.stdout.startswith(b"gpu-check: no GPU that CUDA can use: CUDA: cuInit failed: no CUDA-capable")
    assert process.stdout.count(b"\n") == 1


OPEN = "from edge.classifier.cuda import Cuda\nCuda().open()"


def test_without_a_gpu_the_real_one_gives_our_one_line(pycuda):
    python, environment = real_pycuda()
    process = subprocess.run([python, "-c", OPEN], cwd=tensorrt_doubles.ROOT, env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, check=False)
    said = process.stdout.decode("utf-8").strip().splitlines()[-1]
    assert said == "edge.errors.BackendError: CUDA: opening the GPU failed: cuInit failed: no CUDA-capable device is " \
                   "detected"

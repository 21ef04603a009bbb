"""scripts/gpu-check: one line where there is no GPU; on the doubles it runs to its end, and sees what is broken."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import tensorrt_doubles

from edge.classifier import kernel

ROOT = tensorrt_doubles.ROOT
DEVICE = "NVIDIA H200/9.0/0"


def gpu_check(*arguments, **keywords):
    command = [sys.executable, os.path.join(ROOT, "scripts", "gpu-check")] + list(arguments)
    process = subprocess.run(command,  # noqa: UP022  # Python 3.6
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **keywords)
    return process.returncode, process.stdout.decode("utf-8"), process.stderr.decode("utf-8")


def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    doubles = tensorrt_doubles.Doubles("10", tmp_path)
    for fault, words in (("init", "cuInit failed: no CUDA-capable device is detected"), ("nogpu", "no GPU found")):
        doubles.cuda_fault(fault)
        code, out, err = gpu_check("-o", str(tmp_path / "result"), env=doubles.environment())
        assert (code, out) == (1, "") and err.startswith("gpu-check: no GPU that CUDA can use: ") and words in err
        assert err.count("\n") == 1 and not (tmp_path / "result").exists()


def test_without_pycuda_it_says_how_to_get_it(tmp_path):
    (tmp_path / "pycuda.py").write_text("raise ImportError('not here')\n")
    code, out, err = gpu_check(env=dict(os.environ, PYTHONPATH=str(tmp_path)))
    assert (code, out, err.count("\n")) == (1, "", 1) and "pip install pycuda" in err


def run_on_the_doubles(tmp_path, old="", new=""):
    """(exit code, result) with a CPU twin of the kernel, whose source may be changed."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler here for the kernel's twin on the CPU: install g++")
    with open(kernel.SOURCE) as file:
        source = file.read()
    assert old in source
    with open(os.path.join(str(tmp_path), "twin.cpp"), "w") as file:
        file.write(source.replace(old, new) if old else source)
    twin = str(tmp_path / "preprocess.so")
    subprocess.check_call(["g++", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o", twin,
                           str(tmp_path / "twin.cpp")])
    doubles = tensorrt_doubles.Doubles("10", tmp_path)
    code, out, err = gpu_check("--frames", "1500", "-o", str(tmp_path / "result.json"), env=doubles.environment(
        PYCUDA_DOUBLE_DEVICE=DEVICE, PYCUDA_DOUBLE_TWIN=twin))
    print(out, err)
    with open(str(tmp_path / "result.json")) as file:
        result = json.load(file)
    if "kernel" in result["left_out"]:
        pytest.skip("the kernel was not compiled: " + result["left_out"]["kernel"])
    return code, result


@pytest.mark.long
def test_it_runs_to_its_end_on_the_doubles(tmp_path):
    code, result = run_on_the_doubles(tmp_path)
    assert code == 0 and all(check["passed"] for check in result["checks"].values())
    assert set(result["checks"]) == {"buffers", "streams", "mapped", "kernel", "teardown", "frames"}
    assert "built without CUDA" in result["left_out"]["onnxruntime"]
    assert result["checks"]["frames"]["frames"] == 1500 and result["device"]["gpu"] == "NVIDIA H200"
    assert result["versions"]["pycuda"] and result["date_utc"].endswith("Z") and "--frames 1500" in result["command"]


@pytest.mark.long
def test_a_kernel_with_other_answers_fails_it(tmp_path):
    code, result = run_on_the_doubles(tmp_path, "GREY = 114", "GREY = 112")
    assert code == 1 and not result["checks"]["kernel"]["passed"]
    assert "a value is off by 2.000/255" in result["checks"]["kernel"]["error"]
    assert result["checks"]["frames"]["passed"]  # they are stretched, not padded

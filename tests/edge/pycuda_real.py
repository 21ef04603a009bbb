"""The real pycuda, built from source against a CUDA toolkit and imported without a GPU: what its conformance asks.

The driver library is replaced by one whose functions all answer that there is no GPU. What is built stays under .venv/.
"""

import functools
import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

import empty_library

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(HERE, "pycuda_api.json")  # python3 tests/edge/pycuda_real.py writes it
FROM_PYTHON = (3, 12)  # for which requirements/pycuda-build.txt pins what it needs
STUB = """
typedef int answer;
answer cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
"""
NO_DEVICE = "answer %s(void) { return 100; }\n"


class UnavailableError(Exception):
    """Why it cannot be had here."""


@functools.lru_cache(maxsize=None)
def built():
    """(python that has the real pycuda, its environment variables). Raises UnavailableError."""
    if not os.environ.get("SCRAPSORT_FAULTS"):
        raise UnavailableError("building pycuda takes minutes: scripts/test --faults does it")
    toolkit = _toolkit()
    if sys.version_info[:2] < FROM_PYTHON:
        raise UnavailableError("pycuda 2026.1 is built for Python {}.{} and newer here".format(*FROM_PYTHON))
    for program in ("gcc", "g++"):
        if shutil.which(program) is None:
            raise UnavailableError("no {} to build pycuda with".format(program))
    sys.path.insert(0, os.path.join(ROOT, "scripts"))
    import environments
    version = sys.version_info[:2]
    try:
        python = environments.make(sys.executable, version, "pycuda-py{}.{}".format(*version), "pycuda-build.txt")
    except subprocess.CalledProcessError as error:
        raise UnavailableError("what pycuda is built with cannot be installed: {}".format(error))
    folder = os.path.dirname(os.path.dirname(python))
    if not _drivers(folder):
        _build(python, toolkit)
    return python, dict(os.environ, LD_PRELOAD=_stub(folder))


def kept():
    """What pycuda.driver offers, in the form of api_dump, as it was when KEPT was written from a real one."""
    with open(KEPT) as file:
        return json.load(file)


@functools.lru_cache(maxsize=None)
def api():
    """What pycuda.driver really offers, in the form of api_dump. Raises UnavailableError."""
    python, environment = built()
    output = subprocess.check_output([python, os.path.join(HERE, "api_dump.py"), "pycuda.driver"], env=environment)
    return json.loads(output.decode("utf-8"))


def _toolkit():
    nvcc = shutil.which("nvcc")
    for folder in (os.environ.get("CUDA_ROOT"), "/usr/local/cuda", nvcc and os.path.dirname(os.path.dirname(nvcc))):
        if folder and os.path.isfile(os.path.join(folder, "include", "cuda.h")):
            return folder
    raise UnavailableError("no CUDA toolkit to build pycuda against: no cuda.h below $CUDA_ROOT, "
                           "/usr/local/cuda or nvcc")


def _drivers(folder):
    return glob.glob(os.path.join(folder, "lib", "python*", "site-packages", "pycuda", "_driver*.so"))


def _build(python, toolkit):
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as making:
        _run(pip + ["download", "--no-deps", "--no-build-isolation", "--no-binary", "pycuda", "--dest", making, "-r",
                    os.path.join(ROOT, "requirements", "pycuda.txt")], making)
        with tarfile.open(glob.glob(os.path.join(making, "pycuda-*.tar.gz"))[0]) as file:
            file.extractall(making, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        source = next(path for path in glob.glob(os.path.join(making, "pycuda-*")) if os.path.isdir(path))
        # The linker wants a libcuda.so; which functions are in it does not matter to it
        _run(["gcc", "-shared", "-x", "c", os.devnull, "-o", os.path.join(making, "libcuda.so"),
              "-Wl,-soname,libcuda.so.1"], making)
        _run([python, "configure.py", "--cuda-root=" + toolkit, "--no-cuda-enable-curand",
              "--cudadrv-lib-dir=" + making], source)
        _run(pip + ["install", "--no-deps", "--no-build-isolation", "."], source)


def _stub(folder):
    """The driver library that knows no GPU."""
    path = os.path.join(folder, "libcuda.so.1")
    if not os.path.isfile(path):
        names = {name for name in empty_library.missing_functions(_drivers(folder)[0]) if name.startswith("cu")}
        source = STUB + "".join(NO_DEVICE % name for name in sorted(names - {"cuGetErrorString"}))
        process = subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", path, "-Wl,-soname,libcuda.so.1"],
                                 input=source.encode("ascii"), stderr=subprocess.PIPE, check=False)
        if process.returncode:
            raise UnavailableError("no stand-in for libcuda can be made: " + process.stderr.decode("utf-8", "replace"))
    return path


def _run(command, folder):
    process = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if process.returncode:
        lines = process.stdout.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError("pycuda does not build: {}".format(
            next((line for line in reversed(lines) if "rror" in line), "no reason given")))


def main():
    os.environ["SCRAPSORT_FAULTS"] = "1"
    with open(KEPT, "w") as file:
        json.dump(api(), file, sort_keys=True, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main()

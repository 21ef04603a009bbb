"""TensorRT's real Python bindings, imported without TensorRT: what the test of conformance asks.

The wheels that requirements/tensorrt-*.txt pins (with their hashes) are unpacked under .venv/, the libraries they want
are replaced by empty ones, and a Python that fits imports them in a process of its own and tells all names and
signatures. Nothing can be built or run that way.
"""

import ctypes
import functools
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

import empty_library

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DOCUMENTED = ("8.2", "8.5")  # never on a package index: tensorrt_documented.json has them
REAL = ("10.3", "10.16", "11.4")
GENERATIONS = DOCUMENTED + REAL
PYTHONS = ((3, 8), (3, 12))  # the first and last for which all three have wheels
FACE = "from tensorrt_bindings import *\nfrom tensorrt_bindings import __version__\n"  # the package tensorrt itself
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


class UnavailableError(Exception):
    """Why the real thing cannot be had here."""


@functools.lru_cache(maxsize=None)
def api(generation):
    """What a generation offers, in the form of api_dump. Raises UnavailableError."""
    if generation in DOCUMENTED:
        with open(os.path.join(HERE, "tensorrt_documented.json"), encoding="utf-8") as file:
            return json.load(file)[generation]
    python, environment = real(generation)
    command = [python, os.path.join(HERE, "api_dump.py"), "tensorrt_bindings"]
    process = subprocess.run(command, env=environment,  # noqa: UP022  # Python 3.6
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if process.returncode:
        raise UnavailableError("TensorRT {}'s bindings do not import: {}".format(
            generation, process.stderr.decode("utf-8", "replace").strip().splitlines()[-1]))
    return json.loads(process.stdout.decode("utf-8"))


def real(generation):
    """(python, environment variables) of a process that finds a generation's bindings as tensorrt. Raises
    UnavailableError.
    """
    python, version = _interpreter()
    folder = _unpacked(generation, version)
    return python, dict(os.environ, PYTHONPATH=folder, LD_LIBRARY_PATH=os.path.join(folder, "libraries"))


def double_of(generation):
    """What the double of a generation offers, in the same form."""
    name = {"8.2": "8_2", "8.5": "8_5", "10.3": "10", "10.16": "10", "11.4": "11"}[generation]
    return dump(os.path.join(HERE, "doubles", "tensorrt_" + name), "tensorrt")


@functools.lru_cache(maxsize=None)
def dump(folder, module):
    """What a module of plain Python in a folder offers."""
    doubles = os.pathsep.join([folder, os.path.join(HERE, "doubles", "pycuda")])
    output = subprocess.check_output([sys.executable, os.path.join(HERE, "api_dump.py"), module],
                                     env=dict(os.environ, PYTHONPATH=doubles))
    return json.loads(output.decode("utf-8"))


def _interpreter():
    """(path, (major, minor)) of a Python that the wheels are for."""
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return sys.executable, sys.version_info[:2]
    sys.path.insert(0, os.path.join(ROOT, "scripts"))
    import environments
    found = {v: path for v, path in environments.find_interpreters().items() if PYTHONS[0] <= v <= PYTHONS[1]}
    if not found:
        raise UnavailableError("no Python {}.{} to {}.{}, for which TensorRT's bindings are made".format(
            *(PYTHONS[0] + PYTHONS[1])))
    return found[max(found)], max(found)


def _unpacked(generation, version):
    """The folder of a generation's bindings with empty libraries; fetched when it is not there yet."""
    folder = os.path.join(ROOT, ".venv", "tensorrt-{}-py{}.{}".format(generation, *version))
    pins = os.path.join(ROOT, "requirements", "tensorrt-{}.txt".format(generation))
    with open(pins) as file:
        wanted = file.read() + FACE
    stamp = os.path.join(folder, "pins.txt")
    if os.path.isfile(stamp):
        with open(stamp) as file:
            if file.read() == wanted:
                return folder
        shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    making = tempfile.mkdtemp(prefix="tensorrt-", dir=os.path.dirname(folder))
    try:
        _fetch(generation, version, pins, making)
        with open(os.path.join(making, "pins.txt"), "w") as file:
            file.write(wanted)
        try:
            os.rename(making, folder)
        except OSError:  # another test was faster
            if not os.path.isfile(stamp):
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _fetch(generation, version, pins, folder):
    """pip holds the wheel against the hash in the pins."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary", ":all:", "--python-version", "{}.{}".format(*version), "--dest", folder, "-r", pins]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    wheels = glob.glob(os.path.join(folder, "*.whl"))
    if process.returncode or not wheels:
        lines = [line for line in process.stdout.decode("utf-8", "replace").splitlines() if "ERROR" in line]
        raise UnavailableError("TensorRT {}'s bindings cannot be fetched: {}".format(
            generation, lines[0] if lines else "pip gives no reason"))
    with zipfile.ZipFile(wheels[0]) as file:
        file.extractall(folder)
    os.remove(wheels[0])
    module = glob.glob(os.path.join(folder, "tensorrt_bindings", "tensorrt*.so"))[0]
    here = ctypes.CDLL(None)
    functions = [name for name in empty_library.missing_functions(module) if not hasattr(here, name)]
    os.mkdir(os.path.join(folder, "tensorrt"))
    with open(os.path.join(folder, "tensorrt", "__init__.py"), "w") as file:
        file.write(FACE)
    os.mkdir(os.path.join(folder, "libraries"))
    for name in LIBRARIES:
        soname = "lib{}.so.{}".format(name, generation.split(".")[0])
        try:
            empty_library.write(os.path.join(folder, "libraries", soname), soname, functions)
        except KeyError as error:
            raise UnavailableError("no empty library can be made for a processor {}".format(error))

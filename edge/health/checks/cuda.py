"""CUDA, TensorRT and pycuda of a Jetson, and what to do where one of them is missing."""

import json
import os
import re
from typing import Any, List, Tuple

from edge.board import Board
from edge.health.checks.finding import NOTE, OK, Finding
from edge.health.checks.place import Place

CUDA = "/usr/local/cuda"
CUDART = (CUDA + "/lib64/libcudart.so*", CUDA + "/targets/*/lib/libcudart.so*",
          "/usr/lib/aarch64-linux-gnu/libcudart.so*")
PYCUDA_OF_36 = "2022.1"  # as requirements/jetson-*.txt pin it
PYCUDA = "2026.1"
RUNTIME = "start the container with --runtime nvidia (docs/jetson.md)"
# What an import says -> what to do in a container, and on the board itself
REMEDIES = (
    # A host whose JetPack 6 was installed without this package has no such file to mount
    (("libnvdla_compiler",), RUNTIME + "\nif it was: on the host, sudo apt-get install -y nvidia-l4t-dla-compiler",
     "sudo apt-get install -y nvidia-l4t-dla-compiler"),
    (("file too short",), RUNTIME + "\nif it was: build the image on the base of the host's own L4T",
     "sudo apt-get install --reinstall nvidia-l4t-core"),
    (("libcuda.so", "libnvrm", "libnvos"), RUNTIME, "sudo apt-get install --reinstall nvidia-l4t-cuda"),
    (("libnvinfer", "libcublas", "libcudnn", "libcudart"), RUNTIME,
     "sudo apt-get update && sudo apt-get install -y nvidia-jetpack"),
    (("umpy' has no attribute",), "python3 -m pip install 'numpy<1.24'", "python3 -m pip install 'numpy<1.24'"),
)


def cuda(place: Place, which: Board, missing: str) -> List[Finding]:
    """The toolkit: its version, runtime library and compiler."""
    version = cuda_version(place)
    libraries = [path for pattern in CUDART for path in place.glob(pattern)]
    if not version and not libraries:
        return [Finding(missing, "cuda", "not installed", RUNTIME if place.in_container else
                        "sudo apt-get update && sudo apt-get install -y nvidia-jetpack")]
    if libraries:
        found = Finding(OK, "cuda", "{} in {}".format(version or "without a version file", CUDA))
    else:
        found = Finding(missing, "cuda", "{}: there is no libcudart".format(version), RUNTIME if place.in_container else
                        "sudo apt-get install -y " + _package("cuda-cudart", version))
    return [found, _nvcc(place, version)]


def _nvcc(place: Place, version: str) -> Finding:
    folders = place.environ.get("PATH", "").split(os.pathsep)
    if any(place.exists(os.path.join(folder, "nvcc")) for folder in folders if folder):
        return Finding(OK, "nvcc", "is on PATH")
    if place.exists(CUDA + "/bin/nvcc"):
        return Finding(NOTE, "nvcc", "{}/bin is not on PATH".format(CUDA),
                       "export PATH={0}/bin:$PATH CUDA_ROOT={0}".format(CUDA))
    if place.in_container:
        return Finding(OK, "nvcc", "not here; pycuda was built before")
    return Finding(NOTE, "nvcc", "not here; pip needs it to build pycuda",
                   "sudo apt-get install -y " + _package("cuda-toolkit", version))


def cuda_version(place: Place) -> str:
    """Of the toolkit, such as 10.2.300: version.json, or version.txt up to CUDA 11.0; empty: none."""
    try:
        return str(json.loads(place.text(CUDA + "/version.json"))["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        old = re.search(r"CUDA Version ([\d.]+)", place.text(CUDA + "/version.txt"))
        return old.group(1) if old else ""


def _package(name: str, version: str) -> str:
    return "-".join([name] + version.split(".")[:2]) if version else "nvidia-jetpack"


def tensorrt(place: Place, which: Board, missing: str) -> List[Finding]:
    """Whether Python can import it, and if not, why."""
    if not place.module("tensorrt"):
        return [Finding(missing, "tensorrt", *_no_tensorrt(place))]
    module, error = _load(place, "tensorrt")
    if error:
        return [Finding(missing, "tensorrt", "cannot be imported: " + error, _why(place, error))]
    return [Finding(OK, "tensorrt", str(getattr(module, "__version__", "?")))]


def _no_tensorrt(place: Place) -> Tuple[str, str]:
    there = place.glob("/usr/lib/python3*/dist-packages/tensorrt")
    own = "{}.{}".format(*place.python.version)
    made_for = re.search(r"python(3\.\d+)/", there[0]) if there else None
    compiled = place.glob(there[0] + "/tensorrt.cpython-*.so") if there else []
    tag = re.search(r"cpython-3(\d+)", compiled[0]) if compiled else None
    system = made_for.group(1) if made_for else "3." + tag.group(1) if tag else own
    if there and system != own:
        return ("is JetPack's for Python {}, this is {}".format(system, own),
                "python{} -m venv --system-site-packages VENV, and install scrapsort there".format(system))
    if there and place.python.in_venv:
        return ("JetPack has it, but this virtual environment shuts the system's packages out",
                "sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' "
                "{}/pyvenv.cfg".format(place.python.prefix))
    if place.in_container:
        return "not in this image", "build it on an l4t-tensorrt base (docs/jetson.md)"
    return "not installed", "sudo apt-get update && sudo apt-get install -y tensorrt python3-libnvinfer"


def pycuda(place: Place, which: Board, missing: str) -> List[Finding]:
    """Whether Python can import its driver module, and if not, why."""
    version = PYCUDA_OF_36 if place.python.version < (3, 8) else PYCUDA
    build = "PATH={0}/bin:$PATH CUDA_ROOT={0} python3 -m pip install pycuda=={1}".format(CUDA, version)
    if not place.module("pycuda"):
        if place.in_container:
            return [Finding(missing, "pycuda", "not in this image", "build it with PYCUDA=build (docs/jetson.md)")]
        return [Finding(missing, "pycuda", "not installed; pip builds it with nvcc",
                        "sudo apt-get install -y python3-dev build-essential\n" + build)]
    _, error = _load(place, "pycuda.driver")
    if error:
        return [Finding(missing, "pycuda", "cannot be imported: " + error,
                        _why(place, error) or ("build the image anew on the base of the host's own L4T"
                                               if place.in_container else
                                               build + " --force-reinstall --no-cache-dir --no-deps"))]
    return [Finding(OK, "pycuda", place.version("pycuda") or "?")]


def _load(place: Place, name: str) -> Tuple[Any, str]:
    try:
        return place.python.load(name), ""
    except Exception as error:  # its own imports may fail with anything: AttributeError where NumPy is too new
        return None, (str(error).strip() or type(error).__name__).splitlines()[0]


def _why(place: Place, error: str) -> str:
    """The remedy for what an import said; empty: none is known."""
    for words, in_container, on_host in REMEDIES:
        if any(word in error for word in words):
            return in_container if place.in_container else on_host
    return ""

"""The GPU's preprocessing: how preprocess.cu is compiled once and kept, and how it is launched for a view.

    compiled = compile_kernel("5.3", os.path.join(state, "engines"))   # raises BackendError: use the host's path
    function = pycuda.driver.module_from_buffer(compiled.data).get_function(ENTRY)
    function.prepare(TYPES)
    launch = Launch(spec)
    arguments = launch.arguments(source, pitch_bytes, (x, y, w, h), out)
    function.prepared_async_call(launch.grid, launch.block, stream, *arguments)
"""

import hashlib
import os
from collections import OrderedDict
from typing import Iterable, List, NamedTuple, Optional, Tuple

import numpy as np

from edge.classifier import cuda_compiler
from edge.classifier.cuda_compiler import Compiler
from edge.errors import BackendError
from edge.files import write_durably
from edge.preprocess import InputSpec, place

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "preprocess.cu")
ENTRY = "preprocess"
BLOCK = (32, 8, 1)  # threads; the source's ACROSS and DOWN
LINEAR, AREA, WHOLE = 0, 1, 2  # how the source resizes
TYPES = "PPdd" + "i" * 12 + "f" * 6  # struct Task of the source, for struct.pack and pycuda's Function.prepare
_DBL_EPSILON = 2.0 ** -52  # how near a whole number a scale must be for OpenCV to take it as one
_DIGEST = 12  # hexadecimal digits of a sha256 in a file's name


# ---------------------------------------------------------------- launching

class Launch:
    """Grid, block and arguments of the kernel for one input spec.

    arguments() gives back the same list each time, filled anew: use it before the next call.
    """

    def __init__(self, spec: InputSpec):
        self.spec = spec
        self.block = BLOCK
        self.grid = (-(-spec.width_px // BLOCK[0]), -(-spec.height_px // BLOCK[1]))
        self._arguments: List[np.number] = [np.uintp(0), np.uintp(0), np.float64(1), np.float64(1)]
        self._arguments += [np.int32(0)] * 5 + [np.int32(spec.width_px), np.int32(spec.height_px)] + [np.int32(0)] * 5
        self._arguments += [np.float32(number) for number in tuple(spec.mean) + tuple(spec.std)]

    def arguments(self, source: int, pitch_bytes: int, region: Tuple[int, int, int, int], out: int) -> List[np.number]:
        """The kernel's arguments, of the types in TYPES, for one picture.

        source: address of a uint8 BGR frame whose rows lie pitch_bytes apart; region: (x, y, w, h) of it in pixels,
        of any size, which the spec's resize rule is applied to, its height the caller's to check; out: address of
        (1, 3, H, W) float32. Raises ValueError for a region that is empty or does not fit the pitch.
        """
        x, y, w, h = region
        if min(x, y) < 0 or min(w, h) < 1 or (x + w) * 3 > pitch_bytes:
            raise ValueError("region {} of a frame whose rows are {} bytes apart: it must lie in the frame and have "
                             "at least one pixel".format(tuple(region), pitch_bytes))
        at = place(self.spec, h, w)
        scale_x, scale_y = 1.0 / (at.width / at.w), 1.0 / (at.height / at.h)  # OpenCV's way, to the last bit
        self._arguments[0], self._arguments[1] = np.uintp(source), np.uintp(out)
        self._arguments[2], self._arguments[3] = np.float64(scale_x), np.float64(scale_y)
        self._arguments[4:9] = map(np.int32, (pitch_bytes, x + at.x, y + at.y, at.w, at.h))
        self._arguments[11:15] = map(np.int32, (at.left, at.top, at.width, at.height))
        self._arguments[15] = np.int32(_rule(at.shrinks, scale_x, scale_y))
        return self._arguments


def _rule(shrinks: bool, scale_x: float, scale_y: float) -> int:
    if not shrinks:
        return LINEAR
    whole = all(abs(scale - round(scale)) < _DBL_EPSILON for scale in (scale_x, scale_y))
    return WHOLE if whole else AREA


def pitch_of(view: np.ndarray) -> int:
    """Bytes from one row of a (h, w, 3) uint8 BGR view to the next, as Launch.arguments takes them.

    Raises ValueError for a view whose pixels do not lie side by side, such as a mirrored one: copy that first.
    """
    if view.ndim != 3 or view.shape[2] != 3 or view.dtype != np.uint8 or not view.size:
        raise ValueError("picture of shape {} and type {}: (h, w, 3) uint8 BGR is needed".format(
            view.shape, view.dtype))
    height, width = view.shape[:2]
    pitch = view.strides[0] if height > 1 else width * 3
    if view.strides[2] != 1 or (width > 1 and view.strides[1] != 3) or pitch < width * 3:
        raise ValueError("picture of shape {} and strides {}: its pixels must lie side by side".format(
            view.shape, view.strides))
    return pitch


# ---------------------------------------------------------------- compiling

class Compiled(NamedTuple):
    """The kernel as the CUDA driver loads it."""

    data: bytes  # a cubin, or PTX, which the driver compiles further
    path: str  # of the file that keeps it; empty: it could not be kept
    how: str  # such as `nvcc 10.2.300 for sm_53, kept`


def compile_kernel(compute_capability: str, cache_folder: str,
                   compilers: Optional[Iterable[Compiler]] = None) -> Compiled:
    """The kernel for a GPU, such as "5.3": from cache_folder if it lies there whole, else compiled and put there.

    What is kept goes by the hash of source, options and compiler; with no compiler at hand any kept one of this
    source serves. A folder that cannot be written costs the time to compile at each start, no more. compilers: to
    be tried in turn, else all that this machine has. Raises BackendError when none of them can.
    """
    with open(SOURCE, "rb") as file:
        source = file.read()
    of_source = "preprocess-sm_{}-{}-".format(compute_capability.replace(".", ""),
                                             _digest(source, *cuda_compiler.OPTIONS))
    troubles: List[str] = []
    for compiler, target in cuda_compiler.able(compute_capability, compilers, troubles):
        start = of_source + _digest(compiler.version, target.name) + "-"
        path, data = _kept(cache_folder, start)
        if data:
            return Compiled(data, path, "{} for {}, kept".format(compiler.version, target.name))
        try:
            data = compiler.compile(source, target)
        except BackendError as error:
            troubles.append(str(error))
            continue
        path, note = _keep(cache_folder, start, target.suffix, data)
        return Compiled(data, path, "{} for {}{}".format(compiler.version, target.name, note))
    path, data = _kept(cache_folder, of_source)
    if data:
        return Compiled(data, path, "kept in {}".format(os.path.basename(path)))
    raise BackendError("the GPU's preprocessing cannot be compiled for compute capability {}: {}; install the CUDA "
                       "toolkit of its driver (on a Jetson: sudo apt-get install nvidia-jetpack)".format(
                           compute_capability,
                           "; ".join(OrderedDict.fromkeys(troubles)) or "neither nvcc nor NVRTC is here"))


def _digest(*parts: object) -> str:
    """A short hash of texts and bytes."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(hashlib.sha256(data).digest())  # of each part: where one ends counts
    return digest.hexdigest()[:_DIGEST]


def _kept(folder: str, start: str) -> Tuple[str, bytes]:
    """Path and bytes of the kept kernel whose name starts so and ends in its own hash, else nothing."""
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        stem, suffix = os.path.splitext(name)
        if name.startswith(start) and suffix in (".cubin", ".ptx"):
            path = os.path.join(folder, name)
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except OSError:
                continue
            if data and stem.rpartition("-")[2] == _digest(data):
                return path, data
    return "", b""


def _keep(folder: str, start: str, suffix: str, data: bytes) -> Tuple[str, str]:
    """Put a kernel into the cache; its path and nothing to tell, or no path and why."""
    path = os.path.join(folder, "{}{}{}".format(start, _digest(data), suffix))
    try:
        os.makedirs(folder, exist_ok=True)
        write_durably(path, data)
    except OSError as error:
        return "", "; not kept in {}: {}".format(folder, error.strerror or error)
    return path, ""

"""CUDA compilers of this machine: nvcc of a toolkit, NVRTC of a toolkit or of NVIDIA's wheels."""

import ctypes
import ctypes.util
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from edge.errors import BackendError

OPTIONS = ("--fmad=false",)  # no fused multiply-adds: the same bits as on the CPU
ROOTS = ("/usr/local/cuda",)  # besides $CUDA_ROOT and $CUDA_HOME
# What a compiler that cannot be asked (before CUDA 11.2) knows of Jetsons and their time's cards
OLD_ARCHITECTURES = (53, 60, 61, 62, 70, 72, 75)
NVCC_S = 300.0  # a Nano takes about ten seconds


class Target(NamedTuple):
    """What is compiled for: a real architecture, or PTX of a lower one where the compiler does not know it."""

    architecture: int  # 53
    exact: bool

    @property
    def name(self) -> str:
        """As compilers call it: sm_53, or compute_53."""
        return "{}_{}".format("sm" if self.exact else "compute", self.architecture)

    @property
    def suffix(self) -> str:
        """Of a file with the result."""
        return ".cubin" if self.exact else ".ptx"


class Compiler:
    """Base of the two: asked for a target of a compute capability, then given a source."""

    version = ""  # name and version, part of the cache's key

    def target(self, compute_capability: str) -> Target:
        """What to compile for. Raises BackendError when this compiler no longer knows so old a GPU."""
        wanted, known = int(compute_capability.replace(".", "")), self._architectures()
        if wanted in known and self._makes_cubin():
            return Target(wanted, True)
        lower = [architecture for architecture in known if architecture <= wanted]
        if not lower:
            raise BackendError("{} compiles for {} and newer only".format(self.version, _dotted(min(known))))
        return Target(max(lower), False)

    def compile(self, source: bytes, target: Target) -> bytes:
        """A cubin, or PTX. Raises BackendError with the compiler's first complaint."""
        raise NotImplementedError

    def _architectures(self) -> Tuple[int, ...]:
        raise NotImplementedError

    def _makes_cubin(self) -> bool:
        return True


class Nvcc(Compiler):
    """The compiler of a CUDA toolkit; it needs the system's C++ compiler. Raises BackendError if it does not run."""

    def __init__(self, path: str):
        self._path = path
        found = re.search(r"V(\d[\d.]*)", self._run("--version"))
        self.version = "nvcc {}".format(found.group(1) if found else "of unknown version")

    def compile(self, source: bytes, target: Target) -> bytes:
        """See Compiler."""
        with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
            given, made = os.path.join(folder, "preprocess.cu"), os.path.join(folder, "preprocess" + target.suffix)
            with open(given, "wb") as file:
                file.write(source)
            self._run("--" + target.suffix[1:], "-arch=" + target.name, "-Wno-deprecated-gpu-targets", "-o", made,
                      given, *OPTIONS)
            with open(made, "rb") as file:
                return file.read()

    def _architectures(self) -> Tuple[int, ...]:
        try:
            listed = re.findall(r"compute_(\d+)\s", self._run("--list-gpu-arch"))
        except BackendError:
            listed = []
        return tuple(map(int, listed)) or OLD_ARCHITECTURES

    def _run(self, *arguments: str) -> str:
        try:
            process = subprocess.run((self._path,) + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, timeout=NVCC_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackendError("{} does not run: {}".format(self._path, error))
        output = process.stdout.decode("utf-8", "replace")
        if process.returncode:
            raise BackendError("{} failed: {}".format(self._path, _complaint(output)))
        return output


@contextmanager
def _same_locale() -> Iterator[None]:
    """NVRTC leaves its thread with the locale C, in which Python reads files of other letters than ASCII's no more."""
    uselocale = getattr(ctypes.CDLL(None), "uselocale", None) if os.name == "posix" else None
    if uselocale is None:
        yield
        return
    uselocale.restype, uselocale.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = uselocale(None)
    try:
        yield
    finally:
        uselocale(before)


class Nvrtc(Compiler):
    """The compiler as a library, which needs no C++ compiler. Raises BackendError if it cannot be loaded."""

    def __init__(self, path: str):
        try:
            self._library: Any = ctypes.CDLL(path)
            major, minor = ctypes.c_int(), ctypes.c_int()
            self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        except (OSError, AttributeError) as error:
            raise BackendError("{} cannot be loaded: {}".format(path, error))
        self.version = "NVRTC {}.{} of {}".format(major.value, minor.value, os.path.basename(path))

    def compile(self, source: bytes, target: Target) -> bytes:
        """See Compiler."""
        options = [option.encode() for option in ("--gpu-architecture=" + target.name,) + OPTIONS]
        program = ctypes.c_void_p()
        self._check(self._library.nvrtcCreateProgram(ctypes.byref(program), source, b"preprocess.cu", 0, None, None))
        try:
            with _same_locale():
                code = self._library.nvrtcCompileProgram(program, len(options),
                                                         (ctypes.c_char_p * len(options))(*options))
            if code:
                log = self._read(program, "ProgramLog").decode("utf-8", "replace")
                raise BackendError("{} failed: {}".format(self.version, _complaint(log) or self._text(code)))
            return self._read(program, "CUBIN" if target.exact else "PTX").rstrip(b"\0" if not target.exact else b"")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, "nvrtcGet{}Size".format(what))(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, "nvrtcGet" + what)(program, buffer))
        return buffer.raw

    def _architectures(self) -> Tuple[int, ...]:
        if not hasattr(self._library, "nvrtcGetSupportedArchs"):
            return OLD_ARCHITECTURES
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        architectures = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(architectures))
        return tuple(architectures)

    def _makes_cubin(self) -> bool:
        return hasattr(self._library, "nvrtcGetCUBIN")

    def _check(self, code: int) -> None:
        if code:
            raise BackendError("{} failed: {}".format(self.version or "NVRTC", self._text(code)))

    def _text(self, code: int) -> str:
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return (self._library.nvrtcGetErrorString(code) or b"").decode()


def able(compute_capability: str, compilers: Optional[Iterable[Compiler]],
         troubles: List[str]) -> Iterator[Tuple[Compiler, Target]]:
    """Compilers that can serve a compute capability, those that know it itself first; troubles: why others cannot."""
    later = []
    for compiler in find(troubles) if compilers is None else compilers:
        try:
            target = compiler.target(compute_capability)
        except BackendError as error:
            troubles.append(str(error))
            continue
        if target.exact:
            yield compiler, target
        else:
            later.append((compiler, target))
    for compiler, target in sorted(later, key=lambda pair: -pair[1].architecture):
        yield compiler, target


def find(troubles: List[str]) -> Iterator[Compiler]:
    """The compilers that run here, nvcc first, each only when it is asked for; troubles: why others do not."""
    roots = [os.environ[name] for name in ("CUDA_ROOT", "CUDA_HOME") if os.environ.get(name)] + list(ROOTS)
    nvccs = [os.path.join(root, "bin", "nvcc") for root in roots] + [shutil.which("nvcc") or ""]
    for path in _different(path for path in nvccs if os.path.isfile(path)):
        compiler = _made(Nvcc, path, troubles)
        if compiler:
            yield compiler
    for path in _different(_nvrtc_paths(roots)):
        compiler = _made(Nvrtc, path, troubles)
        if compiler:
            yield compiler


def _nvrtc_paths(roots: List[str]) -> Iterator[str]:
    """Of toolkits, of NVIDIA's wheels (nvidia-cuda-nvrtc-cu12 and the like), and what the loader knows."""
    folders = [os.path.join(root, *parts) for root in roots
               for parts in (("lib64",), ("lib",), ("targets", "*", "lib"))]
    folders += [os.path.join(folder, "nvidia", "*", "lib") for folder in sys.path if folder]
    for folder in folders:
        yield from sorted(glob.glob(os.path.join(folder, "libnvrtc.so*")))
    known = ctypes.util.find_library("nvrtc")
    if known:
        yield known


def _different(paths: Iterable[str]) -> Iterator[str]:
    seen = set()
    for path in paths:
        if os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            yield path


def _made(kind: Any, path: str, troubles: List[str]) -> Optional[Compiler]:
    try:
        made: Compiler = kind(path)
    except BackendError as error:
        troubles.append(str(error))
        return None
    return made


def _complaint(output: str) -> str:
    """The first error that a compiler tells of, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower() or "fatal" in line.lower()), (lines or [""])[0])


def _dotted(architecture: int) -> str:
    return "{}.{}".format(*divmod(architecture, 10))

"""The GPU's preprocessing: its twin on the CPU against preprocess.py, what compiles it, and what keeps it."""

import ctypes
import glob
import locale
import os
import shutil
import stat
import struct
import subprocess
import sys

import kernel_cases
import numpy as np
import pytest
from gpu_driver import Gpu
from kernel_cases import all_pictures, compare, cuda_environment, pictures, registers_of, task

from edge.classifier import cuda_compiler, kernel
from edge.classifier.cuda_compiler import Compiler, Nvcc, Nvrtc, Target
from edge.classifier.kernel import AREA, LINEAR, SOURCE, TYPES, WHOLE, Launch, compile_kernel, pitch_of
from edge.errors import BackendError
from edge.preprocess import RESIZE_RULES, InputSpec

GXX = shutil.which("g++") or shutil.which("c++")
STRICT = ["-x", "c++", "-std=c++98", "-Wall", "-Wextra", "-Werror", "-pedantic-errors", "-Wno-long-long", "-O2",
          "-ffp-contract=off"]
JETSONS = ("5.3", "6.2", "7.2", "8.7")
EXACT = 0.9999  # seen with OpenCV 4.6 and 5.0 on x86-64: all; with fused multiply-adds a few round the other way


def source():
    with open(SOURCE, "rb") as file:
        return file.read()


# ---------------------------------------------------------------- the twin on the CPU

@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """preprocess.cu compiled as plain C++98 with all warnings as errors: path of the library."""
    if GXX is None:
        pytest.skip("no C++ compiler here for the kernel's twin on the CPU: install g++")
    path = str(tmp_path_factory.mktemp("twin") / "preprocess.so")
    subprocess.check_call([GXX] + STRICT + ["-shared", "-fPIC", "-o", path, SOURCE])
    return path


@pytest.fixture
def fill(twin):
    """fill(spec, frame, region) -> (1, 3, H, W) float32 as the kernel's twin gives it."""
    library = ctypes.CDLL(twin)

    def run(spec, frame, region):
        out = np.full(spec.shape, np.nan, np.float32)
        library.preprocess(task(spec, frame, region, out))
        return out
    return run


def test_a_launch_packs_what_the_source_unpacks(twin):
    assert ctypes.CDLL(twin).task_bytes() == struct.calcsize(TYPES)
    arguments = Launch(InputSpec()).arguments(4096, 300, (0, 0, 100, 7), 8192)
    assert [np.dtype(type(number)).itemsize for number in arguments] == [struct.calcsize(kind) for kind in TYPES]


@pytest.mark.parametrize("rule", RESIZE_RULES)
def test_the_kernel_gives_what_preprocess_gives(fill, rule):
    agreement = compare(fill, pictures(rule, 40))
    print("{}: {}".format(rule, agreement))
    assert agreement.worst <= 1.001
    assert agreement.exact >= EXACT * agreement.values


@pytest.mark.parametrize("word, view", [
    ("every second row", lambda frame: frame[::2]),
    ("part of a frame", lambda frame: frame[5:100, 7:131]),
    ("one row", lambda frame: frame[3:4]),
    ("one column", lambda frame: frame[:, 9:10]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_rows_may_lie_apart(fill, word, view):
    frame = next(pictures("stretch", 1))[1]
    seen = view(frame)
    for rule in RESIZE_RULES:
        spec = InputSpec(64, 48, rule)
        assert np.array_equal(fill(spec, seen, (0, 0) + seen.shape[1::-1]),
                              fill(spec, np.ascontiguousarray(seen), (0, 0) + seen.shape[1::-1]))


def test_every_value_is_normalised_as_the_spec_says(fill):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame = np.dstack([ramp, ramp.T, ramp[::-1]])
    spec = InputSpec(16, 16, "stretch", (0.5, 0.25, 0.0), (0.5, 2.0, 1.0))
    expected = (frame[:, :, ::-1] / 255.0 - spec.mean) / spec.std
    assert np.abs(fill(spec, frame, (0, 0, 16, 16))[0] - expected.transpose(2, 0, 1)).max() < 1e-6


def test_beside_a_letterboxed_picture_it_is_grey(fill):
    spec = InputSpec(64, 64, "letterbox", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    levels = fill(spec, np.full((10, 20, 3), 250, np.uint8), (0, 0, 20, 10))[0, 0] * 255
    assert np.abs(levels[16:48] - 250).max() < 1e-3
    assert np.abs(levels[:16] - 114).max() < 1e-3 and np.abs(levels[48:] - 114).max() < 1e-3


READS_AT_THE_EDGE = """
import ctypes, mmap, sys
import numpy as np
from edge.preprocess import InputSpec
from gpu_driver import Gpu
from kernel_cases import SIZES, task

library, libc = ctypes.CDLL(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
for height, width in SIZES:
    used = height * width * 3
    pages = -(-used // mmap.PAGESIZE) + 2  # the first and the last must not be touched
    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages - 1):
        assert libc.mprotect(ctypes.c_void_p(start + page * mmap.PAGESIZE), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    for first in (mmap.PAGESIZE, (pages - 1) * mmap.PAGESIZE - used):  # at the one and at the other
        frame = np.frombuffer(memory, np.uint8, used, first).reshape(height, width, 3)
        for rule in ("stretch", "letterbox", "crop"):
            spec = InputSpec(97, 101, rule)
            out = np.empty(spec.shape, np.float32)
            library.preprocess(task(spec, frame, (0, 0, width, height), out))
print("nothing beside it was read")
"""


def test_nothing_outside_the_region_is_read(twin):
    """The picture lies against memory that nobody may touch, once before it and once behind it."""
    if not sys.platform.startswith("linux"):
        pytest.skip("memory that nobody may touch is made by Linux's mprotect")
    path = os.pathsep.join([kernel_cases.ROOT, os.path.dirname(kernel_cases.__file__)])
    output = subprocess.check_output([sys.executable, "-c", READS_AT_THE_EDGE, twin],
                                     env=dict(os.environ, PYTHONPATH=path))
    assert b"nothing beside it was read" in output


# ---------------------------------------------------------------- launching

@pytest.mark.parametrize("height, width, grid", [(224, 224, (7, 28)), (1, 1, (1, 1)), (225, 33, (2, 29))])
def test_the_grid_covers_the_output(height, width, grid):
    assert Launch(InputSpec(height, width)).grid == grid


@pytest.mark.parametrize("rule, h, w", [
    (LINEAR, 7, 900), (LINEAR, 900, 7), (AREA, 9, 8), (WHOLE, 8, 8), (WHOLE, 16, 8), (WHOLE, 48 * 8, 50 * 8),
    (AREA, 49 * 8, 50 * 8), (AREA, 50 * 8, 49 * 8)])  # in doubles 1 / (1 / 49) is not 49: OpenCV goes the general way
def test_a_launch_resizes_by_opencvs_rule(rule, h, w):
    assert Launch(InputSpec(8, 8)).arguments(0, 3 * w, (0, 0, w, h), 0)[15] == rule


def test_arguments_are_filled_into_one_list():
    launch = Launch(InputSpec(8, 8, "letterbox"))
    first = launch.arguments(1, 3000, (0, 0, 1000, 1), 2)
    expected = list(launch.arguments(5, 60, (1, 2, 16, 8), 6))
    assert launch.arguments(1, 3000, (0, 0, 1000, 1), 2) is first  # nothing left of it afterwards:
    assert launch.arguments(5, 60, (1, 2, 16, 8), 6) == expected == Launch(launch.spec).arguments(
        5, 60, (1, 2, 16, 8), 6)


@pytest.mark.parametrize("region, pitch", [
    ((0, 0, 0, 5), 300), ((0, 0, 5, 0), 300), ((-1, 0, 5, 5), 300), ((0, -1, 5, 5), 300), ((0, 0, 101, 5), 300),
    ((96, 0, 5, 5), 300)])
def test_a_region_that_does_not_fit_raises(region, pitch):
    with pytest.raises(ValueError) as caught:
        Launch(InputSpec()).arguments(0, pitch, region, 0)
    assert str(region) in str(caught.value) and str(pitch) in str(caught.value)


@pytest.mark.parametrize("word, view", [
    ("mirrored", np.zeros((50, 50, 3), np.uint8)[:, ::-1]),
    ("upside down", np.zeros((50, 50, 3), np.uint8)[::-1]),
    ("turned", np.zeros((50, 50, 3), np.uint8).transpose(1, 0, 2)),
    ("colours swapped", np.zeros((50, 50, 3), np.uint8)[:, :, ::-1]),
    ("every second pixel", np.zeros((50, 50, 3), np.uint8)[:, ::2]),
    ("grey", np.zeros((50, 50), np.uint8)),
    ("floats", np.zeros((50, 50, 3), np.float32)),
    ("empty", np.zeros((0, 50, 3), np.uint8)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_view_that_the_kernel_cannot_read_raises(word, view):
    with pytest.raises(ValueError) as caught:
        pitch_of(view)
    assert str(view.shape) in str(caught.value)


# ---------------------------------------------------------------- keeping

class HostCompiler(Compiler):
    """Compiles for this machine's own processor: a real compiler where no CUDA is. Counts what it was asked for."""

    def __init__(self, version="g++", architectures=(53, 87)):
        self.version, self.compiled, self._known = version, [], architectures

    def compile(self, source, target):
        self.compiled.append(target.name)
        process = subprocess.run([GXX] + STRICT[:3] + ["-S", "-o", "-", "-"], input=source, stdout=subprocess.PIPE,
                                 check=False)
        if process.returncode:
            raise BackendError("{} failed".format(self.version))
        return process.stdout

    def _architectures(self):
        return self._known


@pytest.fixture
def host():
    if GXX is None:
        pytest.skip("no C++ compiler here to compile with: install g++")
    return HostCompiler()


def test_a_kernel_is_compiled_once(host, tmp_path):
    folder = str(tmp_path / "new" / "folder")
    first = compile_kernel("5.3", folder, [host])
    assert first.how == "g++ for sm_53" and os.path.dirname(first.path) == folder
    with open(first.path, "rb") as file:
        assert file.read() == first.data
    second = compile_kernel("5.3", folder, [host])
    assert second == first._replace(how="g++ for sm_53, kept") and host.compiled == ["sm_53"]


@pytest.mark.parametrize("damage", [
    lambda data: data[:100], lambda data: b"", lambda data: data[:50] + b"!" + data[51:], lambda data: data + b"\n"])
def test_a_damaged_kernel_is_compiled_anew(host, tmp_path, damage):
    first = compile_kernel("5.3", str(tmp_path), [host])
    with open(first.path, "wb") as file:
        file.write(damage(first.data))
    assert compile_kernel("5.3", str(tmp_path), [host]) == first
    assert compile_kernel("5.3", str(tmp_path), [host]).how == "g++ for sm_53, kept"
    assert len(host.compiled) == 2


def test_a_kernel_for_something_else_is_not_taken(host, tmp_path, monkeypatch):
    folder = str(tmp_path / "kept")
    compile_kernel("5.3", folder, [host])
    compile_kernel("8.7", folder, [host])
    newer = HostCompiler("g++ of tomorrow")
    compile_kernel("5.3", folder, [newer])
    monkeypatch.setattr(cuda_compiler, "OPTIONS", ("--another",))
    compile_kernel("5.3", folder, [host])
    edited = tmp_path / "preprocess.cu"
    edited.write_bytes(source() + b"\n// edited\n")
    monkeypatch.setattr(kernel, "SOURCE", str(edited))
    compile_kernel("5.3", folder, [host])
    assert host.compiled == ["sm_53", "sm_87", "sm_53", "sm_53"] and newer.compiled == ["sm_53"]


def test_without_a_compiler_a_kept_kernel_serves(host, tmp_path):
    first = compile_kernel("5.3", str(tmp_path), [host])
    kept = compile_kernel("5.3", str(tmp_path), [])
    assert kept == first._replace(how="kept in {}".format(os.path.basename(first.path)))
    with pytest.raises(BackendError):
        compile_kernel("8.7", str(tmp_path), [])


def test_a_folder_that_cannot_be_written_costs_only_time(host, small_disk):
    folder = os.path.join(small_disk.path, "engines")
    os.mkdir(folder)
    compile_kernel("8.7", folder, [host])
    small_disk.read_only()
    compiled = compile_kernel("5.3", folder, [host])
    assert compiled.data and compiled.path == ""
    assert compiled.how == "g++ for sm_53; not kept in {}: Read-only file system".format(folder)
    assert compile_kernel("8.7", folder, [host]).how == "g++ for sm_87, kept"


# ---------------------------------------------------------------- which compiler

def test_without_any_compiler_one_line_says_what_to_install(tmp_path):
    with pytest.raises(BackendError) as caught:
        compile_kernel("5.3", str(tmp_path / "absent"), [])
    text = str(caught.value)
    assert "\n" not in text and "5.3" in text and "neither nvcc nor NVRTC is here" in text and "install" in text
    assert not (tmp_path / "absent").exists()


def test_a_newer_gpu_gets_ptx_and_an_older_one_a_reason(host, tmp_path):
    compiled = compile_kernel("11.0", str(tmp_path), [host])
    assert compiled.how == "g++ for compute_87" and compiled.path.endswith(".ptx")
    with pytest.raises(BackendError) as caught:
        compile_kernel("5.0", str(tmp_path), [host])
    assert "g++ compiles for 5.3 and newer only" in str(caught.value)


def test_a_compiler_that_knows_the_gpu_comes_first(host, tmp_path):
    older, oldest = HostCompiler("older", (53, 72)), HostCompiler("oldest", (53,))
    assert compile_kernel("8.7", str(tmp_path), [oldest, older, host]).how == "g++ for sm_87"
    assert compile_kernel("7.5", str(tmp_path), [oldest, older]).how == "older for compute_72"


def test_a_compiler_that_fails_is_followed_by_the_next(host, tmp_path):
    broken = HostCompiler("broken")
    broken.compile = lambda source, target: (_ for _ in ()).throw(BackendError("broken failed: no headers"))
    assert compile_kernel("5.3", str(tmp_path), [broken, host]).how == "g++ for sm_53"
    with pytest.raises(BackendError) as caught:
        compile_kernel("8.7", str(tmp_path), [broken])
    assert "broken failed: no headers" in str(caught.value)


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without CUDA: nothing on the path but a shell's, no toolkit, no wheels."""
    if os.name != "posix":
        pytest.skip("stands up shell scripts as compilers")
    for name in ("CUDA_ROOT", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(cuda_compiler, "ROOTS", (str(tmp_path / "toolkit"),))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site-packages")])
    monkeypatch.setattr(cuda_compiler.ctypes.util, "find_library", lambda name: None)
    return tmp_path


OLD_NVCC = """case "$1" in
--version) echo "Cuda compilation tools, release 10.2, {}";;
--list-gpu-arch) echo "nvcc fatal : Unknown option '-list-gpu-arch'"; exit 1;;
*) echo "sh: gcc: not found"; echo "nvcc fatal : Failed to preprocess host compiler properties."; exit 1;;
esac
"""


def test_compilers_are_found_where_toolkits_put_them(bare, monkeypatch):
    assert list(cuda_compiler.find([])) == []
    for number, folder in enumerate(("root/bin", "home/bin", "toolkit/bin", "path")):
        script(bare / folder / "nvcc", OLD_NVCC.format("V10.2.{}".format(number)))
    monkeypatch.setenv("CUDA_ROOT", str(bare / "root"))
    monkeypatch.setenv("CUDA_HOME", str(bare / "home"))
    assert [compiler.version for compiler in cuda_compiler.find([])] == ["nvcc 10.2.{}".format(n) for n in range(4)]
    (bare / "home" / "bin" / "nvcc").unlink()
    (bare / "home" / "bin" / "nvcc").symlink_to(bare / "root" / "bin" / "nvcc")  # the same one is not asked twice
    assert len(list(cuda_compiler.find([]))) == 3


def test_an_old_nvcc_is_known_without_asking(bare):
    script(bare / "path" / "nvcc", OLD_NVCC.format("V10.2.300"))
    nvcc = next(cuda_compiler.find([]))
    assert [nvcc.target(capability).name for capability in JETSONS] == ["sm_53", "sm_62", "sm_72", "compute_75"]


def test_what_compilers_complain_of_is_told_in_one_line(bare):
    script(bare / "path" / "nvcc", OLD_NVCC.format("V10.2.300"))
    library = bare / "site-packages" / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"no library")
    with pytest.raises(BackendError) as caught:
        compile_kernel("5.3", str(bare))
    text = str(caught.value)
    assert "Failed to preprocess host compiler properties." in text and "libnvrtc.so.12 cannot be loaded" in text
    assert "\n" not in text


# ---------------------------------------------------------------- real ones

@pytest.fixture(scope="module")
def wheels():
    """NVIDIA's compilers as the package index has them: {"ptxas": path, "nvrtc": [paths, the oldest first]}."""
    try:
        folder = cuda_environment()
    except (OSError, IndexError, subprocess.CalledProcessError) as error:
        pytest.skip("NVIDIA's compilers of requirements/cuda.txt cannot be installed here: {}".format(error))
    return {"ptxas": os.path.join(folder, "cuda_nvcc", "bin", "ptxas"),
            "nvrtc": sorted(glob.glob(os.path.join(folder, "cuda_nvrtc", "lib", "libnvrtc.so*")))}


@pytest.mark.long("newest")
@pytest.mark.parametrize("release, capabilities", [(11, JETSONS), (12, JETSONS + ("9.0",))])
def test_nvrtc_compiles_for_every_board(wheels, tmp_path, release, capabilities):
    """With the CUDA of JetPack 5 and of JetPack 6; what a thread needs lets a block run on the smallest board."""
    nvrtc = next(made for made in map(Nvrtc, wheels["nvrtc"]) if " {}.".format(release) in made.version)
    before = locale.nl_langinfo(locale.CODESET)
    for capability in capabilities:
        compiled = compile_kernel(capability, str(tmp_path), [nvrtc])
        target = nvrtc.target(capability)
        assert target.exact and compiled.how == "{} for {}".format(nvrtc.version, target.name)
        assert compiled.data[:4] == b"\x7fELF" and b".text.preprocess" in compiled.data
        assert compile_kernel(capability, str(tmp_path), [nvrtc]).how == compiled.how + ", kept"
        (tmp_path / "kernel.ptx").write_bytes(nvrtc.compile(source(), Target(target.architecture, False)))
        output = subprocess.check_output(
            [wheels["ptxas"], "-v", "-arch=" + target.name, "-o", os.devnull, str(tmp_path / "kernel.ptx")],
            stderr=subprocess.STDOUT).decode()
        registers, spilled_bytes = registers_of(output)
        print("{}: {} registers, cubin of {} bytes".format(compiled.how, registers, len(compiled.data)))
        assert b"fma." not in (tmp_path / "kernel.ptx").read_bytes()  # the CPU's rounding
        assert spilled_bytes == 0 and registers <= 64  # 256 threads of a block have 32,768 on a Nano
    assert locale.nl_langinfo(locale.CODESET) == before  # it leaves C behind, if it may


@pytest.mark.long("newest")
def test_nvrtc_makes_ptx_for_a_gpu_that_it_does_not_know(wheels, tmp_path):
    compiled = compile_kernel("12.1", str(tmp_path), [Nvrtc(path) for path in wheels["nvrtc"]])
    assert compiled.how.startswith("NVRTC 12.") and compiled.how.endswith("for compute_90")
    assert b".target sm_90" in compiled.data and b".entry preprocess" in compiled.data and b"\0" not in compiled.data


@pytest.mark.long("newest")
def test_nvrtc_tells_what_is_wrong_with_a_source(wheels):
    with pytest.raises(BackendError, match="NVRTC 12.6 .* failed: .*error: .*undefined") as caught:
        Nvrtc(wheels["nvrtc"][-1]).compile(b"__global__ void f() {\n    undefined();\n}\n", Target(53, True))
    assert "\n" not in str(caught.value)


@pytest.mark.long("newest")
def test_nvcc_of_this_machine_compiles_it(tmp_path):
    nvcc = next((compiler for compiler in cuda_compiler.find([]) if isinstance(compiler, Nvcc)), None)
    if nvcc is None:
        pytest.skip("no nvcc on this machine")
    compiled = compile_kernel("8.7", str(tmp_path), [nvcc])
    assert compiled.how == nvcc.version + " for sm_87" and b".text.preprocess" in compiled.data
    ptx = nvcc.compile(source(), Target(87, False))
    assert b".target sm_87" in ptx and b".entry preprocess" in ptx


def test_a_gpu_gives_what_preprocess_gives(tmp_path):
    """SCRAPSORT_KERNELS: a folder with kernels compiled elsewhere, for a machine with a GPU and no compiler."""
    try:
        gpu = Gpu()
    except OSError as error:
        pytest.skip("no GPU here: {}".format(error))
    try:
        compiled = compile_kernel(gpu.compute_capability, os.environ.get("SCRAPSORT_KERNELS") or str(tmp_path))
    except BackendError as error:
        pytest.skip("a GPU, but {}".format(error))
    with gpu.loaded(compiled.data) as fill_on_gpu:
        agreement = compare(fill_on_gpu, all_pictures(40))
    print("{}, {}: {}".format(gpu.name, compiled.how, agreement))
    assert agreement.worst <= 1.001
    assert agreement.exact >= EXACT * agreement.values

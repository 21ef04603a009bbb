"""doctor on trees that look like a Nano, a Xavier, an Orin, a container and a laptop."""

import json
import os
import subprocess
import sys
import types

import pytest

from edge import board, plans
from edge.commands import doctor
from edge.errors import BackendError
from edge.health import checks
from edge.health.checks import Finding, Interpreter, Place
from edge.health.checks.board import best_mode
from edge.plans import Fingerprint, Sidecar

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NANO_MODES = """# <   POWER_MODEL ID=7 NAME=COMMENTED >
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=5W >
< PM_CONFIG DEFAULT=0 >
"""
NX_MODES = "\n".join("< POWER_MODEL ID={} NAME={} >".format(*pair) for pair in enumerate((
    "MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_15W_6CORE", "MODE_10W_2CORE", "MODE_10W_4CORE", "MODE_10W_DESKTOP",
    "MODE_20W_2CORE", "MODE_20W_4CORE", "MODE_20W_6CORE"))) + "\n< PM_CONFIG DEFAULT=2 >\n"
ORIN_MODES = "\n".join("< POWER_MODEL ID={} NAME={} >".format(*pair) for pair in enumerate((
    "15W", "25W", "MAXN_SUPER", "7W"))) + "\n< PM_CONFIG DEFAULT=1 >\n"
MEMORY = "MemTotal: {:>10} kB\nMemAvailable: {:>7} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
LIBRARIES = "usr/lib/{}/dist-packages/"


def release(major, revision):
    return "# R{} (release), REVISION: {}, GCID: 33514132, BOARD: t210ref, EABI: aarch64\n".format(major, revision)


def clocks(low, high):
    cpu, gpu = "sys/devices/system/cpu/cpufreq/policy{}/scaling_{}_freq", "sys/class/devfreq/57000000.gpu/{}_freq"
    bounds = (("min", low), ("cur", high), ("max", high))
    files = {cpu.format(core, which): value for core in (0, 4) for which, value in bounds}
    return dict(files, **{gpu.format(which): value for which, value in bounds})


# JetPack 4.6.4 on a Nano as it comes: 5 W, desktop, zram alone, CUDA not on PATH
NANO = dict({
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0",
    "etc/nv_tegra_release": release(32, "7.4"), "etc/nvpmodel.conf": NANO_MODES,
    "var/lib/nvpmodel/status": "pmode:0001\n", "usr/local/cuda/version.txt": "CUDA Version 10.2.300\n",
    "usr/local/cuda/lib64/libcudart.so.10.2": "", "usr/local/cuda/bin/nvcc": "",
    LIBRARIES.format("python3.6") + "tensorrt/__init__.py": "", LIBRARIES.format("python3.6") + "cv2/__init__.py": "",
    "proc/meminfo": MEMORY.format(4059424, 1200000),
    "proc/swaps": "Filename Type Size Used Priority\n/dev/zram0 partition 507424 7424 5\n"},
    **clocks("102000", "921600"))
XAVIER = {
    "proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3509-0000+p3668-0000\0nvidia,tegra194\0",
    "etc/nv_tegra_release": release(35, "4.1"), "etc/nvpmodel.conf": NX_MODES,
    "usr/local/cuda/version.json": json.dumps({"cuda": {"name": "CUDA SDK", "version": "11.4.19"}}),
    "usr/local/cuda/targets/aarch64-linux/lib/libcudart.so.11.0": "", "usr/local/cuda/bin/nvcc": "",
    LIBRARIES.format("python3.8") + "tensorrt/__init__.py": "",
    LIBRARIES.format("python3.8") + "pycuda/__init__.py": "",
    LIBRARIES.format("python3.8") + "pycuda-2026.1.dist-info/METADATA": "",
    "proc/meminfo": MEMORY.format(7000000, 5000000), "proc/swaps": "", "run/jtop.sock": "",
    "usr/local/lib/python3.8/dist-packages/jetson_stats-4.2.8.egg-info": ""}
ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "etc/nv_tegra_release": release(36, "4.7"), "etc/nvpmodel.conf": ORIN_MODES,
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "usr/local/cuda/version.json": json.dumps({"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}),
    "proc/meminfo": MEMORY.format(7800000, 6000000)}
# The same in a container without --runtime nvidia: Docker hides the device tree, the chip's id stays
CONTAINER = {".dockerenv": "", "sys/devices/soc0/family": "Tegra\n", "sys/devices/soc0/soc_id": "35\n",
             "sys/devices/soc0/machine": "NVIDIA Jetson AGX Orin Developer Kit\n",
             LIBRARIES.format("python3.10") + "tensorrt/__init__.py": "",
             "opt/scrapsort/lib/python3.10/site-packages/pycuda/__init__.py": "",
             "proc/meminfo": MEMORY.format(31000000, 20000000)}
LAPTOP = {"proc/meminfo": MEMORY.format(16000000, 500000), "sys/devices/soc0/family": "i.MX",
          "sys/devices/soc0/soc_id": "33"}


@pytest.fixture
def tree(tmp_path):
    """tree(files, remove=()) -> the root of a machine made of them."""
    def make(files, remove=(), **more):
        for name, text in dict(files, **more).items():
            if name not in remove:
                path = tmp_path / "root" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
        return str(tmp_path / "root")
    return make


def python_of(line, venv="", load=None):
    minor = line.partition(".")[2]
    folders = ["/usr/local/lib/python{}/dist-packages".format(line), "/usr/lib/python{}/dist-packages".format(line),
               "/usr/lib/python3/dist-packages"]
    if venv:
        folders = ["{}/lib/python{}/site-packages".format(venv, line)]

    def load_none(name):
        raise ImportError("No module named " + name)
    return Interpreter((3, int(minor)), venv or "/usr", "/usr", folders, load or load_none)


def loads(**modules):
    """An Interpreter's load: a module by name, or the error to raise."""
    def load(name):
        found = modules.get(name.replace(".", "_"), ImportError("No module named " + name))
        if isinstance(found, Exception):
            raise found
        return types.SimpleNamespace(**found)
    return load


def machine(root, python, environ=None, **keywords):
    found = checks.machine(Place(root, {"PATH": "/usr/bin:/bin"} if environ is None else environ, python), **keywords)
    by_name = {finding.what: finding for finding in found}
    assert len(by_name) == len(found)
    return by_name


# ---------------------------------------------------------------- boards

def test_a_nano_as_it_comes(tree):
    load = loads(tensorrt={"__version__": "8.2.1.8"})
    found = machine(tree(NANO), python_of("3.6", load=load))
    assert found["board"].value == "NVIDIA Jetson Nano Developer Kit, compute capability 5.3, no DLA"
    assert found["jetpack"] == Finding("ok", "jetpack", "JetPack 4.6.4 (L4T 32.7.4)")
    assert found["power"].level == "note" and "nvpmodel 1 (5W): mode 0 (MAXN)" in found["power"].value
    assert found["power"].remedy == "sudo nvpmodel -m 0"
    assert (found["clocks"].level, found["clocks"].remedy) == ("note", "sudo jetson_clocks")
    assert found["cuda"] == Finding("ok", "cuda", "10.2.300 in /usr/local/cuda")
    assert found["nvcc"].remedy == "export PATH=/usr/local/cuda/bin:$PATH CUDA_ROOT=/usr/local/cuda"
    assert found["tensorrt"] == Finding("ok", "tensorrt", "8.2.1.8")
    assert found["pycuda"].remedy.splitlines()[-1] == (
        "PATH=/usr/local/cuda/bin:$PATH CUDA_ROOT=/usr/local/cuda python3 -m pip install pycuda==2022.1")
    assert found["memory"].level == "note" and "512 of them zram" in found["memory"].value
    assert "mkswap /var/swapfile && sudo swapon" in found["memory"].remedy and "fstab" in found["memory"].remedy
    assert all(finding.level != "wrong" for finding in found.values()), "ONNX Runtime sorts meanwhile"


def test_a_xavier_that_lacks_little(tree):
    files = dict(XAVIER, **clocks("1907200", "1907200"))
    load = loads(tensorrt={"__version__": "8.5.2.2"}, pycuda_driver={})
    found = machine(tree(files), python_of("3.8", load=load), {"PATH": "/usr/local/cuda/bin:/bin"})
    assert "compute capability 7.2, 2 DLA cores" in found["board"].value
    assert "JetPack 5.1.2 (L4T 35.4.1)" in found["jetpack"].value
    assert found["power"].remedy == "sudo nvpmodel -m 8", "the default of the board, and its fastest mode"
    assert found["pycuda"] == Finding("ok", "pycuda", "2026.1")
    assert found["jtop"].value == "jetson-stats 4.2.8, its service runs"
    assert found["clocks"] == Finding("ok", "clocks", "locked at their highest (jetson_clocks)")
    assert {what for what, finding in found.items() if finding.level != "ok"} == {"power"}
    moved = "sys/devices/system/cpu/cpufreq/policy4/scaling_min_freq"
    found = machine(tree(files, **{moved: "1190400"}), python_of("3.8", load=load))
    assert (found["clocks"].level, found["clocks"].remedy) == ("note", "sudo jetson_clocks")


def test_an_orin_without_the_rest_of_jetpack(tree):
    found = machine(tree(ORIN), python_of("3.10"))
    assert "no DLA" in found["board"].value and "JetPack 6.2.1 (L4T 36.4.7)" in found["jetpack"].value
    assert found["power"] == Finding("ok", "power", "nvpmodel 2 (MAXN_SUPER)")
    assert found["cuda"].remedy == "sudo apt-get install -y cuda-cudart-12-6"
    assert found["nvcc"].remedy == "sudo apt-get install -y cuda-toolkit-12-6"
    assert "apt-get install -y tensorrt python3-libnvinfer" in found["tensorrt"].remedy
    assert found["memory"].level == "ok" and "clocks" not in found
    assert {finding.level for finding in machine(tree(ORIN), python_of("3.10"), needs_tensorrt=True).values()
            if finding.what in ("cuda", "tensorrt", "pycuda")} == {"wrong"}


def test_in_a_container_without_the_nvidia_runtime(tree):
    said = "{}: cannot open shared object file: No such file or directory"
    load = loads(tensorrt=ImportError(said.format("libnvdla_compiler.so")),
                 pycuda_driver=ImportError(said.format("libcuda.so.1")))
    python = python_of("3.10", load=load)
    python.path.insert(0, "/opt/scrapsort/lib/python3.10/site-packages")
    found = machine(tree(CONTAINER), python)
    assert found["board"].value == ("NVIDIA Jetson AGX Orin Developer Kit, compute capability 8.7, 2 DLA cores, "
                                    "in a container")
    assert "--volume /etc/nv_tegra_release:/etc/nv_tegra_release:ro" in found["jetpack"].remedy
    for what in ("cuda", "tensorrt", "pycuda"):
        assert found[what].level == "note" and "--runtime nvidia" in found[what].remedy
    assert "apt-get install -y nvidia-l4t-dla-compiler" in found["tensorrt"].remedy
    assert "libnvdla_compiler.so" in found["tensorrt"].value
    assert "sudo" not in found["pycuda"].remedy and found["jtop"].level == "ok"


def test_in_a_container_the_power_mode_is_that_of_jetson_stats(tree, monkeypatch):
    class Client:
        nvpmodel, jetson_clocks = types.SimpleNamespace(name="MODE_30W"), True

        def start(self):
            pass

        def close(self):
            pass
    monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=Client))
    found = machine(tree(CONTAINER, **{"run/jtop.sock": ""}), python_of("3.10"))
    assert found["power"] == Finding("ok", "power", "nvpmodel MODE_30W") and found["clocks"].level == "ok"


def test_a_laptop_is_one_line(tree):
    found = machine(tree(LAPTOP), python_of("3.10"))
    assert list(found) == ["board"] and found["board"].level == "ok" and "not a Jetson" in found["board"].value


# ---------------------------------------------------------------- single troubles

@pytest.mark.parametrize("venv, line, expected", [
    ("/opt/venv", "3.6", "sed -i 's/^include-system-site-packages = false/include-system-site-packages = true/' "
                         "/opt/venv/pyvenv.cfg"),
    ("/opt/venv", "3.8", "python3.6 -m venv --system-site-packages VENV")])
def test_tensorrt_outside_a_virtual_environment(tree, venv, line, expected):
    found = machine(tree(NANO), python_of(line, venv))
    assert found["tensorrt"].level == "note" and expected in found["tensorrt"].remedy


@pytest.mark.parametrize("error, remedy", [
    (ImportError("libnvdla_compiler.so: cannot open"), "sudo apt-get install -y nvidia-l4t-dla-compiler"),
    (ImportError("/usr/lib/aarch64-linux-gnu/libnvinfer.so.8: file too short"), "--reinstall nvidia-l4t-core"),
    (ImportError("libcublas.so.11: cannot open"), "apt-get install -y nvidia-jetpack"),
    (AttributeError("module 'numpy' has no attribute 'bool'"), "pip install 'numpy<1.24'")])
def test_why_tensorrt_cannot_be_imported(tree, error, remedy):
    found = machine(tree(NANO), python_of("3.6", load=loads(tensorrt=error)))
    assert found["tensorrt"].level == "note" and remedy in found["tensorrt"].remedy
    assert str(error) in found["tensorrt"].value


@pytest.mark.parametrize("files, remedy", [
    (CONTAINER, "build the image anew"),
    (dict(NANO, **{LIBRARIES.format("python3.10") + "pycuda/__init__.py": ""}),
     "pip install pycuda==2026.1 --force-reinstall")])
def test_a_pycuda_that_was_built_for_another_cuda(tree, files, remedy):
    python = python_of("3.10", load=loads(pycuda_driver=ImportError("_driver.so: undefined symbol: cuArrayCreate_v2")))
    python.path.insert(0, "/opt/scrapsort/lib/python3.10/site-packages")
    found = machine(tree(files), python)
    assert "undefined symbol" in found["pycuda"].value and remedy in found["pycuda"].remedy


@pytest.mark.parametrize("files, value, remedy", [
    ({"run/jtop.sock": ""}, "no module jtop", "pip install jetson-stats"),
    ({"etc/systemd/system/jtop.service": ""}, "does not run", "sudo systemctl restart jtop.service"),
    ({}, "not installed", "")])
def test_jtop(tree, files, value, remedy):
    found = machine(tree(dict(NANO, **files)), python_of("3.6"))
    assert value in found["jtop"].value and remedy in found["jtop"].remedy


@pytest.mark.parametrize("swaps, available_kb, level", [
    ("", 1200000, "note"), ("", 2100000, "ok"),
    ("/var/swapfile file 4194300 0 -2\n", 1200000, "ok"), ("/dev/zram0 partition 2000000 0 5\n", 1200000, "ok"),
    ("/dev/zram0 partition 2000000 1900000 5\n", 1200000, "note"),
    ("/dev/zram0 partition 1200000 0 5\n", 1000000, "note"),
    ("/dev/sda2 partition 500000 0 -2\n", 900000, "note")])
def test_memory_for_the_builder(tree, swaps, available_kb, level):
    header = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"
    files = dict(NANO, **{"proc/swaps": header + swaps, "proc/meminfo": MEMORY.format(4059424, available_kb)})
    found = machine(tree(files), python_of("3.6"))
    assert found["memory"].level == level
    assert ("mkswap" in found["memory"].remedy) == (level == "note" and "sda2" not in swaps)


def test_the_fastest_mode_is_neither_the_first_nor_the_last():
    assert best_mode({0: "15W", 1: "25W", 2: "MAXN_SUPER", 3: "7W"}) == 2
    assert best_mode({0: "MAXN", 1: "MODE_10W", 2: "MODE_15W"}) == 0
    assert best_mode({0: "MODE_15W_2CORE", 2: "MODE_15W_6CORE", 7: "MODE_20W_4CORE", 8: "MODE_20W_6CORE"}) == 8
    assert best_mode({}) == 0


@pytest.mark.parametrize("l4t, jetpack", [
    ("32.7.6", "4.6.6"), ("35.6.2", "5.1.5"), ("36.4.7", "6.2.1"), ("36.4.1", "6.1"), ("38.2.1", "7.0"),
    ("36.9.0", ""), ("32.6.1", "")])
def test_jetpack_by_l4t(tree, l4t, jetpack):
    major, _, revision = l4t.partition(".")
    found = board.read(tree(NANO, **{"etc/nv_tegra_release": release(major, revision)}))
    assert (found.l4t, found.jetpack) == (l4t, jetpack)


def test_a_jetpack_that_is_too_old_is_said(tree):
    found = machine(tree(NANO, **{"etc/nv_tegra_release": release(32, "6.1")}), python_of("3.6"))
    assert found["jetpack"].level == "note" and "flash JetPack 4.6.1" in found["jetpack"].remedy


# ---------------------------------------------------------------- packages

CV2 = {"__version__": "4.1.1", "getBuildInformation": lambda: "  GStreamer:  YES (1.14.5)\n"}
PIP_CV2 = dict(CV2, getBuildInformation=lambda: "  GStreamer:  NO\n")
ORT = {"__version__": "1.10.0", "get_available_providers": lambda: ["CPUExecutionProvider"]}


def packages(root, python, environ):
    return checks.packages(Place(root, environ, python))


def test_the_numpy_that_dies_is_told_without_importing_it(tree):
    files = dict(NANO, **{"usr/local/lib/python3.6/dist-packages/numpy-1.19.5.dist-info/METADATA": ""})
    environ = {}

    def load(name):
        if name == "numpy" and environ.get("OPENBLAS_CORETYPE") != "ARMV8":
            raise AssertionError("Illegal instruction")
        return types.SimpleNamespace(**dict(CV2, **ORT))
    found = packages(tree(files), python_of("3.6", load=load), environ)
    assert found[0].level == "wrong" and "numpy==1.19.4" in found[0].remedy
    assert "OPENBLAS_CORETYPE=ARMV8" in found[0].remedy and "AssertionError" not in str(found)
    assert [finding.what for finding in found[1:]] == ["numpy", "cv2", "gstreamer", "onnxruntime", "providers"]
    assert "wrong" not in [finding.level for finding in packages(
        tree(files), python_of("3.6", load=load), {"OPENBLAS_CORETYPE": "ARMV8"})]


def test_the_same_numpy_elsewhere_is_fine(tree):
    files = dict(LAPTOP, **{"usr/local/lib/python3.6/dist-packages/numpy-1.19.5.dist-info/METADATA": ""})
    environ = {}
    load = loads(numpy={"__version__": "1.19.5"}, cv2=CV2, onnxruntime=ORT)
    assert {finding.level for finding in packages(tree(files), python_of("3.6", load=load), environ)} == {"ok"}
    assert environ == {}


@pytest.mark.parametrize("venv, more, value, remedy", [
    ("", {"usr/local/lib/python3.6/dist-packages/opencv_python_headless-4.6.0.66.dist-info/METADATA": ""},
     "hides JetPack's", "python3 -m pip uninstall -y opencv-python-headless"),
    ("/opt/venv", {"opt/venv/lib/python3.6/site-packages/opencv_python-4.6.0.66.dist-info/METADATA": ""},
     "shuts the system's packages out", "/opt/venv/pyvenv.cfg\npython3 -m pip uninstall -y opencv-python")])
def test_pips_opencv_in_the_place_of_jetpacks(tree, venv, more, value, remedy):
    load = loads(numpy={}, cv2=PIP_CV2, onnxruntime=ORT)
    found = {finding.what: finding for finding in packages(tree(dict(NANO, **more)), python_of("3.6", venv, load), {})}
    assert found["gstreamer"].level == "note" and value in found["gstreamer"].value
    assert found["gstreamer"].remedy.endswith(remedy)


def test_a_missing_package_and_one_for_another_numpy(tree):
    load = loads(numpy={"__version__": "2.2.6"}, cv2=ImportError("numpy.core.multiarray failed to import"))
    found = packages(tree(LAPTOP), python_of("3.10", load=load), {})
    assert [(finding.level, finding.what) for finding in found] == [
        ("ok", "numpy"), ("wrong", "cv2"), ("wrong", "onnxruntime")]
    assert found[1].remedy == "python3 -m pip install 'numpy<2'"
    assert found[2].remedy == "python3 -m pip install onnxruntime"


@pytest.mark.parametrize("line, jetson", [("3.6", "2022.1"), ("3.8", "2026.1"), ("3.10", "2026.1")])
def test_pycuda_is_recommended_as_it_is_pinned(tree, line, jetson):
    with open(os.path.join(ROOT, "requirements", "jetson-{}.txt".format(line))) as file:
        assert "pycuda=={}\n".format(jetson) in file.read()
    assert machine(tree(NANO), python_of(line))["pycuda"].remedy.endswith("pycuda==" + jetson)


# ---------------------------------------------------------------- engines

HERE = Fingerprint("a" * 64, "fp16", "8.2.1.8", "10.2", "NVIDIA Tegra X1", "5.3", "32.7.4")
BUNDLE = types.SimpleNamespace(files={"fp32": None, "fp16": None, "int8_cpu": None}, path="b")


def here(bundle, precision):
    return HERE._replace(precision=precision, onnx_sha256={"fp16": "a", "fp32": "c"}[precision] * 64)


def build(state, data=b"plan", name="x", **changes):
    fingerprint = HERE._replace(**{k: v for k, v in changes.items() if k in HERE._fields})
    more = {k: v for k, v in changes.items() if k not in HERE._fields}
    sidecar = Sidecar(fingerprint, plans.hashlib.sha256(b"plan").hexdigest(), "tiny 1", "fp16", **more)
    return plans.write(plans.folder_of(str(state)), name, data, sidecar)


def engines(state, **keywords):
    found = checks.plans(str(state), BUNDLE, fingerprint=here, **keywords)
    assert [finding.what for finding in found if "fp32" in finding.what] == ["engine fp32"]
    return [finding for finding in found if "fp32" not in finding.what]


@pytest.mark.parametrize("changes, level, value", [
    ({}, "ok", "x.plan fits"),
    ({"latency_ms": {"p50": 11.13}, "built_utc": "2026-11-23"}, "ok", "x.plan fits, 11.1 ms (p50), built 2026-11-23"),
    ({"slower": "fp32 takes 3 ms"}, "ok", "auto passes it over: fp32 takes 3 ms"),
    ({"tensorrt": "8.0.1"}, "note", "x.plan was built for tensorrt 8.0.1, not 8.2.1.8"),
    ({"data": b"other"}, "note", "x.plan: is damaged"),
    ({"refused": "agrees on 20 of 24 pictures"}, "note", "x.plan is refused: agrees on 20 of 24 pictures"),
    ({"onnx_sha256": "b" * 64}, "note", "none")])
def test_the_state_of_an_engine(tmp_path, changes, level, value):
    build(tmp_path, **changes)
    found, = engines(tmp_path)
    assert (found.level, found.what) == (level, "engine fp16") and value in found.value
    assert ("python3 -m engines build" in found.remedy) == (level == "note")


def test_engines_that_are_needed_and_not_there(tmp_path):
    found, = engines(tmp_path, missing="wrong")
    assert found == Finding("wrong", "engine fp16", "none", "python3 -m engines build")
    with open(build(tmp_path).path[:-len("plan")] + "json", "w") as file:
        file.write("{")
    damaged, none = engines(tmp_path)
    assert "is damaged" in damaged.value and none.value == "none"


def test_no_engine_without_a_gpu_and_the_reason_is_given_once(tmp_path):
    def none(bundle, precision):
        raise BackendError("CUDA: no GPU found")
    found, = checks.plans(str(tmp_path), BUNDLE, fingerprint=none)
    assert found == Finding("note", "engines", "none built, none can be used: CUDA: no GPU found")


def test_engines_are_looked_at_where_there_may_be_some(tree, tmp_path):
    state = str(tmp_path / "state")
    assert not checks.may_have_engines(Place(tree(LAPTOP), {}, python_of("3.6")), state)
    build(state)
    assert checks.may_have_engines(Place(tree(LAPTOP), {}, python_of("3.6")), state)
    assert checks.may_have_engines(Place(tree(NANO), {}, python_of("3.6")), str(tmp_path / "none"))


# ---------------------------------------------------------------- the command

def test_a_remedy_that_is_shared_is_given_once():
    text = doctor.lines([Finding("note", "engine fp16", "none", "build"),
                         Finding("note", "engine int8", "none", "build"),
                         Finding("note", "memory", "little", "first\nsecond"),
                         Finding("ok", "jtop", "runs")])
    assert [line.split() for line in text] == [
        ["note", "engine", "fp16", "none"], ["note", "engine", "int8", "none"], ["->", "build"],
        ["note", "memory", "little"], ["->", "first"], ["->", "second"], ["ok", "jtop", "runs"]]


def test_doctor_tells_that_a_package_is_missing_and_goes_on(tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('numpy is broken here')")
    done = subprocess.Popen([sys.executable, "-m", "edge", "doctor", "--state", str(tmp_path / "state"), "--format",
                             "json"], cwd=ROOT, stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(tmp_path)))
    report = json.loads(done.communicate()[0].decode())
    found = {finding["what"]: finding for finding in report["findings"]}
    assert done.returncode == 1 and report["wrong"] >= 1
    assert found["numpy"]["level"] == "wrong" and "numpy is broken here" in found["numpy"]["value"]
    assert found["state"]["level"] == "ok" and found["model"]["level"] == "note"
    assert sorted(found["numpy"]) == ["level", "remedy", "value", "what"]

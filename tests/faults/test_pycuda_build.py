"""pycuda compiled by scrapsort-setup, with a real CUDA toolkit and no GPU, in a throwaway copy of this machine.

The machine says that it is an Orin; its libcuda.so.1 is made here and answers each call with "no device".
"""

import os
import re
import shutil
import subprocess
import time

import pytest
from machine_copy import MachineCopy
from package_bed import CACHE, ROOT

PYTHON = "/usr/bin/python3"  # the system's, as on a Jetson
CUDA = "/usr/local/cuda"
HEADERS = ("cuda.h", "cudaProfiler.h")
RELEASE = "# R36 (release), REVISION: 4.7, GCID: 1, BOARD: generic, EABI: aarch64\n"
STUB = """
int cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
"""
DRIVERS = "/usr/lib/aarch64-linux-gnu/nvidia"
LINK = "echo {} >/etc/ld.so.conf.d/tegra.conf; ldconfig".format(DRIVERS)
LOOK = "import pycuda.driver as d, pycuda; print(pycuda.VERSION_TEXT, pycuda.__file__, d.get_version())"


def why_none():
    """Why it cannot be tested here; empty: it can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "root is needed"
    missing = [path for path in (CUDA + "/include/cuda.h", CUDA + "/bin/nvcc", PYTHON) if not os.path.exists(path)]
    missing += [name for name in ("g++", "gcc", "unshare", "dpkg-deb") if shutil.which(name) is None]
    return "there is no " + ", ".join(missing) if missing else ""


WHY = why_none()
pytestmark = pytest.mark.skipif(bool(WHY), reason="compiling pycuda was NOT tested: " + WHY)


def python_line():
    return subprocess.check_output([PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).decode().strip()


def wheel_folder():
    """A Jetson's wheels for this machine's Python, with pycuda's source and what it is built with; fetched once."""
    from appliance import wheels
    folder = os.path.join(CACHE, "wheels", "pycuda-{}".format(python_line()))
    if not os.path.isdir(folder):
        shutil.rmtree(folder + ".part", ignore_errors=True)
        wheels.fetch(ROOT, folder + ".part", python_line(), "amd64", True)
        wheels.fetch_pycuda(ROOT, folder + ".part", python_line(), "amd64")
        os.rename(folder + ".part", folder)
    return folder


def driver(folder):
    """libcuda.so.1 with every function that CUDA's headers name."""
    names = set()
    for name in HEADERS:
        with open(os.path.join(CUDA, "include", name), encoding="utf-8", errors="replace") as file:
            names |= set(re.findall(r"\bcu[A-Z]\w*\b", file.read()))
    source = STUB + "".join("int {}(void) {{ return 100; }}\n".format(name)
                            for name in sorted(names - {"cuGetErrorString"}))
    path = os.path.join(folder, "libcuda.so.1")
    process = subprocess.Popen(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", path, "-Wl,-soname,libcuda.so.1"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    said = process.communicate(source.encode("ascii"))[1]
    assert process.returncode == 0, said.decode("utf-8", "replace")[-500:]
    return path


@pytest.fixture
def orin(tmp_path):
    """A copy of this machine that says that it is an Orin with TensorRT."""
    (tmp_path / "copy").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copytree(wheel_folder(), str(outside / "wheels"))
    driver(str(outside))
    (outside / "release").write_text(RELEASE)
    machine = MachineCopy(tmp_path / "copy", outside)
    try:
        # Its pages of the manual need no index here
        machine.sh("rm -f /var/lib/man-db/auto-update; cp {}/release /etc/nv_tegra_release; "
                   "d=/usr/lib/python3/dist-packages/tensorrt; mkdir -p $d; "
                   "echo '__version__ = \"10.3.0\"' >$d/__init__.py".format(outside))
        yield machine, str(outside)
    finally:
        machine.close()


def test_install_jetson_compiles_pycuda_and_a_second_time_does_not(orin):
    machine, outside = orin
    install = "{}/scripts/install-jetson --wheels {}/wheels".format(ROOT, outside)
    # Without the driver's library it is said in one line, and what sorts without it is there
    said = machine.sh(install)
    lines = [line for line in said.splitlines() if "pycuda needs the driver's libcuda.so" in line]
    assert len(lines) == 1 and "nvidia-l4t-cuda" in lines[0]
    assert "pycuda could not be compiled; ONNX Runtime sorts meanwhile" in said and "ready to sort" in said
    machine.sh("mkdir -p {0} && cp {1}/libcuda.so.1 {0} && {2}".format(DRIVERS, outside, LINK))
    started = time.monotonic()
    said = machine.sh(install)
    took_s = time.monotonic() - started
    assert "compiling pycuda 2026.1 with /usr/local/cuda ..." in said and "environment made" in said, said
    assert re.search(r"^ok +pycuda +2026\.1$", said, re.MULTILINE), said
    found = machine.sh("/opt/scrapsort/venv/bin/python -c '{}'".format(LOOK)).split()
    assert found[0] == "2026.1" and found[1].startswith("/opt/scrapsort/venv/lib/")
    wheel = machine.sh("ls -s --block-size=1 /var/cache/scrapsort/wheels/extra | grep pycuda-").split()
    print("compiled in {:.0f} s, {:.1f} MB".format(took_s, int(wheel[0]) / 1e6))
    before = machine.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from /var/cache/scrapsort/wheels/extra/*")
    said = machine.sh("scrapsort-setup --pycuda --wheels {}/wheels".format(outside))
    assert said == "scrapsort-setup: nothing to do\n"
    # From its wheel, whatever becomes of the environment
    machine.sh("rm -r /opt/scrapsort/venv")
    said = machine.sh("scrapsort-setup --pycuda --wheels {}/wheels".format(outside))
    assert "compiling" not in said and "environment made" in said
    machine.sh("/opt/scrapsort/venv/bin/python -c '{}'".format(LOOK))
    after = machine.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from /var/cache/scrapsort/wheels/extra/*")
    assert before.split()[1:] == after.split()[1:]
    # A driver's library that has gone
    machine.sh("rm {}/libcuda.so.1; ldconfig".format(DRIVERS))
    said = machine.sh("scrapsort-setup --pycuda --wheels {}/wheels".format(outside), good=False)
    assert "pycuda was compiled and cannot be imported: " in said and "libcuda.so.1" in said
    assert "classify" in machine.sh("scrapsort --help")

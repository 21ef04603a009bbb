"""Wheels for another Python and another processor, and the JetPacks that they are for."""

import os
import subprocess
import sys
from collections import OrderedDict

from appliance import environment

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
PYCUDA_NEEDS = ("Mako", "MarkupSafe", "platformdirs", "appdirs", "typing_extensions")
# Debian's names of processors, and wheels'
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
# python; glibc: wheels for a newer one are left out; jetson: whose pins, for OpenCV is JetPack's own
JETPACKS = OrderedDict((
    ("4.6", {"python": "3.6", "glibc": (2, 27), "arch": "arm64", "jetson": True}),
    ("5.1", {"python": "3.8", "glibc": (2, 31), "arch": "arm64", "jetson": True}),
    ("6.x", {"python": "3.10", "glibc": (2, 35), "arch": "arm64", "jetson": True}),
    ("7.x", {"python": "3.12", "glibc": (2, 39), "arch": "arm64", "jetson": True}),
    ("debian12", {"python": "3.11", "glibc": (2, 36), "arch": "amd64", "jetson": False}),  # the bed of the tests
    ("debian12-arm64", {"python": "3.11", "glibc": (2, 36), "arch": "arm64", "jetson": False}),
))


class WheelError(Exception):
    """Which wheel cannot be had, in one line."""


def pins(tree, python, jetson):
    """[(name, version)] of what the device needs on this Python, and what its outputs may need."""
    found = OrderedDict()
    for kind in ("jetson", "edge") if jetson else ("edge",):
        for name, version in environment.read_pins(_pin_file(tree, kind, python)).items():
            found.setdefault(name, version)
    return [(name, version) for name, version in found.items() if name.lower() not in environment.NOT_HERE]


def _pin_file(tree, kind, python):
    line = max(one for one in environment.LINES if one <= tuple(map(int, python.split("."))))
    return os.path.join(tree, "requirements", "{}-{}.{}.txt".format(kind, *line))


def fetch(tree, folder, python, arch, jetson=False, glibc=(2, 28)):
    """Put the wheels for a Python such as 3.8 and a processor such as arm64 into folder. Raises WheelError."""
    os.makedirs(folder, exist_ok=True)
    base = _download(python, arch, glibc)
    for name, version in pins(tree, python, jetson):
        what = "{} {} for Python {} on {}".format(name, version, python, arch)
        if name == "Jetson.GPIO":  # comes as source alone, plain Python; JetPack has one of its own
            command = PIP + ["wheel", "--no-deps", "-w", folder, "{}=={}".format(name, version)]
        else:
            command = base + ["--no-deps", "-d", folder, "{}=={}".format(name, version)]
        _pip(command, name not in environment.NEEDED, what)
        for needed in environment.NEEDS.get((name, version), ()):
            _pip(base + ["--no-deps", "-d", os.path.join(folder, "extra"), needed], True, what)


def fetch_pycuda(tree, folder, python, arch, glibc=(2, 28)):
    """Put what pycuda is compiled from on a board without a network into FOLDER/build. Raises WheelError."""
    found = environment.read_pins(_pin_file(tree, "jetson", python))
    build, base = os.path.join(folder, "build"), _download(python, arch, glibc)
    for name in ("pip", "setuptools", "wheel"):
        _pip(base + ["--no-deps", "-d", build, "{}=={}".format(name, found[name])], False, name)
    _pip(PIP + ["download", "--no-deps", "--no-binary=pycuda", "-d", build, "pycuda==" + found["pycuda"]], False,
         "pycuda")
    if python == "3.6":  # pip takes the markers of its own Python for the other's, so its backport is named
        needs = PYCUDA_NEEDS + ("dataclasses",)
        _pip(PIP + ["download", "--no-deps", "--no-binary=pytools", "-d", build, "pytools==2022.1.2"], False, "pytools")
    else:
        needs = PYCUDA_NEEDS + ("pytools", "siphash24")
    _pip(base + ["-d", build] + list(needs), False, "what pycuda imports, for Python " + python)


def _download(python, arch, glibc):
    """pip's command that fetches wheels alone, for another Python and another processor."""
    machine, tag = MACHINES[arch], "cp" + python.replace(".", "")
    platforms = ["manylinux1_" + machine, "manylinux2010_" + machine, "manylinux2014_" + machine]
    platforms += ["manylinux_2_{}_{}".format(minor, machine) for minor in range(17, glibc[1] + 1)]
    abis = ["abi3", "none", tag + "m" if python in ("3.6", "3.7") else tag]
    base = PIP + ["download", "--only-binary=:all:", "--implementation=cp", "--python-version=" + python]
    return base + ["--platform=" + one for one in platforms + ["any"]] + ["--abi=" + one for one in abis]


def _pip(command, optional, what):
    done = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.communicate()[0].decode("utf-8", "replace").strip().splitlines()
    if done.returncode == 0:
        return
    if not optional:
        raise WheelError("no wheel of {}: {}".format(what, (said or ["-"])[-1]))
    sys.stderr.write("left out: {}, which only some outputs need: {}\n".format(what, (said or ["-"])[-1]))

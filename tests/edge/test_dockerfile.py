"""Dockerfile.l4t as far as it can be read; scripts/test-container builds and runs it."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from edge.cli import COMMANDS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PINS = ("3.6", "3.8", "3.10", "3.12")
# Where a Jetson needs another version than a laptop: requirements/jetson-*.txt say why
OTHER = {("3.8", "numpy"), ("3.10", "numpy"), ("3.12", "numpy")}


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def stages():
    """Instructions of each stage as (word, rest), continued lines joined, comments left out."""
    lines = [line for line in read("Dockerfile.l4t").splitlines() if not line.startswith("#")]
    found = [[]]
    for instruction in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = instruction.partition(" ")
        if word == "FROM":
            found.append([])
        if word:
            found[-1].append((word, rest.strip()))
    return found


def pins(name):
    return dict(re.findall(r"^([A-Za-z][\w.-]*)==(\S+)$", read("requirements/{}.txt".format(name)), re.MULTILINE))


def last(stage, word):
    return [rest for name, rest in stage if name == word][-1]


def test_the_linter_finds_nothing():
    hadolint = shutil.which("hadolint") or os.path.join(ROOT, ".venv", "lint", "bin", "hadolint")
    if not os.path.isfile(hadolint):
        pytest.skip("no hadolint here; .ci/run installs it with requirements/lint.txt")
    done = subprocess.Popen([hadolint, os.path.join(ROOT, "Dockerfile.l4t")], stdout=subprocess.PIPE)
    assert done.communicate()[0].decode() == "" and done.returncode == 0


def test_it_runs_as_a_user_of_its_own_and_its_health_is_scrapsorts():
    _, _, runtime = stages()
    words = [word for word, _ in runtime]
    assert last(runtime, "USER") == "scrapsort" and words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words[words.index("USER"):] and "ADD" not in words
    assert json.loads(last(runtime, "ENTRYPOINT")) == ["scrapsort"] and json.loads(last(runtime, "CMD")) == ["run"]
    health = json.loads(last(runtime, "HEALTHCHECK").partition("CMD ")[2])
    assert health == ["scrapsort", "status"] and {"run", "status"} <= {name for name, _ in COMMANDS}
    assert last(runtime, "STOPSIGNAL") == "SIGTERM"
    environment = last(runtime, "ENV")
    assert "STATE_DIRECTORY=" + last(runtime, "VOLUME") in environment.split()
    groups = next(rest for word, rest in runtime if "useradd" in rest)
    assert "--groups video,gpio" in groups


def test_the_bases_are_arguments_and_the_documented_ones_are_the_defaults():
    arguments, build, runtime = stages()
    defaults = dict(rest.split("=") for _, rest in arguments)
    assert build[0][1] == "${BASE_DEVEL} AS build" and runtime[0][1] == "${BASE_RUNTIME}"
    page = read("docs/jetson.md")
    for name in ("BASE_DEVEL", "BASE_RUNTIME"):
        assert defaults[name] in page
        assert len(re.findall("--build-arg {}=".format(name), page)) == 2, "r32 and r35; r36 has the defaults"
    for word, rest in build + runtime:
        assert word != "ARG" or rest.partition("=")[0] in page, rest


@pytest.mark.parametrize("line", PINS)
def test_the_pins_of_a_jetson(line):
    jetson, laptop = pins("jetson-" + line), pins("edge-" + line)
    assert not [name for name in jetson if "opencv" in name.lower()], "JetPack's OpenCV has GStreamer"
    assert {"numpy", "onnxruntime", "pycuda", "Jetson.GPIO"} <= set(jetson)
    assert ("tomli" in jetson) == (line != "3.12"), "3.11 has it as tomllib"
    differ = {name for name in set(jetson) & set(laptop) if jetson[name] != laptop[name]}
    assert differ == {name for other, name in OTHER if other == line}


def test_pins_for_numpy_go_with_jetpacks_own_modules():
    def numpy(line):
        return tuple(int(part) for part in pins("jetson-" + line)["numpy"].split("."))
    assert numpy("3.6") < (1, 19, 5), "dies with SIGILL"
    assert numpy("3.8") < (1, 24), "TensorRT 8.5 names numpy.bool"
    assert numpy("3.10") < (2,), "OpenCV 4.8 of JetPack 6 is compiled for NumPy 1"
    assert numpy("3.12") < (2,), "so is OpenCV 4.6 of Ubuntu 24.04, JetPack 7's"


def kept(path):
    """Whether .dockerignore lets a path into the image: the last rule that fits it or a folder above it decides."""
    answer = True
    for rule in read(".dockerignore").splitlines():
        if rule and not rule.startswith("#"):
            pattern = rule.lstrip("!")
            parts = path.split("/")
            above = ["/".join(parts[:n + 1]) for n in range(len(parts))]
            names = [pattern, pattern[3:]] if pattern.startswith("**/") else [pattern]
            if any(fnmatch.fnmatchcase(one, name) and (one.count("/") == name.count("/") or name.startswith("**"))
                   for one in above for name in names):
                answer = rule.startswith("!")
    return answer


def test_what_goes_into_the_image():
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    setuptools = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    needed = [package.replace(".", "/") + "/__init__.py" for package in setuptools["packages"]]
    needed += [pattern.replace("*", "manifest.json") for patterns in setuptools["data-files"].values()
               for pattern in patterns]
    needed += ["pyproject.toml", "setup.cfg", "README.md", "requirements/jetson-3.6.txt"]
    assert [path for path in needed if not kept(path)] == []
    for path in (".git/config", ".venv/x/bin/python", ".cache/container/x.tar", "data/a.jpg", "runs/a/best.pt",
                 "tests/edge/conftest.py", "edge/__pycache__/a.pyc", "models/mine/model.onnx", "Dockerfile.l4t"):
        assert not kept(path), path

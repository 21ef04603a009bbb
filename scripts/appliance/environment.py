"""Makes /opt/scrapsort/venv out of wheels: `scrapsort-setup`, see its page in section 8. Python 3.6 and nothing more.

Wheels are unpacked, not installed by pip: a JetPack has neither pip nor ensurepip nor all of distutils before something
is fetched, and an air-gapped one cannot fetch them. A wheel is a zip file; each here is pinned by name and version.
"""

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = "/opt/scrapsort"
CACHE = "/var/cache/scrapsort/wheels"
LINES = ((3, 6), (3, 8), (3, 10), (3, 12))  # Python lines that requirements/ pins; a line serves until the next
JETSON = "/etc/nv_tegra_release"
# Needed: without one of them nothing is sorted. What else the pins name is for outputs that not everybody has
NEEDED = ("numpy", "onnxruntime", "opencv-python-headless", "tomli")
# Of the pins only these import anything besides; what else they declare is for parts that nothing here uses
NEEDS = {("pymodbus", "2.5.3"): ("six==1.16.0", "pyserial==3.5")}
NOT_HERE = ("pip", "setuptools", "wheel", "pycuda")  # for building, or built here
OLDEST_OPENCV = (4, 1)
LOOK = "import {0}; print({0}.__version__)"
# Also what fits by version may not fit by binary interface: what was unpacked must be importable together
TRY = "import numpy, cv2, onnxruntime; cv2.resize(numpy.zeros((4, 4), numpy.uint8), (2, 2))"


OLD_PIP = tuple(sys.version_info[:2]) < (3, 7)


class SetupError(Exception):
    """Why the environment cannot be made, in one line."""


def main(argv=None):
    """Make it; 0 when it is there afterwards."""
    parser = argparse.ArgumentParser(prog="scrapsort-setup", description="Makes scrapsort's Python environment.")
    parser.add_argument("--wheels", action="append", default=[], metavar="DIR", help="take wheels from there, too")
    parser.add_argument("--pycuda", action="store_true", help="on a Jetson: compile pycuda for TensorRT")
    parser.add_argument("--force", action="store_true", help="make the environment anew")
    parser.add_argument("--installing", action="store_true", help=argparse.SUPPRESS)  # by dpkg: without network
    parser.add_argument("--root", default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--cache", default=CACHE, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    os.umask(0o022)  # the service's user must be able to read it, whatever root's own files are like
    try:
        setup = Environment(arguments.root, arguments.cache, arguments.wheels, not arguments.installing)
        if arguments.pycuda:
            setup.build_pycuda()
        made = setup.make(arguments.force)
    except (SetupError, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write("scrapsort-setup: {}{}\n".format(
            error, "; when that is mended, run: sudo scrapsort-setup" if arguments.installing else ""))
        return 1
    say("environment made" if made else "nothing to do")
    if arguments.root == ROOT and not arguments.installing and os.path.isdir("/run/systemd/system"):
        start_units("restart" if made else "start")
    return 0


def start_units(how):
    """Start what is enabled and waited for the environment; after a change the sorter is restarted with it."""
    folder = "/lib/systemd/system"
    for unit in sorted(name for name in os.listdir(folder) if name.startswith("scrapsort")):
        if unit.endswith(".d") or subprocess.call(["systemctl", "--quiet", "is-enabled", unit],
                                                  stderr=subprocess.DEVNULL):
            continue
        subprocess.call(["systemctl", how if unit == "scrapsort.service" else "start", "--no-block", unit])


class Environment:
    """The environment of one installation: what it needs, what the system has, and how it is made."""

    def __init__(self, root, cache, wheels=(), network=True):
        self.root, self.cache, self.network = root, cache, network
        self.folders = [os.path.join(root, "wheels")] + list(wheels) + [cache]
        self.venv = os.path.join(root, "venv")
        self.jetson = os.path.exists(JETSON)
        self.pins = self._pins()

    def make(self, force=False):
        """Make the environment where it is not up to date. Returns whether it was made. Raises SetupError."""
        stamp = self._stamp()
        try:
            with open(os.path.join(self.venv, "made-from")) as file:
                if file.read() == stamp and not force and self._tried(self.venv) is None:
                    return False
        except OSError:
            pass
        chosen = self._choose()
        new, old = self.venv + ".new", self.venv + ".old"
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
        say("making {} for Python {}.{} ...".format(self.venv, *sys.version_info[:2]))
        run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", new], "venv")
        site = os.path.join(new, "lib", "python{}.{}".format(*sys.version_info[:2]), "site-packages")
        for path in chosen:
            unpack(path, site)
        trouble = self._tried(new)
        if trouble:
            shutil.rmtree(new, ignore_errors=True)
            raise SetupError("what was unpacked cannot be imported: {}".format(trouble))
        run([sys.executable, "-m", "compileall", "-q", site], "compileall", check=False)
        with open(os.path.join(new, "made-from"), "w") as file:
            file.write(stamp)
        if hasattr(os, "sync"):
            os.sync()  # a power cut after this must not leave empty files under the final name
        if os.path.lexists(self.venv):
            os.rename(self.venv, old)
        os.rename(new, self.venv)
        shutil.rmtree(old, ignore_errors=True)
        return True

    def _pins(self):
        """{name: version} for this Python; a Jetson's own pins first."""
        version = tuple(sys.version_info[:2])
        lines = [line for line in LINES if line <= version]
        if not lines or version == (3, 7):
            raise SetupError("Python {}.{} is not served; 3.6, 3.8 or newer is needed".format(*version))
        pins = {}
        for kind in ("jetson", "edge") if self.jetson else ("edge",):
            path = os.path.join(self.root, "requirements", "{}-{}.{}.txt".format(kind, *max(lines)))
            if os.path.isfile(path):
                for name, pin in read_pins(path).items():
                    pins.setdefault(name, pin)
        if "numpy" not in pins:
            raise SetupError("no pins for Python {}.{} in {}/requirements".format(*(version + (self.root,))))
        return {name: pin for name, pin in pins.items() if name.lower() not in NOT_HERE}

    def _stamp(self):
        """Changes with the pins, with the system's Python, NumPy and OpenCV, and with extra wheels."""
        text = "{} {}\n".format(platform.python_version(), platform.machine())
        text += "".join("{}=={}\n".format(*pin) for pin in sorted(self.pins.items()))
        text += "".join("system {} {}\n".format(name, of_system(name)) for name in ("numpy", "cv2"))
        return hashlib.sha256((text + "\n".join(map(os.path.basename, self._extra()))).encode()).hexdigest() + "\n"

    def _choose(self):
        """Paths of the wheels to unpack: none over a NumPy or OpenCV of the system that serves."""
        pins = dict(self.pins)
        runtime = self._wheel("onnxruntime", pins.pop("onnxruntime"))
        has = of_system("numpy")
        # TensorRT and OpenCV of a JetPack want no newer one than its pin
        if has and serves(has, lowest_numpy(runtime)) and not (self.jetson and numbers(has) > numbers(pins["numpy"])):
            say("NumPy {} is the system's".format(has))
            pinned = has
        else:
            pinned = pins["numpy"]
        if pinned == has:
            del pins["numpy"]
        opencv = of_system("cv2")
        # An OpenCV of the system is compiled for the system's NumPy, and goes with another one of the same number
        if opencv and numbers(opencv)[:2] >= OLDEST_OPENCV and has and numbers(has)[0] == numbers(pinned)[0]:
            say("OpenCV {} is the system's".format(opencv))
            pins.pop("opencv-python-headless", None)
        chosen = [runtime]
        for name, version in sorted(pins.items()):
            try:
                chosen.append(self._wheel(name, version))
            except SetupError as error:
                if name in NEEDED:
                    raise
                say("left out: {} {} ({}); only outputs that use it need it".format(name, version, error))
        return chosen + self._extra()

    def _extra(self):
        return sorted(path for folder in self.folders for path in files(os.path.join(folder, "extra"))
                      if fits(os.path.basename(path)))

    def _wheel(self, name, version, again=True):
        """The path of a wheel that fits this Python and processor; it is fetched where it is not here."""
        for folder in [one for top in self.folders for one in (top, os.path.join(top, "build"))]:
            for path in files(folder):
                if is_of(os.path.basename(path), name, version) and fits(os.path.basename(path)):
                    return path
        if not again or not self.network:
            raise SetupError("no wheel of {} {} for Python {}.{} on {} in {}".format(
                name, version, sys.version_info[0], sys.version_info[1], platform.machine(), " or ".join(self.folders)))
        say("fetching {} {} ...".format(name, version))
        # What comes as source alone is plain Python, or it is not for this place
        how = ["download", "--no-deps", "--only-binary=:all:", "-d"]
        if name == "Jetson.GPIO":
            how = ["wheel", "--no-deps", "-w"]
        run(self._pip() + how + [self.cache, "{}=={}".format(name, version)], "pip")
        for needed in NEEDS.get((name, version), ()):
            run(self._pip() + ["download", "--no-deps", "--only-binary=:all:", "-d", os.path.join(self.cache, "extra"),
                               needed], "pip")
        return self._wheel(name, version, False)

    def _pip(self):
        """A pip that can be run, one for today's wheels."""
        os.makedirs(self.cache, exist_ok=True)
        pip = [sys.executable, "-m", "pip"]
        if subprocess.call(pip + ["--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            folder = os.path.join(self.cache, "pip")
            python = os.path.join(folder, "bin", "python3")
            if not os.path.isfile(os.path.join(folder, "made")):
                try:
                    run([sys.executable, "-m", "venv", "--clear", folder], "venv")
                except SetupError:
                    raise SetupError("there is no pip to fetch wheels with; run: sudo apt-get install python3-venv")
                open(os.path.join(folder, "made"), "w").close()
            pip = [python, "-m", "pip"]
        if OLD_PIP:  # its own is too old to know today's wheels
            run(pip + ["download", "--no-deps", "-d", self.cache, "pip==21.3.1"], "pip")
            pip = [sys.executable, os.path.join(self.cache, "pip-21.3.1-py3-none-any.whl", "pip")]
        return pip + ["--disable-pip-version-check"]

    def build_pycuda(self):
        """Compile the pinned pycuda into the cache; done at once when it is there. Raises SetupError."""
        path = os.path.join(self.root, "requirements", "jetson-{}.{}.txt".format(*sys.version_info[:2]))
        pin = (read_pins(path) if os.path.isfile(path) else {}).get("pycuda")
        if not pin:
            raise SetupError("no pycuda is pinned for this Python")
        extra = os.path.join(self.cache, "extra")
        if any(is_of(os.path.basename(one), "pycuda", pin) for folder in self.folders
               for one in files(os.path.join(folder, "extra"))):
            return
        nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
        if not os.path.exists(nvcc):
            raise SetupError("pycuda needs CUDA's compiler; run: sudo apt-get install nvidia-jetpack")
        cuda = os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))
        sources = [one for folder in self.folders for one in files(os.path.join(folder, "build"), ".tar.gz")
                   if "pycuda-" + pin in one]
        say("compiling pycuda {} ...".format(pin))
        environ = dict(os.environ, CUDA_ROOT=cuda, PATH=os.path.join(cuda, "bin") + ":" + os.environ.get("PATH", ""),
                       OPENBLAS_CORETYPE="ARMV8")
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as tools:
            # Sources without a pyproject.toml are built with what pip's own Python has, and a JetPack's has little
            for name in ("pip", "setuptools", "wheel", "numpy"):
                unpack(self._wheel(name, read_pins(path)[name]), tools)
            command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-build-isolation"]
            command += ["-w", folder]
            command += ["--no-index", "--find-links", os.path.dirname(sources[0]), "--find-links", os.path.dirname(
                os.path.dirname(sources[0])), sources[0]] if sources else ["pycuda==" + pin]
            run(command, "compiling pycuda", dict(environ, PYTHONPATH=tools))
            os.makedirs(extra, exist_ok=True)
            for one in files(folder):
                if not os.path.basename(one).startswith("numpy-"):
                    shutil.copy(one, extra)

    @staticmethod
    def _tried(venv):
        """None when all that is needed can be imported there, else the last line of what Python says."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environ["OPENBLAS_CORETYPE"] = "ARMV8" if sys.version_info < (3, 7) else environ.get("OPENBLAS_CORETYPE", "")
        environ["ORT_DISABLE_TELEMETRY"] = "1"  # as edge/__init__.py does: nothing into root's home, nothing sent away
        code = TRY if sys.version_info >= (3, 11) else TRY + "; import tomli"
        process = subprocess.Popen([os.path.join(venv, "bin", "python"), "-c", code], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env={k: v for k, v in environ.items() if v})
        said = process.communicate()[0].decode("utf-8", "replace").strip().splitlines()
        return None if process.returncode == 0 else "exit code {}: {}".format(process.returncode, (said or ["-"])[-1])


def unpack(path, site):
    """Put a wheel's modules into site-packages; its scripts are left out, which nothing here uses."""
    with zipfile.ZipFile(path) as wheel:
        for name in wheel.namelist():
            parts = name.split("/")
            if parts[0].endswith(".data"):
                if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                    continue
                parts = parts[2:]
            if name.endswith("/") or ".." in parts or not parts[0]:
                continue
            target = os.path.join(site, *parts)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with wheel.open(name) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file)


def read_pins(path):
    """{name: version} of a file of pins."""
    with open(path, encoding="utf-8") as file:
        return dict(re.findall(r"^([\w.-]+)==([\w.]+)", file.read(), re.MULTILINE))


def of_system(module):
    """The version of the system's own numpy or cv2 for this Python; empty where there is none that can be imported."""
    process = subprocess.Popen([sys.executable, "-E", "-s", "-c", LOOK.format(module)], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env=dict(os.environ, OPENBLAS_CORETYPE="ARMV8")
                               if platform.machine() == "aarch64" else None)
    text = process.communicate()[0].decode("utf-8", "replace").strip()
    return text if process.returncode == 0 else ""


def lowest_numpy(wheel):
    """The NumPy that an onnxruntime wheel asks for at least, as numbers."""
    with zipfile.ZipFile(wheel) as file:
        name = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        found = re.search(r"^Requires-Dist: numpy *\(?.*?>= *([\d.]+)", file.read(name).decode("utf-8"), re.MULTILINE)
    return max(numbers(found.group(1)) if found else (0,), (1, 19, 4))


def serves(numpy, lowest):
    """Whether this NumPy is new enough, and not the one that dies on JetPack 4."""
    return numbers(numpy) >= lowest and not (numpy == "1.19.5" and sys.version_info < (3, 7))


def is_of(file, name, version):
    """Whether a file is a wheel of this distribution and version."""
    parts = file.split("-")
    return re.sub(r"[-_.]+", "-", parts[0]).lower() == re.sub(r"[-_.]+", "-", name).lower() and parts[1:2] == [version]


def fits(file):
    """Whether a wheel's tags fit this Python and processor; its glibc was looked at when it was fetched."""
    python, abi, systems = file[:-len(".whl")].split("-")[-3:]
    this = "cp{}{}".format(*sys.version_info[:2])
    stable = re.match(r"cp3(\d+)$", python)
    if abi == "abi3":
        good = bool(stable) and int(stable.group(1)) <= sys.version_info[1]
    else:
        good = this in python.split(".") or ("py3" in python.split(".") and abi == "none")
    return good and (systems == "any" or platform.machine() in systems and "linux" in systems)


def files(folder, ending=".whl"):
    """Files of this ending in a folder, which need not exist."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name.endswith(ending)]


def numbers(version):
    """(1, 26, 4) of 1.26.4."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def run(command, what, environ=None, check=True):
    """Run a command in silence; when it fails, the reason is a compiler's first complaint, else its last line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               env=environ)
    said = process.communicate()[0].decode("utf-8", "replace").strip().splitlines()
    if check and process.returncode:
        wrong = [line.strip() for line in said if re.search(r"(^|\s)error: (?!subprocess)|cannot find -l", line)][:1]
        raise SetupError("{} failed: {}".format(what, (wrong or said[-1:] or ["exit code {}".format(
            process.returncode)])[0]))


def say(text):
    """A line of progress."""
    sys.stdout.write("scrapsort-setup: {}\n".format(text))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

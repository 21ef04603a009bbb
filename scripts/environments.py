"""Virtual environments for scripts/demo and scripts/test: Python's standard library alone, from 3.6 on."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = os.path.join(ROOT, "requirements")
LINES = ((3, 6), (3, 8), (3, 10), (3, 12))  # Python lines that requirements/ pins; a line serves until the next
# Building OpenCV or numpy takes an hour, and on 3.6 fails; Jetson.GPIO is plain Python that comes as source alone
BINARY_ONLY = ["--only-binary", ":all:", "--no-binary", "Jetson.GPIO"]


def line_of(version):
    """The Python line, such as (3, 10), whose pins serve a version; None for 3.7 and before 3.6."""
    fits = [line for line in LINES if line <= version]
    return max(fits) if fits and version != (3, 7) else None


def find_interpreters():
    """Interpreters on this machine as {(3, 8): path}: this one, those on PATH and under ~/.pyenv/versions."""
    candidates = [sys.executable]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if os.path.isdir(folder) and "shims" not in folder:  # pyenv's shims exist for versions that are not active
            names = [n for n in os.listdir(folder) if re.match(r"python3(\.\d+)?$", n)]
            candidates += [os.path.join(folder, n) for n in sorted(names)]
    versions = os.path.expanduser("~/.pyenv/versions")
    for name in sorted(os.listdir(versions)) if os.path.isdir(versions) else []:
        candidates.append(os.path.join(versions, name, "bin", "python"))
    found = {}
    for path in candidates:
        version = _version_of(path)
        if version and version >= (3, 6) and version not in found:
            found[version] = path
    return found


def _version_of(path):
    """(major, minor) of an interpreter that can make environments with pip, else None."""
    code = "import sys, venv, ensurepip; print('%d %d' % sys.version_info[:2])"
    try:
        output = subprocess.run([path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60,
                                check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(map(int, output.stdout.split())) if output.returncode == 0 else None


def make(interpreter, version, name, requirements):
    """The Python of environment .venv/NAME with the pins of requirements/FILE, made or renewed where needed."""
    folder = os.path.join(ROOT, ".venv", name)
    python = os.path.join(folder, "Scripts" if os.name == "nt" else "bin", "python")
    stamp, wanted = os.path.join(folder, "requirements.sha256"), _digest(interpreter, requirements)
    if os.path.isfile(stamp) and os.path.isfile(python):
        with open(stamp) as file:
            if file.read() == wanted:
                return python
    say("making .venv/{} with Python {}.{} from requirements/{} ...".format(name, version[0], version[1],
                                                                         requirements))
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.check_call([interpreter, "-m", "venv", folder])
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if version == (3, 6):  # the pip that comes with it does not know today's wheels
        subprocess.check_call(pip + ["pip==21.3.1"])
    subprocess.check_call(pip + BINARY_ONLY + ["-r", os.path.join(REQUIREMENTS, requirements)])
    with open(stamp, "w") as file:
        file.write(wanted)
    return python


def _digest(interpreter, requirements):
    """Changes when a file of pins does, one that it includes, or the interpreter."""
    digest = hashlib.sha256(interpreter.encode())
    waiting = [requirements]
    while waiting:
        with open(os.path.join(REQUIREMENTS, waiting.pop())) as file:
            text = file.read()
        digest.update(text.encode())
        waiting += re.findall(r"^-r (\S+)", text, re.MULTILINE)
    return digest.hexdigest()


def say(text):
    """A line of progress, in order with what subprocesses print."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

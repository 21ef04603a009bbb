"""A bed: a Debian with a real systemd, booted from a root file system that is made once, thrown away after use.

Needs root, Linux, mmdebstrap (once, with a network for it) and systemd-nspawn. The root file system and what pip
installs lie in $SCRAPSORT_BEDS, else ~/.cache/scrapsort-beds.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("SCRAPSORT_BEDS") or os.path.expanduser("~/.cache/scrapsort-beds")
RELEASE, PYTHON = "bookworm", "3.11"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "procps", "libstdc++6")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64")
HIERARCHIES = ("systemd", "unified", "")  # of a machine with both versions of cgroups; of one with the new alone
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_S = 60.0


class NoBedError(Exception):
    """Why there can be no bed here."""


def root_file_system():
    """The folder of the root file system, made when it is not there. Raises NoBedError."""
    if os.name != "posix" or os.geteuid() != 0:
        raise NoBedError("a bed needs root on Linux")
    for program, package in (("systemd-nspawn", "systemd-container"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            raise NoBedError("no {}; run: apt-get install {}".format(program, package))
    folder = os.path.join(CACHE, RELEASE)
    if not os.path.isdir(folder):
        if shutil.which("mmdebstrap") is None:
            raise NoBedError("no mmdebstrap; run: apt-get install mmdebstrap")
        os.makedirs(CACHE, exist_ok=True)
        part = tempfile.mkdtemp(dir=CACHE)
        done = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--include=" + ",".join(PACKAGES), RELEASE,
                               part], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise NoBedError("mmdebstrap: " + done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
        os.chmod(part, 0o755)
        os.rename(part, folder)
    return folder


def packages():
    """The folder with what pip installs for the bed's Python. Raises NoBedError."""
    wanted = []
    for name in ("edge-3.10.txt", "test-3.10.txt"):
        with open(os.path.join(ROOT, "requirements", name)) as file:
            wanted += [line.strip() for line in file
                       if name.startswith("edge") or line.lower().startswith("pymodbus")]
    wanted = [line for line in wanted if line and not line.startswith(("#", "-"))]
    folder = os.path.join(CACHE, "site-" + hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12])
    if not os.path.isdir(folder):
        os.makedirs(CACHE, exist_ok=True)
        part = tempfile.mkdtemp(dir=CACHE)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", part,
                   "--python-version", PYTHON, "--only-binary=:all:"]
        done = subprocess.run(command + ["--platform=" + one for one in PLATFORMS] + wanted, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode:
            shutil.rmtree(part, ignore_errors=True)
            raise NoBedError("pip: " + done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
        os.chmod(part, 0o755)
        os.rename(part, folder)
    return folder


class Bed:
    """One machine. Power it on, run commands in it, pull its plug; what is in `kept` outlives that."""

    def __init__(self, name, binds=(), kept=()):
        """binds: (folder here, folder there), read-only; kept: likewise, writable."""
        self.name = "{}-{}".format(name, os.getpid())
        self._root, self._binds, self._kept = root_file_system(), list(binds), list(kept)
        self._nspawn = None
        self.leader = 0  # its process 1, seen from here

    def power_on(self):
        """Boot it, up to where systemd has started all that it starts."""
        groups = []
        for hierarchy in HIERARCHIES:
            folder = os.path.join("/sys/fs/cgroup", hierarchy)
            if os.path.exists(os.path.join(folder, "cgroup.procs")):
                groups.append(os.path.join(folder, self.name))
                os.makedirs(groups[-1], exist_ok=True)
        command = ["systemd-nspawn", "-q", "-D", self._root, "--volatile=overlay", "--boot", "--register=no",
                   "--keep-unit", "--private-network", "-M", self.name]
        command += ["--bind-ro={}:{}".format(*one) for one in self._binds]
        command += ["--bind={}:{}".format(*one) for one in self._kept]
        shell = "for g in {}; do echo $$ >$g/cgroup.procs; done; exec \"$@\"".format(" ".join(groups))
        self._log = tempfile.TemporaryFile()
        self._nspawn = subprocess.Popen(["sh", "-c", shell, "sh"] + command, stdin=subprocess.DEVNULL,
                                        stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + BOOT_S
        while time.monotonic() < deadline:
            self.leader = self._child()
            if self.leader and self.run("systemctl", "is-system-running", check=False)[1].strip() in (
                    "running", "degraded"):
                return self
            if self._nspawn.poll() is not None:
                break
            time.sleep(0.1)
        self._log.seek(0)
        text = self._log.read().decode("utf-8", "replace").strip()
        self.pull_the_plug()
        raise NoBedError("the bed does not boot: {}".format(text[-500:] or "nothing is said"))

    def _child(self):
        """The bed's process 1, which nspawn has started."""
        path = "/proc/{0}/task/{0}/children".format(self._nspawn.pid)
        try:
            with open(path) as file:
                return int((file.read().split() or ["0"])[0])
        except OSError:
            done = subprocess.run(["pgrep", "-P", str(self._nspawn.pid)], stdout=subprocess.PIPE, check=False)
            return int((done.stdout.split() or [b"0"])[0])

    def run(self, *command, check=True, timeout=120.0):
        """A command in the bed: (exit code, stdout, stderr)."""
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "--", "env", "-i",
                 "PATH=" + PATH]
        done = subprocess.run(enter + [str(one) for one in command], stdin=subprocess.DEVNULL,  # noqa: UP022  # 3.6 has no capture_output
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=timeout)
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        if check and done.returncode:
            raise AssertionError("{} ended with {}: {}{}".format(" ".join(map(str, command)), done.returncode, out,
                                                                 err))
        return done.returncode, out, err

    def path(self, path):
        """A file of the bed, as it can be opened here."""
        return "/proc/{}/root{}".format(self.leader, path)

    def write(self, path, text, mode=0o644):
        """Put a file there, at once as a whole."""
        here = self.path(path)
        os.makedirs(os.path.dirname(here), exist_ok=True)
        with open(here + ".new", "w") as file:
            file.write(text)
        os.chmod(here + ".new", mode)
        os.rename(here + ".new", here)

    def pull_the_plug(self):
        """All its processes are gone at once; what was in its memory, too."""
        if self._nspawn is None:
            return
        if self.leader:
            try:
                os.kill(self.leader, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._nspawn, self.leader = None, 0
        self._log.close()
        for hierarchy in HIERARCHIES:
            for folder, _, _ in os.walk(os.path.join("/sys/fs/cgroup", hierarchy, self.name), topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass

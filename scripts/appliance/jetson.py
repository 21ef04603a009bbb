"""From a checkout to a Jetson that sorts, step by step; each step looks first, so that a second time does nothing."""

import argparse
import importlib
import os
import pwd
import sys
import tempfile

from appliance import package
from appliance.machine import Machine, StepError, say

sys.path.insert(0, package.ROOT)
from edge import board  # noqa: E402  # of this checkout
from edge.health.sysfs import Sysfs  # noqa: E402  # after its folder is on the path

best_mode = importlib.import_module("edge.health.checks.board").best_mode  # its package has a function of that name

STATE = "/var/lib/scrapsort"
FIRST_L4T = (32, 7)  # JetPack 4.6.1
CUDA = "/usr/local/cuda"
PROFILE = "/etc/profile.d/scrapsort.sh"
SWAP, FSTAB = "/var/swapfile-scrapsort", "/etc/fstab"
SWAP_LINE = "{} none swap sw 0 0  # of scrapsort's scripts/install-jetson\n".format(SWAP)
SMALL_MB, SWAP_MB = 5000, 4096  # boards with less memory build no engine without swap on a disk
LEFT_MB = 2000  # of the disk, beside the swap file: a card that is full keeps no items


def main(argv=None):
    """The command scripts/install-jetson."""
    parser = argparse.ArgumentParser(prog="scripts/install-jetson", description="Installs scrapsort on this Jetson "
                                     "from this checkout. Run it again after an update; --uninstall takes it back.")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--uninstall", action="store_true", help="take back what this script has done; state stays")
    parser.add_argument("--purge", action="store_true", help="with --uninstall: journal, models and settings go, too")
    parser.add_argument("--wheels", metavar="DIR", help="wheels that are here already, such as those of bundle-offline")
    parser.add_argument("--no-swap", action="store_true", help="do not make a swap file on a board with little memory")
    parser.add_argument("--fastest", action="store_true", help="set nvpmodel's fastest mode; the supply must bear it")
    parser.add_argument("--anyway", action="store_true", help="also on a machine that is no Jetson")
    arguments = parser.parse_args(argv)
    if arguments.purge and not arguments.uninstall:
        parser.error("--purge goes with --uninstall")
    machine = Machine(dry=arguments.dry_run)
    try:
        if os.geteuid() != 0 and not arguments.dry_run:
            raise StepError("it must be run as root: sudo scripts/install-jetson")
        if arguments.uninstall:
            return uninstall(machine, arguments)
        return install(machine, arguments)
    except (StepError, package.PackageError, OSError) as error:
        sys.stderr.write("scripts/install-jetson: {}\n".format(error))
        return 1


def install(machine, arguments):
    """All steps in order; the exit code of doctor."""
    which = board.read(machine.root)
    say("1. JetPack")
    jetpack(which, arguments.anyway)
    for number, (title, step) in enumerate((
            ("packages of the system", packages), ("swap", swap), ("power mode", power_mode), ("paths of CUDA", paths),
            ("scrapsort", code), ("Python environment", environment), ("pycuda", pycuda), ("groups", groups),
            ("services", services)), 2):
        say("{}. {}".format(number, title))
        step(machine, which, arguments)
    say("11. doctor")
    command = ["/usr/bin/scrapsort", "doctor", "--state", STATE]
    return 0 if machine.run(*command, check=False) else 1


def uninstall(machine, arguments):
    """The steps backwards, as far as this script has done them."""
    done = machine.changed()
    say("1. services and scrapsort")
    if machine.ask("dpkg-query", "-W", "scrapsort")[0]:
        machine.run("dpkg", "-P" if arguments.purge else "-r", "scrapsort")
    else:
        say("    not installed")
    for what in ("code", "environment"):
        machine.note(what, None)
    say("2. groups")
    for user in done.get("groups", []):
        if user in machine.ask("getent", "group", "scrapsort")[1].split(":")[-1].split(","):
            machine.run("gpasswd", "-d", user, "scrapsort", check=False)
    machine.note("groups", None)
    say("3. paths of CUDA")
    if done.get("paths") or machine.exists(PROFILE):
        machine.write(PROFILE, "")
    machine.note("paths", None)
    say("4. power mode")
    if "power" in done:
        machine.run("nvpmodel", "-m", str(done["power"]), check=False)
    machine.note("power", None)
    say("5. swap")
    if done.get("swap"):
        machine.run("swapoff", SWAP, check=False)
        machine.write(FSTAB, machine.text(FSTAB).replace(SWAP_LINE, ""))
        machine.write(SWAP, "")
    machine.note("swap", None)
    if "packages" in done:
        say("packages of the system stay, for others may use them by now: {}".format(" ".join(done["packages"])))
    machine.note("packages", None)
    say("uninstalled" + ("" if arguments.purge else "; journal, models and settings are kept: " + STATE))
    return 0


def jetpack(which, anyway):
    """Whether scrapsort runs on this board. Raises StepError."""
    if not which.is_jetson:
        if not anyway:
            raise StepError("this is no Jetson: there is no /etc/nv_tegra_release; on a PC see docs/install.md")
        say("    this is no Jetson; going on, as asked")
        return
    if which.l4t and tuple(int(part) for part in which.l4t.split(".")[:2]) < FIRST_L4T:
        raise StepError("L4T {} is older than JetPack 4.6.1, whose TensorRT is the oldest that serves; flash a newer "
                        "one".format(which.l4t))
    say("    {}, JetPack {} (L4T {})".format(which.model or "a Jetson", which.jetpack or "?", which.l4t or "?"))


def packages(machine, which, arguments):
    """What Debian's packages must give: pip to fetch wheels with, and a compiler for pycuda."""
    wanted = [] if arguments.wheels else ["python3-venv"]
    if which.is_jetson and machine.exists(CUDA):
        wanted += ["python3-dev", "g++"]
    missing = [name for name in wanted if machine.ask("dpkg-query", "-W", "-f", "${Status}", name)[1]
               != "install ok installed"]
    if not missing:
        say("    there: {}".format(" ".join(wanted) or "none is needed"))
        return
    machine.run("apt-get", "update", check=False)
    machine.run("apt-get", "install", "-y", "--no-install-recommends", *missing)
    machine.note("packages", sorted(set(machine.changed().get("packages", []) + missing)))


def swap(machine, which, arguments):
    """A swap file where the builder of engines would be killed without."""
    memory = board.memory_mb(machine.root)
    disk = [line for line in machine.text("/proc/swaps").splitlines()[1:] if "/zram" not in line]
    if memory is None or memory["MemTotal"] >= SMALL_MB:
        say("    {} MB of memory: no swap is needed".format(memory["MemTotal"] if memory else "?"))
    elif disk:
        say("    there: {}".format(disk[0].split()[0]))
    elif arguments.no_swap or not which.is_jetson:
        say("    none on a disk, and {} MB of memory: the builder of engines may be killed".format(memory["MemTotal"]))
    elif machine.free_mb(os.path.dirname(SWAP)) < SWAP_MB + LEFT_MB:
        say("    no room for {} MB of swap in {}: the builder of engines may be killed; free some space and run this "
            "again".format(SWAP_MB, os.path.dirname(SWAP)))
    else:
        machine.note("swap", True)
        machine.run("fallocate", "-l", "{}M".format(SWAP_MB), machine.real(SWAP))
        machine.run("chmod", "600", machine.real(SWAP))
        machine.run("mkswap", machine.real(SWAP))
        machine.run("swapon", machine.real(SWAP))
        if SWAP_LINE not in machine.text(FSTAB):
            machine.write(FSTAB, machine.text(FSTAB).rstrip("\n") + "\n" + SWAP_LINE)


def power_mode(machine, which, arguments):
    """nvpmodel's mode: the fastest one only when asked for, since not every supply bears it."""
    sysfs = Sysfs(machine.root)
    modes, mode = sysfs.power_modes(), sysfs.power_mode()
    if not modes:
        say("    no nvpmodel here")
        return
    best = best_mode(modes)
    text = "mode {} ({})".format(mode, modes.get(mode, "?"))
    if mode == best:
        say("    {}, the fastest".format(text))
    elif not arguments.fastest:
        say("    {}; mode {} ({}) is faster: --fastest, if the supply bears it".format(text, best, modes[best]))
    else:
        machine.note("power", machine.changed().get("power", mode))
        if not machine.run("nvpmodel", "-m", str(best), check=False):  # some changes want a reboot, and ask for it
            say("    it wants a reboot: sudo nvpmodel -m {}".format(best))


def paths(machine, which, arguments):
    """CUDA's compiler and libraries for shells, and the variable without which NumPy 1.19 dies on JetPack 4."""
    lines = []
    if machine.exists(CUDA + "/bin/nvcc"):
        lines += ["export PATH={}/bin:$PATH".format(CUDA),
                  "export LD_LIBRARY_PATH={}/lib64${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}".format(CUDA)]
    elif which.is_jetson:
        say("    there is no {}; TensorRT needs it: sudo apt-get install nvidia-jetpack".format(CUDA))
    if which.l4t.startswith("32."):
        lines.append("export OPENBLAS_CORETYPE=ARMV8  # NumPy 1.19 dies with \"Illegal instruction\" without it")
    text = "# Of scrapsort's scripts/install-jetson\n" + "\n".join(lines) + "\n" if lines else ""
    if machine.text(PROFILE) == text:
        say("    there" if text else "    none is needed")
        return
    say("    {}: {}".format(PROFILE, "; ".join(lines) or "not needed any more"))
    machine.write(PROFILE, text)
    machine.note("paths", bool(text) or None)


def code(machine, which, arguments):
    """The package of this checkout."""
    if machine.dry:
        say("    would build and install scrapsort {}".format(package.version_of(package.ROOT)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = package.build(package.ROOT, folder)
        digest = package.sha256(path)
        if machine.changed().get("code") == digest and machine.ask("dpkg-query", "-W", "-f", "${Status}", "scrapsort")[
                1] == "install ok installed":
            say("    there: {}".format(os.path.basename(path)))
            return
        machine.run("dpkg", "--force-confdef", "--force-confold", "-i", path)
        machine.note("code", digest)


def environment(machine, which, arguments):
    """NumPy, ONNX Runtime and so on; nothing is done when they are there."""
    machine.run("/usr/sbin/scrapsort-setup", *wheels_of(arguments))


def pycuda(machine, which, arguments):
    """Compiled, where there is TensorRT to use it; without it ONNX Runtime sorts, so its failure ends nothing."""
    if not which.is_jetson or not machine.ask("/usr/bin/python3", "-c", "import tensorrt")[0]:
        say("    not needed: there is no TensorRT for this Python")
        return
    if not machine.run("/usr/sbin/scrapsort-setup", "--pycuda", *wheels_of(arguments), check=False):
        say("    pycuda could not be compiled; ONNX Runtime sorts meanwhile, and doctor tells more")


def wheels_of(arguments):
    """The option of scrapsort-setup for the wheels that are here already."""
    return ["--wheels", os.path.abspath(arguments.wheels)] if arguments.wheels else []


def groups(machine, which, arguments):
    """Who called sudo may read the state and label."""
    user = os.environ.get("SUDO_USER", "")
    if not user or user == "root":
        say("    nobody to add to group scrapsort; later: sudo usermod -aG scrapsort USER")
        return
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise StepError("SUDO_USER = {!r}: there is no such account".format(user))
    if user in machine.ask("getent", "group", "scrapsort")[1].split(":")[-1].split(","):
        say("    {} is in group scrapsort".format(user))
        return
    machine.run("usermod", "-a", "-G", "scrapsort", user)
    machine.note("groups", sorted(set(machine.changed().get("groups", []) + [user])))


def services(machine, which, arguments):
    """The package has enabled and started them; one that a person has stopped or disabled is named."""
    for unit in package.units(package.ROOT):
        state = machine.ask("systemctl", "is-enabled", unit)[1] or "not there"
        say("    {}: {}, {}".format(unit, state, machine.ask("systemctl", "is-active", unit)[1] or "unknown"))

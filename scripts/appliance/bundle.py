"""An archive from which a Jetson without a network is installed: the package, its wheels, their sums, install.sh."""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile

from appliance import package, wheels

FOLDER = "scrapsort-offline"


def main(argv=None):
    """The command scripts/bundle-offline."""
    named = [name for name in wheels.JETPACKS if wheels.JETPACKS[name]["jetson"]]
    parser = argparse.ArgumentParser(prog="scripts/bundle-offline", description="Makes an archive that installs "
                                     "scrapsort on a Jetson without a network.")
    parser.add_argument("--jetpack", required=True, metavar="|".join(named), help="that of the board; also 6.2 for 6.x")
    parser.add_argument("-o", "--out", required=True, metavar="FILE.tar")
    arguments = parser.parse_args(argv)
    try:
        bundle(package.ROOT, arguments.jetpack, arguments.out)
    except (package.PackageError, wheels.WheelError, OSError, subprocess.CalledProcessError) as error:
        sys.exit("scripts/bundle-offline: {}".format(error))
    print("{}  {:.1f} MB  sha256 {}".format(arguments.out, os.path.getsize(arguments.out) / 1e6,
                                            package.sha256(arguments.out)))
    return 0


def bundle(tree, jetpack, out, fetch=wheels.fetch):
    """Write the archive OUT for a JetPack. Raises PackageError or WheelError."""
    name, one = find(jetpack)
    with tempfile.TemporaryDirectory() as folder:
        top = os.path.join(folder, FOLDER)
        inside = os.path.join(top, "wheels")
        os.makedirs(top)
        package.build(tree, top)
        fetch(tree, inside, one["python"], one["arch"], one["jetson"], one["glibc"])
        if one["jetson"]:
            wheels.fetch_pycuda(tree, inside, one["python"], one["arch"], one["glibc"])
        package.write(os.path.join(top, "install.sh"), package.template(
            "install.sh", JETPACK=name, PYTHON=one["python"], ARCH=one["arch"]), 0o755)
        sums = ["{}  {}\n".format(package.sha256(path), os.path.relpath(path, top)) for path in sorted(
            os.path.join(where, file) for where, _, files in os.walk(top) for file in files)]
        package.write(os.path.join(top, "SHA256SUMS"), "".join(sums))
        epoch = package.epoch_of(tree)
        with tarfile.open(out + ".new", "w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(top, FOLDER, filter=lambda info: plain(info, epoch))
    os.rename(out + ".new", out)


def find(jetpack):
    """(name, what it has) of a JetPack such as 6.2. Raises PackageError."""
    for name in (jetpack, ".".join(jetpack.split(".")[:2]), jetpack.split(".")[0] + ".x"):
        if name in wheels.JETPACKS:
            return name, wheels.JETPACKS[name]
    raise package.PackageError("JetPack {!r} is not known; there are {}".format(jetpack, ", ".join(
        name for name, one in wheels.JETPACKS.items() if one["jetson"])))


def plain(info, epoch):
    """A member without its maker's name and clock."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = epoch
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    return info

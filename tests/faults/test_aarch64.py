"""The real package installed and run on aarch64, by user-mode emulation: the same answers as on x86."""

import json
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import package_bed
import pytest
from package_bed import CACHE, OLD, ROOT

ARM64 = os.path.join(CACHE, "bookworm-arm64")
RUNNER = [sys.executable, os.path.join(ROOT, "tests", "faults", "aarch64.py")]
NEEDS = ("mmdebstrap", "qemu-aarch64-static", "arch-test", "dpkg-deb")
MISSING = [name for name in NEEDS if not package_bed.shutil.which(name)] + (
    [] if os.name == "posix" and os.geteuid() == 0 else ["root"])
pytestmark = pytest.mark.skipif(bool(MISSING), reason="aarch64 was NOT tested: there is no {}; apt-get install "
                                "mmdebstrap qemu-user-static arch-test".format(", ".join(MISSING)))
TOLERANCE = 1e-3  # of a probability
# A Nano's, which has no arithmetic of 16 bits: what ONNX Runtime uses of a newer one's is emulated number by number:
# ten minutes were not enough for one command
PROCESSOR = "cortex-a57"


def arm64_root():
    """The root file system, made once; takes minutes."""
    if not os.path.isdir(ARM64):
        package_bed.shutil.rmtree(ARM64 + ".part", ignore_errors=True)
        subprocess.check_call(RUNNER + ["mmdebstrap", "--quiet", "--arch=arm64", "--mode=root", "--variant=minbase",
                                        "--include=systemd,python3", "bookworm", ARM64 + ".part"])
        os.rename(ARM64 + ".part", ARM64)
    return ARM64


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Runs shell scripts in a machine of aarch64 whose changes are kept beside it: script -> its stdout."""
    folder = tmp_path_factory.mktemp("arm64")
    for name in ("upper", "work", "root", "srv"):
        (folder / name).mkdir()
    enter = "; ".join((
        "set -e", "cd " + str(folder),
        "mount -t overlay overlay -o userxattr,lowerdir={},upperdir=upper,workdir=work root".format(arm64_root()),
        "for one in proc dev sys; do mount --rbind /$one root/$one; done", "mount --bind srv root/srv",
        "exec env -i QEMU_CPU={} PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 chroot root "
        "sh -c \"$0\"".format(PROCESSOR)))

    def run(script):
        started = time.time()
        done = subprocess.Popen(RUNNER + ["sh", "-c", enter, "exec 2>&1; " + script], stdout=subprocess.PIPE)
        out = done.communicate(timeout=1500)[0].decode("utf-8", "replace")
        print("aarch64, {:.1f} s: {}".format(time.time() - started, script))
        assert done.returncode == 0, "{} ended with {}:\n{}".format(script, done.returncode, out)
        return out
    run.srv = folder / "srv"
    return run


def pictures(folder, number=4):
    """Drawn items, as PNG: what a JPEG decoder makes of a picture is not what is compared here."""
    from edge.frames.drawn import MATERIALS, draw_named
    names = []
    for index, material in zip(range(number), MATERIALS):
        names.append("{}.png".format(material))
        assert cv2.imwrite(str(folder / names[-1]), draw_named(material, 40 + index))
    return names


def few_golden_pictures(folder, number=3):
    """The bundle that ships, in float alone, and with fewer golden pictures: each takes ten seconds of emulation."""
    from edge.bundles import seal
    shipped = os.path.join(ROOT, "models", "trashnet-resnet18")
    with open(os.path.join(shipped, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    os.mkdir(str(folder / "bundle"))
    golden = str(folder / "bundle" / manifest["golden"]["path"])
    with np.load(os.path.join(shipped, manifest["golden"]["path"])) as arrays:
        np.savez(golden, **{name: arrays[name][:number] for name in ("images_rgb", "logits_fp16")})
    manifest["golden"]["sha256"] = package_bed.package.sha256(golden)
    manifest["files"] = {"fp16": manifest["files"]["fp16"]}
    package_bed.package.copy(os.path.join(shipped, manifest["files"]["fp16"]["path"]),
                             str(folder / "bundle" / manifest["files"]["fp16"]["path"]))
    package_bed.package.write(str(folder / "bundle" / "manifest.json"), json.dumps(seal(manifest)))


def test_the_package_answers_on_aarch64_as_it_does_here(board):
    wheels = package_bed.wheel_folder("arm64")
    os.rename(package_bed.package.build(ROOT, str(board.srv), OLD, "arm64", wheels, "none"),
              str(board.srv / "scrapsort.deb"))
    names = pictures(board.srv)
    few_golden_pictures(board.srv)
    assert board("dpkg --print-architecture; python3 -c 'import platform; print(platform.machine())'").split() == [
        "arm64", "aarch64"]
    said = board("dpkg -i /srv/scrapsort.deb")
    assert "scrapsort-setup: environment made" in said
    classify = ["classify", "--format", "json", "--precision", "fp16", "--bundle", "bundle"]
    there = [json.loads(line) for line in board("cd /srv && scrapsort {} {}".format(
        " ".join(classify), " ".join(names))).splitlines() if line.startswith("{")]
    here = subprocess.check_output([sys.executable, "-m", "edge"] + classify + names, cwd=str(board.srv),
                                   env=dict(os.environ, PYTHONPATH=ROOT))
    here = [json.loads(line) for line in here.decode("utf-8").splitlines()]
    assert len(here) == len(there) == len(names) and not any("error" in one for one in there + here)
    furthest = max(abs(a["probabilities"][name] - b["probabilities"][name]) for a, b in zip(here, there)
                   for name in a["probabilities"])
    print("largest difference of a probability between aarch64 and x86: {:.2g}; ms a picture there: {}".format(
        furthest, [one["latency_ms"] for one in there]))
    assert furthest <= TOLERANCE
    assert [one["predicted_class"] for one in here] == [one["predicted_class"] for one in there]

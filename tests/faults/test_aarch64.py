"""The real package installed and run on aarch64, by user-mode emulation: the same answers as on x86."""

import json
import os
import re
import subprocess
import sys
import time

import cv2
import float_model
import numpy as np
import package_bed
import pytest
from package_bed import CACHE, OLD, ROOT, write_row

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
LONGEST_S = 5400.0  # of one command: 72 golden answers on two cores that others use, too


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
        out = done.communicate(timeout=LONGEST_S)[0].decode("utf-8", "replace")
        print("aarch64, {:.1f} s: {}".format(time.time() - started, script))
        assert done.returncode == 0, "{} ended with {}:\n{}".format(script, done.returncode, out)
        return out
    run.srv = folder / "srv"
    return run


def pictures(folder, number=3):
    """Drawn items, as PNG: what a JPEG decoder makes of a picture is not what is compared here."""
    from edge.frames.drawn import MATERIALS, draw_named
    names = []
    for index, material in zip(range(number), MATERIALS):
        names.append("{}.png".format(material))
        assert cv2.imwrite(str(folder / names[-1]), draw_named(material, 40 + index))
    return names


def whole_bundle(folder):
    """The bundle that ships with a role more, fp32: its float16 weights in float32, and what they answer here."""
    from edge.bundles import Bundle, seal
    from edge.classifier.onnxruntime import OnnxRuntimeClassifier
    shipped, bundle = os.path.join(ROOT, "models", "trashnet-resnet18"), str(folder / "bundle")
    package_bed.shutil.copytree(shipped, bundle)
    with open(os.path.join(bundle, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    with open(os.path.join(bundle, manifest["files"]["fp16"]["path"]), "rb") as file:
        model = float_model.widened(file.read())
    with open(os.path.join(bundle, "model-fp32.onnx"), "wb") as file:
        file.write(model)
    manifest["files"]["fp32"] = dict(manifest["files"]["fp16"], path="model-fp32.onnx", tolerance=TOLERANCE,
                                     sha256=package_bed.package.sha256(os.path.join(bundle, "model-fp32.onnx")))
    golden = os.path.join(bundle, manifest["golden"]["path"])
    with np.load(golden) as file:
        arrays = dict(file)
    arrays["logits_fp32"] = arrays["logits_fp16"]  # a bundle must have them to be opened
    for _ in range(2):
        np.savez(golden, **arrays)
        manifest["golden"]["sha256"] = package_bed.package.sha256(golden)
        package_bed.package.write(os.path.join(bundle, "manifest.json"), json.dumps(seal(manifest)))
        with OnnxRuntimeClassifier(Bundle(bundle), "fp32") as classifier:
            arrays["logits_fp32"] = np.stack([classifier.classify_resized(image).logits[0].copy()
                                              for image in arrays["images_rgb"]])
    return arrays["images_rgb"]


def few_golden_pictures(folder, number=3):
    """The same bundle with less to check when it is opened, as folder/few: each picture takes ten seconds there."""
    from edge.bundles import seal
    few = str(folder / "few")
    package_bed.shutil.copytree(str(folder / "bundle"), few)
    with open(os.path.join(few, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    golden = os.path.join(few, manifest["golden"]["path"])
    with np.load(golden) as file:
        arrays = {name: file[name][:number] for name in file}
    np.savez(golden, **arrays)
    manifest["golden"]["sha256"] = package_bed.package.sha256(golden)
    package_bed.package.write(os.path.join(few, "manifest.json"), json.dumps(seal(manifest)))


@pytest.fixture(scope="module")
def installed(board):
    """(the machine with the package installed, the pictures that its bundle holds)."""
    wheels = package_bed.wheel_folder("arm64")
    os.rename(package_bed.package.build(ROOT, str(board.srv), OLD, "arm64", wheels, "none"),
              str(board.srv / "scrapsort.deb"))
    golden_rgb = whole_bundle(board.srv)
    few_golden_pictures(board.srv)
    assert board("dpkg --print-architecture; python3 -c 'import platform; print(platform.machine())'").split() == [
        "arm64", "aarch64"]
    assert "scrapsort-setup: environment made" in board("dpkg -i /srv/scrapsort.deb")
    return board, golden_rgb


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_package_answers_on_aarch64_as_it_does_here(installed, precision):
    board, golden_rgb = installed
    names = pictures(board.srv)
    for index in (0, 9, 17):  # photographs, too
        names.append("photograph{}.png".format(index))
        assert cv2.imwrite(str(board.srv / names[-1]), golden_rgb[index][..., ::-1])
    classify = ["classify", "--format", "json", "--precision", precision, "--bundle", "few"]
    started = time.monotonic()
    there = [json.loads(line) for line in board("cd /srv && scrapsort {} {}".format(
        " ".join(classify), " ".join(names))).splitlines() if line.startswith("{")]
    took_s = time.monotonic() - started
    here = subprocess.check_output([sys.executable, "-m", "edge"] + classify + names, cwd=str(board.srv),
                                   env=dict(os.environ, PYTHONPATH=ROOT))
    here = [json.loads(line) for line in here.decode("utf-8").splitlines()]
    assert len(here) == len(there) == len(names) and not any("error" in one for one in there + here)
    assert {one["precision"] for one in there + here} == {precision}
    furthest = max(abs(a["probabilities"][name] - b["probabilities"][name]) for a, b in zip(here, there)
                   for name in a["probabilities"])
    print("ms a picture there: {}".format([one["latency_ms"] for one in there]))
    write_row("aarch64 beside x86, " + precision, "qemu's {}: classify, largest difference of a probability "
              "{:.1g}".format(PROCESSOR, furthest), len(here), len(there), 0, None, largest_difference=furthest,
              seconds=round(took_s, 1))
    assert furthest <= TOLERANCE
    assert [one["predicted_class"] for one in here] == [one["predicted_class"] for one in there]


def test_every_golden_answer_holds_on_aarch64(installed):
    """model verify holds each role against answers that were given on x86."""
    board, golden_rgb = installed
    said = board("cd /srv && scrapsort model verify --bundle bundle")
    line = (r"^(\w+): hash right; (\d+) of (\d+) golden pictures agree \((\d+) too close to count\), largest error of "
            r"a probability ([\d.]+)")
    found = {role: (int(agreed), int(decided), int(close), float(error))
             for role, agreed, decided, close, error in re.findall(line, said, re.MULTILINE)}
    print(said)
    assert set(found) == {"fp32", "fp16", "int8_cpu"} and said.rstrip().endswith(": verified")
    for role, (agreed, decided, close, error) in found.items():
        write_row("aarch64, golden answers, " + role, "qemu's {}: model verify, largest error of a probability "
                  "{:.5f}".format(PROCESSOR, error), len(golden_rgb), agreed + close, decided - agreed, None)
        assert agreed == decided > len(golden_rgb) // 2 and decided + close == len(golden_rgb)
        assert error <= TOLERANCE or role == "int8_cpu"

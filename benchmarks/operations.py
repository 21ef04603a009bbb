"""How many instructions the gate takes for a frame: the same figure on every x86 machine, however busy it is."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import Any, Dict

import cv2
import numpy as np

from benchmarks import machine
from edge.errors import UsageError
from edge.frames.base import Frame
from edge.frames.simulated_belt import Options, SimulatedCamera
from edge.gate.belt import BeltGate
from edge.settings import Gate

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RATE = 30.0  # frames a second: at fewer, things have moved on enough to be looked at in more of them
FEWER, MORE = 110, 170  # frames; the difference of two counts is free of start-up and of learning the belt
# As wide as a Nano's vectors are, 128 bits; wider ones would flatter it
NARROW = {"OPENCV_CPU_DISABLE": "AVX512_SKX,AVX2,FMA3,FP16,AVX", "OPENBLAS_NUM_THREADS": "1",
          "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL "
                                      "AVX512_SPR AVX2 FMA3"}


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--frames-per-s", type=float, default=30.0, help="of the camera (default: 30)")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Count and print."""
    if shutil.which("valgrind") is None:
        raise UsageError("valgrind is missing; apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        frames = os.path.join(folder, "frames.npy")
        camera, stop = SimulatedCamera("", Options(seed=1, speed=1.0, fps=RATE, pace="fast")), threading.Event()
        taken = [camera.read(stop) for _ in range(MORE)]
        np.save(frames, np.stack([one[1] for one in taken if one is not None]))
        few, many = (_count(frames, number, folder) for number in (FEWER, MORE))
    a_frame = (many - few) / (MORE - FEWER)
    result = {"machine": machine.describe(), "instructions_a_frame": a_frame, "frames_per_s": arguments.frames_per_s,
              "instructions_per_s": a_frame * arguments.frames_per_s}
    print("gate, a frame of 1280 x 720, vectors of 128 bits: {:.1f} million instructions; at {:g} frames/s {:.2f} "
          "billion a second".format(a_frame / 1e6, arguments.frames_per_s, result["instructions_per_s"] / 1e9))
    return result


def _count(frames: str, number: int, folder: str) -> int:
    """Instructions of a process that gives the gate so many frames."""
    environ = dict(os.environ, **NARROW)
    done = subprocess.run(  # noqa: UP022  # Python 3.6
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=" + os.path.join(folder, "out"), sys.executable, "-m",
         "benchmarks.operations", frames, str(number)], cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr.decode("utf-8", "replace"))
    if done.returncode or found is None:
        raise UsageError("valgrind failed: {}".format(done.stderr.decode("utf-8", "replace").strip()[-300:]))
    return int(found.group(1))


def _work(path: str, number: int) -> None:
    """What is counted; all frames are read whatever the number."""
    cv2.setNumThreads(1)
    frames, gate = np.load(path), BeltGate(Gate(direction="right"))
    for index in range(number):
        gate.offer(Frame("", "", frames[index], None, index / RATE, 0.0, 0.0))


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]))

"""What the GPU's preprocessing is held to: preprocess.py on pictures of all kinds. Who runs the kernel is handed in."""

import glob
import os
import re
import struct
import sys
from typing import NamedTuple

import numpy as np

from edge.classifier.kernel import TYPES, Launch, pitch_of
from edge.preprocess import RESIZE_RULES, InputSpec, Preprocessor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# (height, width) of regions: the network's own, whole factors, shrunk, enlarged, one of each, lines, dots
SIZES = [(224, 224), (448, 448), (672, 448), (224, 448), (448, 224), (512, 512), (225, 223), (384, 512), (720, 1280),
         (100, 60), (60, 100), (224, 300), (300, 224), (223, 500), (500, 223), (1, 1), (1, 700), (700, 1), (2, 2),
         (2, 900), (900, 3), (37, 911)]
NETWORKS = [(224, 224), (96, 160), (50, 33), (8, 8)]


class Agreement(NamedTuple):
    """How the kernel's values compare with preprocess.py's."""

    values: int
    exact: int  # the same bits
    worst: float  # largest difference in grey levels, 255 to the whole range

    def __str__(self):
        return "{} values, {:.4%} the same bits, at most {:.3f} of 255 apart".format(
            self.values, self.exact / float(self.values), self.worst)


def pictures(rule, count, seed=7):
    """(spec, frame, region): each size, then count random ones, in smooth and noisy frames wider than they."""
    rng = np.random.RandomState(seed)
    for at in range(len(SIZES) + count):
        height, width = NETWORKS[0 if at < len(SIZES) else rng.randint(len(NETWORKS))]
        if at < len(SIZES):
            h, w = SIZES[at]
        elif at % 3 == 0:  # whole factors, one side or both
            h, w = height * rng.randint(1, 5), width * rng.randint(1, 5)
        else:
            h, w = rng.randint(1, 800, 2)
        x, y, right, below = rng.randint(0, 9, 4)
        yield InputSpec(height, width, rule), _frame(rng, y + h + below, x + w + right, at % 2 == 0), (x, y, w, h)


def _frame(rng, height, width, noisy):
    if noisy:
        return rng.randint(0, 256, (height, width, 3)).astype(np.uint8)
    down, across = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    wave = 127.5 + 127.5 * np.sin(down / 17.0 + across / rng.uniform(3, 40) + np.arange(3))
    return wave.astype(np.uint8)


def compare(fill, cases):
    """fill(spec, frame, region) -> (1, 3, H, W) float32 runs the kernel; how that agrees with preprocess.py."""
    values = exact = 0
    worst = 0.0
    for spec, frame, (x, y, w, h) in cases:
        expected = np.empty(spec.shape, np.float32)
        Preprocessor(spec)(frame[y:y + h, x:x + w], expected)
        given = fill(spec, frame, (x, y, w, h))
        assert given.shape == expected.shape and given.dtype == np.float32 and np.isfinite(given).all()
        levels = np.abs(given - expected) * np.array(spec.std, np.float32)[:, None, None] * 255
        values, exact = values + given.size, exact + int((given == expected).sum())
        worst = max(worst, float(levels.max()))
    return Agreement(values, exact, worst)


def all_pictures(count):
    """pictures() of each rule."""
    for rule in RESIZE_RULES:
        yield from pictures(rule, count)


def task(spec, frame, region, out, source=None, pitch_bytes=None):
    """The bytes that a launch hands to the kernel. source and pitch_bytes: of another place than frame's own."""
    arguments = Launch(spec).arguments(frame.ctypes.data if source is None else source,
                                       pitch_of(frame) if pitch_bytes is None else pitch_bytes, region,
                                       out if isinstance(out, int) else out.ctypes.data)
    return struct.pack(TYPES, *arguments)


def cuda_environment():
    """Folder of NVIDIA's wheels in .venv/cuda, made with the newest Python where it is not there. Raises OSError and
    CalledProcessError.
    """
    sys.path.insert(0, os.path.join(ROOT, "scripts"))
    try:
        import environments
    finally:
        sys.path.pop(0)
    found = environments.find_interpreters()
    newest = max(version for version in found if environments.line_of(version))
    python = environments.make(found[newest], newest, "cuda", "cuda.txt")
    return glob.glob(os.path.join(os.path.dirname(os.path.dirname(python)), "lib", "*", "site-packages", "nvidia"))[0]


def registers_of(ptxas_output):
    """(registers, bytes of stack and spills) of ptxas -v's report of one kernel."""
    spilled = re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", ptxas_output)
    return int(re.search(r"Used (\d+) registers", ptxas_output).group(1)), sum(map(int, spilled))

"""What the tests of edge share: a clock moved by hand, small real bundles, records, cameras, places that fill up."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import types

import cv2
import numpy as np
import pytest
import stream_server
import tensorrt_doubles
from cameras import SIZE, write_video
from helpers import SHARED, SHIPPED
from stream_server import numbered
from tiny_bundles import CLASSES, tiny_onnx, write_bundle

from edge import locks
from edge.bundles import Bundle
from edge.clock import Clock
from edge.frames import open_source
from edge.frames.drawn import MATERIALS, draw_named
from edge.health import State
from edge.journal import Record

TENSORRT_OF = {(3, 6): "8_2", (3, 8): "8_5", (3, 10): "10", (3, 12): "11"}  # of JetPack 4, 5, 6, and what comes after


def pytest_collection_modifyitems(items):
    """scripts/test sets SCRAPSORT_SHORT for all Pythons but the newest: to oldest, or to between."""
    short = os.environ.get("SCRAPSORT_SHORT")
    for item in items:
        long = [mark.args for mark in item.iter_markers("long")]
        double = getattr(item, "callspec", None) and item.callspec.params.get("doubles")
        if short and double and double != TENSORRT_OF.get(sys.version_info[:2], double):
            item.add_marker(pytest.mark.skip(reason="that TensorRT comes with another Python: it runs on the newest"))
        elif short and ("newest",) in long:
            item.add_marker(pytest.mark.skip(reason="a long test: it runs on the newest Python"))
        elif long and short == "between":
            item.add_marker(pytest.mark.skip(reason="a long test: it runs on the oldest and the newest Python"))


@pytest.fixture(autouse=True)
def _log_of_the_test():
    """The log as it is before a command sets it up, whatever an earlier test did to it."""
    logger = logging.getLogger("scrapsort")
    logger.propagate, logger.handlers[:] = True, []
    yield
    logger.propagate, logger.handlers[:] = True, []


# ---------------------------------------------------------------- time

class FakeClock(Clock):
    """Stands still until it is moved; waiting moves it. during_wait(clock) is called in each wait."""

    def __init__(self, mono_s=100.0, wall_s=1763802900.0):
        super().__init__()
        self.mono, self.wall, self.waits, self.during_wait = mono_s, wall_s, [], None

    def mono_s(self):
        return self.mono

    def wall_s(self):
        return self.wall

    def synchronised(self):
        return True

    def move(self, seconds):
        self.mono += seconds
        self.wall += seconds

    def wait(self, event, seconds):
        self.waits.append(seconds)
        self.move(max(0.0, seconds))
        if self.during_wait is not None:
            self.during_wait(self)
        return event.is_set()


@pytest.fixture
def clock():
    return FakeClock()


# ---------------------------------------------------------------- bundles

@pytest.fixture
def make_bundle(tmp_path):
    """make_bundle(name="tiny", **write_bundle's) -> path of a small real bundle."""
    return lambda name="tiny", **keywords: write_bundle(tmp_path / name, **keywords)


@pytest.fixture
def tiny_weights():
    """The weights (3, C) of the models in make_bundle's bundles."""
    return np.random.RandomState(5).randn(3, len(CLASSES)).astype(np.float32)


@pytest.fixture
def make_onnx():
    return tiny_onnx


@pytest.fixture(scope="session")
def shipped_path():
    return SHIPPED


@pytest.fixture(scope="session")
def shipped():
    """The bundle of the repository: real, but its answers change with every training."""
    return Bundle(SHIPPED)


@pytest.fixture
def benchmark(monkeypatch, capsys):
    """benchmark(*words) runs `python3 -m benchmarks …` here; its exit code, output and errors."""
    from benchmarks.__main__ import main

    def run(*words):
        monkeypatch.setattr("sys.argv", ["benchmarks"] + [str(word) for word in words])
        try:
            code = main()
        except SystemExit as ended:  # argparse
            code = ended.code
        return (code,) + tuple(capsys.readouterr())
    return run


# ---------------------------------------------------------------- journal

@pytest.fixture
def make_record():
    """make_record(sequence, **changes) -> an accepted item as the loop hands it over."""
    def make(sequence=1, **changes):
        record = Record(sequence, "/belt/{}.jpg".format(sequence), "/belt/{}.jpg|10|20".format(sequence),
                        5.0 + sequence, 1763802900.0 + sequence, "accept", "metal", 0.75, (0.1, 0.75, 0.1, 0.05), 0.7,
                        "2026.11-a", "onnxruntime", "int8", 1.0, 2.0, 3.0, 0.5, 6.5)
        return record._replace(**changes)
    return make


@pytest.fixture
def run_of():
    """What Journal.begin asks of a classifier, without a model."""
    bundle = types.SimpleNamespace(classes=CLASSES, name="tiny", version="2026.11-a")
    return types.SimpleNamespace(bundle=bundle, backend="onnxruntime", device="CPUExecutionProvider",
                                 precision="int8")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB of its own: small_disk.path, and small_disk.read_only()."""
    path = str(tmp_path / "disk")
    os.mkdir(path)
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root on Linux")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], stderr=subprocess.PIPE,
                             check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here: {}".format(mounted.stderr.decode().strip()))
    yield types.SimpleNamespace(
        path=path, read_only=lambda: subprocess.check_call(["mount", "-o", "remount,ro", path]))
    subprocess.check_call(["umount", "-l", path])


# ---------------------------------------------------------------- TensorRT and CUDA

@pytest.fixture(params=tensorrt_doubles.GENERATIONS)
def doubles(request, tmp_path, monkeypatch):
    """The doubles of TensorRT and pycuda, of each generation in turn, found by this process."""
    made = tensorrt_doubles.Doubles(request.param, tmp_path)
    made.install(monkeypatch)
    yield made
    for name in tensorrt_doubles.MODULES:
        sys.modules.pop(name, None)


# ---------------------------------------------------------------- network

@pytest.fixture
def free_port():
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


# ---------------------------------------------------------------- cameras and belts

@pytest.fixture
def locks_of_its_own(tmp_path, monkeypatch):
    """Two tests side by side do not share a camera."""
    monkeypatch.setattr(locks, "FOLDERS", [str(tmp_path)])


@pytest.fixture
def opened(locks_of_its_own):
    """opened(uri, source, **keywords) -> a Camera that is closed in the end; its stop and state ride with it."""
    cameras = []

    def open_one(uri, source=SIZE, **keywords):
        stop, state = threading.Event(), State("")
        one = open_source(str(uri), False, stop, lambda key: False, Clock(), source, state, **keywords)
        one.stop, one.state = stop, state
        cameras.append(one)
        return one
    yield open_one
    for one in cameras:
        one.close()


@pytest.fixture
def server(free_port):
    """server(what=…) -> its address; the one before is killed."""
    processes = []

    def stop_all():
        while processes:
            process = processes.pop()
            process.kill()
            process.wait()
            process.stdout.close()

    def start(**asked):
        stop_all()
        asked = dict({"what": "numbered", "fps": 30, "size": [480, 360], "port": free_port}, **asked)
        processes.append(subprocess.Popen([sys.executable, stream_server.__file__, json.dumps(asked)],
                                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        assert processes[0].stdout.readline() == b"ready\n"
        return "http://127.0.0.1:{}/video".format(free_port)
    start.kill = stop_all
    yield start
    stop_all()


@pytest.fixture
def log_lines(caplog):
    """Lines of the log as far as they have come."""
    logger = logging.getLogger("scrapsort")
    logger.propagate, before = True, logger.level
    caplog.set_level(logging.INFO, "scrapsort")
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.setLevel(before)


@pytest.fixture
def video(tmp_path):
    """Sixty frames that carry their numbers, at 30 a second."""
    return write_video(tmp_path / "numbers.avi", (numbered(number, 480, 360) for number in range(60)))


@pytest.fixture(scope="session")
def tiles(tmp_path_factory):
    """A folder of bright tiles, all of one size, which no gate overlooks: things whose length is known."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.RandomState(5)
    os.mkdir(str(folder / "any"))
    for number in range(8):
        tile = np.full((120, 160, 3), rng.randint(150, 256, 3), np.uint8)
        cv2.circle(tile, (80, 60), 30, [int(value) for value in rng.randint(0, 256, 3)], -1)
        cv2.imwrite(str(folder / "any" / "{}.png".format(number)), tile)
    return str(folder)


@pytest.fixture(scope="session")
def real_clip():
    """The path of a hand-held clip of a real belt with three packs on it."""
    path = os.path.join(SHARED, "belt", "real-belt-3-items.mp4")
    if not os.path.isfile(path):
        pytest.skip("no {}: it comes with the shared data alone".format(path))
    return path


# ---------------------------------------------------------------- the command line

@pytest.fixture
def belt(tmp_path):
    """Twelve drawn items, named so that natural and alphabetical order differ."""
    folder = tmp_path / "belt"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / "item{}.jpg".format(number + 1)), draw_named(MATERIALS[number % 6], number))
    return folder


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"

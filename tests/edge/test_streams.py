"""Streams from real servers on loopback that are killed, stopped and started again while a belt is being sorted."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers import REPOSITORY, until

from edge.clock import Clock
from edge.frames import open_source
from edge.gate.belt import BeltGate
from edge.health import State
from edge.settings import Gate, Source

HERE = os.path.dirname(os.path.abspath(__file__))
OPTIONS = {"width": 480, "height": 270, "fps": 15.0, "speed": 0.4, "gap": 0.15, "item": 0.14, "seed": 5}
RECOVERY_S = 5.0
MARGIN = 3.0  # of all times here: this machine may be busy
RTSP_NEEDS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer, Gst; " \
             "Gst.init(None); import cv2; assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay')))"
pytestmark = pytest.mark.usefixtures("locks_of_its_own")


class Server:
    """One of the servers, at one port over its lives; start_mono_s is when its belt began to run."""

    def __init__(self, python, script, port, **asked):
        self.python, self.script, self.port = python, os.path.join(HERE, script), port
        self.asked = dict(asked, port=port)
        self.process = None

    def start(self):
        environment = dict(os.environ, PYTHONPATH=REPOSITORY)
        self.process = subprocess.Popen([self.python, self.script, json.dumps(self.asked)], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=environment)
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


class Sorting(threading.Thread):
    """The chain camera -> gate in a thread, as the loop runs it; what it saw and when."""

    def __init__(self, uri, source=Source(), clock=Clock()):
        super().__init__(daemon=True)
        self.stop, self.times, self.items, self.error = threading.Event(), [], [], None
        self.state = State("")
        self.ticks = 0
        self.camera = open_source(uri, False, self.stop, lambda key: False, clock, source, self.state, tick=self.tick)
        self.gate = BeltGate(Gate(direction="right"))

    def tick(self):
        self.ticks += 1

    def run(self):
        try:
            for frame in self.camera:
                self.times.append((time.monotonic(), frame.captured_mono_s))
                self.items += [item.line_mono_s for item in self.gate.offer(frame)]
        except BaseException as error:
            self.error = error

    def frame_after(self, mono_s, within_s):
        """When the first frame came that was captured after that time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            assert self.error is None, self.error
            if self.times and self.times[-1][1] > mono_s:
                return next(came for came, captured in self.times if captured > mono_s)
            time.sleep(0.02)
        raise AssertionError("no frame within {} s; camera: {}".format(within_s, self.state.trouble("camera")))

    def end(self):
        self.stop.set()
        self.join(10)
        assert not self.is_alive() and self.error is None, self.error


def check_items(truth_path, sorting, spans, until_s):
    """Each item that crossed while frames came is counted once; none is counted twice, ever.

    spans: (from, to) in which frames came; what crosses in the first moments of one was not seen long enough.
    """
    away_s = 0.3
    with open(truth_path) as file:
        truth = {item["number"]: item["line_mono_s"] for item in map(json.loads, file)}  # a new life tells them again
    late_s = float(np.median([min((at - line_s for line_s in truth.values()), key=abs) for at in sorting.items]))
    assert -0.1 < late_s < 0.35  # of the way through encoder, network and decoder
    truth = {number: line_s + late_s for number, line_s in truth.items()}
    for number, line_s in sorted(truth.items()):
        counted = [at for at in sorting.items if abs(at - line_s) < away_s]
        assert len(counted) <= 1, (number, line_s, counted)
        if any(begin + 0.7 < line_s < end - away_s for begin, end in spans) and line_s < until_s:
            assert len(counted) == 1, (number, line_s, sorting.items, spans)
    assert all(any(abs(at - line_s) < away_s for line_s in truth.values()) for at in sorting.items)
    return [line_s for line_s in truth.values() if any(begin + 0.7 < line_s < end - away_s for begin, end in spans)]


def kill_and_restart(server, uri, stop=True, recovery_s=RECOVERY_S, watch_s=4.5):
    """A run over a server that is killed and started again, then stopped by SIGSTOP and let go on.

    Returns the Sorting, the spans in which frames came, and the times of recovery.
    """
    recovered, spans = [], []
    server.start()
    sorting = Sorting(uri, Source(width=480, height=270, stall_s=1.5))
    sorting.start()
    try:
        begun = sorting.frame_after(0.0, MARGIN * recovery_s)
        time.sleep(max(0.0, server.asked["start_mono_s"] + 7.0 - time.monotonic()))  # the belt is learned, items come
        spans.append((begun + 2.5, time.monotonic()))
        server.kill()
        until(lambda: sorting.state.trouble("camera"), MARGIN * 2)
        time.sleep(2.5)
        ticks = sorting.ticks
        assert ticks > 5  # the loop goes on living
        back = time.monotonic()
        server.start()
        recovered.append(sorting.frame_after(back, MARGIN * recovery_s) - back)
        assert not sorting.state.trouble("camera")
        time.sleep(watch_s)
        spans.append((back + recovered[0], time.monotonic()))
        if not stop:
            return sorting, spans, recovered
        server.signal(signal.SIGSTOP)
        until(lambda: sorting.state.trouble("camera"), MARGIN * 3)
        time.sleep(1.0)
        back = time.monotonic()
        server.signal(signal.SIGCONT)
        recovered.append(sorting.frame_after(back, MARGIN * recovery_s) - back)
        time.sleep(watch_s)
        spans.append((back + recovered[1], time.monotonic()))
    finally:
        sorting.end()
        server.kill()
    assert sorting.camera.counts["reopened"] >= 2
    assert not sorting.state.trouble("camera")
    return sorting, spans, recovered


@pytest.mark.long("newest")
def test_items_on_an_mjpeg_stream_whose_server_is_killed_and_stopped(tmp_path, tiles, free_port, capsys):
    truth = str(tmp_path / "truth")
    server = Server(sys.executable, "stream_server.py", free_port, what="belt", start_mono_s=time.monotonic(),
                    truth=truth, tiles=tiles, options=OPTIONS)
    sorting, spans, recovered = kill_and_restart(server, "http://127.0.0.1:{}/video".format(free_port))
    crossed = check_items(truth, sorting, spans, time.monotonic() - 0.5)
    assert len(crossed) >= 6
    with capsys.disabled():
        print("\nMJPEG: back after {:.1f} s (killed) and {:.1f} s (stopped); {} items".format(*recovered, len(crossed)))
    assert max(recovered) < MARGIN * RECOVERY_S


@pytest.mark.long("newest")
def test_items_on_an_rtsp_stream_whose_server_is_killed_and_stopped(tmp_path, tiles, free_port, capsys):
    python = "/usr/bin/python3"
    if not os.path.exists(python) or subprocess.call([python, "-c", RTSP_NEEDS], stderr=subprocess.DEVNULL):
        pytest.skip("no RTSP server here: needs python3-gi, gir1.2-gst-rtsp-server-1.0, GStreamer's plugins with "
                    "x264enc, and python3-opencv, for {}".format(python))
    truth = str(tmp_path / "truth")
    server = Server(python, "rtsp_server.py", free_port, start_mono_s=time.monotonic(), truth=truth,
                    tiles=tiles, options=OPTIONS)
    sorting, spans, recovered = kill_and_restart(server, "rtsp://127.0.0.1:{}/belt".format(free_port),
                                                 stop=not os.environ.get("SCRAPSORT_KILLS"))  # set on older Pythons
    crossed = check_items(truth, sorting, spans, time.monotonic() - 0.5)
    assert len(crossed) >= 4
    with capsys.disabled():
        print("\nRTSP: back after {} s (killed, stopped); {} items".format(
            " and ".join("{:.1f}".format(seconds) for seconds in recovered), len(crossed)))
    assert max(recovered) < MARGIN * RECOVERY_S

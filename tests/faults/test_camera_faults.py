"""The process that reads a camera is killed, stopped, or one of its threads dies: `scrapsort run` on a real stream."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import stream_server
from journal_bed import ROOT, SETTINGS, Belt, rows
from processes import child
from table import write_row

ITEMS, STALL_S = 8, 2.0
FRAMES = {"seed": 3, "speed": 0.5, "width": 480, "height": 360, "fps": 15.0, "gap": 0.03, "direction": "left"}
CAMERA = ("[source]\nuri = \"http://127.0.0.1:{}/video\"\nwidth = 480\nheight = 360\nstall_s = {}\n"
          "reopen_backoff_s = [0.5, 2.0]\n[gate]\npixels_per_metre = 600.0\nbelt_speed_mps = 0.5\n")
# A thread that dies once, by an error that nobody has thought of: while the file named so is there
HOOK = """
import os, sys
def dies_of(name, after):
    def one(self, *arguments):
        try:
            os.unlink(os.path.join({folder!r}, name))
        except OSError:
            return after(self, *arguments)
        raise RuntimeError("made for a test")
    return one
if "edge.frames.grab" in " ".join(sys.orig_argv):
    from edge.frames import mjpeg
    mjpeg.Parts.next = dies_of("receives", mjpeg.Parts.next)
elif "run" in sys.orig_argv:
    from edge.frames import reader
    reader.Reader._hear = dies_of("listens", reader.Reader._hear)
"""


@pytest.fixture
def camera():
    """The address of a belt as MJPEG over HTTP."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    asked = {"what": "belt", "port": port, "fps": 15, "size": [480, 360], "start_mono_s": time.monotonic(),
             "truth": os.devnull, "tiles": "", "options": FRAMES}
    server = subprocess.Popen([sys.executable, stream_server.__file__, json.dumps(asked)], cwd=ROOT,
                              env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"ready\n"
    yield port
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.mark.parametrize("fault, how, said", [
    ("killed", "kill -9", "its reader process was ended from outside, or crashed"),
    ("stopped", "kill -STOP", "no frame for 2 s"),
    ("receives", "an error in its thread that receives", "no frame for 2 s"),
    ("listens", "an error in the loop's thread that listens to it", "no frame for 2 s"),
])
def test_a_grabber_that_fails_is_replaced(tmp_path, camera, fault, how, said):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK.format(folder=str(tmp_path)))
    config = tmp_path / "camera.toml"
    config.write_text(CAMERA.format(camera, STALL_S) + SETTINGS)
    state = tmp_path / "state"
    belt = Belt(state, tmp_path, ["--config", str(config), "--source", "http://127.0.0.1:{}/video".format(camera)],
                {"PYTHONPATH": "{}:{}".format(hooks, ROOT)})
    try:
        belt.hear("source http", within_s=60.0)
        belt.sort(ITEMS, 120.0)
        before, pid = len(rows(state)), child(belt.process.pid, "edge.frames.grab")
        assert pid
        started = time.monotonic()
        if fault in ("killed", "stopped"):
            os.kill(pid, signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
        else:
            (tmp_path / fault).write_text("")
        alarm_s = belt.hear("camera: http.*" + said, started) - started
        well = belt.hear("camera: well again", started, 30.0)
        belt.sort(1)
        recover_s = time.monotonic() - started
        belt.sort(ITEMS)
        assert child(belt.process.pid, "edge.frames.grab") not in (None, pid)
        code = belt.end()
    finally:
        if belt.process.poll() is None:
            belt.end(signal.SIGKILL)
    assert code == 0
    assert not os.path.exists("/proc/{}".format(pid))
    sequences = [row[0] for row in rows(state)]
    assert sequences == list(range(1, belt.summary["items"] + 1))
    assert [one["sequence"] for one in belt.receipts] == sequences
    assert rows(state, "SELECT count(*) FROM items WHERE decision = 'error'") == [(0,)]
    write_row("grabber: " + how, "of python -c edge.frames.grab", before, len(sequences), 0, recover_s,
              said=said, alarm_s=round(alarm_s, 2), sees_again_s=round(well - started, 2))

"""GStreamer pipelines, with Debian's OpenCV."""

import json
import os
import subprocess

import pytest
from helpers import REPOSITORY

from edge.frames import capture

DEBIAN = "/usr/bin/python3"


def debian(code, *arguments):
    """Run code by the system's Python, which has an OpenCV with GStreamer; skips where it has not."""
    look = "import cv2; assert any('GStreamer' in l and 'YES' in l for l in cv2.getBuildInformation().splitlines())"
    if not os.path.exists(DEBIAN) or subprocess.call([DEBIAN, "-c", look], stderr=subprocess.DEVNULL):
        pytest.skip("{} has no OpenCV with GStreamer (apt-get install python3-opencv)".format(DEBIAN))
    process = subprocess.Popen([DEBIAN, "-c", code] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=dict(os.environ, PYTHONPATH=REPOSITORY))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return out.decode()


PIPELINE_SCRIPT = """
import json, sys, threading
from edge.clock import Clock
from edge.frames import open_source
from edge.health import State
from edge.settings import Source
state, stop = State(""), threading.Event()
source = open_source(sys.argv[1], False, stop, lambda key: False, Clock(),
                     Source(width=640, height=480, reopen_backoff_s=(0.05, 0.1)), state)
threading.Timer(20, stop.set).start
shapes, troubles = [], []
def tick():
    troubles.append(state.trouble("camera"))
source._tick = tick
for frame in source:
    shapes.append(frame.image_bgr.shape)
    if source.counts["reopened"] and len(shapes) >= 30:
        break
source.close()
print(json.dumps([len(shapes), sorted(set(map(tuple, shapes))), source.counts, sorted(set(troubles))]))
"""


def test_a_pipeline_is_read_and_opened_anew_when_it_ends():
    text = debian(PIPELINE_SCRIPT, "gst:videotestsrc name=of{} num-buffers=20 is-live=true pattern=snow ! "
                                   "video/x-raw,width=320,height=240,framerate=30/1 ! videoconvert ! "
                                   "video/x-raw,format=BGR ! appsink drop=true max-buffers=1".format(os.getpid()))
    count, shapes, counts, troubles = json.loads(text)
    assert count >= 30 and shapes == [[240, 320, 3]] and counts["reopened"] >= 1
    assert any("the stream has ended" in trouble for trouble in troubles)


def test_a_broken_pipeline_says_what_is_wrong():
    text = debian("from edge.frames.capture import *\nimport sys\ntry:\n    open_capture({'uri': sys.argv[1]})\n"
                  "except CameraError as error:\n    print(error)", "gst:filesrc location=/nowhere ! decodebin ! "
                  "appsink")
    assert text.startswith("cannot be opened: module filesrc0 reported: ") and "gst-launch-1.0" in text


def test_the_pipeline_of_a_csi_camera():
    """There is no such camera here: its two elements are replaced by ones that are, and GStreamer parses the rest."""
    pipeline = capture.csi_pipeline(1, {"width": 1280, "height": 720, "fps": 29.97, "exposure_ms": 2.5})
    assert pipeline.startswith('nvarguscamerasrc sensor-id=1 exposuretimerange="2500000 2500000" ! '
                               "video/x-raw(memory:NVMM), width=(int)1280, height=(int)720, ")
    assert "framerate=(fraction)2997/100 " in pipeline and "exposure" not in capture.csi_pipeline(
        0, {"width": 1280, "height": 720, "fps": 30.0})
    here = pipeline.replace('nvarguscamerasrc sensor-id=1 exposuretimerange="2500000 2500000"', "videotestsrc").replace(
        "(memory:NVMM)", "").replace("nvvidconv", "videoconvert")
    text = debian("import cv2, sys\nopened = cv2.VideoCapture(sys.argv[1], cv2.CAP_GSTREAMER)\n"
                  "print(opened.read()[1].shape)", here)
    assert text.strip() == "(720, 1280, 3)"

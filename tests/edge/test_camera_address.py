"""Addresses of cameras: what they mean, what of them is shown, and one run for each."""

import os
import stat
import threading

import pytest

from edge.clock import Clock
from edge.errors import SourceError, UsageError
from edge.frames import address, camera, capture, lock, open_source


@pytest.mark.parametrize("text, expected", [
    ("rtsp://me:secret@10.0.0.5:554/s", "rtsp://***@10.0.0.5:554/s"),
    ("rtsp://me:se@cret@host/s", "rtsp://***@host/s"),
    ("rtsp://me:se/cret@host/s", "rtsp://***@host/s"),
    ("rtsp://token@host/s", "rtsp://***@host/s"),
    ("rtsp://host:8554/a@2", "rtsp://host:8554/a@2"),
    ("http://host/v?user=me&password=secret&x=1", "http://host/v?user=me&password=***&x=1"),
    ("gst:rtspsrc location=rtsp://me:secret@h/ user-pw=secret ! x",
     "gst:rtspsrc location=rtsp://***@h/ user-pw=*** ! x"),
    ("a line: rtsp://a:secret@h/ and http://b:secret@i/ fail", "a line: rtsp://***@h/ and http://***@i/ fail"),
    ("/belt/item@2.jpg", "/belt/item@2.jpg")])
def test_no_password_is_shown(text, expected):
    assert address.shown(text) == expected and "secret" not in address.shown(text)


@pytest.mark.parametrize("uri, kind", [
    ("/dev/video0", "device"), ("/dev/v4l/by-id/x", "device"), ("csi://1", "csi"), ("gst:a ! b", "pipeline"),
    ("rtsp://h/", "rtsp"), ("https://h/v.mp4", "http"), ("clip.MP4", "video"), ("folder", ""), ("sim:x.mp4", ""),
    ("drawn:", ""), ("item.jpg", "")])
def test_kinds_of_addresses(uri, kind):
    assert address.kind_of(uri) == kind


@pytest.mark.parametrize("uri, parts", [
    ("/dev/video987", ["/dev/video987", "no such device", "v4l2-ctl"]),
    ("/dev/null", ["/dev/null", "is no camera"]),
    ("csi://0", ["no GStreamer", "apt-get install python3-opencv"]),
    ("gst:videotestsrc ! appsink", ["no GStreamer", "apt-get install python3-opencv"]),
    ("rtsp://", ["no host"]), ("rtsp://me:secret@host:port/", ["rtsp://***@host:port/", "port"])])
def test_what_waiting_does_not_mend_is_said_at_once(uri, parts):
    if "GStreamer" in parts[0] and capture.has("GStreamer"):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(SourceError) as caught:
        camera.check(uri)
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_watching_a_camera_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--watch goes with a folder, not with rtsp://\*\*\*@h/"):
        open_source("rtsp://a:b@h/", True, threading.Event(), lambda key: False, Clock())


def test_a_camera_is_for_one_run(tmp_path):
    folders = [str(tmp_path)]
    held = lock.CameraLock("rtsp://a:secret@h/", folders)
    with pytest.raises(SourceError) as caught:
        lock.CameraLock("rtsp://a:secret@h/", folders)
    assert "in use by process {}".format(os.getpid()) in str(caught.value) and "secret" not in str(caught.value)
    lock.CameraLock("rtsp://a:secret@other/", folders).close()
    held.close()
    lock.CameraLock("rtsp://a:secret@h/", folders).close()
    os.chmod(str(tmp_path), stat.S_IRUSR | stat.S_IXUSR)
    lock.CameraLock("rtsp://h/", [str(tmp_path / "missing")]).close()  # no folder for it: no lock


def test_two_names_of_a_camera_are_one_lock(tmp_path):
    folders = [str(tmp_path)]
    held = lock.CameraLock("csi://", folders)
    for uri in ("csi://0", "csi://00"):
        with pytest.raises(SourceError, match="in use by process {}".format(os.getpid())):
            lock.CameraLock(uri, folders)
    lock.CameraLock("csi://1", folders).close()
    held.close()


@pytest.mark.parametrize("build, expected", [
    ("      avformat:                  YES (58.76.100)", "stimeout;3000000"),
    ("      avformat:                  YES (60.3.100)", "|timeout;3000000"),
    ("      FFMPEG:                      NO", "nobuffer")])
def test_the_time_out_has_the_name_that_this_ffmpeg_gives_it(build, expected):
    assert capture.rtsp_options(build).endswith(expected) and "rtsp_transport;tcp" in capture.rtsp_options(build)


def test_what_a_library_says_is_cut_to_what_stays_the_same():
    for line, expected in (
            ("[ WARN:0@3.1] global cap_ffmpeg_impl.hpp:456 _opencv_ffmpeg_interrupt_callback Stream timeout triggered "
             "after 3005.72 ms", "Stream timeout triggered"),
            ("[tcp @ 0x55aa] Connection to tcp://h:554?timeout=3000000 failed: Connection refused",
             "Connection to tcp://h:554 failed: Connection refused"),
            ("[rtsp @ 0x55aa] method DESCRIBE failed: 401 Unauthorized for rtsp://me:secret@h/",
             "method DESCRIBE failed: 401 Unauthorized for rtsp://***@h/")):
        with capture.Said() as said:
            os.write(2, (line + "\n").encode())
            assert said.last() == expected

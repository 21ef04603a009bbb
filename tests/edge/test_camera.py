"""Cameras, streams and videos through the real reader process: what can go wrong with them, one by one."""

import json
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import stream_server
from stream_server import number_in, numbered

from edge import locks
from edge.clock import Clock
from edge.errors import SourceError, UsageError
from edge.frames import address, camera, capture, grab, lock, mjpeg, open_source, ring
from edge.frames.damage import Halves
from edge.health import State
from edge.settings import Source

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
SHARED = os.environ.get("SCRAPSORT_SHARED_DATA", os.path.join(os.path.dirname(REPOSITORY), "shared", "data"))
DEBIAN = "/usr/bin/python3"
LIMIT_S = 15.0  # for what should take a second or two: this machine may be busy
SIZE = Source(width=480, height=360)


@pytest.fixture(autouse=True)
def locks_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "FOLDERS", [str(tmp_path)])


@pytest.fixture
def opened():
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


def write_video(path, pictures, fps=30.0):
    pictures = list(pictures)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps,
                             (pictures[0].shape[1], pictures[0].shape[0]))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return str(path)


@pytest.fixture
def video(tmp_path):
    """Sixty frames that carry their numbers, at 30 a second."""
    return write_video(tmp_path / "numbers.avi", (numbered(number, 480, 360) for number in range(60)))


def write_text(path, text):
    with open(path, "w") as file:
        file.write(text)


def until(what, within_s=LIMIT_S):
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "did not happen within {} s".format(within_s)
        time.sleep(0.02)


def is_alive(pid):
    try:
        with open("/proc/{}/stat".format(pid)) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def take(frames, count, within_s=LIMIT_S):
    """The next frames of an iterator, within a time."""
    deadline, taken = time.monotonic() + within_s, []
    for frame in frames:
        taken.append(frame)
        assert time.monotonic() < deadline
        if len(taken) == count:
            break
    return taken


# ---------------------------------------------------------------- videos

def test_a_video_as_fast_as_it_is_taken_loses_nothing_however_slow_the_loop(video, opened):
    source = opened(video, fast=True)
    started, numbers, times = time.monotonic(), [], []
    for frame in source:
        numbers.append(number_in(frame.image_bgr))
        times.append(frame.captured_mono_s)
        if len(numbers) in (10, 30):
            time.sleep(0.3)
    assert numbers == list(range(60)) and time.monotonic() - started < LIMIT_S
    assert np.diff(times) == pytest.approx([1 / 30.0] * 59, abs=0.002)  # as if it had kept its rate
    assert source.counters() == {"taken": 60, "dropped": 0, "bad": 0, "frozen": 0, "reopened": 0, "fps": 30.0}
    assert not is_alive(source.reader_pid or 0) and source.moving and not hasattr(source, "geometry")


def test_a_video_in_real_time_drops_what_the_loop_is_too_slow_for(video, opened):
    source = opened(video)
    started, numbers, ages = time.monotonic(), [], []
    for frame in source:
        numbers.append(number_in(frame.image_bgr))
        ages.append(time.monotonic() - frame.captured_mono_s)
        time.sleep(0.25 if len(numbers) < 5 else 0.0)
    assert 1.8 < time.monotonic() - started < LIMIT_S
    assert numbers == sorted(set(numbers)) and numbers[-1] == 59 and len(numbers) < 45
    assert source.counts["taken"] == len(numbers) and source.counts["dropped"] == 60 - len(numbers)
    assert np.median(ages) < 0.3 and min(ages) > -0.01  # the newest, though the loop had been slow


def test_a_still_video_is_never_called_frozen(tmp_path, opened):
    path = write_video(tmp_path / "still.avi", [numbered(3, 480, 360)] * 60)
    assert len(list(opened(path, SIZE._replace(stall_s=0.5), fast=True))) == 60


@pytest.mark.parametrize("word, positions, expected", [
    ("a variable rate", [0.0, 0.05, 0.2, 0.21], [0.0, 0.05, 0.2, 0.21]),
    ("stamps that begin late", [5.0, 5.04, 5.08], [0.0, 0.04, 0.08]),
    ("none", [None, None, None], [0.0, 0.04, 0.08]),
    ("back and far ahead", [0.0, 0.04, 0.02, 99.0], [0.0, 0.04, 0.08, 0.12]),
])
def test_a_videos_own_times_where_they_grow(word, positions, expected):
    times = grab.Times(25.0)
    due = [times.due_s(position) for position in positions]
    assert [at - due[0] for at in due] == pytest.approx(expected)


@pytest.mark.parametrize("rotate_deg, corner", [(0, (0, 0)), (90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_4k_picture_is_reduced_then_turned_clockwise_and_that_is_said(tmp_path, opened, log_lines, rotate_deg,
                                                                        corner):
    picture = np.full((2160, 3840, 3), 60, np.uint8)
    picture[:400, :400] = 250  # top left
    path = write_video(tmp_path / "4k.avi", [picture] * 3)
    source = opened(path, Source(width=1280, height=720, rotate_deg=rotate_deg), fast=True)
    shapes = set()
    for frame in source:
        shapes.add(frame.image_bgr.shape)
        ys, xs = np.where(frame.image_bgr[..., 0] > 200)
        assert (ys.mean() < frame.image_bgr.shape[0] / 2) == (corner[0] == 0)
        assert (xs.mean() < frame.image_bgr.shape[1] / 2) == (corner[1] == 0)
    assert shapes == {(720, 1280, 3) if rotate_deg in (0, 180) else (1280, 720, 3)}
    said = "3840 x 2160 is processed at {}; set [source] width and height".format(
        "1280 x 720" if rotate_deg in (0, 180) else "720 x 1280")
    assert "camera: " + said in log_lines() and source.state.as_dict()["camera_size"] == said


@pytest.mark.parametrize("word, make, parts", [
    ("missing", lambda path: None, ["no such video"]),
    ("empty", lambda path: write_text(path, ""), ["cannot be opened", "is it a video"]),
    ("no video", lambda path: write_text(path, "x" * 5000), ["is it a video, and whole?"]),
])
def test_a_video_that_is_none(tmp_path, opened, word, make, parts):
    path = str(tmp_path / "clip.mp4")
    make(path)
    with pytest.raises(SourceError) as caught:
        opened(path)
    assert all(part in str(caught.value) for part in parts + [path]) and "\n" not in str(caught.value)


def test_a_truncated_video_ends_where_its_frames_do(video, opened):
    with open(video, "r+b") as file:
        file.truncate(os.path.getsize(video) // 2)
    numbers = [number_in(frame.image_bgr) for frame in opened(video, fast=True)]
    assert 10 < len(numbers) < 50 and numbers == list(range(len(numbers)))


# ---------------------------------------------------------------- the memory that two processes share

def test_a_frame_stays_as_it_is_until_the_next_is_asked_for_and_memory_is_made_once(server, opened):
    source = opened(server(fps=120, size=[240, 180]))
    places, dropped_from = set(), 0
    for count, frame in enumerate(source):
        before = number_in(frame.image_bgr)
        copy = frame.image_bgr.copy()
        places.add(frame.image_bgr.__array_interface__["data"][0])
        time.sleep(0.05)  # six more frames come meanwhile
        assert np.array_equal(copy, frame.image_bgr) and number_in(frame.image_bgr) == before
        if count == 40:
            break
        dropped_from = count
    assert len(places) <= ring.SLOTS and dropped_from and source.counts["dropped"] > 80


def test_no_slot_is_ever_in_two_hands():
    rng = np.random.RandomState(1)
    for keep_all in (False, True):
        said = []
        hands = grab.Hands(keep_all, said.append)
        writing, lent, number, order = hands.slot(), None, 0, []
        for _ in range(5000):
            if rng.rand() < 0.5 and (not keep_all or len(hands._ready) + (lent is not None) < ring.SLOTS - 1):
                newest = hands.newest
                number += 1
                hands.publish(writing, number, float(number), 0)
                writing = hands.slot()
                assert keep_all or (writing != hands.newest and newest is not None or number == 1)
            elif not hands._asked:
                hands.ask()
            while said:
                words = said.pop().split()
                lent = int(words[1])
                order.append(int(words[2]))
            assert writing != lent or hands._lent is None
            assert writing not in hands._free and all(writing != one[0] for one in hands._ready)
            assert hands._lent not in hands._free and len(hands._ready) <= (ring.SLOTS if keep_all else 1)
        assert order == (list(range(1, len(order) + 1)) if keep_all else sorted(set(order))) and len(order) > 1000


def test_where_there_is_no_memory_it_is_said_and_tried_again(monkeypatch, opened, server):
    uri = server()
    monkeypatch.setattr(camera, "Reader", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    source = opened(uri, SIZE._replace(reopen_backoff_s=(0.05, 0.1)))
    thread = threading.Thread(target=lambda: list(source), daemon=True)
    thread.start()
    until(lambda: "No space left" in source.state.trouble("camera"))
    source.stop.set()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


# ---------------------------------------------------------------- lost and found

class Watching(threading.Thread):
    """Takes frames in a thread; numbers are those in the pictures."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source, self.numbers, self.shapes, self.error = source, [], [], None
        self.start()

    def run(self):
        try:
            for frame in self.source:
                self.numbers.append(number_in(frame.image_bgr))
                self.shapes.append(frame.image_bgr.shape[:2])
        except BaseException as error:
            self.error = error

    def more(self, count=5):
        wanted = len(self.numbers) + count
        until(lambda: len(self.numbers) >= wanted or self.error)
        assert self.error is None, self.error

    def end(self):
        self.source.stop.set()
        self.join(LIMIT_S)
        assert not self.is_alive() and self.error is None, self.error


def test_a_reader_that_is_killed_is_replaced_and_leaves_nothing_behind(server, opened):
    source = opened(server(), SIZE._replace(reopen_backoff_s=(0.05, 0.1)))
    watching = Watching(source)
    watching.more()
    open_before, pids = len(os.listdir("/proc/self/fd")), []
    for _ in range(3):
        pids.append(source.reader_pid)
        os.kill(pids[-1], signal.SIGKILL)
        until(lambda: source.reader_pid not in (None, pids[-1]))
        watching.more()
    assert source.counts["reopened"] == 3 and not any(is_alive(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) <= open_before + 1
    watching.end()
    assert source.reader_pid is None and not any("scrapsort-" in name for name in os.listdir("/dev/shm"))


def test_a_read_that_hangs_is_noticed_killed_and_replaced(server, opened):
    source = opened(server(), SIZE._replace(stall_s=1.0))
    watching = Watching(source)
    watching.more()
    pid = source.reader_pid
    os.kill(pid, signal.SIGSTOP)  # answers nothing, not even to be asked to leave
    until(lambda: "no frame for 1 s" in source.state.trouble("camera"))
    watching.more()
    assert not is_alive(pid) and source.reader_pid != pid and not source.state.trouble("camera")
    watching.end()


def test_a_camera_that_takes_the_connection_and_never_answers(server, opened, monkeypatch):
    monkeypatch.setattr(camera, "OPEN_S", 1.0)
    uri = server(what="silent")
    ticks = []
    source = opened(uri.replace("http:", "rtsp:"), SIZE._replace(stall_s=1.0), tick=lambda: ticks.append(1))
    watching = Watching(source)
    until(lambda: source.state.trouble("camera"))
    assert "no frame for 1 s" in source.state.trouble("camera") or "opened" in source.state.trouble("camera")
    pid = source.reader_pid
    until(lambda: source.reader_pid != pid)
    assert len(ticks) > 3 and not watching.numbers
    watching.end()


def test_a_camera_that_comes_late_is_waited_for_and_a_long_pause_ends_when_it_is_there(server, opened):
    uri = server()
    server.kill()
    source = opened(uri, SIZE._replace(reopen_backoff_s=(30.0, 30.0)))
    watching = Watching(source)
    until(lambda: "refused" in source.state.trouble("camera"))
    time.sleep(1.2)
    server()
    started = time.monotonic()
    watching.more(1)
    assert time.monotonic() - started < 15  # and not 30
    until(lambda: not source.state.trouble("camera"))
    watching.end()


def test_a_frozen_camera_is_opened_anew_and_each_time_given_longer(server, opened, log_lines):
    source = opened(server(what="still"), SIZE._replace(stall_s=0.5, reopen_backoff_s=(0.05, 0.1)))
    watching = Watching(source)
    until(lambda: any(line.endswith("the same picture, to the last pixel, for 0.5 s") for line in log_lines()))
    until(lambda: any(line.endswith("the same picture, to the last pixel, for 1 s") for line in log_lines()))
    server(what="numbered")
    watching.more(20)
    frozen = source.counts["frozen"]
    time.sleep(1.0)
    assert source.counts["frozen"] == frozen
    watching.end()


@pytest.mark.parametrize("lengths", [True, False])
def test_half_pictures_are_dropped_and_counted(server, opened, lengths):
    source = opened(server(what="half", good=60, fps=60, lengths=lengths))
    watching = Watching(source)
    until(lambda: "only half there" in source.state.trouble("camera"))
    until(lambda: not source.state.trouble("camera"))  # 40 of 100 are halves
    watching.end()
    assert source.counts["bad"] >= 35 and source.counts["reopened"] == 0
    assert all(number % 100 < 60 for number in watching.numbers) and len(watching.numbers) > 20


def test_a_camera_that_gives_nothing_but_halves_is_opened_anew(server, opened):
    source = opened(server(what="half", good=0, fps=60), SIZE._replace(stall_s=0.5))
    watching = Watching(source)
    until(lambda: "only half there" in source.state.trouble("camera"))
    watching.end()
    assert not watching.numbers


def pictures(kind):
    image = numbered(5, 320, 240)
    if kind == "half":
        image[150:] = (13, 77, 99)
    elif kind == "row":
        image[150:] = image[149]
    elif kind == "grey":
        image[150:] = 128
    elif kind == "bars":
        image[200:] = 0
    elif kind == "bright":
        image[150:] = 255
    return image


@pytest.mark.parametrize("word, kind, good_before, is_half", [
    ("whole", "whole", 9, False), ("one colour", "half", 9, True), ("a row repeated", "row", 9, True),
    ("flat from the first frame on: the scene", "half", 0, False), ("grey of empty memory", "grey", 0, True),
    ("black bars", "bars", 9, False), ("burnt out", "bright", 9, False)])
def test_what_a_half_picture_is(word, kind, good_before, is_half):
    halves = Halves()
    for _ in range(good_before):
        assert not halves.is_half(pictures("whole"))
    assert halves.is_half(pictures(kind)) == is_half


def test_another_size_after_a_reconnect(server, opened, log_lines):
    source = opened(server(size=[480, 360]), SIZE._replace(reopen_backoff_s=(0.05, 0.2)))
    watching = Watching(source)
    watching.more()
    server(size=[960, 720])  # the same shape: it is resized
    watching.more()
    assert set(watching.shapes) == {(360, 480)}
    until(lambda: any("960 x 720 now, 480 x 360 before; processed at 480 x 360" in line for line in log_lines()))
    server(size=[480, 270])  # another one: settings in pixels would be wrong
    until(lambda: "480 x 270 pixels now, another shape than the 480 x 360" in source.state.trouble("camera"))
    server(size=[240, 180])
    watching.more()
    assert set(watching.shapes) == {(360, 480)} and not source.state.trouble("camera")
    watching.end()


SCRIPT = """
import sys, threading
from edge.clock import Clock
from edge.frames import open_source
source = open_source(sys.argv[1], False, threading.Event(), lambda key: False, Clock(), fast=True)
frames = iter(source)
threading.Thread(target=lambda: [None for _ in frames] if len(sys.argv) < 3 else next(frames), daemon=True).start()
while source.reader_pid is None:
    pass
print(source.reader_pid, flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("word", ["busy", "waiting for a slot"])
def test_the_reader_ends_when_the_loop_is_killed(server, video, word):
    arguments = [server()] if word == "busy" else [video, "one frame"]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT] + arguments, stdout=subprocess.PIPE, cwd=REPOSITORY)
    pid = int(process.stdout.readline())
    time.sleep(0.7)  # it is in the middle of its work
    assert is_alive(pid)
    process.kill()
    process.wait()
    process.stdout.close()
    until(lambda: not is_alive(pid), 10)


def test_the_reader_ends_with_its_stdin_also_in_a_call_that_never_returns(tmp_path):
    path = str(tmp_path / "pipe.mp4")
    os.mkfifo(path)  # opening it waits for a writer who never comes
    process = subprocess.Popen([sys.executable, "-m", "edge.frames.grab"], cwd=REPOSITORY, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    process.stdin.write(json.dumps({"uri": path, "keep_all": False}).encode() + b"\n")
    process.stdin.flush()
    time.sleep(1.0)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
    process.stdout.close()
    with pytest.raises(SourceError, match="no regular file"):
        camera.check(path)


# ---------------------------------------------------------------- MJPEG, byte by byte

class Response:
    """An HTTP answer that comes in small pieces."""

    def __init__(self, data, piece):
        self.data, self.piece = data, piece

    def read1(self, most):
        data, self.data = self.data[:self.piece], self.data[self.piece:]
        return data


@pytest.mark.parametrize("piece", [1, 7, 10 ** 6])
@pytest.mark.parametrize("word, stream, parts", [
    ("with lengths", b"--b\r\nContent-Length: 3\r\n\r\nabc\r\n--b\r\ncontent-length:2\r\n\r\nde\r\n--b",
     [b"abc", b"de"]),
    ("without", b"junk--b\r\nX: 1\r\n\r\nabc\r\n--b\r\n\r\nde\r\n--b--", [b"abc\r\n", b"de\r\n"]),
    ("shorter than claimed", b"--b\r\nContent-Length: 20\r\n\r\nabc\r\n--b\r\nContent-Length: 2\r\n\r\nde\r\n--b",
     [b"abc", b"de"]),
    ("cut off", b"--b\r\nContent-Length: 9\r\n\r\nabc", []),
    ("a length beyond reason", b"--b\r\nContent-Length: 99999999999\r\n\r\nabc", []),
])
def test_parts_of_a_multipart_answer(word, stream, parts, piece):
    reader, found = mjpeg.Parts(Response(stream, piece), b"--b"), []
    while True:
        part = reader.next()
        if part is None:
            break
        found.append(part[1])
    assert found == parts


@pytest.mark.parametrize("header, boundary", [
    ("multipart/x-mixed-replace; boundary=frame", b"--frame"), ("Multipart/X; boundary=\"--a b\"", b"--a b"),
    ("multipart/x-mixed-replace;boundary=--x;charset=y", b"--x"), ("video/mp4", None), ("", None)])
def test_boundaries_as_cameras_write_them(header, boundary):
    assert mjpeg.boundary_of(header) == boundary


@pytest.mark.parametrize("word, user, challenge, fine", [
    ("Basic", "Basic bWU6c2VjcmV0", "Basic realm=\"x\"", True),
    ("Basic, another password", "Basic AAAA", "Basic realm=\"x\"", False),
    ("Digest", "Digest username=\"me\"", "Digest realm=\"x\", nonce=\"abc\", qop=\"auth\"", True),
    ("Digest, another name", "Digest username=\"you\"", "Digest realm=\"x\", nonce=\"abc\", qop=\"auth\"", False)])
def test_name_and_password_in_the_address(server, opened, word, user, challenge, fine):
    uri = server(user=user, challenge=challenge).replace("http://", "http://me:secret@")
    if fine:
        assert len(take(opened(uri), 2)) == 2
        return
    with pytest.raises(capture.CameraError, match="answers 401 .* user and password go into the address"):
        capture.open_capture({"uri": uri})


# ---------------------------------------------------------------- addresses

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


@pytest.mark.parametrize("build, expected", [
    ("      avformat:                  YES (58.76.100)", "stimeout;3000000"),
    ("      avformat:                  YES (60.3.100)", "|timeout;3000000"),
    ("      FFMPEG:                      NO", "nobuffer")])
def test_the_time_out_has_the_name_that_this_ffmpeg_gives_it(build, expected):
    assert capture.rtsp_options(build).endswith(expected) and "rtsp_transport;tcp" in capture.rtsp_options(build)


# ---------------------------------------------------------------- GStreamer, with Debian's OpenCV

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


# ---------------------------------------------------------------- the command line

def scrapsort(*arguments, **keywords):
    return subprocess.Popen([sys.executable, "-m", "edge"] + [str(one) for one in arguments], cwd=REPOSITORY,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=dict(os.environ, PYTHONIOENCODING="utf-8"), **keywords)


def run_to_end(*arguments):
    process = scrapsort(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


def test_the_real_belt_end_to_end(tmp_path):
    path = os.path.join(SHARED, "belt", "real-belt-3-items.mp4")
    if not os.path.isfile(path):
        pytest.skip("no {}: it comes with the shared data alone".format(path))
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nregion = [80, 222, 288, 104]\n[gate]\ndirection = \"left\"\n")
    code, out, err = run_to_end("run", "--source", path, "--interval", "0", "--config", config, "--state",
                                tmp_path / "state", "--format", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and lines[-1]["items"] == 3 and lines[-1]["ended_by"] == "end of source", err
    assert all("real-belt-3-items.mp4#" in line["image_path"] for line in lines[:-1])


def test_a_region_outside_the_picture_is_one_line(tmp_path, video):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nregion = [400, 0, 300, 100]\n")
    code, _, err = run_to_end("run", "--source", video, "--interval", "0", "--config", config, "--state",
                              tmp_path / "state")
    assert code == 2 and "region [400, 0, 300, 100]: outside the picture of 480 x 360 pixels" in err
    assert "Traceback" not in err


def test_passwords_stay_out_of_log_status_and_journal_and_ctrl_c_ends_it_quietly(tmp_path, server):
    import base64
    uri = server(user="Basic " + base64.b64encode(b"me:secret").decode())
    uri = uri.replace("http://", "http://me:secret@")
    state = str(tmp_path / "state")
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nuri = \"{}\"\n[gate]\nmode = \"every\"\n".format(uri))
    process = scrapsort("run", "--config", config, "--state", state, start_new_session=True)
    status = os.path.join(state, "status.json")
    until(lambda: os.path.exists(status) and "\"taken\"" in open_text(status))
    other = scrapsort("run", "--config", config, "--state", str(tmp_path / "other"))
    _, err_other = other.communicate(timeout=60)
    until(lambda: sqlite3_items(state) > 3)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    texts = [out.decode(), err.decode(), open_text(status), err_other.decode()]
    with open(os.path.join(state, "journal.db"), "rb") as file:
        texts.append(file.read().decode("latin-1"))
    assert process.returncode == 0 and "Traceback" not in texts[1]
    assert not any("secret" in text for text in texts)
    assert "http://***@127.0.0.1" in texts[1] and "http://***@127.0.0.1" in texts[4]
    assert other.returncode == 1 and "in use by process {}".format(process.pid) in texts[3]


def open_text(path):
    with open(path) as file:
        return file.read()


def sqlite3_items(state):
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    try:
        return connection.execute("SELECT count(*) FROM items").fetchone()[0]
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize("uri, words", [
    ("/dev/video987", ["no such device"]), ("rtsp://me:secret@127.0.0.1:1/x", ["does not answer now", "rtsp://***@"]),
    ("csi://0", ["GStreamer"])])
def test_doctor_on_the_camera_of_the_settings(tmp_path, uri, words):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nuri = \"{}\"\n".format(uri))
    _, out, _ = run_to_end("doctor", "--config", config, "--state", tmp_path)
    line = next(line for line in out.splitlines() if line.split()[1:2] == ["source"])
    assert all(word in line for word in words) and "secret" not in out


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

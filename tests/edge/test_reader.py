"""The reader process and the memory that it shares with the loop: no frame changes in a hand, nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from cameras import SIZE, Watching
from helpers import LIMIT_S, REPOSITORY, is_alive, until
from stream_server import number_in

from edge.errors import SourceError
from edge.frames import camera, grab, ring


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


def test_a_reader_that_is_killed_is_replaced_and_leaves_nothing_behind(server, opened):
    shared_before = set(os.listdir("/dev/shm"))  # of others on this machine
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
    assert source.reader_pid is None
    assert not any("scrapsort-" in name for name in set(os.listdir("/dev/shm")) - shared_before)


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

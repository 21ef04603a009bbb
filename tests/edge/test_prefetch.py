"""The thread that decodes ahead: in order, no further than its depth, and gone when nobody takes."""

import itertools
import threading

import pytest
from test_folder import write

from edge.errors import SourceError
from edge.frames import base
from edge.frames.base import Frame, Prefetch
from edge.frames.folder import FolderFrames


def frame_of(number):
    return Frame("{}.jpg".format(number), str(number), None, None, 0.0, 0.0, 0.0)


def decoders():
    return [thread for thread in threading.enumerate() if thread.name == "decode"]


def test_prefetch_keeps_the_order_and_loses_nothing():
    frames = [frame_of(number) for number in range(50)]
    assert list(Prefetch(frames)) == frames
    assert list(Prefetch([])) == []
    assert decoders() == []


def test_prefetch_runs_ahead_by_depth_and_no_further():
    made, third = [], threading.Event()

    def frames():
        for number in range(100):
            made.append(number)
            if number == 3:
                third.set()
            yield frame_of(number)
    iterator = iter(Prefetch(frames(), depth=2))
    assert next(iterator).key == "0"
    assert third.wait(10)  # 1 and 2 are ready, 3 waits in the hands of the thread
    assert made == [0, 1, 2, 3]
    assert next(iterator).key == "1"
    iterator.close()
    assert len(made) <= 6


@pytest.mark.parametrize("error", [SourceError("gone"), ValueError("ours"), KeyboardInterrupt()], ids=repr)
def test_what_the_source_raises_comes_after_its_frames(error):
    def frames():
        yield frame_of(0)
        yield frame_of(1)
        raise error
    seen = []
    with pytest.raises(type(error)) as caught:
        for frame in Prefetch(frames()):
            seen.append(frame.key)
    assert caught.value is error and seen == ["0", "1"]
    assert decoders() == []


def test_an_early_break_leaves_no_thread_behind():
    endless = (frame_of(number) for number in itertools.count())
    for frame in Prefetch(endless, depth=1):
        if frame.key == "3":
            break
    del frame
    assert decoders() == []


def test_an_exception_in_the_loop_leaves_no_thread_behind():
    def loop():
        for frame in Prefetch(frame_of(number) for number in itertools.count()):
            raise ZeroDivisionError(frame.key)
    try:
        loop()
    except ZeroDivisionError:
        pass
    assert decoders() == []


def test_close_frees_a_producer_that_is_blocked():
    full = threading.Event()

    def frames():
        for number in itertools.count():
            if number == 2:
                full.set()  # 0 is ready, handing over 1 has blocked or will; nobody takes anything
            yield frame_of(number)
    prefetch = Prefetch(frames(), depth=2)
    prefetch._thread.start()
    assert full.wait(10)
    prefetch.close()
    assert decoders() == []
    prefetch.close()  # twice is once


def test_leaving_the_loop_ends_a_source_that_waits(tmp_path, clock):
    """--watch --limit N with exactly N pictures: the source waits for more, which will not come."""
    write(tmp_path / "1.jpg")
    stop = threading.Event()
    for frame in Prefetch(FolderFrames(str(tmp_path), True, stop, clock=clock), stop=stop):
        assert frame.source.endswith("1.jpg")
        break
    del frame
    assert decoders() == [] and stop.is_set()


def test_a_source_that_ends_by_itself_sets_no_stop():
    stop = threading.Event()
    assert len(list(Prefetch([frame_of(0)], stop=stop))) == 1
    assert not stop.is_set()  # else the run would say "stopped" and not "end of source"


def test_prefetch_is_used_once():
    prefetch = Prefetch([frame_of(0)])
    assert len(list(prefetch)) == 1
    with pytest.raises(RuntimeError):
        list(prefetch)


def test_the_thread_never_keeps_the_process_alive():
    assert base.Prefetch([])._thread.daemon

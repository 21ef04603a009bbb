"""A folder as a belt: natural order, once each, watched without taking half a file; and the decoding thread."""

import itertools
import os
import threading

import cv2
import pytest

from edge.errors import PictureError, SourceError
from edge.frames import base, folder
from edge.frames.base import Frame, Prefetch
from edge.frames.drawn import draw_named
from edge.frames.folder import GIVE_UP_S, POLL_S, SETTLE_S, FolderFrames, list_pictures, natural_key, read_frame
from edge.gate import EveryFrame, Item

JPEG = cv2.imencode(".jpg", draw_named("glass", 1, 32, 32))[1].tobytes()
OTHER = cv2.imencode(".jpg", draw_named("metal", 2, 48, 32))[1].tobytes()


def write(path, data=JPEG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(frames):
    return [os.path.basename(frame.source) for frame in frames]


def not_stopped():
    return threading.Event()


# ---------------------------------------------------------------- order and listing

@pytest.mark.parametrize("word, expected", [
    ("numbers", ["glass1", "glass2", "glass10", "glass100"]),
    ("leading zeros", ["a07", "a8", "a09", "a10"]),
    ("several numbers", ["2-1", "2-9", "2-10", "10-1"]),
    ("numbers before letters of the same place", ["a1", "aa", "ab"]),
    ("whatever the case", ["Apple", "banana", "Cherry"]),
    ("letters beyond ASCII", ["gr", "größe1", "größe2"]),
    ("digits that are no numbers", ["1\u00b22", "1\u00b23", "2\u00b21"]),
    ("Arabic digits", ["a1\u06631", "a1\u06632"]),
    ("nothing but a number", ["1", "2", "11"]),
    ("very long numbers", ["9" * 40, "1" + "0" * 41]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_natural_order(word, expected):
    for shuffled in itertools.permutations(expected):
        assert sorted(shuffled, key=natural_key) == expected


def test_folders_are_listed_whole_and_in_order(tmp_path):
    for name in ("b/2.jpg", "b/10.jpg", "a/1.PNG", "a/deep/er/1.webp", "1.jpeg", "10.bmp", "2.jpg"):
        write(tmp_path / name)
    for name in (".hidden.jpg", ".folder/1.jpg", "a/.x/1.jpg", "notes.txt", "a.jpg.part", "jpg", "b/1.gif"):
        write(tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    found = [os.path.relpath(one.path, str(tmp_path)) for one in list_pictures(str(tmp_path))]
    assert found == ["1.jpeg", "2.jpg", "10.bmp", "a/1.PNG", "a/deep/er/1.webp", "b/2.jpg", "b/10.jpg"]


def test_names_that_sort_alike_still_have_one_order(tmp_path, monkeypatch):
    walked = [(str(tmp_path), [], ["a1.jpg", "A1.jpg", "a01.jpg"])]
    for name in walked[0][2]:
        write(tmp_path / name)
    orders = set()
    for listing in itertools.permutations(walked[0][2]):
        # noqa below: the lambda is called before the loop goes on
        monkeypatch.setattr(os, "walk", lambda *a, **k: iter([(str(tmp_path), [], list(listing))]))  # noqa: B023
        orders.add(tuple(one.path for one in list_pictures(str(tmp_path))))
    assert len(orders) == 1


def test_a_picture_that_vanishes_while_the_folder_is_listed(tmp_path, monkeypatch):
    write(tmp_path / "1.jpg")
    monkeypatch.setattr(os, "walk", lambda *a, **k: iter([(str(tmp_path), [], ["gone.jpg", "1.jpg"])]))
    assert [os.path.basename(one.path) for one in list_pictures(str(tmp_path))] == ["1.jpg"]


def test_a_folder_that_vanishes_while_it_is_listed(tmp_path, monkeypatch):
    for name in ("a/1.jpg", "b/1.jpg"):
        write(tmp_path / name)
    scandir = os.scandir

    def scan(path):
        if str(path).endswith("a"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return scandir(path)
    monkeypatch.setattr(os, "scandir", scan)
    assert [os.path.basename(os.path.dirname(one.path)) for one in list_pictures(str(tmp_path))] == ["b"]


def test_the_watched_folder_itself_vanishes(tmp_path):
    with pytest.raises(SourceError) as caught:
        list_pictures(str(tmp_path / "gone"))
    assert "gone" in str(caught.value) and "cannot be read" in str(caught.value)


# ---------------------------------------------------------------- a folder that is there

def test_frames_of_a_folder(tmp_path, clock):
    write(tmp_path / "10.jpg", OTHER)
    write(tmp_path / "2.jpg")
    write(tmp_path / "3.jpg", b"hello")
    (tmp_path / "4.jpg").symlink_to("nowhere")
    frames = list(FolderFrames(str(tmp_path), False, not_stopped(), clock=clock))
    assert names(frames) == ["2.jpg", "3.jpg", "4.jpg", "10.jpg"]
    first = frames[0]
    assert first.image_bgr.shape == (32, 32, 3) and first.data == JPEG and first.error == ""
    assert (first.captured_mono_s, first.captured_wall_s) == (clock.mono_s(), clock.wall_s())
    assert first.decode_ms > 0
    for frame, text in ((frames[1], "not a JPEG"), (frames[2], "cannot be read: No such file")):  # bad, but items
        assert frame.image_bgr is None and text in frame.error and frame.key
        assert EveryFrame().offer(frame) == [Item(frame, ())]
    assert [item.views[0] is first.image_bgr for item in EveryFrame().offer(first)] == [True]
    assert len({frame.key for frame in frames}) == 4


def test_a_single_file(tmp_path, clock):
    path = write(tmp_path / "noextension")
    frames = list(FolderFrames(str(path), False, not_stopped(), clock=clock))
    assert [frame.source for frame in frames] == [str(path)] and frames[0].image_bgr is not None


def test_a_file_is_the_same_from_whichever_folder_it_is_named(tmp_path, clock, monkeypatch):
    path = write(tmp_path / "a" / "1.jpg")
    monkeypatch.chdir(str(tmp_path))
    keys = {frame.key for name in (str(path), "a/1.jpg", "./a/../a/1.jpg", "a")
            for frame in FolderFrames(name, False, not_stopped(), clock=clock)}
    assert len(keys) == 1


@pytest.mark.parametrize("word, name, watch, text", [
    ("missing", "nowhere", False, "no such file or folder"),
    ("missing and watched", "nowhere", True, "no such file or folder"),
    ("empty", "empty", False, "no pictures in it"),
    ("other files only", "texts", False, "no pictures in it"),
    ("a watched file", "1.jpg", True, "only a folder can be watched"),
    ("dangling link", "link", False, "no such file or folder"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_sources_that_give_nothing(tmp_path, word, name, watch, text):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "texts" / "a.txt")
    write(tmp_path / "1.jpg")
    (tmp_path / "link").symlink_to("nothing")
    with pytest.raises(SourceError) as caught:
        FolderFrames(str(tmp_path / name), watch)
    assert str(tmp_path / name) in str(caught.value) and text in str(caught.value) and "\n" not in str(caught.value)


def test_names_that_are_no_utf8_can_be_kept_and_printed(tmp_path, clock):
    try:
        with open(os.path.join(os.fsencode(str(tmp_path)), b"gr\xf6\xdfe.jpg"), "wb") as file:
            file.write(JPEG)
    except OSError as error:
        pytest.skip("this file system wants UTF-8: {}".format(error))
    frame, = FolderFrames(str(tmp_path), False, not_stopped(), clock=clock)
    assert frame.image_bgr is not None and not frame.error
    for text in (frame.source, frame.key):
        text.encode("utf-8")  # SQLite and JSON need that
        assert "gr\\xf6\\xdfe.jpg" in text


def test_stop_ends_a_folder(tmp_path, clock):
    for number in range(5):
        write(tmp_path / "{}.jpg".format(number))
    stop, taken = threading.Event(), []
    for frame in FolderFrames(str(tmp_path), False, stop, clock=clock):
        taken.append(frame)
        if len(taken) == 2:
            stop.set()
    assert names(taken) == ["0.jpg", "1.jpg"]


# ---------------------------------------------------------------- watch

class Belt:
    """Watches a folder with a clock that is moved by its own polls: at(seconds, act) acts on the way."""

    def __init__(self, path, clock, is_done=lambda key: False):
        self.start, self.clock, self.stop, self.acts = clock.mono_s(), clock, threading.Event(), []
        self.frames = FolderFrames(str(path), True, self.stop, is_done, clock)
        clock.during_wait = self._act

    def at(self, seconds, act):
        self.acts.append((self.start + seconds, act))
        return self

    def _act(self, clock):
        due = [act for when, act in self.acts if when <= clock.mono_s()]
        self.acts = [pair for pair in self.acts if pair[1] not in due]
        for act in due:
            act()

    def until(self, seconds):
        """[(seconds, frame)] of all that was taken."""
        self.at(seconds, self.stop.set)
        return [(round(self.clock.mono_s() - self.start, 3), frame) for frame in self.frames]


def test_a_file_is_taken_once_it_has_settled(tmp_path, clock):
    write(tmp_path / "1.jpg")
    taken = Belt(tmp_path, clock).at(3.0, lambda: write(tmp_path / "2.jpg")).until(30.0)
    assert names(frame for _, frame in taken) == ["1.jpg", "2.jpg"]  # each once
    assert [when for when, _ in taken] == [SETTLE_S, 3.0 + SETTLE_S]
    assert all(frame.error == "" for _, frame in taken)
    assert set(clock.waits) == {POLL_S}  # and nothing spins


def test_files_of_one_moment_come_in_natural_order(tmp_path, clock):
    for name in ("10.jpg", "9.jpg", "sub/1.jpg"):
        write(tmp_path / name)
    assert names(frame for _, frame in Belt(tmp_path, clock).until(2.0)) == ["9.jpg", "10.jpg", "1.jpg"]


def test_a_growing_file_is_taken_when_it_is_whole(tmp_path, clock):
    path = tmp_path / "1.jpg"
    belt = Belt(tmp_path, clock)
    cuts = [10, 100, len(JPEG) // 2, len(JPEG) - 1, len(JPEG)]
    for step, length in enumerate(cuts):
        belt.at(1.0 + 3 * step, lambda length=length: write(path, JPEG[:length]))
    (when, frame), = belt.until(40.0)
    assert when == 13.0 + SETTLE_S and frame.error == "" and frame.data == JPEG


def test_a_file_that_changes_often_is_left_alone(tmp_path, clock):
    """Whole each time, but never still for long enough."""
    belt = Belt(tmp_path, clock)
    for step in range(20):
        belt.at(0.25 * step, lambda step=step: write(tmp_path / "1.jpg", JPEG + b"\0" * step))
    (when, frame), = belt.until(20.0)
    assert when == 0.25 * 19 + SETTLE_S and len(frame.data) == len(JPEG) + 19


@pytest.mark.parametrize("word, data, text", [
    ("truncated", JPEG[:-5], "truncated"), ("empty", b"", "empty file"), ("no picture", b"hello", "not a JPEG"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_stays_incomplete_is_one_bad_item(tmp_path, clock, word, data, text):
    write(tmp_path / "1.jpg", data)
    (when, frame), = Belt(tmp_path, clock).until(60.0)
    assert when == GIVE_UP_S and frame.image_bgr is None and text in frame.error


def test_time_away_does_not_count_as_time_unchanged(tmp_path, clock):
    path, away = write(tmp_path / "in" / "1.jpg", JPEG[:-5]), tmp_path / "away.jpg"
    belt = Belt(tmp_path / "in", clock)
    belt.at(3.0, lambda: path.rename(away)).at(20.0, lambda: away.rename(path))
    (when, _), = belt.until(60.0)
    assert when == 20.0 + GIVE_UP_S


def test_a_rewritten_file_is_a_new_one(tmp_path, clock):
    path = write(tmp_path / "1.jpg")
    taken = Belt(tmp_path, clock).at(5.0, lambda: write(path, OTHER)).until(20.0)
    assert [frame.data for _, frame in taken] == [JPEG, OTHER]
    assert taken[0][1].key != taken[1][1].key


def test_a_file_rewritten_while_an_earlier_one_is_sorted_is_taken_once_as_it_is_then(tmp_path, clock):
    """The listing that found it is old by the time that its turn comes."""
    first, second = write(tmp_path / "1.jpg"), write(tmp_path / "2.jpg")
    belt = Belt(tmp_path, clock)
    frames, taken = iter(belt.frames), []
    taken.append(next(frames))
    assert taken[0].source == str(first)
    write(second, OTHER)
    taken.append(next(frames))
    assert taken[1].source == str(second) and taken[1].data == OTHER
    assert taken[1].key.split("|")[1] == str(len(OTHER)), "under the key of what was read"
    belt.stop.set()
    assert list(frames) == []


def test_a_touched_file_is_a_new_one(tmp_path, clock):
    path = write(tmp_path / "1.jpg")
    os.utime(str(path), (1000, 1000))
    taken = Belt(tmp_path, clock).at(5.0, lambda: os.utime(str(path), (2000, 2000))).until(20.0)
    assert len(taken) == 2


def test_a_file_that_goes_and_comes_back_unchanged_is_new_again(tmp_path, clock):
    path, away = write(tmp_path / "in" / "1.jpg"), tmp_path / "away.jpg"
    belt = Belt(tmp_path / "in", clock)
    belt.at(5.0, lambda: path.rename(away)).at(10.0, lambda: away.rename(path))
    assert len(belt.until(20.0)) == 2


def test_what_an_earlier_run_recorded_is_left_out(tmp_path, clock):
    write(tmp_path / "1.jpg"), write(tmp_path / "2.jpg", OTHER)
    asked = []

    def is_done(key):
        asked.append(key)
        return "1.jpg" in key
    assert names(frame for _, frame in Belt(tmp_path, clock, is_done).until(10.0)) == ["2.jpg"]
    assert len(asked) == 2  # once each, not at every poll


def test_without_watch_nobody_is_asked_about_earlier_runs(tmp_path, clock):
    write(tmp_path / "1.jpg")
    frames = FolderFrames(str(tmp_path), False, not_stopped(), lambda key: pytest.fail("asked"), clock)
    assert len(list(frames)) == 1


def test_an_empty_folder_is_waited_for_until_stop(tmp_path, clock):
    assert Belt(tmp_path, clock).until(100.0) == []
    assert clock.mono_s() - 100.0 >= 100.0


def test_stop_between_two_files(tmp_path, clock):
    for number in range(3):
        write(tmp_path / "{}.jpg".format(number))
    belt = Belt(tmp_path, clock)
    taken = []
    for frame in belt.frames:
        taken.append(frame)
        belt.stop.set()
    assert names(taken) == ["0.jpg"]


def test_a_file_that_is_gone_before_it_is_read_is_a_bad_item(tmp_path, clock):
    frame = read_frame(str(tmp_path / "gone.jpg"), "key", clock)
    assert frame.image_bgr is None and frame.data is None and "No such file" in frame.error and frame.key == "key"


def test_only_picture_errors_are_items(tmp_path, clock, monkeypatch):
    """Anything else is a fault of ours and must not be taken for a bad picture."""
    path = str(write(tmp_path / "1.jpg"))
    for error, caught in ((PictureError("bad"), True), (ZeroDivisionError(), False)):
        def decode(data, error=error):
            raise error
        monkeypatch.setattr(folder.pictures, "decode", decode)
        if caught:
            assert read_frame(path, "key", clock).error == "bad"
        else:
            with pytest.raises(ZeroDivisionError):
                read_frame(path, "key", clock)


# ---------------------------------------------------------------- the thread that decodes ahead

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

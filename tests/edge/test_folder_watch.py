"""A watched folder as a belt: once each, and no file before it is whole."""

import os
import threading

import pytest
from test_folder import JPEG, OTHER, names, not_stopped, write

from edge.frames import folder, pictures
from edge.frames.folder import GIVE_UP_S, POLL_S, SETTLE_S, FolderFrames


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
    belt.at(5.0, lambda: path.rename(away)).at(70.0, lambda: away.rename(path))
    assert len(belt.until(90.0)) == 2


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


def test_a_folder_that_is_empty_for_a_moment_brings_nothing_twice_though_no_record_is_on_the_disk_yet(tmp_path, clock):
    """As one whose file system is unmounted, and mounted again."""
    kept = tmp_path.parent / (tmp_path.name + ".kept")
    write(tmp_path / "1.jpg")

    def away():
        os.rename(str(tmp_path / "1.jpg"), str(kept))

    def back():
        os.rename(str(kept), str(tmp_path / "1.jpg"))
        write(tmp_path / "2.jpg")
    taken = Belt(tmp_path, clock).at(3.0, away).at(5.0, back).until(30.0)
    assert names(frame for _, frame in taken) == ["1.jpg", "2.jpg"]


def test_a_file_that_vanishes_while_it_is_read_is_no_bad_picture_and_is_taken_when_it_is_back(
        tmp_path, clock, monkeypatch):
    path, kept, vanished = tmp_path / "1.jpg", tmp_path.parent / (tmp_path.name + ".kept"), []
    write(path)

    def read(name):
        if not vanished and clock.mono_s() > start:
            vanished.append(name)
            os.rename(name, str(kept))
        return read_bytes(name)
    belt, read_bytes = Belt(tmp_path, clock), pictures.read_bytes
    start = clock.mono_s()
    monkeypatch.setattr(folder, "_is_whole", lambda name: True)
    monkeypatch.setattr(pictures, "read_bytes", read)
    (_, frame), = belt.at(3.0, lambda: os.rename(str(kept), str(path))).until(30.0)
    assert vanished
    assert frame.error == ""

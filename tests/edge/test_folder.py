"""A folder as a source: natural order, once each, bad pictures as items."""

import itertools
import os
import threading

import cv2
import pytest

from edge.errors import PictureError, SourceError
from edge.frames import folder
from edge.frames.drawn import draw_named
from edge.frames.folder import FolderFrames, list_pictures, natural_key, read_frame
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
        monkeypatch.setattr(os, "walk", lambda *a, listing=listing, **k: iter([(str(tmp_path), [], list(listing))]))
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

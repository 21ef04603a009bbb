"""prepare: finding classes, leaving out what is bad, keeping near-duplicates together, changing nothing twice."""

import json
import shutil
import zipfile

import cv2
import numpy as np
import pytest
from drawn_tree import write_tree

from edge.frames.drawn import draw_named
from trainer.errors import TrainerError
from trainer.prepare import find_class_root, group_near_duplicates, perceptual_hash, prepare, read_split, scan


def snapshot(folder):
    return {p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in folder.rglob("*") if p.is_file()}


def zip_of(folder, path, prefix):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(folder).as_posix()}")
        archive.writestr("__MACOSX/dataset-resized/glass/._glass1.jpg", b"resource fork")
    return path


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("tree"), 10)


@pytest.mark.parametrize("layout", ["the tree itself", "tree inside folders", "zip", "zip inside a zip",
                                    "dataset-resized beside another tree"])
def test_the_class_folders_are_found_by_themselves(tree, tmp_path, layout):
    if layout == "the tree itself":
        source = tree
    elif layout == "tree inside folders":
        source = tmp_path / "a"
        shutil.copytree(tree, source / "b" / "c")
    elif layout == "dataset-resized beside another tree":
        source = tmp_path / "a"
        shutil.copytree(tree, source / "deeper" / "dataset-resized")
        write_tree(source / "samples", 2, ("x", "y"))
    else:
        source = zip_of(tree, tmp_path / "dataset-resized.zip", "dataset-resized/")
        if layout == "zip inside a zip":
            outer = tmp_path / "trashnet-master.zip"
            with zipfile.ZipFile(outer, "w") as archive:
                archive.write(source, "trashnet-master/data/dataset-resized.zip")
            source = outer
    split = prepare(source, tmp_path / "out")
    assert split["classes"] == ["cardboard", "glass", "metal", "paper", "plastic", "trash"]
    assert sum(sum(c.values()) for c in split["counts"].values()) == 60
    assert split["hash"] == prepare(tree, tmp_path / "again")["hash"], "the split hangs on the pictures alone"


def test_shares_are_kept_in_each_class_and_files_lie_where_the_split_says(tree, tmp_path):
    split = prepare(tree, tmp_path / "out")
    assert split["counts"] == {"train": dict.fromkeys(split["classes"], 8), "val": dict.fromkeys(split["classes"], 1),
                               "test": dict.fromkeys(split["classes"], 1)}
    for file in split["files"]:
        assert (tmp_path / "out" / file["split"] / file["path"]).read_bytes() == (tree / file["path"]).read_bytes()
    assert read_split(tmp_path / "out") == split


def test_running_it_twice_changes_nothing(tree, tmp_path):
    prepare(tree, tmp_path / "out")
    before = snapshot(tmp_path / "out")
    prepare(tree, tmp_path / "out")
    assert snapshot(tmp_path / "out") == before


def test_another_seed_gives_another_split_and_leaves_no_stale_file(tree, tmp_path):
    first = prepare(tree, tmp_path / "out", seed=0)
    second = prepare(tree, tmp_path / "out", seed=1)
    assert first["hash"] != second["hash"]
    there = {p for p in snapshot(tmp_path / "out") if not p.endswith(".json")}
    assert there == {f"{f['split']}/{f['path']}" for f in second["files"]}


def test_files_of_others_are_not_touched(tree, tmp_path):
    prepare(tree, tmp_path / "out")
    (tmp_path / "out" / "train" / "glass" / "mine.jpg").write_bytes(b"precious")
    with pytest.raises(TrainerError, match=r"did not make, train/glass/mine\.jpg first"):
        prepare(tree, tmp_path / "out", seed=1)
    assert (tmp_path / "out" / "train" / "glass" / "mine.jpg").read_bytes() == b"precious"


def test_bad_files_are_listed_with_the_reason_and_left_out(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "in")
    glass = tmp_path / "in" / "glass"
    whole = (glass / "glass0.jpg").read_bytes()
    (glass / "empty.jpg").write_bytes(b"")
    (glass / "half.jpg").write_bytes(whole[:len(whole) // 2])
    (glass / "text.jpg").write_text("hello")
    (glass / "really_png.jpg").write_bytes(cv2.imencode(".png", draw_named("glass", 99, 64, 64))[1].tobytes())
    (glass / "notes.txt").write_text("hello")
    (glass / "copy.jpg").write_bytes(whole)
    split = prepare(tmp_path / "in", tmp_path / "out")
    reasons = {entry["path"]: entry["reason"] for entry in split["left_out"]}
    assert sorted(reasons) == [f"glass/{n}" for n in ("empty.jpg", "glass0.jpg", "half.jpg", "notes.txt",
                                                      "really_png.jpg", "text.jpg")]
    for name, word in (("empty.jpg", "empty"), ("half.jpg", "truncated"), ("text.jpg", "not a JPEG"),
                       ("really_png.jpg", "mislabelled: named .jpg but is a PNG"), ("notes.txt", "extension"),
                       ("glass0.jpg", "the same file as glass/copy.jpg")):
        assert word in reasons[f"glass/{name}"]
    assert split["counts"]["train"]["glass"] + split["counts"]["val"]["glass"] + split["counts"]["test"]["glass"] == 10


def test_near_duplicates_stay_on_one_side(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "in")
    for number in range(10):  # each picture again, re-encoded and a little brighter
        image_bgr = cv2.imread(str(tree / "metal" / f"metal{number}.jpg"))
        brighter = cv2.convertScaleAbs(image_bgr, alpha=1.03, beta=2)
        cv2.imwrite(str(tmp_path / "in" / "metal" / f"again{number}.jpg"), brighter, [cv2.IMWRITE_JPEG_QUALITY, 60])
    split = prepare(tmp_path / "in", tmp_path / "out")
    side = {f["path"]: f["split"] for f in split["files"]}
    for number in range(10):
        assert side[f"metal/metal{number}.jpg"] == side[f"metal/again{number}.jpg"]
    assert {s for p, s in side.items() if p.startswith("metal")} == {"train", "val", "test"}


def test_grouping_is_transitive_and_bounded():
    class Fake:
        def __init__(self, phash):
            self.phash, self.group = phash, -1
    chain = [Fake(h) for h in (0, 0b1111, 0b11111111, (1 << 64) - 1)]
    group_near_duplicates(chain, bits=4)
    assert chain[0].group == chain[1].group == chain[2].group != chain[3].group


def test_the_hash_is_blind_to_encoding_but_not_to_the_picture():
    one, other = draw_named("glass", 1), draw_named("glass", 2)
    recoded = cv2.imdecode(cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    distance = (perceptual_hash(one) ^ perceptual_hash(recoded)).bit_count()
    assert distance <= 4
    assert (perceptual_hash(one) ^ perceptual_hash(other)).bit_count() >= 10


def test_the_same_picture_under_two_labels_is_reported_and_not_split(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "in")
    shutil.copy(tree / "paper" / "paper3.jpg", tmp_path / "in" / "trash" / "stray.jpg")
    split = prepare(tmp_path / "in", tmp_path / "out")
    assert ["paper/paper3.jpg", "trash/stray.jpg"] in split["groups_with_several_classes"]
    side = {f["path"]: f["split"] for f in split["files"]}
    assert side["paper/paper3.jpg"] == side["trash/stray.jpg"]


@pytest.mark.parametrize("what, word", [("no such thing", "no such file"), ("empty folder", "no folder with"),
                                        ("half a zip", "not a whole zip"), ("one class", "no folder with"),
                                        ("two classes, one of them all bad", "usable pictures of 1 class")])
def test_unusable_sources_are_one_line(tree, tmp_path, what, word):
    source = tmp_path / "in"
    if what == "half a zip":
        source = zip_of(tree, tmp_path / "in.zip", "dataset-resized/")
        source.write_bytes(source.read_bytes()[:5000])
    elif what != "no such thing":
        source.mkdir()
        if "class" in what:
            write_tree(source, 3, ("glass",))
        if "two" in what:
            (source / "metal").mkdir()
            (source / "metal" / "a.jpg").write_bytes(b"")
    with pytest.raises(TrainerError, match=word) as caught:
        prepare(source, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1


def test_an_edited_split_is_refused(tree, tmp_path):
    prepare(tree, tmp_path / "out")
    path = tmp_path / "out" / "split.json"
    split = json.loads(path.read_text())
    split["files"][0]["split"] = "test"
    path.write_text(json.dumps(split))
    with pytest.raises(TrainerError, match="do not give its hash"):
        read_split(tmp_path / "out")
    with pytest.raises(TrainerError, match="run `python3 -m trainer prepare"):
        read_split(tmp_path)


def test_trashnet_as_it_is_published(shared_data, tmp_path):
    split = prepare(shared_data / "trashnet-dataset-resized.zip", tmp_path / "out")
    assert split["left_out"] == [] and sum(map(sum, (c.values() for c in split["counts"].values()))) == 2275
    for label, total in (("cardboard", 363), ("glass", 451), ("metal", 369), ("paper", 535), ("plastic", 434),
                         ("trash", 123)):
        counts = [split["counts"][part][label] for part in ("train", "val", "test")]
        assert sum(counts) == total  # whole groups of near-duplicates may miss the tenth by a few
        assert counts[1:] == pytest.approx([total / 10] * 2, abs=3)
    hashes = np.array([int(f["phash"], 16) for f in split["files"]], np.uint64)
    sides = np.array([f["split"] for f in split["files"]])
    for i in range(len(hashes)):
        near = np.bitwise_count(hashes ^ hashes[i]) <= split["near_duplicate_bits"]
        assert set(sides[near]) == {sides[i]}


def test_scan_and_root_do_not_look_into_hidden_folders(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "in")
    write_tree(tmp_path / "in" / ".git", 1, ("a", "b"))
    assert find_class_root(tmp_path / "in") == tmp_path / "in"
    found, _ = scan(tmp_path / "in")
    assert {p.label for p in found} == {"cardboard", "glass", "metal", "paper", "plastic", "trash"}

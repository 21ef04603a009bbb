"""The audit finds what was planted in drawn pictures, and says nothing of those left as they were."""

import argparse
import csv
import hashlib
import shutil
import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_tree import write_tree

from edge.frames.drawn import draw_named
from trainer.audit import audit, likely_mislabels, nearest_pairs
from trainer.commands import audit as command
from trainer.contact_sheet import GAP_PX, THUMBNAIL_PX, TITLE_PX, contact_sheet, thumbnail
from trainer.errors import TrainerError
from trainer.files import write_json
from trainer.findings import KINDS
from trainer.oddities import outlier_scores
from trainer.oof import OutOfFold
from trainer.prepare import prepare, read_split, split_hash

SIZE = (128, 160)


def exif_jpeg(picture, orientation):
    """A JPEG with an EXIF segment that holds nothing but the orientation."""
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    plain = cv2.imencode(".jpg", picture)[1].tobytes()
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]


def another_shot(picture):
    return np.roll(cv2.convertScaleAbs(picture, alpha=0.9, beta=8), 6, 1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A prepared tree of 60 ordinary pictures and one specimen of each thing to find: (folder, its findings)."""
    source = write_tree(tmp_path_factory.mktemp("source"), 10, size=SIZE)
    shutil.copy(source / "glass/glass1.jpg", source / "metal/same.jpg")
    for name, origin, change in (
            ("paper/again.jpg", "paper/paper2.jpg", another_shot),
            ("trash/again.jpg", "paper/paper5.jpg", another_shot),
            ("paper/mirrored.jpg", "paper/paper3.jpg", np.fliplr), ("paper/turned.jpg", "paper/paper4.jpg", np.rot90)):
        cv2.imwrite(str(source / name), change(cv2.imread(str(source / origin))))

    def draw(number, size=SIZE):
        return draw_named("plastic", 900 + number, *size)

    cv2.imwrite(str(source / "plastic/tiny.jpg"), draw(1, (48, 60)))
    cv2.imwrite(str(source / "plastic/long.jpg"), cv2.resize(draw(2), (640, 128)))
    cv2.imwrite(str(source / "plastic/large.jpg"), draw(3, (256, 320)))
    cv2.imwrite(str(source / "plastic/black.jpg"), np.where(np.arange(160)[:, None] < 80, 0, draw(4)))
    cv2.imwrite(str(source / "plastic/white.jpg"), np.where(np.arange(160)[:, None] < 80, 255, draw(5)))
    cv2.imwrite(str(source / "plastic/dark.jpg"), draw(6) // 8 + 6)
    cv2.imwrite(str(source / "plastic/flat.jpg"), draw(7) // 16 + 170)
    cv2.imwrite(str(source / "plastic/blurred.jpg"), cv2.GaussianBlur(draw(8), (0, 0), 9))
    cv2.imwrite(str(source / "plastic/grey.jpg"), cv2.cvtColor(draw(9), cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(source / "plastic/clear.png"), cv2.cvtColor(draw(10), cv2.COLOR_BGR2BGRA))
    (source / "plastic/lying.jpg").write_bytes(exif_jpeg(draw(11), 6))
    (source / "plastic/text.jpg").write_text("no picture")
    data = tmp_path_factory.mktemp("materials")
    split = prepare(source, data)
    part = {f["path"]: f["split"] for f in split["files"]}
    (data / part["trash/trash1.jpg"] / "trash/trash1.jpg").write_bytes(b"\xff\xd8 broken later")
    (data / part["trash/trash2.jpg"] / "trash/trash2.jpg").unlink()
    cv2.imwrite(str(data / part["trash/trash3.jpg"] / "trash/trash3.jpg"), draw_named("trash", 77, *SIZE))
    return data, audit(data)


def found(findings, kind):
    """{(NAME, other NAME or ""): reason} of one kind."""
    return {tuple(p.split("/", 1)[-1] for p in (r.path, r.other_path)): r.reason for r in findings.of(kind)}


@pytest.mark.parametrize("kind, specimens", [
    ("damaged", {"trash/trash1.jpg": "damaged", "trash/trash2.jpg": "cannot be read",
                 "trash/trash3.jpg": "not the file that prepare saw"}),
    ("same-file-two-labels", {"glass/glass1.jpg metal/same.jpg": "labelled glass and metal; the same bytes"}),
    ("near-duplicate-two-labels", {"paper/paper5.jpg trash/again.jpg": "labelled paper and trash"}),
    ("near-duplicate", {"paper/again.jpg paper/paper2.jpg": "of 64 bits"}),
    ("turned-duplicate", {"paper/mirrored.jpg paper/paper3.jpg": "the other mirrored",
                          "paper/paper4.jpg paper/turned.jpg": "turned by"}),
    ("odd-size", {"plastic/tiny.jpg": "60 x 48: tiny", "plastic/long.jpg": "640 x 128: long",
                  "plastic/large.jpg": "320 x 256, where"}),
    ("odd-exposure", {"plastic/black.jpg": "black", "plastic/white.jpg": "white", "plastic/dark.jpg": "mean luma",
                      "plastic/flat.jpg": "grey levels"}),
    ("blurred", {"plastic/blurred.jpg": "variance of the Laplacian"}),
    ("odd-file", {"plastic/grey.jpg": "no colour", "plastic/clear.png": "a PNG among JPEGs",
                  "plastic/lying.jpg": "EXIF turns it"}),
    ("left-out", {"text.jpg": "not a JPEG"}),  # of a file that was left out there is no part: plastic/ goes
])
def test_finds_what_was_planted(planted, kind, specimens):
    reasons = found(planted[1], kind)
    for names, reason in specimens.items():
        one, other = (names + " ").split(" ")[:2]
        assert any(reason in row.reason for row in planted[1].of(kind)
                   if row.path.endswith(one) and row.other_path.endswith(other)), (names, reasons)


@pytest.mark.parametrize("kind", ["damaged", "same-file-two-labels", "near-duplicate-two-labels", "near-duplicate",
                                  "turned-duplicate", "odd-size", "blurred", "left-out", "look-alike"])
def test_finds_nothing_else(planted, kind):
    expected = {"damaged": 3, "odd-size": 3, "turned-duplicate": 2, "look-alike": 0}.get(kind, 1)
    assert len(planted[1].of(kind)) == expected, found(planted[1], kind)


def test_transparency_is_found_besides_the_format(planted):
    assert {r.reason for r in planted[1].of("odd-file") if r.path.endswith("clear.png")} == {
        "a PNG among JPEGs", "has transparency, which is dropped"}


def test_names_every_kind_and_each_picture_that_can_be_shown(planted):
    data, findings = planted
    assert findings.pictures == len(read_split(data)["files"])
    assert len(findings.thumbnails) == findings.pictures - 2  # one broken, one gone
    assert {row.kind for row in findings.rows} <= set(KINDS)
    assert not findings.looked_for_mislabels
    assert cv2.imdecode(np.frombuffer(next(iter(findings.thumbnails.values())), np.uint8), 1).shape[1] == THUMBNAIL_PX


def pair(tmp_path, change, parts):
    """A data set where paper/x.jpg is change(paper/paper0.jpg), with these two put into these parts: one finding."""
    source = write_tree(tmp_path / "source", 3, ("glass", "paper"), SIZE)
    cv2.imwrite(str(source / "paper/x.jpg"), change(cv2.imread(str(source / "paper/paper0.jpg"))))
    data = tmp_path / "data"
    split = prepare(source, data)
    for name, part in zip(("paper/paper0.jpg", "paper/x.jpg"), parts, strict=True):
        entry = next(f for f in split["files"] if f["path"] == name)
        (data / part / "paper").mkdir(parents=True, exist_ok=True)
        (data / entry["split"] / name).rename(data / part / name)
        entry["split"] = part
    split["hash"] = split_hash(split["files"])
    write_json(data / "split.json", split)
    row, = (r for r in audit(data).rows if r.other_path)
    return row


@pytest.mark.parametrize("change, parts, kind, severity, reason", [
    (lambda p: p // 2 + 60, ("train", "train"), "near-duplicate", "low", "bits"),
    (lambda p: p // 2 + 60, ("train", "test"), "near-duplicate", "high", "both sides of the split (train and test)"),
    (lambda p: p[::-1], ("val", "val"), "turned-duplicate", "medium", "two groups: folds may part them"),
    (lambda p: p[::-1], ("test", "train"), "turned-duplicate", "high", "both sides of the split (test and train)"),
])
def test_a_pair_is_as_bad_as_where_it_lies(tmp_path, change, parts, kind, severity, reason):
    row = pair(tmp_path, change, parts)
    assert (row.kind, row.severity) == (kind, severity)
    assert reason in row.reason


@pytest.mark.parametrize("symmetry, words", [
    (np.rot90, "turned by 270"), (lambda p: np.rot90(p, 2), "turned by 180"),
    (lambda p: np.rot90(p, 3), "turned by 90"), (lambda p: p[:, ::-1], "the other mirrored;"),
    (lambda p: np.rot90(p[:, ::-1]), "mirrored and turned by 90"), (lambda p: p[::-1], "mirrored and turned by 180"),
    (lambda p: np.rot90(p[:, ::-1], 3), "mirrored and turned by 270")])
def test_every_symmetry_is_recognised(tmp_path, symmetry, words):
    row = pair(tmp_path, symmetry, ("train", "train"))
    assert row.kind == "turned-duplicate"
    assert words in row.reason


def test_like_hashes_of_unlike_details_are_a_look_alike(tmp_path):
    stripes = np.repeat((np.indices(SIZE).sum(0) // 6 % 2 * 60).astype(np.uint8)[..., None], 3, 2)
    row = pair(tmp_path, lambda p: cv2.add(cv2.GaussianBlur(p, (0, 0), 4), stripes), ("train", "train"))
    assert (row.kind, row.severity) == ("look-alike", "low")


def answers(split, **changes):
    """Out-of-fold answers, sure of each label but for {path: (class, logit)}; features are noise."""
    rng = np.random.default_rng(0)
    classes, files = tuple(split["classes"]), split["files"]
    labels = np.array([classes.index(f["label"]) for f in files])
    logits = (4.0 * np.eye(len(classes))[labels] + rng.normal(0, 0.3, (len(files), len(classes)))).astype(np.float32)
    for path, (label, logit) in changes.pop("wrong", {}).items():
        logits[[f["path"] for f in files].index(path), classes.index(label)] = logit
    made = OutOfFold(classes, split["hash"], tuple(f["path"] for f in files), labels, np.arange(len(files)) % 2, logits,
                     rng.normal(size=(len(files), 512)).astype(np.float32), {})
    return replace(made, **changes)


def test_likely_mislabels_are_ranked_by_margin_and_counted_by_classes(drawn_data):
    data, split = drawn_data
    oof = answers(split, wrong={"glass/glass3.jpg": ("plastic", 9.0), "glass/glass4.jpg": ("plastic", 7.0),
                                "paper/paper5.jpg": ("trash", 12.0)})
    findings = audit(data, oof)
    rows = findings.of("mislabel")
    assert [r.path.split("/", 1)[1] for r in rows] == ["paper/paper5.jpg", "glass/glass3.jpg", "glass/glass4.jpg"]
    assert [(r.label, r.suggested_label) for r in rows] == [("paper", "trash"), ("glass", "plastic"),
                                                            ("glass", "plastic")]
    assert findings.label_pairs() == {("glass", "plastic"): 2, ("paper", "trash"): 1}
    assert findings.looked_for_mislabels
    assert "paper 0.00, usually 0." in rows[0].reason


def test_confident_learning_wants_another_class_beyond_its_own_threshold():
    """Class 1 is always answered at 0.95: 0.6 for it is no evidence; class 2 is usual at 0.55, and 0.6 is."""
    log = np.log([[0.90, 0.05, 0.05]] * 4 + [[0.025, 0.95, 0.025]] * 4 + [[0.25, 0.20, 0.55]] * 4
                 + [[0.30, 0.60, 0.10], [0.30, 0.10, 0.60]])
    labels = np.array([0] * 4 + [1] * 4 + [2] * 4 + [0, 0])
    (row, suggested, margin, own, threshold), = likely_mislabels(labels, log)
    assert (row, suggested) == (13, 2)
    assert (margin, own, threshold) == pytest.approx((0.3, 0.3, (4 * 0.9 + 0.6) / 6))


def test_a_label_answered_as_surely_as_usual_is_not_doubted():
    """Class 0 is usual at 0.35, class 1 at 0.5: of 0.4 and 0.6 both are beyond, and the label stands."""
    log = np.log([[0.35, 0.30, 0.35]] * 9 + [[0.25, 0.50, 0.25]] * 9 + [[0.40, 0.59, 0.01]])
    assert likely_mislabels(np.array([0] * 9 + [1] * 9 + [0]), log) == []


def test_a_class_without_pictures_is_never_suggested():
    log = np.log([[0.6, 0.3, 0.1]] * 3 + [[0.2, 0.7, 0.1]] * 3 + [[0.05, 0.05, 0.9]])
    assert [r for r in likely_mislabels(np.array([0, 0, 0, 1, 1, 1, 0]), log) if r[1] == 2] == []


def test_items_photographed_again_are_found_within_a_fold_only(drawn_data):
    data, split = drawn_data
    folds = (np.arange(60) >= 56).astype(int)
    oof = answers(split, folds=folds)
    for one, other in ((3, 9), (5, 57)):  # of fold 0 both, and of each fold one
        oof.features[other] = oof.features[one] + 0.01
    row, = audit(data, oof).of("same-item")
    assert {p.split("/", 1)[1] for p in (row.path, row.other_path)} == {split["files"][i]["path"] for i in (3, 9)}
    assert "(fold 0)" in row.reason


def test_a_near_duplicate_is_not_told_again_as_the_same_item(planted):
    data, findings = planted
    row, = findings.of("near-duplicate")
    split = read_split(data)
    paths = [f"{f['split']}/{f['path']}" for f in split["files"]]
    oof = answers(split, folds=np.zeros(len(paths), int))
    oof.features[paths.index(row.path)] = oof.features[paths.index(row.other_path)] + 0.01
    assert audit(data, oof).of("same-item") == []


def test_nearest_pairs_need_each_other_and_enough_rows():
    features = np.random.default_rng(1).normal(size=(80, 512))
    features[7] = features[3] + 0.01
    assert [(i, j) for i, j, _ in nearest_pairs(features)] == [(3, 7)]
    assert nearest_pairs(features[:47]) == []


def test_outlier_scores_follow_the_paper():
    assert outlier_scores([1, 2, 3, 4, 100])[-1] == pytest.approx(0.6745 * 97)
    assert (outlier_scores([5, 5, 5, 9]) == 0).all()


def test_answers_of_another_split_are_refused(drawn_data):
    data, split = drawn_data
    with pytest.raises(TrainerError, match="run `python3 -m trainer crossvalidate` again"):
        audit(data, answers(split, split_hash="0" * 64))


def run_command(*words):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    arguments = parser.parse_args(["audit", *map(str, words)])
    return arguments.run(arguments) or 0


def hashes(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_command_writes_a_table_and_sheets_and_leaves_the_data_alone(planted, tmp_path, capsys, monkeypatch):
    data, findings = planted
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "SHOWN", 2)
    before = hashes(data)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/audit-mislabel.png").write_bytes(b"of an earlier audit")
    assert run_command("--data", data, "--out", "out", "--top", 3) == 0
    first = hashes(tmp_path / "out")
    assert run_command("--data", data, "--out", "out", "--top", 3) == 0
    assert hashes(tmp_path / "out") == first  # deterministic
    assert hashes(data) == before
    kinds = {row.kind for row in findings.rows}
    assert {p.name for p in first} == {"audit.csv"} | {f"audit-{kind}.png" for kind in kinds}
    with open("out/audit.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["kind"], r["path"], r["other_path"], r["reason"]) for r in rows] == [
        (r.kind, r.path, r.other_path, r.reason) for r in findings.rows]
    said = capsys.readouterr().out
    assert "run `python3 -m trainer crossvalidate` first" in said
    assert f"... and {len(rows) - 3} more" in said


def test_the_command_takes_the_usual_answers_where_they_are(drawn_data, tmp_path, capsys, monkeypatch):
    data, split = drawn_data
    monkeypatch.chdir(tmp_path)
    answers(split, wrong={"glass/glass3.jpg": ("plastic", 9.0)}).save(tmp_path / command.OOF)
    run_command("--data", data)
    said = capsys.readouterr().out
    assert "labelled glass, likely plastic: 1" in said
    assert "crossvalidate" not in said
    assert (tmp_path / "runs/audit/audit-mislabel.png").exists()
    run_command("--data", data, "--oof", "none")
    assert "crossvalidate" in capsys.readouterr().out
    assert not (tmp_path / "runs/audit/audit-mislabel.png").exists()


def test_a_sheet_says_how_many_it_does_not_show(planted, tmp_path, monkeypatch):
    titles = {}
    monkeypatch.setattr("trainer.contact_sheet.contact_sheet",
                        lambda entries, title, path: titles.update({path.name: (len(entries), title)}))
    monkeypatch.setattr(command, "SHOWN", 2)
    command.write(planted[1], tmp_path)
    assert titles["audit-odd-size.png"] == (2, f"odd-size: {KINDS['odd-size']}; 3 found, "
                                               "1 more not shown (all are in audit.csv)")
    assert titles["audit-blurred.png"][1].endswith("1 found")


def test_a_contact_sheet_shows_each_picture_and_grey_for_a_missing_one(tmp_path):
    red, blue = (thumbnail(np.full((120, 160, 3), c, np.uint8)) for c in ((0, 0, 255), (255, 0, 0)))
    contact_sheet([([red, blue], ["a pair"]), ([None], ["gone"])], "title", tmp_path / "sheet.png")
    page = cv2.imread(str(tmp_path / "sheet.png")).astype(int)
    y, x, second = TITLE_PX + 60, GAP_PX + 80, 2 * THUMBNAIL_PX + 2 * GAP_PX
    for at, colour in ((x, (0, 0, 255)), (x + THUMBNAIL_PX, (255, 0, 0)), (second + x, (215, 215, 215))):
        assert np.abs(page[y, at] - colour).max() < 8
    assert page[TITLE_PX + 120:, :second].min() < 128  # the caption

"""Strangers: what is drawn, how well a score tells them, and what a bundle gets of it."""

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_tree import ROOT

from edge.bundles import STRANGER_SCORES, Bundle, Stranger, seal
from edge.decision import Decider
from trainer.commands import strangers as command
from trainer.drawn_strangers import KINDS, THINGS, draw_stranger
from trainer.errors import TrainerError
from trainer.oof import OutOfFold
from trainer.real_strangers import real_strangers
from trainer.strangers import Outputs, auroc, fit_feature_space, lines, measure, scores_of, threshold_at, write

SHIPPED = ROOT / "models" / "trashnet-resnet18"


# ---------------------------------------------------------------- drawn strangers

@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_belongs_to_its_kind_and_seed(kind):
    first = [draw_stranger(kind, seed, 96, 128) for seed in range(6)]
    for seed, picture in enumerate(first):
        assert picture.shape == (96, 128, 3) and picture.dtype == np.uint8
        assert np.array_equal(picture, draw_stranger(kind, seed, 96, 128))
    assert len({picture.tobytes() for picture in first}) == 6
    assert draw_stranger(kind, 2**32 - 1, 40, 32).shape == (40, 32, 3)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_a_thing_covers_a_good_part_of_its_sprite_and_has_light_and_shade(thing):
    for seed in range(5):
        sprite = thing(np.random.RandomState(seed), 160, (0.4, 0.3, 0.866))
        covered = sprite.through.mean(2) < 0.5
        assert 0.05 < covered.mean() < 0.99 and sprite.add[covered].std() > 8.0
        assert np.isfinite(sprite.add).all() and sprite.through.min() >= -1e-5 and sprite.through.max() <= 1.0


@pytest.mark.parametrize("kind, seed, size, word", [
    ("dragon", 0, (96, 96), "dragon"), ("hand", -1, (96, 96), "-1"), ("hand", 2**32, (96, 96), "4294967295"),
    ("hand", 0, (31, 96), "31 x 96"),
])
def test_what_cannot_be_drawn_is_refused(kind, seed, size, word):
    with pytest.raises(ValueError, match=word):
        draw_stranger(kind, seed, *size)


# ---------------------------------------------------------------- figures

@pytest.mark.parametrize("known, strangers, expected", [
    ([1.0, 2.0], [3.0, 4.0], 1.0), ([3.0, 4.0], [1.0, 2.0], 0.0), ([1.0, 2.0], [1.0, 2.0], 0.5),
    ([5.0, 5.0, 5.0], [5.0], 0.5), ([1.0, 3.0], [2.0], 0.5), ([0.0, 1.0, 1.0], [1.0, 2.0], 5 / 6),
])
def test_auroc(known, strangers, expected):
    assert auroc(np.array(known), np.array(strangers)) == pytest.approx(expected, abs=1e-12)


def test_auroc_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(1)
    known, strangers = rng.integers(0, 30, 200) / 10, rng.integers(5, 40, 90) / 10  # with many ties
    pairs = (strangers[:, None] > known) + 0.5 * (strangers[:, None] == known)
    assert auroc(known, strangers) == pytest.approx(pairs.mean(), abs=1e-12)


@pytest.mark.parametrize("count, accept, place", [
    (100, 0.95, 94), (20, 0.95, 18), (21, 0.95, 19), (7, 1.0, 6), (1, 0.5, 0)])
def test_the_threshold_is_the_lowest_that_accepts_enough(count, accept, place):
    known = np.random.default_rng(2).normal(size=count)
    threshold = threshold_at(known, accept)
    assert (known <= threshold).mean() >= accept
    assert threshold == pytest.approx(np.sort(known)[place], abs=1e-6) and threshold >= np.sort(known)[place]


def test_features_far_from_every_class_are_strange_however_they_spread():
    """One direction spreads a hundred times as wide as the others: plain distance would be blind in those."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 400)
    spread = np.ones(512)
    spread[0] = 100.0
    means = np.zeros((3, 512))
    means[:, 1] = [0.0, 20.0, 40.0]

    def draw(where):
        return (means[where] + rng.normal(size=(len(where), 512)) * spread).astype(np.float32)
    space = fit_feature_space(draw(labels), labels, 3)
    known, strange = draw(labels), draw(labels)
    strange[:, 2] += 25.0
    assert space.means.shape == (3, 512) and space.means.dtype == space.projection.dtype == np.float32
    rule, logits = Stranger("feature_distance", 0.0), np.zeros((len(labels), 3), np.float32)
    scores = [scores_of(rule, 1.0, Outputs(logits, f, ()), space) for f in (known, strange)]
    plain = [((f[:, None] - means) ** 2).sum(2).min(1) for f in (known, strange)]
    assert auroc(*scores) > 0.99 and auroc(*plain) < 0.65


def test_a_class_without_pictures_has_no_place_in_feature_space():
    with pytest.raises(TrainerError, match="class number 1"):
        fit_feature_space(np.ones((4, 512), np.float32), np.array([0, 0, 2, 2]), 3)


# ---------------------------------------------------------------- real strangers

def write_video(path, count):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 80))
    for number in range(count):
        video.write(np.full((80, 96, 3), 2 * number, np.uint8))
    video.release()
    assert path.stat().st_size > 1000


def test_every_picture_and_frame_below_a_folder_is_a_stranger(tmp_path, capsys):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    cv2.imwrite(str(deep / "cat.PNG"), draw_stranger("animal", 1, 96, 128))
    cv2.imwrite(str(tmp_path / "a" / "icon.png"), np.zeros((16, 96, 3), np.uint8))
    (tmp_path / "a" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "a" / "notes.txt").write_text("no picture either")
    write_video(tmp_path / "a" / "belt.avi", 100)
    found = list(real_strangers((tmp_path / "a", deep / "cat.PNG")))
    assert [name for name, _ in found] == [str(tmp_path / "a")] * 41 + [str(deep / "cat.PNG")]
    greys = [image.mean() for _, image in found[:41] if image.shape == (80, 96, 3)]
    assert len(greys) == 40 and greys[0] < 4 and greys[-1] > 194  # from the first frame to the last
    assert np.all(np.diff(greys) > 1)
    assert "broken.jpg" in capsys.readouterr().err


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(TrainerError, match="no picture or video"):
        list(real_strangers((tmp_path,)))


# ---------------------------------------------------------------- the whole way, with the shipped network

@pytest.fixture(scope="module")
def world(drawn_data, tmp_path_factory):
    """The shipped bundle as if made from drawn pictures, their split, and out-of-fold answers: sure of every item."""
    data, split = drawn_data
    bundle = tmp_path_factory.mktemp("world") / "bundle"
    shutil.copytree(SHIPPED, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["provenance"]["split_hash"] = split["hash"]
    del manifest["files"]["int8_cpu"]  # half the time; the next tests do not need it
    (bundle / "manifest.json").write_text(json.dumps(seal(manifest)))
    files = [f for f in split["files"] if f["split"] != "test"]
    labels = np.array([split["classes"].index(f["label"]) for f in files])
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(len(files), 6)) + 6.0 * np.eye(6)[labels]
    oof = OutOfFold(tuple(split["classes"]), split["hash"], tuple(f["path"] for f in files), labels, labels * 0,
                    logits.astype(np.float32), np.zeros((len(files), 512), np.float32), {})
    oof.save(bundle.parent / "oof.npz")
    real = bundle.parent / "real"
    real.mkdir()
    for number in range(3):
        cv2.imwrite(str(real / f"{number}.png"), draw_stranger("animal", 900 + number, 96, 128))
    return {"bundle": bundle, "data": data, "split": split, "oof": oof, "real": real}


@pytest.fixture(scope="module")
def report(world):
    return measure(Bundle(str(world["bundle"])), world["oof"], world["data"], world["split"], (world["real"],), 2)


@pytest.fixture
def bundle(world, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(world["bundle"], tmp_path / "bundle")
    return tmp_path / "bundle"


def on(report, bundle):
    return type(report)(**{**vars(report), "bundle": Bundle(str(bundle))})


def test_what_is_measured_and_with_what(world, report):
    test = sum(f["split"] == "test" for f in world["split"]["files"])
    train = sum(f["split"] == "train" for f in world["split"]["files"])
    assert [row.rule.score for row in report.rows] == list(STRANGER_SCORES)
    assert report.counts == {"out of fold": len(world["oof"].paths), "training": train, "test": test,
                             "rendered": 2 * len(KINDS), "real": 3}
    for row in report.rows:
        by_features = row.rule.score == "feature_distance"
        assert row.known == (test if by_features else len(world["oof"].paths))
        if by_features:
            assert row.accepted["fp16"] >= 0.95
        else:
            known = Outputs(world["oof"].logits, world["oof"].features, ())
            scores = scores_of(row.rule, report.bundle.temperature, known)
            assert 0.95 <= (scores <= row.rule.threshold).mean() < 0.97
        kinds = row.caught_by_name["rendered"]
        assert list(kinds) == list(KINDS) and np.mean(list(kinds.values())) == pytest.approx(row.caught["rendered"])
        assert row.caught_by_name["real"] == {str(world["real"]): row.caught["real"]}


def test_the_simplest_of_equal_scores_is_chosen(report):
    def with_auroc(*values):
        rows = [type(row)(**{**vars(row), "auroc_test": {"rendered": value}})
                for row, value in zip(report.rows, values, strict=True)]
        return type(report)(**{**vars(report), "rows": tuple(rows)}).best().rule.score
    assert with_auroc(0.90, 0.90, 0.90, 0.90) == "max_probability"
    assert with_auroc(0.896, 0.899, 0.90, 0.90) == "max_probability"
    assert with_auroc(0.80, 0.896, 0.90, 0.85) == "max_logit"
    assert with_auroc(0.80, 0.85, 0.90, 0.88) == "energy"
    assert with_auroc(0.80, 0.85, 0.88, 0.90) == "feature_distance"


@pytest.mark.parametrize("score", STRANGER_SCORES)
def test_the_appliance_decides_by_what_was_written(report, bundle, score):
    row = next(row for row in report.rows if row.rule.score == score)
    (bundle / "strangers-0123456789ab.npz").write_bytes(b"of an earlier choice")
    entry = write(on(report, bundle), row)
    written = Bundle(str(bundle))
    written.verify()
    assert (written.stranger.score, written.stranger.threshold) == (score, row.rule.threshold)
    assert entry["auroc"] == {what: round(value, 4) for what, value in row.auroc.items()}
    assert ("out-of-fold" in entry["known"]) == (score != "feature_distance")
    kept = [path.name for path in bundle.glob("strangers-*.npz")]
    assert kept == ([written.stranger.file.path] if score == "feature_distance" else [])
    from edge.classifier.onnxruntime import OnnxRuntimeClassifier
    decider = Decider.from_settings(written, 0.0, {})
    with OnnxRuntimeClassifier(written, "fp16") as classifier:
        for kind in ("animal", "empty"):
            calls = [decider.decide(classifier.classify([draw_stranger(kind, seed)])) for seed in range(2)]
            assert np.mean([call.reason == "stranger" for call in calls]) == row.caught_by_name["rendered"][kind]


def test_lines_say_what_answered_what(report):
    chosen = report.rows[2]
    text = "\n".join(lines(report, chosen))
    assert "out-of-fold ones by the fold models" in text and "bundle's fp16" in text
    assert [line.split()[0] for line in text.splitlines()[2:6]] == list(STRANGER_SCORES)
    marked, = [line for line in text.splitlines() if "<- chosen" in line]
    assert marked.startswith("energy") and f"{chosen.auroc['rendered']:.3f}" in marked


@pytest.mark.parametrize("word, change, names", [
    ("another split", lambda oof: {"split_hash": "f" * 64}, ["splits differ", "f" * 12]),
    ("other classes", lambda oof: {"classes": oof.classes[::-1]}, ["classes differ"]),
])
def test_answers_that_do_not_belong_to_the_bundle_are_refused(world, word, change, names):
    oof = OutOfFold(**{**vars(world["oof"]), **change(world["oof"])})
    with pytest.raises(TrainerError) as caught:
        measure(Bundle(str(world["bundle"])), oof, world["data"], world["split"])
    assert all(name in str(caught.value) for name in names) and "\n" not in str(caught.value)


def test_a_bundle_without_float_model_is_refused(world, bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] = {"int8_cpu": json.loads((SHIPPED / "manifest.json").read_text())["files"]["int8_cpu"]}
    (bundle / "manifest.json").write_text(json.dumps(seal(manifest)))
    with pytest.raises(TrainerError, match="no float model"):
        measure(Bundle(str(bundle)), world["oof"], world["data"], world["split"])


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    return parser.parse_args(["strangers", *map(str, arguments)])


def test_the_command_writes_unless_it_is_a_dry_run(world, bundle, capsys):
    given = ("--bundle", bundle, "--oof", world["bundle"].parent / "oof.npz", "--data", world["data"], "--rendered", 1,
             "--score", "max_logit", "--accept", 0.9)
    before = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    arguments = parsed(*given, "--dry-run")
    arguments.run(arguments)
    assert hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest() == before
    assert "dry run" in capsys.readouterr().out
    arguments = parsed(*given)
    arguments.run(arguments)
    stranger = Bundle(str(bundle)).manifest["stranger"]
    assert (stranger["score"], stranger["accepts"]) == ("max_logit", 0.9) and "real" not in stranger["auroc"]
    assert "max_logit" in capsys.readouterr().out


def test_the_command_knows_every_score_and_refuses_nonsense(capsys):
    assert command.SCORES == STRANGER_SCORES
    assert parsed("--bundle", "b", "--real", "a", "c", "--real", "d").real == [Path("a"), Path("c"), Path("d")]
    for wrong in (["--accept", "0"], ["--accept", "1.1"], ["--rendered", "0"], ["--score", "odin"]):
        with pytest.raises(SystemExit):
            parsed("--bundle", "b", *wrong)

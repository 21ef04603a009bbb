"""Pictures from elsewhere: decided as the appliance decides, counted honestly."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_tree import ROOT, write_tree

from edge.bundles import Bundle, seal
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.decision import Decider
from edge.frames import pictures
from trainer.cli import main
from trainer.elsewhere import judge, labelled_pictures, lines
from trainer.errors import TrainerError

BUNDLE = ROOT / "models" / "trashnet-resnet18"


def strict_bundle(folder, **changes):
    """A copy of the shipped bundle with other fields in its manifest."""
    shutil.copytree(BUNDLE, folder)
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(json.dumps(seal(manifest)))
    return Bundle(str(folder))


def test_it_counts_what_the_appliance_would_do(tmp_path):
    write_tree(tmp_path / "in", 4, seed=77)
    bundle = strict_bundle(tmp_path / "b", stranger=None,
                           thresholds={"default": 0.7, "per_class": {"glass": None}, "policy": "of this test"})
    scores = judge(bundle, "fp16", tmp_path / "in")
    decider = Decider.from_settings(bundle, 0.0, {})
    accepted, right, hits = 0, 0, 0
    with OnnxRuntimeClassifier(bundle, "fp16") as classifier:
        for path in sorted((tmp_path / "in").glob("*/*.jpg")):
            call = decider.decide(classifier.classify([pictures.read(str(path))]))
            hits += call.class_name == path.parent.name
            accepted += call.decision == "accept"
            right += call.decision == "accept" and call.class_name == path.parent.name
            assert not (call.decision == "accept" and call.class_name == "glass")
    assert (scores["pictures"], scores["accepted"], scores["accepted_right"]) == (24, accepted, right)
    assert scores["accuracy"] == hits / 24 and scores["purity"] == right / accepted
    assert 0 < scores["purity_lower_bound"] < scores["purity"]
    assert sum(scores["reasons"].values()) == 24 - accepted and "always_review" in scores["reasons"]
    assert f"accepted {accepted}, right {right}" in "\n".join(lines(scores))


def test_accepting_nothing_is_said_and_not_divided_by(tmp_path):
    write_tree(tmp_path / "in", 1)
    bundle = strict_bundle(tmp_path / "b", stranger=None, thresholds={
        "default": 0.7, "per_class": dict.fromkeys(Bundle(str(BUNDLE)).classes), "policy": "of this test"})
    scores = judge(bundle, "int8_cpu", tmp_path / "in")
    assert scores["accepted"] == 0 and scores["purity"] is None and scores["review_share"] == 1
    assert "accepted none" in "\n".join(lines(scores))


def test_a_bad_picture_is_listed_and_the_rest_is_scored(tmp_path):
    write_tree(tmp_path / "in", 2, classes=("glass", "metal"))
    (tmp_path / "in" / "glass" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    scores = judge(Bundle(str(BUNDLE)), "int8_cpu", tmp_path / "in")
    assert scores["pictures"] == 4 and [bad["path"] for bad in scores["unreadable"]] == ["glass/broken.jpg"]
    assert "glass/broken.jpg: left out" in "\n".join(lines(scores))


def test_folders_without_classes_or_pictures_are_one_line(tmp_path):
    with pytest.raises(TrainerError, match="no folder of a class"):
        labelled_pictures(tmp_path, ("glass", "metal"))
    (tmp_path / "glass").mkdir()
    with pytest.raises(TrainerError, match="no pictures in glass"):
        labelled_pictures(tmp_path, ("glass", "metal"))
    (tmp_path / "glass" / "a.jpg").write_bytes(b"")
    with pytest.raises(TrainerError, match="none of its pictures can be read"):
        judge(Bundle(str(BUNDLE)), "int8_cpu", tmp_path)


def test_the_command_writes_what_it_prints(tmp_path, capsys):
    write_tree(tmp_path / "in", 1)
    cv2.imwrite(str(tmp_path / "in" / "notes.png"), np.zeros((8, 8, 3), np.uint8))  # in no class
    assert main(["evaluate", "--bundle", str(BUNDLE), "--elsewhere", str(tmp_path / "in"),
                 "--out", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out" / "elsewhere.json").read_text())
    printed = capsys.readouterr().out
    assert set(written["roles"]) == set(Bundle(str(BUNDLE)).files)
    for role, scores in written["roles"].items():
        assert f"{role}, in, 6 pictures: accuracy {scores['accuracy']:.4f}" in printed


def test_the_real_pictures_from_elsewhere_are_all_read(shared_data):
    scores = judge(Bundle(str(BUNDLE)), "int8_cpu", Path(shared_data) / "ood-cc0")
    assert scores["pictures"] == 85 and not scores["unreadable"]

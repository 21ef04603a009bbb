"""Cross-validation: every picture answered once by a network that had not seen it; scores from the pool."""

import json

import numpy as np
import pytest
import torch

from trainer._report_provenance import folding
from trainer.crossvalidate import crossvalidate, lines, score
from trainer.errors import TrainerError
from trainer.metrics import softmax
from trainer.model import Sorter
from trainer.oof import OutOfFold
from trainer.run import autocast, predict
from trainer.train import InputSpec, Options, held_pictures

QUICK = Options(epochs=1, batch_size=16, init="none", threads=1, amp="off", device="cpu", views=1, small=1.0,
                small_px=64)


@pytest.fixture(scope="module")
def done(drawn_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("cv")
    return out, crossvalidate(drawn_data[0], out, QUICK, folds=2)


def test_every_picture_is_answered_once_by_a_network_that_had_not_seen_it(drawn_data, done):
    data, split = drawn_data
    answers = OutOfFold.load(done[0] / "oof.npz")
    files = [f for part in ("train", "val") for f in split["files"] if f["split"] == part]
    assert answers.paths == tuple(f["path"] for f in files) and answers.split_hash == split["hash"]
    assert [answers.classes[label] for label in answers.labels] == [f["label"] for f in files]
    for fold in (0, 1):
        state = torch.load(done[0] / f"fold-{fold}" / "best.pt", weights_only=True)
        assert state["part"] == f"fold:{fold}/2"
        model = Sorter(6)
        model.load_state_dict(state["model"])
        rows = np.flatnonzero(answers.folds == fold)
        cpu = torch.device("cpu")
        logits, features = predict(model, held_pictures(data, split, InputSpec(), rows), InputSpec(), cpu,
                                   autocast("off", cpu))
        assert np.allclose(answers.logits[rows], logits, atol=1e-3)
        assert np.allclose(answers.features[rows], features, atol=1e-3)
    groups = np.array([f["group"] for f in files])
    assert not set(groups[answers.folds == 0]) & set(groups[answers.folds == 1])


def test_what_is_finished_is_not_done_again(drawn_data, done):
    stamps = {p: p.stat().st_mtime_ns for p in done[0].glob("fold-*/*")}
    again = crossvalidate(drawn_data[0], done[0], QUICK, folds=2)
    assert again == done[1] == json.loads((done[0] / "scores.json").read_text())
    assert stamps == {p: p.stat().st_mtime_ns for p in done[0].glob("fold-*/*")}
    with pytest.raises(TrainerError, match="other options"):
        crossvalidate(drawn_data[0], done[0], QUICK, folds=2, grouped=False)


def test_folds_go_on_from_their_own_checkpoints(drawn_data, done, tmp_path):
    options = Options(**{**QUICK.__dict__, "init": str(done[0]), "lr": 0.0})
    crossvalidate(drawn_data[0], tmp_path / "more", options, folds=2)
    for fold in ("fold-0", "fold-1"):
        before, after = (torch.load(out / fold / "best.pt", weights_only=True) for out in (done[0], tmp_path / "more"))
        assert torch.equal(after["model"]["net.fc.weight"], before["model"]["net.fc.weight"])  # with no learning rate
        assert after["started_from"]["part"] == before["part"] == after["part"]
    first, second = folding(OutOfFold.load(tmp_path / "more" / "oof.npz").about, "runs/more", [])
    assert "--init none" in first and first.endswith("--folds 2 --out runs/more-step-1")
    assert "--init runs/more-step-1" in second and "--lr 0.0" in second and second.endswith("--out runs/more")


def test_scores_calibrate_each_fold_by_the_others():
    rng = np.random.default_rng(0)
    labels, folds = rng.integers(0, 3, 3000), np.repeat([0, 1, 2], 1000)
    logits = rng.normal(size=(3000, 3))
    logits[np.arange(3000), labels] += 1.5
    sharp = logits * 4  # four times too sure
    answers = OutOfFold(("a", "b", "c"), "0" * 64, ("p",) * 3000, labels, folds, sharp, np.zeros((3000, 512)),
                        {"accuracy_by_fold": [float((sharp[folds == f].argmax(1) == labels[folds == f]).mean())
                                              for f in range(3)], "grouped": True})
    scores = score(answers, pasted_logits=logits)
    # Two unit normals 1.5 apart: the true logits are 1.5 times the values
    assert scores["temperature"] == pytest.approx(4 / 1.5, rel=0.1) and scores["calibration_error_crossed"] < 0.04
    assert scores["pooled"]["accuracy"] == pytest.approx(scores["accuracy_mean_of_folds"])
    confidence = softmax(sharp).max(1).mean()
    assert confidence - scores["pooled"]["accuracy"] > 0.1  # without the temperature it would not have been calibrated
    assert len(lines(scores)) == 2 + 3 + 1


def test_one_fold_is_refused(drawn_data, tmp_path):
    with pytest.raises(TrainerError, match="--folds 1"):
        crossvalidate(drawn_data[0], tmp_path, QUICK, folds=1)


@pytest.mark.parametrize("content", [b"", b"PK"])
def test_answers_that_are_not_ours_are_one_line(tmp_path, content):
    path = tmp_path / "oof.npz"
    path.write_bytes(content)
    with pytest.raises(TrainerError, match="crossvalidate"):
        OutOfFold.load(path)
    with pytest.raises(TrainerError, match="crossvalidate` first"):
        OutOfFold.load(tmp_path / "none.npz")

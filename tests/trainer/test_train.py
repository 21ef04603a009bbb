"""Training: the same for a seed, the same after a kill, best checkpoint, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.preprocess import InputSpec, Preprocessor
from trainer.errors import TrainerError
from trainer.model import Sorter, initialise
from trainer.regrow import Maps, trunk
from trainer.run import Run, ancestor, pick_device
from trainer.train import Options, select, train
from trainer.views import Pool, Views

ROOT = Path(__file__).resolve().parents[2]
QUICK = Options(epochs=3, batch_size=16, init="none", freeze=0, seed=3, threads=1, amp="off", device="cpu", views=2)


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def same(one, other):
    return all(torch.equal(one[k], other[k]) for k in one) and one.keys() == other.keys()


@pytest.fixture(scope="module")
def unbroken(drawn_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("unbroken")
    train(drawn_data[0], out, QUICK)
    return out


def command(data, out):
    arguments = {"data": data, "out": out, "epochs": QUICK.epochs, "batch-size": QUICK.batch_size, "init": QUICK.init,
                 "seed": QUICK.seed, "threads": QUICK.threads, "views": QUICK.views, "amp": QUICK.amp,
                 "device": QUICK.device}
    return [sys.executable, "-m", "trainer", "train"] + [str(x) for k, v in arguments.items() for x in (f"--{k}", v)]


def test_it_learns_and_leaves_its_history(unbroken):
    history = json.loads((unbroken / "history.json").read_text())
    assert [h["epoch"] for h in history] == [1, 2, 3]
    assert all(h["train_loss"] > 0 and 0 <= h["val_accuracy"] <= 1 for h in history)
    state = torch.load(unbroken / "best.pt", weights_only=True)
    assert state["options"]["epochs"] == 3 and state["split_hash"] and len(state["classes"]) == 6
    best = max(range(3), key=lambda i: (history[i]["val_macro_f1"], -i))
    assert len(state["history"]) == best + 1


def test_killed_and_resumed_ends_with_the_very_same_weights(drawn_data, unbroken, tmp_path):
    killed = 0
    for _ in range(20):
        process = subprocess.Popen(command(drawn_data[0], tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        had = (tmp_path / "last.pt").stat().st_mtime_ns if (tmp_path / "last.pt").exists() else 0
        while process.poll() is None:  # kill it as soon as it has finished one more epoch
            now = (tmp_path / "last.pt").stat().st_mtime_ns if (tmp_path / "last.pt").exists() else 0
            history = tmp_path / "history.json"  # written just after last.pt
            if now != had and history.exists() and len(json.loads(history.read_text())) < QUICK.epochs:
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.005)
        _, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert killed >= 1 and process.returncode == 0
    assert same(weights(tmp_path / "last.pt"), weights(unbroken / "last.pt"))
    assert same(weights(tmp_path / "best.pt"), weights(unbroken / "best.pt"))


def test_another_seed_gives_other_weights(drawn_data, unbroken, tmp_path):
    train(drawn_data[0], tmp_path, Options(**{**QUICK.__dict__, "seed": 4, "epochs": 1}))
    assert not same(weights(tmp_path / "last.pt"), weights(unbroken / "last.pt"))


def test_a_run_with_other_options_is_not_resumed(drawn_data, unbroken):
    with pytest.raises(TrainerError, match="other options or another split"):
        train(drawn_data[0], unbroken, Options(**{**QUICK.__dict__, "lr": 0.5}))


def test_frozen_stages_keep_their_weights_and_statistics(drawn_data, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 1, "freeze": 3})
    torch.manual_seed(options.seed)
    train(drawn_data[0], tmp_path, options)
    after = weights(tmp_path / "last.pt")
    train(drawn_data[0], tmp_path / "more", Options(**{**options.__dict__, "lr": 0.01}))
    more = weights(tmp_path / "more" / "last.pt")
    for name in after:
        frozen = name.startswith(("net.conv1", "net.bn1", "net.layer1", "net.layer2"))
        assert torch.equal(after[name], more[name]) == (frozen or name.endswith("num_batches_tracked")), name


def test_a_run_may_start_from_an_earlier_one_of_the_same_split(drawn_data, unbroken, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 1, "init": str(unbroken / "best.pt")})
    train(drawn_data[0], tmp_path / "more", options)
    state = torch.load(tmp_path / "more" / "best.pt", weights_only=True)
    assert state["started_from"]["options"]["epochs"] == QUICK.epochs
    from drawn_tree import write_tree

    from trainer.prepare import prepare
    prepare(write_tree(tmp_path / "in", 10, seed=70), tmp_path / "other")
    with pytest.raises(TrainerError, match="may have been trained on"):
        train(tmp_path / "other", tmp_path / "run", options)


def test_a_run_does_not_start_from_one_that_has_seen_what_it_holds_back(drawn_data, unbroken, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 1, "init": str(unbroken / "best.pt")})
    with pytest.raises(TrainerError, match="part train of the data, so it has seen .* that --part fold:0/2 holds"):
        train(drawn_data[0], tmp_path / "fold", options, "fold:0/2")
    state = torch.load(unbroken / "best.pt", weights_only=True)
    del state["part"]  # as the first checkpoints were
    torch.save(state, tmp_path / "old.pt")
    with pytest.raises(TrainerError, match="part train of the data"):
        ancestor(str(tmp_path / "old.pt"), drawn_data[1], "fold:0/2")
    assert ancestor(str(tmp_path / "old.pt"), drawn_data[1], "train")["epochs_done"] == len(state["history"])
    train(drawn_data[0], tmp_path / "all", options, "all")  # holds nothing back
    whole = Options(**{**QUICK.__dict__, "epochs": 1, "init": str(tmp_path / "all" / "best.pt")})
    with pytest.raises(TrainerError, match="part all of the data"):
        train(drawn_data[0], tmp_path / "train", whole)


PARTS = [("train", 48, 6, True), ("all", 54, 0, False), ("fold:1/3", 36, 18, False), ("random:0/2", 27, 27, False)]


@pytest.mark.parametrize("part, trained, held, keep_best", PARTS)
def test_a_part_never_trains_on_what_it_holds_back(drawn_data, part, trained, held, keep_best):
    pool = Pool(drawn_data[0], drawn_data[1], 1)
    selection = select(pool, part)
    assert not set(selection.rows) & set(selection.held)
    assert set(range(pool.photographs, pool.photographs + 6)) <= set(selection.rows)  # drawings are always learnt
    assert len(selection.rows) - 6 + len(selection.held) == pool.photographs == 54
    assert abs(len(selection.held) - held) <= 2 and abs(len(selection.rows) - 6 - trained) <= 2
    assert selection.keep_best == keep_best
    assert "test" not in {file["split"] for file in pool.files}


@pytest.mark.parametrize("part", ["val", "fold", "fold:3/3", "fold:0/1", "fold:a/b", "random:", ""])
def test_other_parts_are_refused(drawn_data, part):
    with pytest.raises(TrainerError, match="--part"):
        select(Pool(drawn_data[0], drawn_data[1], 0), part)


def test_a_fold_keeps_its_last_epoch_and_answers_what_it_held_back(drawn_data, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 2})
    train(drawn_data[0], tmp_path, options, "fold:0/3")
    state = torch.load(tmp_path / "best.pt", weights_only=True)
    assert len(state["history"]) == 2 and state["part"] == "fold:0/3"
    with np.load(tmp_path / "held.npz") as held:
        rows, logits, features, pasted = (held[k] for k in ("rows", "logits", "features", "pasted_logits"))
    assert len(rows) == len(logits) == len(features) == len(pasted) and logits.shape[1] == 6
    assert np.allclose(features @ state["model"]["net.fc.weight"].numpy().T
                       + state["model"]["net.fc.bias"].numpy(), logits, atol=1e-4)
    assert not np.allclose(logits, pasted, atol=0.01)  # the grounds are not those of the photographs
    with pytest.raises(TrainerError, match="other options or another split"):
        train(drawn_data[0], tmp_path, options, "fold:1/3")


def test_a_finished_run_goes_on_for_more_cycles(drawn_data, tmp_path):
    """As if it had been asked for them at once; the rate rises and falls anew, and what was held back is asked anew."""
    one, two = (replace(QUICK, epochs=2, cycles=n, small=0.5) for n in (1, 2))
    train(drawn_data[0], tmp_path / "on", one, "fold:0/3")
    with np.load(tmp_path / "on" / "held.npz") as held:
        before = held["logits"]
    train(drawn_data[0], tmp_path / "on", two, "fold:0/3")
    history = train(drawn_data[0], tmp_path / "at-once", two, "fold:0/3")["history"]
    for name in ("last.pt", "best.pt"):
        assert same(weights(tmp_path / "on" / name), weights(tmp_path / "at-once" / name))
    rates = [h["lr"] for h in history]
    assert len(rates) == 4 and rates[0] == pytest.approx(rates[2]) and rates[1] == pytest.approx(rates[3])
    assert rates[1] < rates[0]
    with np.load(tmp_path / "on" / "held.npz") as held, np.load(tmp_path / "at-once" / "held.npz") as other:
        assert np.array_equal(held["logits"], other["logits"]) and not np.allclose(held["logits"], before)
    with pytest.raises(TrainerError, match="has 4 epochs, more than 2"):
        train(drawn_data[0], tmp_path / "on", one, "fold:0/3")


def test_small_pictures_come_first(drawn_data, tmp_path, monkeypatch):
    sizes = []
    step = Run.step
    monkeypatch.setattr(Run, "step", lambda self, batch, loss: (sizes.append(batch.shape[-1]),
                                                                step(self, batch, loss))[1])
    train(drawn_data[0], tmp_path, Options(**{**QUICK.__dict__, "small": 0.67, "small_px": 64}))
    assert sizes == [64] * 6 + [224] * 3


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    from test_teacher import random_weights
    path = tmp_path_factory.mktemp("teacher") / "teacher.npz"
    np.savez(path, **random_weights())
    return path


def test_the_student_learns_what_its_teacher_sees(drawn_data, teacher_file, tmp_path):
    """The guess at features of views gets better than guessing their mean, whose squared error is 1."""
    options = Options(**{**QUICK.__dict__, "epochs": 12, "teacher": str(teacher_file), "teacher_weight": 1000.0,
                         "mix": 0.0, "ema": 0.5, "small": 1.0, "small_px": 64, "lr": 0.003})
    history = train(drawn_data[0], tmp_path, options)["history"]
    assert history[-1]["train_loss"] / 1000 < 0.8 * history[0]["train_loss"] / 1000
    state = torch.load(tmp_path / "best.pt", weights_only=True)
    assert len(state["teacher_sha256"]) == 64 and state["options"]["teacher"] == "teacher.npz"
    assert not any("guess" in name for name in state["model"])
    with pytest.raises(TrainerError, match="other options"):
        train(drawn_data[0], tmp_path, Options(**{**options.__dict__, "teacher": ""}))


@pytest.fixture(scope="module")
def without_layer4(tmp_path_factory):
    """Weights for everything but layer4 and the last layer, as a .pth file."""
    torch.manual_seed(11)
    state = {k: v for k, v in Sorter(6).net.state_dict().items() if not k.startswith(("layer4", "fc"))}
    path = tmp_path_factory.mktemp("init") / "trunk.pth"
    torch.save(state, path)
    return path


def test_regrowing_teaches_layer4_and_the_head_alone(drawn_data, without_layer4, teacher_file, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 1, "freeze": 4, "lr": 1e-9, "ema": 0.5, "regrow": 4,
                         "init": str(without_layer4), "teacher": str(teacher_file)})
    assert (tmp_path / "regrown.pt").exists() is False
    train(drawn_data[0], tmp_path, options)
    grown = torch.load(tmp_path / "regrown.pt", weights_only=True)["grown"]
    after, before = weights(tmp_path / "best.pt"), torch.load(without_layer4, weights_only=True)
    assert torch.equal(after["net.layer3.1.conv2.weight"], before["layer3.1.conv2.weight"])
    assert torch.allclose(after["net.layer4.0.conv1.weight"], grown["layer4.0.conv1.weight"], atol=1e-6)
    assert torch.allclose(after["net.fc.weight"], grown["fc.weight"], atol=1e-6)
    assert set(grown) >= {"guess.weight", "fc.bias", "layer4.1.bn2.running_mean"}


def test_the_stored_maps_are_what_the_trunk_makes_of_a_view(drawn_data, without_layer4, tmp_path):
    pool = Pool(drawn_data[0], drawn_data[1], 0)
    options = Options(**{**QUICK.__dict__, "init": str(without_layer4), "views": 1})
    views, model = Views(pool, options.recipe()), Sorter(6)
    initialise(model, options.init, [])
    maps = Maps(views, model, options, torch.device("cpu"))
    buffer = np.empty(InputSpec().shape, np.float32)
    Preprocessor(InputSpec()).normalise(np.asarray(views.images[0][7]), buffer)
    with torch.inference_mode():
        expected = trunk(model.eval(), torch.from_numpy(buffer))[0].numpy()
    assert maps.arrays[0].shape == (len(pool), 256, 14, 14)
    assert np.allclose(maps.arrays[0][7], expected, rtol=2e-3, atol=2e-3)


def test_regrowing_learns_the_labels(drawn_data, without_layer4, tmp_path):
    """From a random trunk, but with all pictures in view: the loss of what regrowing left is below a guess's."""
    options = Options(**{**QUICK.__dict__, "epochs": 1, "freeze": 5, "lr": 0.002, "lr_loaded": 1e-6, "ema": 0.5,
                         "mix": 0.0, "label_smoothing": 0.0, "regrow": 30, "init": str(without_layer4)})
    history = train(drawn_data[0], tmp_path, options, "all")["history"]
    assert history[0]["train_loss"] < 0.8 * np.log(6)


def test_what_was_regrown_is_not_done_again_and_other_options_are_refused(drawn_data, without_layer4, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 1, "regrow": 1, "init": str(without_layer4)})
    train(drawn_data[0], tmp_path, options)
    stamp, first = (tmp_path / "regrown.pt").stat().st_mtime_ns, weights(tmp_path / "best.pt")
    for name in ("best.pt", "last.pt", "held.npz"):
        (tmp_path / name).unlink()
    train(drawn_data[0], tmp_path, options)
    assert (tmp_path / "regrown.pt").stat().st_mtime_ns == stamp and same(weights(tmp_path / "best.pt"), first)
    (tmp_path / "last.pt").unlink()
    with pytest.raises(TrainerError, match="regrown.pt: from a run with other options"):
        train(drawn_data[0], tmp_path, Options(**{**options.__dict__, "seed": 5}))


def test_regrowing_needs_weights_for_the_rest(drawn_data, tmp_path):
    with pytest.raises(TrainerError, match="--regrow: .* start from scratch"):
        train(drawn_data[0], tmp_path, Options(**{**QUICK.__dict__, "regrow": 1}))


def test_drawn_pictures_are_mixed_in(drawn_data, tmp_path):
    options = Options(**{**QUICK.__dict__, "epochs": 1, "drawn": 4})
    train(drawn_data[0], tmp_path, options)
    plain = Options(**{**QUICK.__dict__, "epochs": 1})
    train(drawn_data[0], tmp_path / "plain", plain)
    steps = [torch.load(p / "last.pt", weights_only=True)["schedule"]["last_epoch"] for p in (tmp_path,
                                                                                            tmp_path / "plain")]
    assert steps[0] == -(-(48 + 24) // 16) and steps[1] == 48 // 16


def test_devices_that_are_not_there_are_one_line():
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(TrainerError, match="--device"):
        pick_device("quantum")
    if not torch.cuda.is_available():
        with pytest.raises(TrainerError, match="--device cuda"):
            pick_device("cuda")


def test_no_data_is_one_line(tmp_path):
    done = subprocess.run(command(tmp_path, tmp_path), cwd=ROOT, capture_output=True, encoding="utf-8",
                          env=dict(os.environ), check=False)
    assert done.returncode == 1 and "run `python3 -m trainer prepare" in done.stderr
    assert len(done.stderr.splitlines()) == 1

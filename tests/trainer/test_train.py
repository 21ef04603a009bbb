"""Training: the same for a seed, the same after a kill, best checkpoint, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from trainer.errors import TrainerError
from trainer.train import Options, pick_device, train

ROOT = Path(__file__).resolve().parents[2]
QUICK = Options(epochs=3, batch_size=16, init="none", freeze=0, seed=3, threads=1, amp="off", device="cpu")


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
                 "seed": QUICK.seed, "threads": QUICK.threads, "amp": QUICK.amp, "device": QUICK.device}
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
            if now != had and len(json.loads((tmp_path / "history.json").read_text())) < QUICK.epochs:
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
    done = subprocess.run(command(tmp_path, tmp_path), cwd=ROOT, capture_output=True, text=True,
                          env=dict(os.environ), check=False)
    assert done.returncode == 1 and "run `python3 -m trainer prepare" in done.stderr
    assert len(done.stderr.splitlines()) == 1

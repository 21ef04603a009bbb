"""The commands of docs/training.md, in their order, on a small drawn zip: the whole way to a bundle with a report."""

import json
import re
import shlex
import zipfile

import pytest
from drawn_tree import ROOT, write_tree

from edge.bundles import Bundle
from trainer.cli import COMMANDS, main

QUICK = ["--epochs", "1", "--views", "1", "--small", "1", "--small-px", "64", "--amp", "off", "--device", "cpu"]
SHORTER = {  # what makes a command quick enough for a test
    "train": QUICK, "crossvalidate": [*QUICK, "--folds", "2"], "strangers": ["--rendered", "1"],
    "quantize": ["--method", "minmax", "--force"],  # a network of one epoch falls short of its float self
}


def commands():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in re.findall(r"^    python3 -m trainer (.*)$", page, re.MULTILINE)]


def test_every_command_is_on_the_page():
    assert {command[0] for command in commands()} == {module.__name__.rpartition(".")[2] for module in COMMANDS}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_commands_of_the_page_work(tmp_path, monkeypatch, capsys):
    tree = write_tree(tmp_path / "tree", 10)
    with zipfile.ZipFile(tmp_path / "dataset-resized.zip", "w") as archive:
        for file in sorted(tree.rglob("*.jpg")):
            archive.write(file, f"dataset-resized/{file.relative_to(tree).as_posix()}")
    monkeypatch.chdir(tmp_path)
    for command in commands():
        if "runs/default/best.pt" in command or command == ["train", "--init", "imagenet"]:
            continue  # the short way, which test_trainer_readme.py goes
        shown = ["none" if word == "imagenet" else "3" if word == "200" else word for word in command]
        code = main([*shown, *SHORTER.get(command[0], [])])
        printed = capsys.readouterr()
        assert code == 0, f"{shown}\n{printed.err[-2000:]}"
    bundle = Bundle(str(tmp_path / "models" / "mine"))
    bundle.verify()
    assert set(bundle.files) == {"fp16", "int8_cpu", "int8_trt"}
    provenance = bundle.manifest["provenance"]
    assert provenance["part"] == "all" and "54 out-of-fold answers of 2 fold models" in provenance["temperature"]
    assert bundle.threshold_policy["kind"] == "purity" and bundle.stranger is not None
    assert all(threshold is None for threshold in bundle.thresholds.values())  # 54 pictures prove nothing
    report = (tmp_path / "docs" / "performance" / "performance_report.md").read_text(encoding="utf-8")
    assert bundle.version in report
    assert json.loads((tmp_path / "runs/crossvalidation/scores.json").read_text(encoding="utf-8"))

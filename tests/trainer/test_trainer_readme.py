"""The short way of docs/training.md, its commands in their order, on a small drawn zip."""

import os
import re
import shlex
import subprocess
import sys
import zipfile

from drawn_tree import ROOT, write_tree


def test_the_commands_of_the_short_way_work(tmp_path):
    tree = write_tree(tmp_path / "tree", 10)
    with zipfile.ZipFile(tmp_path / "dataset-resized.zip", "w") as archive:
        for file in sorted(tree.rglob("*.jpg")):
            archive.write(file, f"dataset-resized/{file.relative_to(tree).as_posix()}")
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 (-m trainer .*)$", page, re.MULTILINE)
    assert [shlex.split(c)[2] for c in commands] == ["prepare", "train", "export", "evaluate"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    for command in commands:
        done = subprocess.run([sys.executable, *shlex.split(command)], cwd=tmp_path, env=environment, check=False,
                              capture_output=True, encoding="utf-8")
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
    assert "accuracy" in done.stdout and "with torch" in done.stdout
    assert (tmp_path / "models" / "mine" / "manifest.json").exists()
    assert (tmp_path / "runs" / "evaluation" / "confusion_matrix.png").exists()


def test_wrong_usage_is_exit_code_2(tmp_path):
    done = subprocess.run([sys.executable, "-m", "trainer", "prepare"], cwd=ROOT, check=False, capture_output=True,
                          encoding="utf-8")
    assert done.returncode == 2 and "SOURCE" in done.stderr and len(done.stderr.splitlines()) == 1

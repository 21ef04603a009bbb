"""Every command in the README, and in the first steps of other pages, is run here, in tests/trainer, in test_packaging
or by .ci/run."""

import os
import re
import shlex
import subprocess
import sys

import cv2
import pytest

from edge.frames.drawn import MATERIALS, draw_named

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ELSEWHERE = {"./scripts/demo": "run by .ci/run", "./scripts/test": "runs this", "python3 -m pip install .":
             "test_packaging.py", "python3 -m pip install -r requirements/trainer.txt": "run by scripts/test"}
FIRST_STEPS = (("README.md", ""), ("docs/operating.md", "## Day by day\n"), ("docs/belt.md", "## 8. Check\n"),
               ("docs/benchmarks.md", "## On any machine\n"), ("docs/training.md", "# Training\n"))


def first_commands():
    """The commands of FIRST_STEPS in their order: of the whole page, or below a heading up to the next."""
    commands = []
    for page, heading in FIRST_STEPS:
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = file.read()
        if heading:
            assert text.count(heading) == 1, (page, heading)
            text = text.partition(heading)[2].partition("\n## ")[0]
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert blocks, page
        commands += [line for block in blocks for line in block.splitlines() if line]
    return commands


def test_no_first_command_is_left_out():
    known = tuple(ELSEWHERE) + ("scrapsort ", "python3 -m trainer ", "python3 -m benchmarks ")
    commands = first_commands()
    assert len(commands) > 25
    assert [c for c in commands if not c.startswith(known)] == []
    for command, where in ELSEWHERE.items():
        assert command in commands, where


@pytest.mark.long("newest")
def test_the_first_commands_work_in_their_order(tmp_path):
    for number, material in enumerate(MATERIALS):
        (tmp_path / "pictures" / material).mkdir(parents=True)
        picture = draw_named(material, number)
        cv2.imwrite(str(tmp_path / "pictures" / material / "a.jpg"), picture)
        cv2.imwrite(str(tmp_path / "pictures" / "item{}.jpg".format(number)), picture)
    environment = dict(os.environ, PYTHONPATH=ROOT, XDG_STATE_HOME=str(tmp_path / "state"),
                       PYTHONIOENCODING="utf-8")
    ran = 0
    for command in first_commands():
        words = shlex.split(command)
        if words[0] == "scrapsort":
            words = [sys.executable, "-m", "edge"] + words[1:]
        elif words[:3] == ["python3", "-m", "benchmarks"]:
            quick = {"latency": ["--items", "4", "--seconds", "0"], "pipeline": ["--items", "8", "--runs", "1"],
                     "accuracy": [], "belt": ["--items", "6", "--speed", "1.5", "--touching", "0"]}
            if words[3] == "pipeline" and not has_pillow():
                print("left out: {} needs Pillow, which is not installed here".format(command))
                continue
            words = [sys.executable] + words[1:] + quick[words[3]]
        else:
            continue
        process = subprocess.Popen(words, cwd=str(tmp_path), env=environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = process.communicate(timeout=120)[0].decode("utf-8")
        assert process.returncode == 0, "{}\n{}".format(command, output)
        ran += 1
    assert ran >= 17
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file() and not p.name.startswith("conveyor_results_")) == [
        "belt.jpg", "override_log.json", "retraining_queue.json"]


def has_pillow():
    try:
        import PIL  # noqa: F401  # only whether it is there
    except ImportError:
        return False
    return True

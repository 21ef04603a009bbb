"""`python3 -m benchmarks operations` counts instructions of a gate that really works, by a real valgrind."""

import json
import shutil
import sys

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import operations


@pytest.mark.long("newest")
def test_instructions_of_a_frame_are_counted(tmp_path, monkeypatch, capsys):
    if shutil.which("valgrind") is None:
        pytest.skip("no valgrind (apt-get install valgrind)")
    monkeypatch.setattr(operations, "FEWER", 1)
    monkeypatch.setattr(operations, "MORE", 3)
    out = str(tmp_path / "figures.json")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "operations", "--frames-per-s", "20", "-o", out])
    assert benchmarks.main() == 0
    with open(out) as file:
        figures = json.load(file)
    assert 1e6 < figures["instructions_a_frame"] < 1e9  # of 0.9 million pixels: learning the belt takes fewer than 63
    assert figures["instructions_per_s"] == figures["instructions_a_frame"] * 20 and figures["machine"]
    assert "{:.1f} million instructions; at 20 frames/s".format(figures["instructions_a_frame"] / 1e6) in \
        capsys.readouterr().out


def test_without_valgrind_there_is_a_remedy(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "operations"])
    assert benchmarks.main() == 2 and "apt-get install valgrind" in capsys.readouterr().err

"""Weeks of items in minutes: memory, descriptors and the journal stay flat, nothing is lost, nothing comes twice."""

import json
import subprocess
import sys

import pytest
from helpers import REPOSITORY
from table import write_row


@pytest.mark.parametrize("classifier, items, options", [
    ("null", 1000000, []),
    ("null", 80000, ["--keep-rows-mb", "8"]),  # what a commit of 32 writes
    ("null", 1500, ["--keep-rows-mb", "8", "--commit-items", "1"]),  # and one of a single item, as on a slow belt
    ("real", 50000, []),
])
def test_a_soak_is_flat(classifier, items, options, tmp_path):
    out = tmp_path / "soak.json"
    command = ["soak", "--items", str(items), "--classifier", classifier] + options
    done = subprocess.run([sys.executable, "-m", "benchmarks"] + command + ["--state", str(tmp_path), "-o", str(out)],
                          cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "flat: nothing grew" in done.stdout
    result = json.loads(out.read_text())
    write_row("soak: {:,} items, {} classifier{}".format(items, classifier, "".join(" " + one for one in options)),
              "python3 -m benchmarks " + " ".join(command), 0, result["confirmed"], result["lost"], None,
              doubled=result["doubled"], memory_grew_mb=round(result["grown"]["resident_mb"], 1),
              descriptors_grew=result["grown"]["descriptors"],
              journal_largest_mb=round(result["journal_largest_mb"], 1),
              written_kb_per_1000=round(result["written_kb_per_1000"]), seconds=round(result["seconds"], 1))

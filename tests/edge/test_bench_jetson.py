"""scripts/bench-jetson on this machine, quickly: one archive with all of it, whatever fails, and no secret in it."""

import json
import os
import re
import subprocess
import sys
import tarfile
import time

import pytest

from benchmarks import suite

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(ROOT, "scripts", "bench-jetson")


def bench(tmp_path, *words, **environment):
    """(exit code, output, {name in the archive: text})"""
    process = subprocess.Popen(
        [SCRIPT, "--quick"] + [str(word) for word in words], cwd=str(tmp_path), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=dict(os.environ, PYTHON=sys.executable, **environment))
    output = process.communicate(timeout=300)[0].decode("utf-8")
    found = re.search(r"Please send this file: (.+)", output)
    files = {}
    if found:
        with tarfile.open(found.group(1)) as archive:
            for member in archive:
                assert member.isfile() and member.name.startswith(os.path.basename(found.group(1))[:-7] + "/")
                files[member.name.split("/", 1)[1]] = archive.extractfile(member).read().decode("utf-8")
    return process.returncode, output, files


@pytest.mark.long
def test_the_whole_set_leaves_one_archive(tmp_path):
    code, output, files = bench(tmp_path)
    assert code == 0, output
    assert [name for name in os.listdir(str(tmp_path)) if name.endswith(".tar.gz")] == os.listdir(str(tmp_path))
    assert re.search(r"scrapsort-bench-\w[\w-]*-\d{8}T\d{6}Z\.tar\.gz\n$", output)
    assert {"machine.json", "parts.json", "dmesg.txt", "telemetry.jsonl", "doctor.log", "latency-onnxruntime.json",
            "latency-onnxruntime.log", "belt.json", "roofline.json", "compare.md", "compare.svg"} <= set(files)
    parts = json.loads(files["parts.json"])
    assert [part["code"] for part in parts] == [0] * len(parts) and parts[0]["part"] == "doctor"
    assert json.loads(files["doctor.log"])["wrong"] == 0
    assert set(json.loads(files["latency-onnxruntime.json"])["precisions"]) == {"fp16", "int8"}
    assert all("seconds" in json.loads(line) for line in files["telemetry.jsonl"].splitlines())
    assert "| onnxruntime | fp16 |" in files["compare.md"]
    assert not [name for name in files if name.endswith(".db") or "state" in name]  # no journal leaves the machine
    assert "[1/" in output and "up to" in output


def test_a_part_that_fails_costs_only_itself_and_secrets_stay(tmp_path):
    settings = tmp_path / "scrapsort.toml"
    settings.write_text('[source]\nuri = "rtsp://operator:hunter2@127.0.0.1:1/belt"\n[model]\nbundle = "{}"\n'.format(
        str(tmp_path / "hunter2-none")))
    code, output, files = bench(tmp_path, "--only", "doctor", "roofline", "compare", SCRAPSORT_CONFIG=str(settings),
                                HOME=str(tmp_path))
    assert code == 1
    assert "FAILED" in output and "0 of 3 parts done; failed: doctor, roofline, compare" in output
    assert "~/hunter2-none: no such bundle" in files["roofline.log"]
    assert "rtsp://***@127.0.0.1:1/belt" in files["doctor.log"]
    everything = "".join(files.values())
    assert "operator:" not in everything and str(tmp_path) not in everything
    assert json.loads(files["parts.json"])[1]["error"].endswith("give a bundle folder or .tar")


@pytest.mark.parametrize("text, expected", [
    ("rtsp://me:hunter2@cam/1?password=hunter2", "rtsp://***@cam/1?password=***"),
    ('{"mqtt_password": "hunter2", "n": 1}', '{"mqtt_password": "***", "n": 1}'),
    ("token = 'hunter2'", "token = '***'"),
    ("eth0: 00:04:4b:e5:12:ab up", "eth0: **:**:**:**:**:** up"),
    ("clocks 12:30:45", "clocks 12:30:45"),
])
def test_what_is_masked(text, expected):
    assert suite.masked(text) == expected


def test_only_plain_files_of_the_folder_itself_are_packed(tmp_path):
    folder = tmp_path / "made"
    (folder / "state").mkdir(parents=True)
    (folder / "state" / "journal.db").write_text("pictures of a plant")
    (tmp_path / "scrapsort.toml").write_text("password = 1")
    (folder / "link").symlink_to(tmp_path / "scrapsort.toml")
    (folder / "a.log").write_bytes(b"caf\xe9 " + str(folder).encode())
    suite.pack(str(folder), str(tmp_path / "out.tar.gz"), "name")
    with tarfile.open(str(tmp_path / "out.tar.gz")) as archive:
        assert archive.getnames() == ["name/a.log"]
        assert archive.extractfile("name/a.log").read().decode("utf-8") == "caf\ufffd BENCH"


def test_a_jetson_gets_engines_first_and_both_kinds_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "_has", lambda package: True)
    parts = suite.parts(str(tmp_path), False, None, True)
    assert [part.name for part in parts] == [
        "doctor", "engines-build", "engines-list", "latency-tensorrt-copy", "latency-tensorrt-mapped",
        "latency-tensorrt-in-turn", "latency-onnxruntime", "belt", "pipeline", "roofline", "compare"]
    mapped = " ".join(parts[4].arguments)
    assert "--backend tensorrt --precision fp16 int8" in mapped and "--memory mapped" in mapped and "--alone" in mapped
    states = {part.arguments[part.arguments.index("--state") + 1] for part in parts if "--state" in part.arguments}
    assert states == {str(tmp_path / "state")}  # what is built is what is measured


@pytest.mark.long
def test_a_part_that_hangs_is_ended_with_all_it_started(tmp_path):
    (tmp_path / "hangs.py").write_text(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\ntime.sleep(600)\n")
    log = tmp_path / "log"
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = str(tmp_path)
    try:
        code, wrong = suite._call(["hangs"], str(log), 3.0)
    finally:
        os.environ["PYTHONPATH"] = before
    assert code == -1 and wrong.startswith("ended after")
    child = int(log.read_text())
    deadline = time.monotonic() + 20
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid):
    """Whether it is there and no zombie."""
    try:
        with open("/proc/{}/stat".format(pid)) as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

"""`scrapsort run` as a process of its own whose engine fails in mid-run, and that gets a new one while it sorts."""

import argparse
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import groupby

import cv2
import numpy as np
import pytest
import tensorrt_doubles

from edge import plans
from edge.commands import run

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
pytestmark = pytest.mark.long  # whole runs

ROLES = ("fp16", "int8_trt", "int8_cpu")


@pytest.fixture
def doubles(tmp_path, monkeypatch):
    made = tensorrt_doubles.Doubles("8_2", tmp_path)
    made.install(monkeypatch)
    yield made
    for name in tensorrt_doubles.MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def belt(doubles, make_bundle, tmp_path):
    """A run on drawn items, its engines by the double of TensorRT."""
    run = Belt(doubles, make_bundle(roles=ROLES), tmp_path)
    yield run
    run.end()


class Belt:
    def __init__(self, doubles, bundle, tmp_path):
        self.doubles, self.bundle, self.state = doubles, bundle, str(tmp_path / "state")
        self.out, self.err = str(tmp_path / "out"), str(tmp_path / "err")
        self.process = None
        environ = doubles.environment()
        self.environ = {key: value for key, value in environ.items()
                        if key not in ("RUNTIME_DIRECTORY", "SCRAPSORT_CONFIG", "JOURNAL_STREAM")}

    def build(self, precision, p50_ms):
        """An engine, as `python3 -m engines build` puts it there."""
        return tensorrt_doubles.build(self.doubles.tensorrt, self.bundle, plans.folder_of(self.state), precision,
                                      latency_ms={"p50": p50_ms})

    def start(self, *more):
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--source", "drawn:?seed=5", "--bundle", self.bundle, "--state",
                 self.state, "--interval", "0.05", "--format", "json"] + list(more), cwd=ROOT, env=self.environ,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def read(self, path):
        with open(path, encoding="utf-8") as file:
            return file.read()

    def items(self):
        """(backend, precision) of each item that is recorded."""
        lines = [json.loads(line) for line in self.read(self.out).splitlines(True) if line.endswith("}\n")]
        return [(line["backend"], line["precision"]) for line in lines if line["event"] == "item"]

    def until(self, what, within_s=60.0):
        deadline = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < deadline and self.process.poll() is None, self.read(self.err)
            time.sleep(0.02)

    def status(self):
        return self.ask("status")

    def ask(self, command, *more):
        """The exit code of another command and what it prints."""
        done = subprocess.run([sys.executable, "-m", "edge", command, "--state", self.state] + list(more),
                              cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout.decode("utf-8")

    def end(self):
        """Stop it as systemd does; its exit code."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process and self.process.wait(60)

    def rows(self):
        connection = sqlite3.connect(os.path.join(self.state, "journal.db"))
        try:
            return connection.execute("SELECT sequence, backend, precision, total_ms FROM items ORDER BY id").fetchall()
        finally:
            connection.close()


def test_an_engine_fails_in_mid_run_and_a_new_one_takes_its_place(belt):
    plan = belt.build("fp16", 8.0)
    belt.start()
    belt.until(lambda: len(belt.items()) > 5)
    assert "backend tensorrt (NVIDIA Tegra X1), precision fp16" in belt.read(belt.err)
    assert belt.status()[0] == 0 and "backend tensorrt, precision fp16" in belt.status()[1]

    belt.doubles.cuda_fault("sync")
    belt.until(lambda: ("onnxruntime", "int8") in belt.items())
    failed = "backend: tensorrt fp16 (plan {}) failed: CUDA: inference failed: ".format(plan.name)
    belt.until(lambda: failed in belt.read(belt.err))
    belt.until(lambda: "backend onnxruntime, precision int8" in belt.status()[1])
    code, text = belt.status()
    assert code == 1 and "WRONG  backend" in text and failed[9:] in text
    assert "in use: onnxruntime int8 (CPUExecutionProvider) (since 20" in text

    belt.doubles.cuda_fault()
    new = belt.build("int8", 5.0)
    belt.until(lambda: ("tensorrt", "int8") in belt.items())
    belt.until(lambda: "ok     backend" in belt.status()[1])
    assert belt.end() == 0
    lines = [line.split(" ", 2)[-1] for line in belt.read(belt.err).splitlines()]  # without date and time
    assert "now tensorrt int8 (plan {}), was onnxruntime int8 (CPUExecutionProvider)".format(new.name) in lines
    assert len([line for line in lines if line.startswith("backend: ")]) == 2 and "backend: well again" in lines

    rows = belt.rows()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))  # each item once, none lost
    assert [key for key, _ in groupby(row[1:3] for row in rows)] == [
        ("tensorrt", "fp16"), ("onnxruntime", "int8"), ("tensorrt", "int8")]
    first_on_the_cpu = next(row for row in rows if row[1] == "onnxruntime")
    assert first_on_the_cpu[3] < 6000  # 2 s on an idle machine, with all that failed before


def test_what_the_engine_builder_makes_while_the_belt_runs_is_taken(belt):
    belt.start()
    belt.until(lambda: len(belt.items()) > 3)
    assert "no engine for tiny 1 in" in belt.status()[1]
    code, out, err = belt.doubles.run("engines", "build", "--state", belt.state, "--bundle", belt.bundle)
    assert code == 0, out + err
    belt.until(lambda: belt.items()[-1] == ("tensorrt", "fp16"))
    assert belt.end() == 0
    assert "now tensorrt fp16 (plan " in belt.read(belt.err)
    assert [key for key, _ in groupby(row[1:3] for row in belt.rows())] == [("onnxruntime", "int8"), (
        "tensorrt", "fp16")]


def test_a_gpu_that_hangs_stops_neither_the_belt_nor_its_end(belt):
    belt.build("fp16", 8.0)
    belt.start()
    belt.until(lambda: len(belt.items()) > 3)
    belt.doubles.cuda_fault("hang")
    belt.until(lambda: belt.items().count(("onnxruntime", "int8")) > 3)
    assert "failed: CUDA: inference did not end within 1 s; in use: onnxruntime int8" in belt.read(belt.err)
    assert belt.end() == 0
    rows = belt.rows()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert max(row[3] for row in rows) < 6000


def test_no_engine_fits_and_none_was_asked_for_the_run_says_why_and_sorts(belt):
    plan = belt.build("fp16", 8.0)
    plans.rewrite(plan, plan.sidecar._replace(fingerprint=plan.sidecar.fingerprint._replace(l4t="32.6.1")))
    belt.start("--limit", "3")
    assert belt.process.wait(60) == 0
    text = belt.read(belt.err)
    assert "was built for l4t 32.6.1, not none; run: python3 -m engines build; in use: onnxruntime int8" in text
    assert [row[1] for row in belt.rows()] == ["onnxruntime"] * 3
    belt.start("--limit", "3", "--backend", "tensorrt")  # asked for by name: the reason, in one line
    assert belt.process.wait(60) == 1
    assert len(belt.read(belt.err).splitlines()) == 1 and "run: python3 -m engines build" in belt.read(belt.err)


def test_what_a_run_prints_goes_where_stdout_was_when_it_began(make_bundle, tmp_path, monkeypatch, capsys):
    """Backends are opened in threads, and while one is, sys.stdout is another: libraries print."""
    opened, elsewhere = run.open_for_run, io.StringIO()

    def opening(*args):
        classifier = opened(*args)
        monkeypatch.setattr(sys, "stdout", elsewhere)  # a thread has just begun to open the standby
        return classifier
    monkeypatch.setattr(run, "open_for_run", opening)
    parser = argparse.ArgumentParser()
    run.add(parser)
    assert run.run(parser.parse_args(["--source", "drawn:", "--limit", "2", "--bundle", make_bundle(roles=ROLES),
                                      "--state", str(tmp_path / "state"), "--format", "json"])) == 0
    assert elsewhere.getvalue() == ""
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["item", "item", "summary"]


def test_doctor_and_classify_say_what_is_used_and_why_nothing_better(belt, tmp_path):
    plan = belt.build("fp16", 8.0)
    picture = str(tmp_path / "a.png")
    cv2.imwrite(picture, np.full((20, 30, 3), 90, np.uint8))
    used = "model tiny 1, backend tensorrt (NVIDIA Tegra X1), precision fp16"
    assert used in belt.ask("classify", "--bundle", belt.bundle, picture)[1]
    text = belt.ask("doctor", "--bundle", belt.bundle)[1]
    assert "will use       backend tensorrt (NVIDIA Tegra X1), precision fp16, golden answers agree" in text
    assert "in this order: tensorrt fp16 (plan {}), then onnxruntime int8 (CPUE".format(plan.name) in text
    with open(plan.path, "ab") as file:
        file.write(b"x")
    code, text = belt.ask("classify", "--bundle", belt.bundle, picture, "--format", "json")
    assert code == 0 and '"backend": "onnxruntime", "precision": "int8"' in text
    assert "plan {} passed over: {}: is damaged".format(plan.name, plan.path) in text
    text = belt.ask("doctor", "--bundle", belt.bundle)[1]
    assert "is damaged" in text and "will use       backend onnxruntime (CPUExecutionProvider), precision int8" in text
    code, text = belt.ask("doctor", "--bundle", belt.bundle, "--backend", "tensorrt")
    assert code == 1 and "wrong  model          {}: is damaged".format(plan.path) in text

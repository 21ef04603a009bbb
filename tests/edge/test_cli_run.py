"""`scrapsort run` as users meet it: pictures in, lines and a journal out. Each test starts a process of its own."""

import csv
import io
import json
import os
import re
import sqlite3
import time

from helpers import SHIPPED, json_lines, scrapsort


def test_a_folder_is_sorted_in_natural_order_and_every_item_is_journalled(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--format", "json")
    assert code == 0, err
    lines = json_lines(out)
    with open(os.path.join(SHIPPED, "manifest.json")) as file:
        manifest = json.load(file)
    names = [os.path.basename(line["image_path"]) for line in lines[:-1]]
    assert names == ["item{}.jpg".format(n) for n in range(1, 13)]
    assert lines[-1]["event"] == "summary" and lines[-1]["items"] == 12
    assert sum(lines[-1]["by_class"].values()) == 12
    for line in lines[:-1]:
        assert abs(sum(line["probabilities"].values()) - 1) < 1e-4
        assert line["predicted_class"] == max(line["probabilities"], key=line["probabilities"].get)
        threshold = manifest["thresholds"]["per_class"][line["predicted_class"]]
        doubtful = (threshold is None or line["confidence"] < threshold
                    or line["stranger_score"] > manifest["stranger"]["threshold"])
        assert line["low_confidence_flag"] == doubtful == (line["decision"] == "review")
    connection = sqlite3.connect(str(state / "journal.db"))
    stored = connection.execute("SELECT id, class, confidence FROM items ORDER BY id").fetchall()
    connection.close()
    assert [(row[0], row[1]) for row in stored] == [(line["item"], line["predicted_class"]) for line in lines[:-1]]
    assert "backend onnxruntime (CPUExecutionProvider), precision int8" in err


def test_bad_pictures_cost_an_item_each_and_never_the_run(belt, state):
    whole = (belt / "item2.jpg").read_bytes()
    (belt / "item2.jpg").write_bytes(whole[:len(whole) // 2])
    (belt / "item4.jpg").write_bytes(b"")
    (belt / "item6.jpg").write_text("not a picture")
    # a header that claims 30,000 x 30,000 pixels
    (belt / "item8.jpg").write_bytes(re.sub(b"\xff\xc0\x00\x11\x08....", b"\xff\xc0\x00\x11\x08\x75\x30\x75\x30", whole,
                                            flags=re.DOTALL))
    os.symlink("nowhere", str(belt / "item13.jpg"))
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--format", "json")
    assert code == 0, err
    lines = json_lines(out)
    errors = {os.path.basename(line["image_path"]): line["error"] for line in lines[:-1] if "error" in line}
    assert sorted(errors) == ["item13.jpg", "item2.jpg", "item4.jpg", "item6.jpg", "item8.jpg"]
    for name, word in (("item2.jpg", "truncated"), ("item4.jpg", "empty"), ("item6.jpg", "not a JPEG"),
                       ("item8.jpg", "30000 x 30000"), ("item13.jpg", "cannot be read")):
        assert word in errors[name]
    assert lines[-1]["items"] == 13 and lines[-1]["errors"] == 5
    code, out, _ = scrapsort("export", "results", "--state", state, "-o", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 13 and sum(row["decision"] == "error" for row in rows) == 5


def test_text_shows_class_bars_low_confidence_and_a_summary(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--threshold", "1.0")
    assert code == 0, err
    marks = re.findall(r"^#\d+ +item\d+\.jpg +\w+ +[\d.]+% +[\d.]+ ms  (LOW CONFIDENCE \(below 1\.00\)|STRANGER)", out,
                       re.MULTILINE)
    assert len(marks) == 12 and marks.count("STRANGER") < 6
    assert len(re.findall(r"^ +\w+ +[█·]{20} +[\d.]+%$", out, re.MULTILINE)) == 36
    assert "12 items in" in out and "items/s" in out and "low confidence 12" in out
    assert re.search(r"latency p50 [\d.]+ ms, p95 [\d.]+ ms, p99 [\d.]+ ms", out)


def test_quiet_prints_the_summary_alone(belt, state):
    _, out, _ = scrapsort("run", "--source", belt, "--state", state, "--quiet")
    assert out.splitlines()[0] == "end of source" and "#" not in out
    _, out, _ = scrapsort("run", "--source", belt, "--state", state, "--quiet", "--format", "json")
    assert [line["event"] for line in json_lines(out)] == ["summary"]


def test_limit_interval_and_a_single_picture(belt, state):
    started = time.monotonic()
    code, out, _ = scrapsort("run", "--source", belt, "--state", state, "--limit", "4", "--interval", "0.4",
                             "--format", "json")
    assert code == 0 and json_lines(out)[-1]["items"] == 4 and json_lines(out)[-1]["ended_by"] == "limit reached"
    assert time.monotonic() - started >= 3 * 0.4
    _, out, _ = scrapsort("run", "--source", belt / "item3.jpg", "--state", state, "--format", "json")
    assert json_lines(out)[-1]["items"] == 1


def test_the_drawn_belt_is_the_same_for_a_seed(state):
    runs = [json_lines(scrapsort("run", "--source", "drawn:?seed=5", "--limit", "5", "--state", state, "--format",
                                 "json")[1])[:-1] for _ in range(2)]
    assert [(r["image_path"], r["probabilities"]) for r in runs[0]] == [(r["image_path"], r["probabilities"])
                                                                        for r in runs[1]]


def test_active_learning_keeps_pictures_of_what_is_doubtful(belt, state):
    scrapsort("run", "--source", belt, "--state", state, "--threshold", "1.0", "--active-learning")
    code, out, _ = scrapsort("export", "queue", "--state", state, "-o", "-")
    queue = json.loads(out)
    assert code == 0 and len(queue) == 12
    for entry in queue:
        assert sorted(entry) == ["confidence", "correct_class", "frame_id", "image_path", "predicted_class",
                                 "timestamp"]
    kept = {open_bytes(entry["image_path"]) for entry in queue}
    assert kept == {open_bytes(str(belt / name)) for name in os.listdir(str(belt))}


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_text_survives_a_terminal_without_unicode(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--limit", "1",
                               env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert code == 0, err
    assert "####" in out and "█" not in out

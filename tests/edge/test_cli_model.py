"""What the command line says of models and of strangers: classify, model, doctor."""

import csv
import io
import json
import os
import re
import shutil

import pytest
from helpers import SHIPPED, json_lines, scrapsort


def test_classify_answers_in_the_order_given_and_marks_bad_pictures(belt, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    images = [belt / "item3.jpg", tmp_path / "bad.png", belt / "item1.jpg"]
    code, out, _ = scrapsort("classify", "--format", "json", "--state", tmp_path / "state", *images)
    lines = json_lines(out)
    assert code == 1 and [line["image_path"] for line in lines] == [str(image) for image in images]
    assert sorted(lines[1]) == ["error", "image_path"]
    assert sorted(lines[0]) == sorted(["image_path", "predicted_class", "confidence", "low_confidence_flag",
                                       "probabilities", "decision", "latency_ms", "model_version", "backend",
                                       "precision", "stranger_score", "review_reason"])
    code, out, _ = scrapsort("classify", "--format", "csv", "--state", tmp_path / "state", images[0], images[2])
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["predicted_class"] for row in rows] == [lines[0]["predicted_class"],
                                                                      lines[2]["predicted_class"]]
    code, out, _ = scrapsort("classify", "--top", "5", "--state", tmp_path / "state", images[0])
    assert code == 0 and len(out.splitlines()) == 6
    assert not (tmp_path / "state").exists(), "classify writes no journal"


@pytest.fixture(scope="module")
def strict_bundle(tmp_path_factory):
    """The shipped bundle, to which everything is a stranger and whose metal is never accepted."""
    from edge.bundles import seal
    path = tmp_path_factory.mktemp("bundle") / "strict"
    shutil.copytree(SHIPPED, str(path))
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["stranger"] = {"score": "max_probability", "threshold": -1.5}
    manifest["thresholds"] = {"default": 0.0, "per_class": {"metal": None}, "policy": {
        "kind": "purity", "target": 0.98, "confidence": 0.9, "per_class_targets": {"glass": 0.995},
        "mix": "as in the data", "method": "m", "source": "answers of 5 fold models", "classes": {
            "glass": {"threshold": 0.0, "purity_lower_bound": 0.99612, "recovery": 0.875, "reached": True},
            "metal": {"threshold": None, "purity_lower_bound": None, "recovery": 0.0, "reached": False}}}}
    (path / "manifest.json").write_text(json.dumps(seal(manifest)), encoding="utf-8")
    return path


def test_strangers_from_bundle_to_export(belt, state, strict_bundle):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--bundle", strict_bundle, "--limit", 3)
    assert code == 0 and "strangers by max_probability above -1.5," in err
    assert len(re.findall(r"^#\d .* ms  STRANGER \(score -[01]\.\d{3}\) -> review$", out, re.MULTILINE)) == 3
    assert "low confidence 3 (strangers 3)," in out
    code, out, _ = scrapsort("export", "results", "--state", state, "-o", "-")
    for row in csv.DictReader(io.StringIO(out)):
        assert (row["decision"], row["low_confidence_flag"], row["review_reason"]) == ("review", "True", "stranger")
        assert -1.5 < float(row["stranger_score"]) <= 0
    code, out, _ = scrapsort("review", "list", "--state", state, "--format", "json")
    assert [line["reason"] for line in json_lines(out)] == ["stranger"] * 3


def test_strangers_may_be_switched_off(belt, state, strict_bundle, tmp_path):
    (tmp_path / "off.toml").write_text("[decision]\nstranger = false\n")
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--bundle", strict_bundle, "--config",
                               tmp_path / "off.toml", "--format", "json")
    lines = json_lines(out)
    assert code == 0 and "strangers not told ([decision] stranger = false)" in err
    metal = [line["predicted_class"] == "metal" for line in lines[:-1]]
    assert any(metal) and not all(metal)
    assert [line["decision"] == "review" for line in lines[:-1]] == metal  # never accepted; all else is, at 0
    assert {line["review_reason"] for line in lines[:-1]} == {None, "always_review"}
    assert {line["stranger_score"] for line in lines[:-1]} == {None} and lines[-1]["strangers"] == 0
    _, _, err = scrapsort("run", "--source", belt, "--state", state, "--limit", 1)
    with open(os.path.join(SHIPPED, "manifest.json"), encoding="utf-8") as file:
        has_score = json.load(file)["stranger"]
    assert ("strangers by " if has_score else "strangers not told (the bundle has no score)") in err


def test_classify_tells_strangers(belt, state, strict_bundle):
    options = ("--state", state, "--bundle", strict_bundle, belt / "item1.jpg")
    answer, = json_lines(scrapsort("classify", "--format", "json", *options)[1])
    assert (answer["decision"], answer["review_reason"]) == ("review", "stranger")
    assert answer["stranger_score"] == pytest.approx(-answer["confidence"], abs=2e-6)
    row, = csv.DictReader(io.StringIO(scrapsort("classify", "--format", "csv", *options)[1]))
    assert list(row)[-2:] == ["stranger_score", "review_reason"] and row["review_reason"] == "stranger"
    assert float(row["stranger_score"]) == answer["stranger_score"]


def test_model_show_says_how_thresholds_and_strangers_are_set(strict_bundle, state):
    out = scrapsort("model", "show", "--bundle", strict_bundle, "--state", state)[1]
    assert "thresholds: default 0.0, metal always review\n" in out
    assert "threshold policy: purity 0.98 at confidence 0.9, mix as in the data, from answers of 5 fold models\n" in out
    assert re.search(r"^ +glass +target 0\.995, bound 0\.9961, recovery 0\.875$", out, re.MULTILINE)
    assert re.search(r"^ +metal +target 0\.98, bound none, recovery 0, not reached$", out, re.MULTILINE)
    assert "strangers: max_probability above -1.5\n" in out


def test_doctor_and_model_show_what_will_be_used(state):
    code, out, _ = scrapsort("doctor", "--state", state, "--format", "json")
    report = json.loads(out)
    assert code == 0 and report["wrong"] == 0
    found = {finding["what"]: finding for finding in report["findings"]}
    assert "onnxruntime (CPUExecutionProvider)" in found["will use"]["value"]
    manifest = json.loads(scrapsort("model", "show", "--format", "json", "--state", state)[1])
    assert manifest["version"] in found["model"]["value"]
    assert manifest["version"] in scrapsort("model", "show", "--state", state)[1]
    code, out, _ = scrapsort("model", "verify", "--state", state)
    assert code == 0 and out.rstrip().endswith("verified") and "fp16" in out and "int8_cpu" in out

"""The report: every figure is that of its source, what is absent is named, nothing of the machine's owner is in it."""

import argparse
import getpass
import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from drawn_tree import ROOT, write_tree

from edge.bundles import MANIFEST, Bundle, seal
from edge.decision import ACCEPT, Decider
from edge.frames import pictures
from trainer import plots
from trainer._report_sources import Folds, difference_interval
from trainer.answers import of_folds
from trainer.commands import crossvalidate as crossvalidate_command
from trainer.commands import export as export_command
from trainer.commands import prepare as prepare_command
from trainer.commands import quantize as quantize_command
from trainer.commands import report as command
from trainer.commands import strangers as strangers_command
from trainer.commands import thresholds as thresholds_command
from trainer.commands import train as train_command
from trainer.crossvalidate import crossvalidate
from trainer.errors import TrainerError
from trainer.evaluate import evaluate_roles
from trainer.export import export
from trainer.metrics import expected_calibration_error, softmax
from trainer.oof import OutOfFold
from trainer.prepare import prepare
from trainer.quantize import add_roles, quantize
from trainer.report import PLOTS, REPORT, report
from trainer.strangers import measure
from trainer.strangers import write as write_stranger
from trainer.thresholds import choose, policy, write_thresholds
from trainer.train import Options, train

QUICK = Options(epochs=1, batch_size=16, init="none", threads=1, amp="off", device="cpu", views=1, small=1.0,
                small_px=64, lr=0.003)
COMMANDS = (prepare_command, train_command, crossvalidate_command, export_command, quantize_command,
            thresholds_command, strangers_command, command)


def _data(folder):
    """Drawn pictures, one of each class twice in slightly different light, so that there are near-duplicates."""
    tree = write_tree(folder / "drawn pictures", 11, ("glass", "metal", "paper"))
    for label in sorted(p.name for p in tree.iterdir()):
        image = cv2.imread(str(tree / label / f"{label}3.jpg"))
        cv2.imwrite(str(tree / label / f"{label}again.jpg"), cv2.convertScaleAbs(image, alpha=0.97, beta=2))
    return folder / "materials", prepare(tree, folder / "materials", shares=(0.1, 0.2))


def _finished(bundle, run, data, split, oof):
    """Give a bundle what the other commands give it: an INT8 role, a stranger score, thresholds with a policy."""
    add_roles(quantize(run / "best.pt", data, bundle, ("int8_cpu",), "minmax"))
    scores = measure(Bundle(str(bundle)), oof, data, split, per_kind=1)
    write_stranger(scores, next(row for row in scores.rows if row.rule.score == "feature_distance"))
    group = {f["path"]: f["group"] for f in split["files"]}
    opened = Bundle(str(bundle))
    answers = of_folds(oof, [group[path] for path in oof.paths], opened.temperature)
    choices = choose(answers, dict.fromkeys(opened.classes, 0.3), 0.6, best_effort=True)
    write_thresholds(bundle, choices, policy(answers, choices, 0.3, 0.6))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everything that a report can be made from, all real: data, runs, folds, bundles, a benchmark's figures."""
    at = tmp_path_factory.mktemp("report")
    data, split = _data(at)
    train(data, at / "run", QUICK)
    train(data, at / "unfinished", replace(QUICK, epochs=2), "all", stop_after=1)
    crossvalidate(data, at / "folds", QUICK, folds=2)
    crossvalidate(data, at / "random", replace(QUICK, label_smoothing=0.0), folds=2, grouped=False)
    oof = OutOfFold.load(at / "folds" / "oof.npz")
    export(at / "run" / "best.pt", data, at / "plain", name="drawn", roles=("fp16",),
           oof=at / "folds" / "oof.npz", license_text="made up & drawn")
    shutil.copytree(at / "plain", at / "bundle")
    _finished(at / "bundle", at / "run", data, split, oof)
    subprocess.run([sys.executable, "-m", "benchmarks", "latency", "--items", "2", "--seconds", "0", "--bundle",
                    str(at / "bundle"), "-o", str(at / "latency.json")], cwd=ROOT, check=True, capture_output=True)
    shutil.copytree(data / "test", at / "plant")
    return SimpleNamespace(at=at, data=data, split=split, oof=oof)


@pytest.fixture(scope="module")
def whole(made):
    """The report of everything, without photographs; before it, in the same folder, one with them."""
    def write(out, **more):
        return report(made.at / "bundle", made.data, out, crossvalidation=made.at / "folds",
                      random=made.at / "random", checkpoint=made.at / "run" / "best.pt", elsewhere=made.at / "plant",
                      experiments=[made.at / "run", made.at / "random" / "fold-0", made.at / "unfinished"],
                      latency=[made.at / "latency.json"], **more)

    text = write(made.at / "out", photographs=True).read_text()
    shown = sorted(p.name for p in (made.at / "out").iterdir())
    write(made.at / "out")
    return SimpleNamespace(write=write, out=made.at / "out", text=(made.at / "out" / REPORT).read_text(),
                           with_photographs=text, shown=shown)


@pytest.fixture(scope="module")
def bare(made):
    """The report of a bundle alone, whose manifest claims another accuracy than it has."""
    manifest = json.loads((made.at / "plain" / MANIFEST).read_text())
    manifest["metrics"]["roles"]["fp16"]["accuracy"] += 0.1
    (made.at / "plain" / MANIFEST).write_text(json.dumps(seal(manifest)))
    return report(made.at / "plain", made.data, made.at / "bare").read_text()


def section(text, title):
    """What stands between this heading and the next of its level or above."""
    level, body = title.partition(" ")[0], text.partition(f"\n{title}\n")[2]
    assert body, f"no section {title!r}"
    return re.split(rf"^#{{2,{len(level)}}} ", body, flags=re.MULTILINE)[0]


def tables(text):
    """Every table as a list of rows by column name, in order."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


# ---------------------------------------------------------------- figures

def test_accuracy_by_role_and_class_is_what_the_bundle_answers(made, whole):
    bundle = Bundle(str(made.at / "bundle"))
    evaluation = evaluate_roles(bundle, made.data, made.split, "test")
    rows, *by_class, confusion = tables(section(whole.text, "## Accuracy on pictures that it was not trained on"))
    assert [row["role"] for row in rows] == ["fp16", "int8_cpu"] == list(evaluation.logits)
    for row, classes in zip(rows, by_class, strict=True):
        logits = evaluation.logits[row["role"]]
        spread = evaluation.scores[row["role"]]["intervals"]
        low, high = (100 * v for v in spread["accuracy"])
        assert row["accuracy"] == f"{(logits.argmax(1) == evaluation.labels).mean():.1%} [{low:.1f}, {high:.1f}]"
        error = expected_calibration_error(softmax(logits, bundle.temperature), evaluation.labels)
        assert row["calibration error"].startswith(f"{error:.4f} [")
        for c, one in enumerate(classes):
            found = (logits.argmax(1) == c)[evaluation.labels == c].mean()
            bounds = spread["per_class"][one["class"]]["recall"]
            assert one["recall"] == f"{found:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"
    counts = np.array([[int(row[c]) for c in bundle.classes] for row in confusion])
    pairs = list(zip(evaluation.labels, evaluation.logits["fp16"].argmax(1), strict=True))
    assert counts.tolist() == [[pairs.count((i, j)) for j in range(3)] for i in range(3)]


def test_cross_validation_states_groups_and_random_side_by_side(made, whole):
    text = section(whole.text, "## Cross-validation")
    by_fold, pooled, by_class = tables(text)
    right = {}
    for row, one, folder in zip(by_fold, pooled, ("folds", "random"), strict=True):
        oof = OutOfFold.load(made.at / folder / "oof.npz")
        hits = right[folder] = dict(zip(oof.paths, oof.logits.argmax(1) == oof.labels, strict=True))
        of_fold = [np.mean([hits[p] for p, f in zip(oof.paths, oof.folds, strict=True) if f == k]) for k in (0, 1)]
        assert (row["fold 0"], row["fold 1"]) == tuple(f"{share:.1%}" for share in of_fold)
        assert row["mean"] == f"{np.mean(of_fold):.1%}" and row["spread"] == f"{100 * np.std(of_fold, ddof=1):.1f}"
        assert one["accuracy"].startswith(f"{np.mean(list(hits.values())):.1%} [")
        assert one["pictures"] == str(len(oof.paths))
    difference = np.mean(list(right["random"].values())) - np.mean(list(right["folds"].values()))
    flat = " ".join(text.split())
    assert f"Random less groups: {100 * difference:+.1f} points, 95 % interval [" in flat
    groups, random = {}, OutOfFold.load(made.at / "random" / "oof.npz")
    group = {f["path"]: f["group"] for f in made.split["files"]}
    for path, fold in zip(random.paths, random.folds, strict=True):
        groups.setdefault(group[path], []).append(fold)
    several = [folds for folds in groups.values() if len(folds) > 1]
    torn = sum(len(set(folds)) > 1 for folds in several)
    assert several and f"Of {len(several)} groups with two or more pictures, {torn} were torn apart" in flat
    assert len(by_class) == 3 and "trained with different options (label_smoothing)" in flat


def test_random_is_held_against_folds_of_its_own_options(made, tmp_path):
    """The main folds are always right; those with the options of random are never, and so are those of random."""
    random, eye = OutOfFold.load(made.at / "random" / "oof.npz"), np.eye(3, dtype=np.float32)
    for name, one, shift in (("main", made.oof, 0), ("light", made.oof, 1), ("random", random, 2)):
        about = one.about if name == "main" else one.about | {"options": random.about["options"]}
        replace(one, logits=eye[(one.labels + shift) % 3], about=about).save(tmp_path / name / "oof.npz")
    folders = {"crossvalidation": tmp_path / "main", "random": tmp_path / "random"}
    alone = report(made.at / "plain", made.data, tmp_path / "out", **folders).read_text()
    folders["random_against"] = tmp_path / "light"
    text = report(made.at / "plain", made.data, tmp_path / "out", **folders).read_text()
    assert "Random less groups: -100.0 points" in " ".join(alone.split())
    assert "trained with different options (label_smoothing)" in " ".join(alone.split())
    cross = " ".join(section(text, "## Cross-validation").split())
    assert "Random less groups: +0.0 points" in cross and "different options" not in cross
    pooled = tables(section(text, "## Cross-validation"))[1]
    assert [row["accuracy"].split()[0] for row in pooled] == ["100.0%", "0.0%", "0.0%"]
    command = section(text, "### Commands")
    assert command.count("trainer crossvalidate") == 3 and "--random-against light" in command


def test_calibration_is_of_the_pooled_answers(made, whole):
    bundle, oof = Bundle(str(made.at / "bundle")), made.oof
    errors, bins = tables(section(whole.text, "## Calibration"))
    probabilities = softmax(oof.logits, bundle.temperature)
    found = {row["answers"].partition(", ")[2]: row["calibration error"] for row in errors}
    assert found["the bundle's temperature"] == f"{expected_calibration_error(probabilities, oof.labels):.4f}"
    assert found["no temperature"] == f"{expected_calibration_error(softmax(oof.logits), oof.labels):.4f}"
    assert sum(int(row["answers"]) for row in bins) == len(oof.labels)
    gaps = sum(n * abs(a - c) for _, _, n, c, a in plots.reliability_bins(probabilities, oof.labels)) / len(oof.labels)
    assert gaps == pytest.approx(expected_calibration_error(probabilities, oof.labels))


def test_purity_strangers_and_quantisation_are_those_of_the_manifest(made, whole):
    manifest = json.loads((made.at / "bundle" / MANIFEST).read_text())
    chosen, (thresholds,) = manifest["thresholds"]["policy"]["classes"], tables(section(whole.text, "## Purity"))
    assert any(one["threshold"] is not None for one in chosen.values())
    for row in thresholds:
        one = chosen[row["class"]]
        assert row["from"] == ("-" if one["threshold"] is None else f"{one['threshold']:.4g}")
        assert row["accepted (errors) of called"] == f"{one['accepted']} ({one['errors']}) of {one['called']}"
        assert row["recovery"] == f"{one['recovery']:.1%}"
    assert "were chosen from other answers" not in whole.text
    stranger, (rows,) = manifest["stranger"], tables(section(whole.text, "## Strangers"))
    assert [(r["strangers"], r["AUROC"], r["caught"]) for r in rows] == [
        ("rendered", f"{stranger['auroc']['rendered']:.3f}", f"{stranger['caught']['rendered']:.1%}")]
    roles, made_by = tables(section(whole.text, "## INT8 and FP16 against float"))
    for row in made_by:
        one = manifest["quantisation"]["int8_cpu"][row["part"]]
        assert row["agreement"] == f"{one['agreement']:.2%}" and row["method"].startswith("minmax")
    assert {row["part"] for row in made_by} == {"val", "test"} and roles[0]["role"] == "torch, float32"
    rows = json.loads((made.at / "latency.json").read_text())["precisions"]["int8"]["rows"]
    assert roles[2]["inference ms"] == f"{rows['inference']['p50']:.2f}"
    (latency,) = tables(section(whole.text, "## Latency"))
    assert latency[-1]["precision"] == "int8" and latency[-1]["whole ms p50"] == f"{rows['whole item']['p50']:.2f}"


def test_the_worst_mistakes_are_decided_as_the_appliance_decides(made, whole):
    from edge.classifier.onnxruntime import OnnxRuntimeClassifier
    bundle = Bundle(str(made.at / "bundle"))
    decider, wrong = Decider.from_settings(bundle, 0.0, {}), []
    tests, accepted = [f for f in made.split["files"] if f["split"] == "test"], 0
    with OnnxRuntimeClassifier(bundle, "fp16") as classifier:
        for file in tests:
            call = decider.decide(classifier.classify([pictures.read(str(made.data / "test" / file["path"]))]))
            accepted += call.decision == ACCEPT
            if call.class_name != file["label"]:
                said = f"{call.decision}: {call.reason}" if call.reason else call.decision
                wrong.append((call.confidence, file["path"], file["label"], call.class_name, said))
    text = section(whole.text, "## Worst mistakes")
    rows = tables(text)[0]
    assert wrong and [(r["picture"], r["true class"], r["called"], r["decision"]) for r in rows] == [
        w[1:] for w in sorted(wrong, key=lambda w: -w[0])]
    assert f"fp16 accepts {accepted}" in " ".join(whole.text.split())
    (plant,) = tables(section(whole.text, "## Pictures from elsewhere"))
    assert plant[0]["accepted"] == str(accepted), "the test pictures under another name are decided alike"


def test_what_was_tried_has_a_row_a_run_and_a_column_where_they_differ(whole):
    (rows,) = tables(section(whole.text, "## What was tried"))
    assert [row["run"] for row in rows] == ["run", "fold-0", "unfinished"]
    assert [row["label_smoothing"] for row in rows] == ["0.1", "0.0", "-"] and "lr" not in rows[0]
    assert [row["part"] for row in rows] == ["train", "random:0/2", "-"]
    assert rows[2]["note"] == "stopped after 1 epochs" and rows[2]["home accuracy"] == "-"


def test_near_duplicates_are_no_independent_evidence_of_a_difference():
    """Random folds are right where the others are wrong, in a tenth of the pictures; ten alike count as one."""
    labels, paths = np.zeros(1000, np.int64), tuple(f"a/{i}" for i in range(1000))

    def folds(right, groups, order):
        logits = np.stack([right, 1 - right], 1)[order].astype(np.float32)
        answers = OutOfFold(("a", "b"), "", tuple(paths[i] for i in order), labels, labels, logits, logits, {})
        return Folds(answers, groups[order], {}, {}, None, {})

    straight, turned = np.arange(1000), np.arange(1000)[::-1]  # the rows of the two need not be in one order
    widths = []
    for groups in (straight, straight // 10):
        low, high = difference_interval(folds(groups % 10 > 0, groups, straight),
                                        folds(np.ones(1000), groups, turned))
        assert low < 0.1 < high
        widths.append(high - low)
    assert widths[0] == pytest.approx(4 * 0.3 / np.sqrt(1000), rel=0.1)
    assert widths[1] == pytest.approx(4 * 0.3 / np.sqrt(100), rel=0.1)


def test_an_experiment_is_scored_from_its_answers(made, tmp_path):
    """A run whose answers are all right as photographed, and all wrong on drawn grounds but for two."""
    run, eye = shutil.copytree(made.at / "random" / "fold-0", tmp_path / "sure"), np.eye(3, dtype=np.float32)
    with np.load(run / "held.npz") as held:
        rows = held["rows"]
    labels = np.array([made.split["classes"].index(f["label"]) for part in ("train", "val")
                       for f in made.split["files"] if f["split"] == part])[rows]
    pasted = eye[(labels + 1) % 3]
    pasted[:2] = eye[labels[:2]]
    np.savez(run / "held.npz", rows=rows, logits=eye[labels], pasted_logits=pasted)
    text = report(made.at / "plain", made.data, tmp_path / "out", experiments=[run]).read_text()
    (row,), = tables(section(text, "## What was tried"))
    assert (row["held back"], row["home accuracy"], row["macro-F1"]) == (str(len(rows)), "100.0%", "1.000")
    assert row["on drawn grounds"] == f"{2 / len(rows):.1%}"


def test_other_answers_give_another_report(made, bare, tmp_path):
    """Every picture now is what it was called, and called so with certainty."""
    changed = replace(made.oof, labels=made.oof.logits.argmax(1).astype(np.int64), logits=made.oof.logits * 9)
    changed.save(tmp_path / "folds" / "oof.npz")

    def written():
        return report(made.at / "plain", made.data, tmp_path / "out", crossvalidation=tmp_path / "folds").read_text()

    text = written()
    by_fold, pooled, _ = tables(section(text, "## Cross-validation"))
    assert by_fold[0]["mean"] == "100.0%" and pooled[0]["accuracy"] == "100.0% [100.0, 100.0]"
    assert pooled[0]["on drawn grounds"] == "-" and "crossvalidate --random" in section(text, "## Cross-validation")
    assert section(text, "## Calibration") != section(bare, "## Calibration")
    for fold in (0, 1):
        rows, path = np.flatnonzero(changed.folds == fold), tmp_path / "folds" / f"fold-{fold}" / "held.npz"
        path.parent.mkdir()
        np.savez(path, rows=rows, pasted_logits=np.eye(3)[(changed.labels[rows] + fold) % 3])
    share = (changed.folds == 0).mean()
    assert tables(section(written(), "## Cross-validation"))[1][0]["on drawn grounds"] == f"{share:.1%}"


# ---------------------------------------------------------------- what is absent, or does not belong

@pytest.mark.parametrize("title, command", [
    ("## Cross-validation", "trainer crossvalidate`"), ("## Cross-validation", "trainer crossvalidate --random"),
    ("## Calibration", "trainer crossvalidate`"), ("## Purity", "trainer thresholds --bundle plain"),
    ("## Strangers", "trainer strangers --bundle plain"), ("## INT8 and FP16 against float", "benchmarks latency"),
    ("## INT8 and FP16 against float", "trainer train"),
    ("### How the INT8 roles were made", "trainer quantize --bundle"),
    ("## Pictures from elsewhere", "trainer report --elsewhere FOLDER"), ("## Latency", "benchmarks latency"),
    ("## Training", "trainer train"), ("## What was tried", "trainer train --part"), ("### Bundle", "trainer train"),
])
def test_what_is_absent_is_one_line_with_its_command(bare, whole, title, command):
    lines = [line for line in (section(bare, title) + "\n").splitlines() if line.startswith("Not here yet: ")]
    assert any(f"python3 -m {command}" in line for line in lines), lines
    if title != "### Bundle":
        assert "Not here yet" not in section(whole.text, title)


def test_a_manifest_that_says_something_else_is_found_out(bare, whole):
    assert "fp16: **the manifest differs**: accuracy" in section(bare, "### What the manifest says")
    assert section(whole.text, "### What the manifest says").count("the same figures as measured now") == 2


def test_the_wrong_things_are_refused(made, tmp_path):
    plain = (made.at / "plain", made.data, tmp_path)
    (tmp_path / "broken.json").write_text("{")
    for match, sources in (("drawn at random", {"crossvalidation": made.at / "random"}),
                           ("whole groups", {"random": made.at / "folds"}),
                           ("another checkpoint", {"checkpoint": made.at / "folds" / "fold-0" / "best.pt"}),
                           ("no history.json", {"experiments": [tmp_path]}),
                           ("broken.json: not JSON", {"latency": [tmp_path / "broken.json"]}),
                           ("no such file", {"latency": [tmp_path / "none.json"]})):
        with pytest.raises(TrainerError, match=match):
            report(*plain, **sources)
    replace(made.oof, split_hash="0" * 64).save(tmp_path / "foreign" / "oof.npz")
    with pytest.raises(TrainerError, match="000000000000"):
        report(*plain, crossvalidation=tmp_path / "foreign")
    copy = shutil.copytree(made.data, tmp_path / "copy")
    first = next(f for f in made.split["files"] if f["split"] == "test")
    (copy / "test" / first["path"]).write_bytes(b"another picture")
    with pytest.raises(TrainerError, match="not the picture of"):
        report(made.at / "plain", copy, tmp_path)


# ---------------------------------------------------------------- the text itself

def test_the_same_inputs_give_the_same_bytes(whole, tmp_path):
    whole.write(tmp_path / "out")
    names = sorted(p.name for p in whole.out.iterdir())
    assert names == sorted(p.name for p in (tmp_path / "out").iterdir())
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (whole.out / name).read_bytes(), name


def test_only_photographs_shows_photographs(whole):
    everything = {REPORT, *PLOTS}
    assert set(whole.shown) == everything and "](worst_mistakes.png)" in whole.with_photographs
    assert {p.name for p in whole.out.iterdir()} == everything - {"worst_mistakes.png"}
    assert "worst_mistakes.png" not in whole.text
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", whole.text)
    assert sorted(links) == sorted(everything - {REPORT, "worst_mistakes.png"})
    for name in links:
        assert min(pictures.read(str(whole.out / name)).shape[:2]) > 100


def test_nothing_of_the_machine_or_its_user_is_in_it(made, whole, bare):
    for text in (whole.text, bare):
        for secret in (str(made.at), str(ROOT), str(Path.home()), "/tmp/", "/home/", platform.node()):
            assert secret not in text
        assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", text)
        assert not re.search(r"(?<![\w.)/])/\w+/\w+", text), "an absolute path"


def test_the_commands_are_those_that_made_it(made, whole):
    """Read by the trainer's own parsers, they ask for what was asked for."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parsers = parser.add_subparsers(dest="command")
    for module in COMMANDS:
        module.add(parsers)
    lines = re.findall(r"^python3 -m trainer (.*)$", section(whole.text, "### Commands"), re.MULTILINE)
    asked = [parser.parse_args(shlex.split(line)) for line in lines]
    assert [a.command for a in asked] == ["prepare", "train", "crossvalidate", "crossvalidate", "export", "quantize",
                                          "strangers", "thresholds", "report"]
    prepared, trained, folds, random, exported, quantised, strange, threshold, reported = asked
    assert prepared.source == Path("drawn pictures") and trained.part == "train"
    for one, smoothing in ((trained, 0.1), (folds, 0.1), (random, 0.0)):
        assert asdict(train_command.options_of(one)) == asdict(QUICK) | {"label_smoothing": smoothing}
    assert (folds.folds, folds.random, random.random) == (2, False, True)
    assert exported.roles == ["fp16"] and exported.license == "made up & drawn" and exported.name == "drawn"
    assert exported.oof == Path("folds/oof.npz") and quantised.roles == ["int8_cpu"]
    assert strange.score == "feature_distance" and strange.rendered == 1
    assert (threshold.purity, threshold.confidence) == (0.3, 0.6)
    assert reported.crossvalidation == Path("folds") and reported.benchmark == [Path("latency.json")]


def test_curves_cope_with_histories_that_looked_at_few_epochs_or_none(tmp_path):
    history = [{"epoch": e, "train_loss": 1 / e, "lr": 0.1, "seconds": 1.0} for e in range(1, 8)]
    looked = [h | ({"val_loss": 0.5, "val_accuracy": 0.8, "val_macro_f1": 0.7} if h["epoch"] in (1, 7) else {})
              for h in history]
    figures = []
    for name, one in (("none", history), ("few", looked)):
        plots.training_history(one, tmp_path / f"{name}.png")
        figures.append(pictures.read(str(tmp_path / f"{name}.png")))
    assert figures[0].shape != figures[1].shape or (figures[0] != figures[1]).any()
    plots.fold_histories({"fold 0": looked, "fold 1": history}, tmp_path / "folds.png")
    assert pictures.read(str(tmp_path / "folds.png")).shape[0] > 100


def test_the_command_writes_where_it_is_told(made, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    arguments = parser.parse_args(["report", "--bundle", str(made.at / "plain"), "--data", str(made.data), "--out",
                                   str(tmp_path / "performance"), "--experiment", str(made.at / "run")])
    assert arguments.run(arguments) in (None, 0)
    assert "run" in section((tmp_path / "performance" / REPORT).read_text(), "## What was tried")
    assert REPORT in capsys.readouterr().out

"""The promise holds where the truth is known, a bundle takes it, and what proves nothing is refused."""

import argparse
import json
import shutil
import types
from pathlib import Path

import numpy as np
import pytest
from drawn_tree import ROOT

from edge.bundles import MANIFEST, Bundle, seal
from edge.classifier.base import Answer
from edge.decision import ALWAYS_REVIEW, Decider
from edge.journal import Journal, Record
from edge.journal.record import Override
from edge.journal.review import label
from trainer.answers import NEVER, Answers, full_mix, largest_draw, of_folds, of_journal
from trainer.commands import thresholds as command
from trainer.errors import TrainerError
from trainer.oof import OutOfFold
from trainer.plots_purity import curve, purity_recovery
from trainer.thresholds import check, choose, policy, short_number, write_thresholds

SHIPPED = ROOT / "models" / "trashnet-resnet18"
CLASSES = tuple(json.loads((SHIPPED / MANIFEST).read_text())["classes"])


def pool(confidence, right, classes=("a", "b"), mix_shares=None, labels=None):
    """Answers that all call class a."""
    labels = np.where(right, 0, 1) if labels is None else labels
    strata = labels if mix_shares is not None else np.zeros(len(labels), np.int64)
    shares = np.ones(1) if mix_shares is None else np.array(mix_shares, float)
    return Answers(tuple(classes), np.zeros(len(labels), np.int64), np.asarray(confidence, float), labels, strata,
                   shares, np.full(len(shares), -1), "made up", "made up", "")


def choice(answers, target=0.98, confidence=0.9, **options):
    return choose(answers, dict.fromkeys(answers.classes, target), confidence, **options)[answers.classes[0]]


# ---------------------------------------------------------------- the promise, where the truth is known

RATES = {  # the error rate at the place u of an item, 0 the surest; over the whole class it is 1 times `rate`
    "the same everywhere": np.ones_like,
    "rising": lambda u: 4 * u ** 3,
    "none, then all at once": lambda u: (u > 0.5) * 2.0,
    "wavering at the top": lambda u: np.where(u < 0.1, 1.5, 0.94),
}


@pytest.mark.parametrize("shape", RATES)
@pytest.mark.parametrize("target, rate, count", [(0.98, 0.05, 480), (0.95, 0.07, 200)])
def test_the_purity_is_missed_no_more_often_than_promised(shape, target, rate, count):
    rng, draws, missed = np.random.default_rng(7), 300, 0
    grid = np.linspace(1e-5, 1, 100_000)
    purity = 1 - np.cumsum(rate * RATES[shape](grid)) / np.arange(1, len(grid) + 1)
    for _ in range(draws):
        u = rng.random(count)
        one = choice(pool(1 - u, rng.random(count) >= rate * RATES[shape](u)), target)
        if one.threshold is not None:
            missed += purity[min(int((1 - one.threshold) * len(grid)), len(grid) - 1)] < target - 1e-4
    assert missed / draws <= 0.1 + 3 * np.sqrt(0.09 / draws)


@pytest.mark.parametrize("target, count", [(0.98, 330), (0.95, 200)])
def test_at_the_edge_of_the_promise_a_tenth_passes_and_no_more(target, count):
    """Every item is an error at just the rate that is not to be accepted, however sure: nothing is worse."""
    rng, draws = np.random.default_rng(8), 600
    passed = sum(choice(pool(rng.random(count), rng.random(count) >= 1 - target), target).reached
                 for _ in range(draws))
    assert 0.05 < passed / draws <= 0.1 + 3 * np.sqrt(0.09 / draws)


def test_the_promise_is_about_the_stated_mix():
    """0.3 % of b's items are called a: harmless as in the data, 2 % of what is accepted where b is common."""
    rng, draws, passed, plain = np.random.default_rng(9), 400, 0, 0
    shares = np.array([0.003 / 0.02 * 0.98, 1.0])  # exactly 2 % of what is called a is b
    shares /= shares.sum()
    for _ in range(draws):
        wrong = rng.binomial(600, 0.003)
        labels = np.repeat([0, 1], [300, 600])
        called = np.concatenate([np.zeros(300 + wrong), np.ones(600 - wrong)]).astype(np.int64)
        one = Answers(("a", "b"), called, rng.random(900), labels, labels, shares, np.full(2, -1), "", {}, "")
        passed += choice(one, seed=int(rng.integers(1 << 30))).reached
        natural = Answers(("a", "b"), called, one.confidence, labels, np.zeros(900, np.int64), np.ones(1),
                          np.full(1, -1), "", "as in the data", "")
        plain += choice(natural).reached
    assert passed / draws <= 0.1 + 3 * np.sqrt(0.09 / draws)
    assert plain / draws > 0.5  # the same answers, were the belt like the data


def test_the_best_bound_holds_although_the_data_chose_it():
    rng, draws, missed = np.random.default_rng(10), 600, 0
    for _ in range(draws):
        one = choice(pool(rng.random(300), rng.random(300) >= 0.1), 0.999, best_effort=True)
        assert not one.reached and one.purity_lower_bound == one.best_reachable
        missed += one.purity_lower_bound > 0.9
    assert 0.01 < missed / draws <= 0.1 + 3 * np.sqrt(0.09 / draws)


def test_check_finds_out_what_is_missed():
    rng = np.random.default_rng(11)
    good = pool(rng.random(400), np.ones(400, bool))
    found = check(good, {"a": 0.98, "b": 0.98}, 0.9, 5)["a"]
    assert found == {"violations": 0, "reached": 1, "recovery": pytest.approx(1, abs=0.02)}
    bad = pool(rng.random(1000), np.arange(1000) % 40 > 0)  # 2.5 % errors anywhere
    found = check(bad, {"a": 0.98, "b": 0.98}, 0.1, 40)["a"]  # a promise worth little is broken often
    assert found["violations"] > 0.3 and found["violations"] <= found["reached"]
    assert found["recovery"] == pytest.approx(found["reached"], abs=0.6)


# ---------------------------------------------------------------- what is chosen

@pytest.mark.parametrize("right, wrong, reached", [(114, 0, True), (113, 0, False), (194, 1, True), (113, 1, False)])
def test_as_many_right_answers_as_the_target_takes(right, wrong, reached):
    # The error is the least sure, so a threshold could leave it out
    confidence = np.linspace(0.99, 0.5, right + wrong)
    one = choice(pool(confidence, np.arange(right + wrong) < right))
    assert one.reached == reached and one.needed == 114
    assert (one.threshold is not None) == reached


def test_the_lowest_threshold_that_passes_is_taken_and_lies_above_what_it_leaves_out():
    confidence = np.linspace(0.999, 0.4, 400)
    right = np.arange(400) < 300
    answers = pool(confidence, right)
    one = choice(answers)
    kept = confidence >= one.threshold
    assert kept.sum() == one.accepted and one.errors == (kept & ~right).sum() <= 2 and 290 < one.accepted <= 306
    assert one.purity_lower_bound >= 0.98 and one.expected_purity == pytest.approx(1 - one.errors / one.accepted)
    assert one.recovery == pytest.approx((kept & right).sum() / 300)
    assert one.review_share == pytest.approx(1 - one.accepted / 400)
    everything = choice(pool(confidence, np.ones(400, bool)))
    assert everything.accepted == 400 and 0.399 < everything.threshold <= confidence.min()


def test_an_early_error_does_not_end_the_search():
    right = np.ones(480, bool)
    right[3] = False
    one = choice(pool(np.linspace(0.999, 0.4, 480), right))
    assert one.reached and one.accepted == 480 and one.errors == 1


def test_out_of_reach_is_never_accepted_unless_the_best_is_asked_for():
    answers = pool(np.linspace(0.99, 0.5, 100), np.arange(100) < 90)
    one, best = choice(answers), choice(answers, best_effort=True)
    assert not one.reached and one.threshold is None and one.review_share == 1 and one.recovery == 0
    assert one.expected_purity is None and one.best_reachable == best.purity_lower_bound
    assert best.threshold == one.best_reachable_threshold and best.accepted < 100 and not best.reached
    assert 0.94 < best.purity_lower_bound < 0.98


def test_equal_probabilities_are_accepted_or_left_out_together():
    confidence, right = np.repeat([1.0, 0.6], [200, 200]), np.repeat([True, False], [200, 200])
    one = choice(pool(confidence, right))
    assert one.accepted == 200 and one.errors == 0 and 0.6 < one.threshold <= 1.0
    assert choice(pool(np.ones(400), right)).threshold is None  # half of them wrong, and no way to tell


@pytest.mark.parametrize("above, up_to, expected", [
    (0.8712, 0.8805, 0.872), (0.87, 0.8705, 0.8701), (0.0, 0.5, 0.001), (0.99999991, 0.99999999, 0.99999992),
    (0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 1))])
def test_short_numbers(above, up_to, expected):
    found = short_number(above, up_to)
    assert found == pytest.approx(expected, abs=1e-12) and above < found <= up_to


# ---------------------------------------------------------------- answers of fold models

def oof(count=40, classes=CLASSES, paths=None, split_hash="s" * 64, seed=0, sure=9.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(classes)
    logits = rng.normal(size=(count, len(classes))) + sure * np.eye(len(classes))[labels]
    paths = paths or tuple(f"{classes[k]}/{i}.jpg" for i, k in enumerate(labels))
    return OutOfFold(tuple(classes), split_hash, tuple(paths), labels, np.arange(count) % 5,
                     logits.astype(np.float32), np.zeros((count, 512), np.float32), {})


def test_near_duplicates_count_once_and_strangers_are_never_accepted():
    answers = of_folds(oof(600), np.arange(600) // 12, 1.0)
    assert len(answers.labels) == 50 and "5 fold models, 50 pictures" in answers.source
    strangers = np.zeros(600, bool)
    strangers[:60] = True
    answers = of_folds(oof(600), np.arange(600), 1.0, strangers=strangers)
    assert (answers.called == NEVER).sum() == 60 and answers.accepted(0, 0.0).sum() == 90
    assert answers.recovery(0, 0.0) == pytest.approx(0.9)


def test_a_sample_of_the_belt_has_its_mix_and_uses_each_answer_once():
    data = oof(1200)
    mix = dict(zip(CLASSES, (0.4, 0.2, 0.1, 0.1, 0.1, 0.1), strict=True))
    answers = of_folds(data, np.arange(1200), 1.0, mix)
    drawn = [answers.sample(c, np.random.default_rng(3))[0] for c in range(6)]
    together = np.concatenate(drawn)
    assert len(set(together)) == len(together) and 380 < len(together) <= 500
    assert np.bincount(answers.labels[together]) / len(together) == pytest.approx(list(mix.values()), abs=0.06)
    assert answers.weights.sum() == pytest.approx(1)
    whole = of_folds(data, np.arange(1200), 1.0, dict.fromkeys(CLASSES, 1 / 6))  # as the data are: nothing is lost
    assert sum(len(whole.sample(c, np.random.default_rng(3))[0]) for c in range(6)) == 1200


def test_a_draw_seldom_asks_for_more_than_there_is():
    shares, counts = np.array([0.5, 0.3, 0.2]), np.array([300, 300, 60])
    size, rng = largest_draw(shares, counts), np.random.default_rng(4)
    over = np.mean([(rng.multinomial(size, shares) > counts).any() for _ in range(4000)])
    assert over < 0.015 and size > 220


@pytest.mark.parametrize("mix, counts, expected", [
    ({"a": 0.5}, (10, 30, 10), (0.5, 0.375, 0.125)),
    ({"a": 0.2, "b": 0.3, "c": 0.5}, (1, 1, 1), (0.2, 0.3, 0.5)),
    ({"a": 1.0}, (5, 5, 5), (1, 0, 0)),
])
def test_a_mix_is_completed(mix, counts, expected):
    assert full_mix(mix, "abc", np.array(counts)) == pytest.approx(expected)


@pytest.mark.parametrize("mix, counts, text", [
    ({"d": 0.5}, (1, 1, 1), "--mix d: no such class; allowed: a, b, c"),
    ({"a": 0.8, "b": 0.3}, (1, 1, 1), "add up to 1.1"),
    ({"a": -0.1}, (1, 1, 1), "each from 0"),
    ({"a": 0.2, "b": 0.3, "c": 0.4}, (1, 1, 1), "exactly 1 when all are named"),
    ({"a": 0.5}, (0, 1, 1), "no picture of this class"),
])
def test_a_wrong_mix_is_refused(mix, counts, text):
    with pytest.raises(TrainerError, match=text):
        full_mix(mix, "abc", np.array(counts))


# ---------------------------------------------------------------- a site's journal

def journal(state, bundle, items):
    """Sort items: (called, confidence, decision, the right class or None: nobody said)."""
    classifier = types.SimpleNamespace(bundle=bundle, backend="onnxruntime", device="CPU", precision="int8")
    writer = Journal(str(state))
    writer.begin("belt", classifier)
    for i, (called, confidence, decision, truth) in enumerate(items):
        override = Override(truth, "me", 5.0) if truth else None
        writer.record(Record(i, f"{i}.jpg", f"{i}.jpg|1", 1.0 + i, 2.0 + i, decision, called, confidence,
                             (0.1,) * len(bundle.classes), 0.7, bundle.version, override=override))
    writer.close()


def test_labelled_items_of_a_journal_count_for_those_like_them(tmp_path):
    bundle = Bundle(str(SHIPPED))
    items = [("glass", 0.9, "accept", "glass" if i % 4 == 0 else None) for i in range(400)]
    items += [("glass", 0.5, "review", "metal" if i % 2 else "glass") for i in range(100)]
    items += [("metal", 0.9, "accept", None) for _ in range(50)]
    journal(tmp_path, bundle, items)
    label(str(tmp_path), 2, "glass")  # confirmed later, at the desk
    answers = of_journal(str(tmp_path), bundle)
    glass, metal = CLASSES.index("glass"), CLASSES.index("metal")
    assert len(answers.labels) == 201 and answers.mix == "as in the journal"
    assert answers.purity(glass, 0.8) == 1 and answers.purity(glass, 0.0) == pytest.approx(0.9)  # not 151 of 201
    picked, _ = answers.sample(glass, np.random.default_rng(0))
    assert 0.7 < (answers.confidence[picked] > 0.8).mean() < 0.9
    assert choose(answers, dict.fromkeys(CLASSES, 0.95), 0.9)["glass"].reached
    nothing = choose(answers, dict.fromkeys(CLASSES, 0.5), 0.9, best_effort=True)["metal"]
    assert nothing.threshold is None and nothing.best_reachable is None and not len(answers.sample(metal, None)[0])


def test_review_items_alone_are_refused_with_the_remedy(tmp_path):
    bundle = Bundle(str(SHIPPED))
    journal(tmp_path, bundle, [("glass", 0.9, "accept", None), ("glass", 0.5, "review", "glass")])
    with pytest.raises(TrainerError, match="none of the 1 accepted ones.*label a random share of the accepted"):
        of_journal(str(tmp_path), bundle)
    label(str(tmp_path), 1, "glass")
    assert len(of_journal(str(tmp_path), bundle).labels) == 2
    bundle.version = "another"
    with pytest.raises(TrainerError, match="no item of model another"):
        of_journal(str(tmp_path), bundle)


# ---------------------------------------------------------------- into the bundle

def bundle_of(folder, **changes):
    """The shipped bundle's manifest with changes: its models are not needed here."""
    folder.mkdir()
    manifest = json.loads((SHIPPED / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(seal(manifest)))
    return folder


def test_the_bundle_keeps_everything_else_and_decides_by_the_new_thresholds(tmp_path):
    path = bundle_of(tmp_path / "bundle")
    before = Bundle(str(path))
    answers = of_folds(oof(1200, sure=12.0), np.arange(1200), 1.0)
    choices = choose(answers, dict.fromkeys(CLASSES, 0.98) | {"trash": 0.999}, 0.9)
    write_thresholds(path, choices, policy(answers, choices, 0.98, 0.9))
    after = Bundle(str(path))
    assert {k: v for k, v in after.manifest.items() if k not in ("thresholds", "seal")} == {
        k: v for k, v in before.manifest.items() if k not in ("thresholds", "seal")}
    how = after.manifest["thresholds"]["policy"]
    assert (how["kind"], how["target"], how["per_class_targets"]) == ("purity", 0.98, {"trash": 0.999})
    assert "5 fold models" in how["source"] and "the bundle's own model is another" in how["note"]
    assert how["classes"]["glass"]["purity_lower_bound"] >= 0.98 and how["classes"]["glass"]["reached"]
    assert after.threshold == before.threshold and after.thresholds["glass"] == choices["glass"].threshold
    decider = Decider.from_settings(after, 0.0, {})
    sure = np.full((1, 6), -100, np.float32)
    sure[0, CLASSES.index("trash")] = 100  # a probability of exactly 1
    call = decider.decide(Answer(sure, np.zeros((1, 512), np.float32), 0.0, 0.0))
    assert (call.confidence, call.decision, call.reason) == (1.0, "review", ALWAYS_REVIEW)


def test_a_tar_is_not_changed(tmp_path):
    bundle_of(tmp_path / "bundle")
    shutil.make_archive(str(tmp_path / "bundle"), "tar", tmp_path / "bundle")
    with pytest.raises(TrainerError, match="unpack the .tar"):
        write_thresholds(tmp_path / "bundle.tar", {}, {})


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    parsed = parser.parse_args(["thresholds", *map(str, arguments)])
    return parsed.run(parsed)


@pytest.fixture
def prepared(tmp_path, drawn_data):
    """A bundle, fold answers and data of one split: the options that name them."""
    data, split = drawn_data
    files = split["files"]
    answers = oof(len(files), split["classes"], [f["path"] for f in files], split["hash"])
    labels = np.array([split["classes"].index(f["label"]) for f in files])
    logits = 9 * np.eye(len(split["classes"]), dtype=np.float32)[labels]
    OutOfFold(answers.classes, answers.split_hash, answers.paths, labels, answers.folds, logits, answers.features,
              {}).save(tmp_path / "oof.npz")
    path = bundle_of(tmp_path / "bundle", classes=split["classes"], provenance={"split_hash": split["hash"]})
    return ["--bundle", path, "--oof", tmp_path / "oof.npz", "--data", data]


def test_the_command_writes_says_what_it_rests_on_and_draws(prepared, tmp_path, capsys):
    path = Path(prepared[1])
    before = (path / MANIFEST).read_bytes()
    run(*prepared, "--purity", "0.6", "--dry-run", "--check", "3", "--plot", tmp_path / "purity.png")
    text = capsys.readouterr().out
    assert "5 fold models" in text and "not its answers" in text and "check: 3 resamplings" in text
    assert (path / MANIFEST).read_bytes() == before
    assert (tmp_path / "purity.png").read_bytes().startswith(b"\x89PNG")
    names = Bundle(str(path)).classes
    run(*prepared, "--purity", "0.6", "--class", f"{names[0]}=0.98")
    text = capsys.readouterr().out
    assert f"{names[0]}: 98.00% at confidence 0.9 cannot be shown: it takes 114 accepted answers" in text
    written = Bundle(str(path)).thresholds
    assert written[names[0]] is None and written[names[1]] > 0.9


def test_the_command_refuses_what_does_not_belong_together(prepared, tmp_path):
    with pytest.raises(TrainerError, match="--class wood: no such class"):
        run(*prepared, "--class", "wood=0.9")
    with pytest.raises(TrainerError, match="a journal's mix"):
        run(*prepared, "--mix", "glass=0.5", "--from-journal", tmp_path)
    other = bundle_of(tmp_path / "other", provenance={"split_hash": "f" * 64})
    with pytest.raises(TrainerError, match="is of split ffffffffffff"):
        run("--bundle", other, *prepared[2:])


@pytest.mark.parametrize("arguments", [("--purity", "1"), ("--confidence", "0"), ("--class", "glass"),
                                       ("--class", "glass=2"), ("--mix", "glass=0.1,glass=0.2"), ("--mix", "glass=x")])
def test_wrong_usage_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--bundle", "x", *arguments)
    assert stopped.value.code == 2 and arguments[0] in capsys.readouterr().err


def test_the_curve_is_purity_and_recovery_at_each_threshold(tmp_path):
    answers = of_folds(oof(300, sure=2.0), np.arange(300), 1.0, {"glass": 0.5})
    c = CLASSES.index("plastic")
    recovery, purity = curve(answers, c)
    levels = sorted(answers.confidence[answers.called == c], reverse=True)
    assert recovery == pytest.approx([answers.recovery(c, t) for t in levels])
    assert purity == pytest.approx([answers.purity(c, t) for t in levels])
    purity_recovery(answers, choose(answers, dict.fromkeys(CLASSES, 0.7), 0.8), 0.8, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000

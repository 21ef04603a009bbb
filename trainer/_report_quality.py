"""What a report says of the network: accuracy, cross-validation, calibration, training, what was tried, mistakes."""

from __future__ import annotations

import numpy as np

from edge.decision import ACCEPT, softmax
from trainer import plots
from trainer._report_sources import PART, Folds, Sources, difference_interval
from trainer._report_text import (
    NONE,
    bullets,
    exact_share,
    missing,
    paragraph,
    picture,
    points,
    rate,
    score,
    score_with,
    share,
    share_with,
    small,
    small_with,
    table,
)
from trainer.metrics import expected_calibration_error

SAME = 5e-5  # of a score: what four digits do not show is no difference
MISTAKES = 20  # rows of the table
CURVES, CONFUSION, PER_CLASS, RELIABILITY, MISTAKES_SHEET = (
    "curves.png", "confusion_matrix.png", "per_class.png", "reliability.png", "worst_mistakes.png")


def accuracy(sources: Sources) -> list[str]:
    """Test scores by role and class, with intervals, and whether the manifest says the same."""
    evaluation, classes, out = sources.evaluation, list(sources.bundle.classes), sources.given.out
    rows = [(role, one["pictures"], share_with(one["accuracy"], one["intervals"]["accuracy"]),
             score_with(one["macro_f1"], one["intervals"]["macro_f1"]),
             score_with(one["weighted_f1"], one["intervals"]["weighted_f1"]),
             small_with(one["calibration_error"], one["intervals"]["calibration_error"]))
            for role, one in evaluation.scores.items()]
    main = evaluation.scores[sources.main]
    plots.confusion_matrix(main["confusion"], classes, out / CONFUSION)
    plots.per_class(evaluation.scores, classes, out / PER_CLASS)
    there = {c: one for c, one in main["per_class"].items() if one["pictures"]}
    worst = min(there, key=lambda c: there[c]["f1"])
    gap = main["macro_f1"] - main["accuracy"]
    blocks = [
        "## Accuracy on pictures that it was not trained on",
        paragraph("Accuracy is the share of pictures whose class is named rightly. F1 balances how often a named class "
                  "is right (precision) with how many items of a class are found (recall); macro-F1 counts each class "
                  "alike, weighted F1 each picture. In brackets: 95 % intervals from 2,000 resamplings, in which "
                  "near-duplicates stay together; what lies outside would surprise, what lies inside would not. The "
                  "interval of the calibration error is a rough one."),
        table(("role", "pictures", "accuracy", "macro-F1", "weighted F1", "calibration error"), rows),
        paragraph(f"For {sources.main}, macro-F1 lies {points(gap)} points from accuracy: each class counts alike, "
                  f"however few its pictures. The weakest is {worst}, F1 {score(there[worst]['f1'])} on "
                  f"{there[worst]['pictures']} pictures."), picture("Scores by class with intervals", PER_CLASS)]
    for role, one in evaluation.scores.items():
        blocks += [f"### By class: {role}", _by_class(one, classes)]
    blocks += [f"### What is taken for what: {sources.main}", _confusion(main["confusion"], classes),
               picture("Confusion matrix", CONFUSION)]
    return [*blocks, "### What the manifest says", _manifest_agrees(sources)]


def _by_class(scores: dict, classes: list[str]) -> str:
    spread = scores["intervals"]["per_class"]
    return table(("class", "pictures", "precision", "recall", "F1"), [
        (c, one["pictures"], *(score_with(one[key], spread[c][key]) for key in ("precision", "recall", "f1")))
        for c, one in ((c, scores["per_class"][c]) for c in classes)])


def _confusion(confusion: list[list[int]], classes: list[str]) -> str:
    return table(("true, below; called, right", *classes), [
        (name, *row) for name, row in zip(classes, confusion, strict=True)])


def _manifest_agrees(sources: Sources) -> str:
    told = sources.bundle.manifest.get("metrics", {})
    if told.get("split") != PART:
        return f"The manifest has no figures of {PART}; those above were measured for this report."
    lines = []
    for role, now in sources.evaluation.scores.items():
        then = told["roles"].get(role)
        if then is None:
            lines.append(f"{role}: the manifest has no figures; those above were measured for this report")
            continue
        different = [f"{name} {small(then[key])}, measured now {small(now[key])}" for key, name in (
            ("accuracy", "accuracy"), ("macro_f1", "macro-F1"), ("weighted_f1", "weighted F1"),
            ("calibration_error", "calibration error")) if abs(then[key] - now[key]) > SAME]
        older = "" if "intervals" in then else "; it has no intervals, which bundles of today have"
        lines.append(f"{role}: " + ("**the manifest differs**: " + "; ".join(different) if different else
                                    "the same figures as measured now") + older)
    return bullets(lines)


def crossvalidation(sources: Sources) -> list[str]:
    """Folds by groups of near-duplicates and at random, side by side."""
    head = ["## Cross-validation"]
    if sources.folds is None:
        return [*head, missing("cross-validation, by groups of near-duplicates", "trainer crossvalidate",
                               "--crossvalidation runs/crossvalidation"), *_random_missing(sources)]
    scores = sources.folds.scores
    sides = [("groups", sources.folds),
             *([("groups, options of random", sources.random_against)] if sources.random_against else []),
             *([("random", sources.random)] if sources.random else [])]
    kept = len(scores["about"]["accuracy_by_fold"])
    blocks = [*head, paragraph(
        f"The training and validation pictures are dealt into {kept} folds; {kept} networks are trained, each on all "
        "folds but one, and each answers about the fold that it has not seen. So every picture is answered once, which "
        "makes these figures steadier than those of the small test part. *Groups* keeps near-duplicates in one fold; "
        "*random* lets them lie on both sides, as most published figures of such data do."),
        table(("folds", *(f"fold {k}" for k in range(max(_count(f) for _, f in sides))), "mean", "spread"),
              [(name, *(share(a) for a in f.scores["about"]["accuracy_by_fold"]),
                share(f.scores["accuracy_mean_of_folds"]), points(f.scores["accuracy_spread_of_folds"])[1:])
               for name, f in _padded(sides)]),
        table(("pooled", "pictures", "accuracy", "macro-F1", "on drawn grounds"), [
            (name, f.scores["pooled"]["pictures"],
             share_with(f.scores["pooled"]["accuracy"], f.intervals["accuracy"]),
             score_with(f.scores["pooled"]["macro_f1"], f.intervals["macro_f1"]),
             share(f.pasted["accuracy"]) if f.pasted else NONE) for name, f in sides]),
        "Spread is the standard deviation of the folds, in percentage points."]
    against = sources.random_against or sources.folds
    blocks += [_compared(against, sources.random)] if sources.random else _random_missing(sources)
    pooled = scores["pooled"] | {"intervals": sources.folds.intervals}
    return [*blocks, "### By class, pooled", _by_class(pooled, list(sources.bundle.classes))]


def _count(folds: Folds) -> int:
    return len(folds.scores["about"]["accuracy_by_fold"])


def _padded(sides: list) -> list:
    if len({_count(folds) for _, folds in sides}) == 1:
        return sides
    from trainer.errors import TrainerError
    raise TrainerError("--crossvalidation and --random have different numbers of folds; side by side stands only what "
                       "was made with the same --folds")


def _random_missing(sources: Sources) -> list[str]:
    return [] if sources.random else [missing(
        "folds at random, to show what near-duplicates on both sides flatter",
        "trainer crossvalidate --random --out runs/crossvalidation-random", "--random runs/crossvalidation-random")]


def _compared(folds: Folds, random: Folds) -> str:
    pooled = [one.scores["pooled"]["accuracy"] for one in (folds, random)]
    low, high = difference_interval(folds, random)
    together = {g for g, n in zip(*np.unique(folds.groups, return_counts=True), strict=True) if n > 1}
    torn = sum(len(set(random.answers.folds[random.groups == g])) > 1 for g in together)
    options = [one.answers.about["options"] for one in (folds, random)]
    unlike = sorted(k for k in options[0].keys() | options[1].keys() if options[0].get(k) != options[1].get(k))
    if low > 0:
        meaning = ("A network does better on a picture when it was trained on a near-duplicate of it. A belt brings no "
                   "near-duplicates of the training pictures, so the figure of groups is the one to expect there.")
    elif high < 0:
        meaning = "Random folds do worse here, which near-duplicates cannot explain: the trainings differ by chance."
    else:
        meaning = ("The interval holds 0: on these pictures near-duplicates on both sides make no difference that can "
                   "be told from chance. The figure of groups is the one to go by all the same.")
    fair = (f" The two were trained with different options ({', '.join(unlike)}), so the difference is not of the "
            "near-duplicates alone.") if unlike else ""
    return paragraph(
        f"Random less groups: {points(pooled[1] - pooled[0])} points, 95 % interval [{points(low)}, {points(high)}] "
        f"(the same pictures, resampled by group; the chance of one training is not in it). Of {len(together)} groups "
        f"with two or more pictures, {torn} were torn apart by the random folds. {meaning}{fair}")


def calibration(sources: Sources) -> list[str]:
    """Whether it is as right as it is sure."""
    bundle, out, folds = sources.bundle, sources.given.out, sources.folds
    logits = folds.answers.logits if folds else sources.evaluation.logits[sources.main]
    labels = folds.answers.labels if folds else sources.evaluation.labels
    what = (f"{len(labels)} out-of-fold answers" if folds else f"{len(labels)} {PART} pictures, {sources.main}")
    probabilities = softmax(logits, bundle.temperature)
    plots.reliability(probabilities, labels, what, out / RELIABILITY)
    rows = [(f"{what}, no temperature", "1", small(expected_calibration_error(softmax(logits), labels))),
            (f"{what}, the bundle's temperature", small(bundle.temperature),
             small(expected_calibration_error(probabilities, labels)))]
    if folds:
        rows.append((f"{what}, that which fits them", small(folds.scores["temperature"]),
                     small(folds.scores["pooled"]["calibration_error"])))
        rows.append((f"{what}, each fold with that of the others", "several",
                     small(folds.scores["calibration_error_crossed"])))
        rows += [(f"{one['pictures']} {PART} pictures, {role}, the bundle's temperature", small(bundle.temperature),
                  small(one["calibration_error"])) for role, one in sources.evaluation.scores.items()]
    bins = [(f"{low:.2f} to {high:.2f}", count, share(confidence), share(right))
            for low, high, count, confidence, right in plots.reliability_bins(probabilities, labels)]
    return ["## Calibration", paragraph(
        "A confidence of 90 % should be right nine times in ten, or thresholds mean nothing. The temperature divides "
        "the network's scores before they become confidences; the calibration error is the mean gap between confidence "
        "and accuracy. With the temperature of the other folds it is measured on answers that the temperature has not "
        f"seen. The bundle's temperature: {bundle.manifest['provenance'].get('temperature', 'origin not recorded')}."),
        table(("answers", "temperature", "calibration error"), rows),
        *([] if folds else [missing("calibration on out-of-fold answers, of which there are many more",
                                    "trainer crossvalidate", "--crossvalidation runs/crossvalidation")]),
        table(("confidence", "answers", "mean confidence", "accuracy"), bins), picture("Reliability", RELIABILITY)]


def training(sources: Sources) -> list[str]:
    """Curves of the checkpoint, else of the folds."""
    head, path = ["## Training"], sources.given.out / CURVES
    if sources.state is not None:
        plots.training_history(sources.state["history"], path)
        minutes = sum(epoch["seconds"] for epoch in sources.state["history"]) / 60
        return [*head, paragraph(f"The run that the bundle was made from, {len(sources.state['history'])} epochs up to "
                                 f"the weights that were kept, {rate(minutes)} minutes. The training loss is of "
                                 "augmented, mixed pictures, so it stays above that of validation."),
                picture("Training curves", CURVES)]
    if sources.folds and sources.folds.histories:
        plots.fold_histories(sources.folds.histories, path)
        return [*head, "The curves of the folds, as no checkpoint was given.", picture("Training curves", CURVES)]
    return [*head, missing("training curves", "trainer train", "--checkpoint runs/default/best.pt")]


def tried(sources: Sources) -> list[str]:
    """A row an experiment; the options that differ are columns."""
    head, trials = ["## What was tried"], sources.trials
    if not trials:
        return [*head, missing("experiments", "trainer train --part fold:0/5 --out runs/NAME",
                               "--experiment runs/NAME")]
    known = [trial for trial in trials if trial.options]
    names = [name for name in dict.fromkeys(n for t in known for n in t.options)
             if len({t.options[name] for t in known if name in t.options}) > 1]
    if len({trial.part for trial in known}) > 1:
        names.append("part")

    def told(trial, name: str) -> object:
        return (trial.part if name == "part" else trial.options.get(name, NONE)) if trial.options else NONE
    shared = {trial.part for trial in known}
    rows = [(t.name, *(told(t, name) for name in names), t.pictures or NONE, share(t.accuracy), score(t.macro_f1),
             share(t.pasted), rate(t.minutes), t.note) for t in trials]
    return [*head, paragraph(
        "Each row is one training run; only options in which the runs differ are columns. Home accuracy is that on the "
        "photographs that were held back" + (f" ({shared.pop()})" if len(shared) == 1 else "") + "; on drawn grounds, "
        "the same items were cut out and laid on other backgrounds, which is nearer to a belt. A single run moves by a "
        "point or so by chance alone."),
        table(("run", *names, "held back", "home accuracy", "macro-F1", "on drawn grounds", "minutes", "note"), rows)]


def mistakes(sources: Sources) -> list[str]:
    """The wrong answers given with the most confidence, and what would have been done with the items."""
    evaluation, calls, classes = sources.evaluation, sources.calls, sources.bundle.classes
    confidence = np.array([call.confidence for call in calls])
    wrong = [i for i in np.argsort(-confidence, kind="stable")
             if calls[i].class_name != classes[evaluation.labels[i]]]
    rows = [(evaluation.files[i]["path"], classes[evaluation.labels[i]], calls[i].class_name,
             exact_share(calls[i].confidence), calls[i].decision + (f": {calls[i].reason}" if calls[i].reason else ""))
            for i in wrong[:MISTAKES]]
    through = sum(calls[i].decision == ACCEPT for i in wrong)
    blocks = ["## Worst mistakes", paragraph(
        f"{len(wrong)} of {len(calls)} {PART} pictures are called wrongly by {sources.main}; {through} of them would "
        f"have been accepted, the others would have gone to a person. The surest {len(rows)}:" if wrong else
        f"{sources.main} calls none of the {len(calls)} {PART} pictures wrongly.")]
    if rows:
        blocks.append(table(("picture", "true class", "called", "confidence", "decision"), rows, left=3))
    if sources.given.photographs:
        plots.mistakes(evaluation, sources.main, sources.given.data, sources.given.out / MISTAKES_SHEET)
        blocks.append(picture("Worst mistakes", MISTAKES_SHEET))
    else:
        blocks.append("The pictures belong to others and are not part of this report: with `--photographs`, "
                      "`python3 -m trainer report` shows them, too.")
    return blocks

"""What a report says of the belt: purity, strangers, precisions, pictures from elsewhere, latency."""

from __future__ import annotations

import statistics

from edge.decision import softmax
from trainer import plots
from trainer._report_sources import PART, Sources
from trainer._report_text import (
    NONE,
    bullets,
    exact_points,
    exact_share,
    lower_bound,
    milliseconds,
    missing,
    paragraph,
    picture,
    place,
    rate,
    score,
    share,
    share_with,
    small,
    table,
)
from trainer.elsewhere import CONFIDENCE
from trainer.errors import TrainerError
from trainer.evaluate import compare
from trainer.statistics import clopper_pearson_lower

PURITY, AGAINST_FLOAT, LATENCY = "purity_recovery.png", "against_float.png", "latency.png"
ROLE_OF = {"fp32": "fp32", "fp16": "fp16", "int8": "int8_cpu"}  # of the benchmarks' precisions, on a CPU
STAGES = ("decode", "preprocess", "inference", "decide", "journal")
PROMISE_CONFIDENCE = 0.95  # of the bound for the accepted test pictures


def purity(sources: Sources) -> list[str]:
    """Thresholds, what they promise, and what they do on test."""
    policy, bundle = sources.bundle.threshold_policy, place(sources.given.bundle)
    head = ["## Purity", paragraph(
        "Purity is the share of right ones among the items that are accepted; the rest goes to a person. A threshold "
        "is the confidence from which an item is accepted; recovery is the share of a class's items that is.")]
    accepted, right = sources.accepted
    on_test = f"On the {len(sources.calls)} {PART} pictures, {sources.main} accepts {accepted}"
    if accepted:
        bound = clopper_pearson_lower(right, accepted, PROMISE_CONFIDENCE)
        on_test += (f", of which {right} are right: {exact_share(right / accepted)}, at least "
                    f"{lower_bound(bound)} at confidence {PROMISE_CONFIDENCE:g}")
    on_test = paragraph(on_test + f"; {len(sources.calls) - accepted} go to review.")
    if not isinstance(policy, dict):
        stated = f"thresholds that promise a purity; the bundle's is {small(sources.bundle.threshold)} for all " \
                 f"({policy or 'no policy'})"
        return [*head, missing(stated, f"trainer thresholds --bundle {bundle} --purity 0.98"), on_test]
    rows = [(name, NONE if one["threshold"] is None else f"{one['threshold']:.4g}", exact_share(one["target"]),
             "yes" if one["reached"] else "no", lower_bound(one["purity_lower_bound"]),
             exact_share(one["expected_purity"]), share(one["recovery"]), share(one["review_share"]),
             f"{one['accepted']} ({one['errors']}) of {one['called']}") for name, one in policy["classes"].items()]
    mix = policy["mix"] if isinstance(policy["mix"], str) else ", ".join(
        f"{name} {share(w)}" for name, w in policy["mix"].items())
    return [*head, paragraph(
        f"The target is {exact_share(policy['target'])} with confidence {policy['confidence']:g} for each class by "
        f"itself; mix on the belt: {mix}. From {policy['source']}; {policy['note']}. A class without a threshold is "
        "always reviewed: its target could not be shown."),
        table(("class", "from", "target", "shown", "at least", "expected", "recovery", "to review",
               "accepted (errors) of called"), rows),
        paragraph(f"Method: {policy['method']}."), on_test, *_purity_plot(sources, policy)]


def _purity_plot(sources: Sources, policy: dict) -> list[str]:
    """Purity over recovery, from the answers that the policy was made from."""
    from trainer.answers import of_folds
    from trainer.commands.thresholds import _strangers
    from trainer.plots_purity import purity_recovery
    from trainer.thresholds import Choice
    if policy["source"].startswith("journal"):
        return ["The thresholds come from a site's journal, which this report does not have: no plot of them here; "
                f"`python3 -m trainer thresholds --bundle {place(sources.given.bundle)} --from-journal STATE --dry-run "
                "--plot FILE` draws it."]
    if sources.folds is None:
        return [missing("the plot of purity over recovery, which needs the out-of-fold answers",
                        "trainer crossvalidate", "--crossvalidation runs/crossvalidation")]
    mix = policy["mix"] if isinstance(policy["mix"], dict) else None
    answers = of_folds(sources.folds.answers, sources.folds.groups, sources.bundle.temperature, mix,
                       _strangers(sources.bundle, sources.folds.answers))
    choices = {name: Choice(**one) for name, one in policy["classes"].items()}
    purity_recovery(answers, choices, policy["confidence"], sources.given.out / PURITY)
    other = [name for c, name in enumerate(answers.classes) if _unlike(
        answers.purity(c, choices[name].threshold), choices[name].expected_purity)]
    warning = [paragraph(f"**The manifest's thresholds were chosen from other answers than those given here**: the "
                         f"expected purity of {', '.join(other)} differs. Run `python3 -m trainer thresholds` again.")]
    return [*(warning if other else []), picture("Purity over recovery", PURITY)]


def _unlike(now: float | None, then: float | None) -> bool:
    return (now is None) != (then is None) or (now is not None and then is not None and abs(now - then) > 1e-5)


def strangers(sources: Sources) -> list[str]:
    """How what is none of the classes is told."""
    head, entry = ["## Strangers"], sources.bundle.manifest.get("stranger")
    if entry is None:
        return [*head, missing("a score that tells what is none of the classes",
                               f"trainer strangers --bundle {place(sources.given.bundle)}")]
    text = paragraph(
        f"What is none of the classes must not be sorted as one. The score is {entry['score']}, an item above "
        f"{entry['threshold']:.4g} goes to review whatever its class. AUROC is the chance that a stranger scores "
        "higher than a known item: 0.5 is a coin, 1 is perfect.")
    if "auroc" not in entry:
        return [*head, text, missing("how well the score does", f"trainer strangers --bundle "
                                                                f"{place(sources.given.bundle)}")]
    rows = [(what, entry["strangers"][what], score(entry["auroc"][what]),
             score(entry["auroc_of_test_pictures"][what]), share(entry["caught"][what])) for what in entry["auroc"]]
    accepted = ", ".join(f"{share(value)} by {role}" for role, value in entry["accepted_of_test_pictures"].items())
    return [*head, text, table(("strangers", "pictures", "AUROC", "AUROC, test pictures", "caught"), rows),
            paragraph(f"The threshold lets {share(entry['accepts'])} of the known items pass ({entry['known']}); of "
                      f"the {PART} pictures {accepted}.")]


def precisions(sources: Sources) -> list[str]:
    """FP16 and INT8 beside float."""
    evaluation, bundle, reference = sources.evaluation, sources.bundle, sources.reference
    others = {role: logits for role, logits in evaluation.logits.items() if role != reference.name}
    speeds, measured = _speeds(sources)
    rows = [(reference.name, share(reference.scores["accuracy"]), NONE, NONE,
             small(reference.scores["calibration_error"]), NONE, milliseconds(speeds.get(reference.name)))]
    for role, logits in others.items():
        same, scores = compare(logits, reference.logits, bundle.temperature), evaluation.scores[role]
        rows.append((role, share(scores["accuracy"]),
                     exact_points(scores["accuracy"] - reference.scores["accuracy"]), exact_share(same["same_class"]),
                     small(scores["calibration_error"]), small(same["largest_probability_difference"]),
                     milliseconds(speeds.get(role))))
    blocks = ["## INT8 and FP16 against float", paragraph(
        f"The same {len(evaluation.files)} {PART} pictures, answered by each role through the appliance's own code and "
        f"held against {reference.name}. Agreement is the share of pictures with the same class, the largest "
        "difference that of any probability on any picture. A smaller precision is worth having when it is faster "
        "and agrees."),
        table(("role", "accuracy", "points", "agreement", "calibration error", "largest difference", "inference ms"),
              rows)]
    if "fp32" not in evaluation.logits and sources.state is None:
        blocks.append(missing(f"float32: the bundle has none, so {reference.name} stands in for it",
                              "trainer train", "--checkpoint best.pt"))
    blocks.append(measured)
    if others:
        plots.against_float(softmax(reference.logits, bundle.temperature), {
            role: softmax(logits, bundle.temperature) for role, logits in others.items()}, reference.name,
            sources.given.out / AGAINST_FLOAT)
        blocks.append(picture("Each role against float", AGAINST_FLOAT))
    return [*blocks, "### How the INT8 roles were made", *_quantisation(sources)]


def _speeds(sources: Sources) -> tuple[dict[str, float], str]:
    """Median milliseconds of inference by role, and where they come from."""
    found = {}
    for name, one in sources.benchmarks.items():
        for precision, measured in one.get("precisions", {}).items():
            rows = _rows(name, measured)
            if ROLE_OF.get(precision) not in (None, *found):
                found[ROLE_OF[precision]] = (rows["inference"]["p50"], name)
    if not found:
        return {}, _latency_missing(sources, "how fast each role is")
    return {role: ms for role, (ms, _) in found.items()}, "Inference: the median of " + ", ".join(
        f"{role} in {name}" for role, (_, name) in found.items()) + "; the machine is named under Latency."


def _quantisation(sources: Sources) -> list[str]:
    made = sources.bundle.manifest.get("quantisation", {})
    rows = [(role, one["method"], part, one[part]["pictures"], exact_share(one[part]["agreement"]),
             exact_points(-one[part]["accuracy_drop_points"] / 100), small(one[part]["calibration_error"]),
             small(one[part]["largest_probability_difference"]))
            for role, one in made.items() for part in ("val", PART) if part in one]
    if not rows:
        return [missing("how the INT8 roles were made: the manifest does not say, or has none",
                        f"trainer quantize --bundle {place(sources.given.bundle)}")]
    return [paragraph("From the manifest: against the checkpoint's float32, when the roles were made. The method was "
                      f"chosen on val, so {PART} is what counts."),
            table(("role", "method", "part", "pictures", "agreement", "points", "calibration error",
                   "largest difference"), rows, left=3)]


def elsewhere(sources: Sources) -> list[str]:
    """Pictures of another place."""
    head = ["## Pictures from elsewhere"]
    if not sources.elsewhere:
        return [*head, "Not here yet: how it does on pictures of another plant or camera. Give a folder with one "
                       "sub-folder a class: `python3 -m trainer report --elsewhere FOLDER`."]
    rows = [(one["role"], one["pictures"], share_with(one["accuracy"], one["intervals"]["accuracy"]),
             share(one["review_share"]), one["accepted"], one["accepted_right"], lower_bound(one["purity_lower_bound"]))
            for one in sources.elsewhere]
    bad = len(sources.elsewhere[0]["unreadable"])
    reasons = [f"{one['role']}, why to review: " + (", ".join(f"{name} {count}" for name, count in sorted(
        one["reasons"].items())) or "none") for one in sources.elsewhere]
    return [*head, paragraph(
        f"{sources.elsewhere[0]['folder']}: none of these pictures was trained on, or comes from where the training "
        "pictures do. What counts here is less how many are right than how many of the accepted are."),
        table(("role", "pictures", "accuracy", "to review", "accepted", "right", f"purity at least ({CONFIDENCE:g})"),
              rows), bullets([*reasons, *([f"{bad} could not be read and were left out"] if bad else [])])]


def latency(sources: Sources) -> list[str]:
    """What benchmarks measured."""
    head = ["## Latency"]
    if not sources.benchmarks:
        return [*head, _latency_missing(sources, "latency")]
    rows, bars, lines = [], {}, []
    for name, one in sources.benchmarks.items():
        for precision, measured in one.get("precisions", {}).items():
            of = _rows(name, measured)
            whole, bare = of["whole item"], of["bare session.run"]
            rows.append((name, precision, *(milliseconds(whole[p]) for p in ("p50", "p95", "p99")),
                         milliseconds(of["inference"]["p50"]), milliseconds(bare["p50"]),
                         rate(measured["naive_to_whole"]) if "naive_to_whole" in measured else NONE))
            bars[f"{name}, {precision}"] = {stage: of[stage]["p50"] for stage in STAGES}
        lines += _told(name, one)
    blocks = [*head, paragraph(
        "As `python3 -m benchmarks` measured it; its files do not say of which bundle, so they must be made with this "
        "one. The whole item is everything from reading the picture to the journal; bare is the network alone, without "
        "scrapsort; naive over whole says how many times as long a simple script takes.")]
    if rows:
        plots.latency(bars, sources.given.out / LATENCY)
        blocks += [table(("file", "precision", "whole ms p50", "p95", "p99", "inference p50", "bare p50",
                          "naive / whole"), rows, left=2), picture("Stages of an item", LATENCY)]
    return [*blocks, bullets(lines)]


def _rows(name: str, measured: dict) -> dict:
    """The percentiles of one precision by stage. Raises TrainerError when some are missing."""
    rows = measured.get("rows", {})
    lacking = [stage for stage in (*STAGES, "whole item", "bare session.run") if stage not in rows]
    if lacking:
        raise TrainerError(f"{name}: no {lacking[0]!r} in it; make it again with `python3 -m benchmarks latency "
                           f"-o {name}`")
    return rows


def _told(name: str, one: dict) -> list[str]:
    """One line for the machine, and one for each thing that has no table."""
    machine, lines = one.get("machine"), []
    if machine:
        known = (("processor", ""), ("cores", " cores"), ("python", " (Python)"), ("onnxruntime", " (ONNX Runtime)"))
        lines.append(f"{name}: " + ", ".join(f"{machine[key]}{unit}" for key, unit in known if key in machine))
    for way, rates in one.get("items_per_s", {}).items() if isinstance(one.get("items_per_s"), dict) else ():
        lines.append(f"{name}: {way}: median {rate(statistics.median(rates))} items a second, {rate(min(rates))} to "
                     f"{rate(max(rates))} in {len(rates)} runs")
    if "accuracy_of_accepted" in one:
        lines.append(f"{name}: `scrapsort run` over {one['items']} pictures, {one['precision']}: accuracy "
                     f"{share(one['accuracy'])}, {one['accepted']} accepted, of these "
                     f"{exact_share(one['accuracy_of_accepted'])} right, {rate(one['items_per_s'])} items a second")
    if "soak" in one:
        memory = one["soak"].get("resident_mb", [])
        lines.append(f"{name}: {one['soak']['summary']['items']} items in one run" + (
            f", at most {rate(max(mb for _, mb in memory))} MB of memory" if memory else ""))
    if not lines or (len(lines) == 1 and machine and "precisions" not in one):
        lines.append(f"{name}: figures of a kind that this report has no table for ({', '.join(sorted(one))})")
    return lines


def _latency_missing(sources: Sources, what: str) -> str:
    return missing(what, f"benchmarks latency --bundle {place(sources.given.bundle)} -o latency.json",
                   "--benchmark latency.json")

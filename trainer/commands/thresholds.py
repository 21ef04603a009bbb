"""trainer thresholds: from a purity that is promised to a threshold a class, in the bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.commands import DATA, OOF


def add(commands) -> None:
    """Add the command's parser."""
    p = commands.add_parser("thresholds", help="choose thresholds that keep a promised purity, and put them into a "
                                               "bundle")
    p.add_argument("--bundle", required=True, type=Path, help="folder of the bundle to write to")
    p.add_argument("--purity", type=_share, default=0.98, help="right ones among the accepted; default: %(default)s")
    p.add_argument("--confidence", type=_share, default=0.9, help="that each class keeps it; default: %(default)s")
    p.add_argument("--class", dest="per_class", type=_named, action="append", default=[], metavar="NAME=P",
                   help="another purity for one class; may be repeated")
    p.add_argument("--mix", type=_mix, metavar="NAME=SHARE,…",
                   help="what is on the belt; classes not named share the rest as in the data")
    p.add_argument("--oof", type=Path, default=OOF, help="answers of the fold models; default: %(default)s")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--from-journal", type=Path, metavar="STATE", help="use a site's labelled items instead")
    p.add_argument("--best-effort", action="store_true",
                   help="where the purity cannot be shown, accept at the best bound instead of always reviewing")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw purity against recovery")
    p.add_argument("--check", type=int, default=0, metavar="N", help="test the promise on N resamplings")
    p.add_argument("--dry-run", action="store_true", help="print, but leave the bundle as it is")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from edge.bundles import Bundle
    from trainer.errors import TrainerError
    from trainer.thresholds import check, choose, policy, write_thresholds
    if arguments.mix and arguments.from_journal:
        raise TrainerError("--mix: a journal's mix is that of its site; leave out --mix or --from-journal")
    bundle = Bundle(str(arguments.bundle))
    targets = dict.fromkeys(bundle.classes, arguments.purity)
    for name, purity in arguments.per_class:
        if name not in targets:
            raise TrainerError(f"--class {name}: no such class; allowed: {', '.join(bundle.classes)}")
        targets[name] = purity
    answers = _answers(arguments, bundle)
    choices = choose(answers, targets, arguments.confidence, best_effort=arguments.best_effort)
    how = policy(answers, choices, arguments.purity, arguments.confidence)
    print("\n".join(lines(answers, choices, arguments.confidence)))
    if bundle.stranger is not None and bundle.stranger.file is not None and not arguments.from_journal:
        print("strangers are told by features, which each fold model has of its own: their share of review is left out")
    if arguments.check:
        result = check(answers, targets, arguments.confidence, arguments.check)
        print("\n".join(check_lines(result, arguments.check, arguments.confidence)))
    if arguments.plot:
        from trainer.plots_purity import purity_recovery
        purity_recovery(answers, choices, arguments.confidence, arguments.plot)
    if arguments.dry_run:
        print(f"{arguments.bundle}: left as it is")
        return
    write_thresholds(arguments.bundle, choices, how)
    print(f"{arguments.bundle}: thresholds written")


def _answers(arguments, bundle):
    """The answers to choose from. Raises TrainerError when they do not belong to the bundle."""
    from trainer.answers import of_folds, of_journal
    from trainer.errors import TrainerError
    from trainer.oof import OutOfFold
    from trainer.prepare import read_split
    if arguments.from_journal:
        return of_journal(str(arguments.from_journal), bundle)
    oof, split = OutOfFold.load(arguments.oof), read_split(arguments.data)
    trained_on = bundle.manifest.get("provenance", {}).get("split_hash")
    for what, found in ((arguments.oof, oof.split_hash), (arguments.bundle, trained_on)):
        if found != split["hash"]:
            raise TrainerError(f"{what}: is of split {str(found)[:12]}, {arguments.data} holds {split['hash'][:12]}; "
                               "all three must be of one split: its groups tell near-duplicates")
    if oof.classes != bundle.classes:
        raise TrainerError(f"{arguments.oof}: classes {', '.join(oof.classes)}; the bundle {bundle.path} has "
                           f"{', '.join(bundle.classes)}")
    group = {f["path"]: f["group"] for f in split["files"]}
    return of_folds(oof, [group[path] for path in oof.paths], bundle.temperature, arguments.mix,
                    _strangers(bundle, oof))


def _strangers(bundle, oof):
    """Which pictures (N,) bool the bundle would take for strangers; None where it tells none, or by features.

    Each fold has its own feature space, so a distance in the bundle's means nothing there.
    """
    import numpy as np

    from edge.strangers import StrangerScore
    if bundle.stranger is None or bundle.stranger.file is not None:
        return None
    score = StrangerScore.of_bundle(bundle)
    assert score is not None  # the bundle names one
    return np.array([score.is_stranger(score([row], oof.features[i:i + 1]))
                     for i, row in enumerate(oof.logits.tolist())])


def lines(answers, choices, confidence: float) -> list[str]:
    """What was chosen, as a table for people, and what it rests on."""
    mix = answers.mix if isinstance(answers.mix, str) else ", ".join(f"{c} {w:.1%}" for c, w in answers.mix.items())
    text = [f"from {answers.source}", f"  {answers.note}",
            f"mix: {mix}; each class's promise holds by itself, with confidence {confidence:g}",
            f"{'class':<12s} {'threshold':>9s}  {'purity':>7s} {'at least':>8s} {'target':>7s}  {'recovery':>8s} "
            f"{'to review':>9s}  accepted (errors) of called"]
    for name, one in choices.items():
        threshold = "never" if one.threshold is None else f"{one.threshold:.4f}"
        text.append(f"{name:<12s} {threshold:>9s}  {_percent(one.expected_purity):>7s} "
                    f"{_percent(one.purity_lower_bound, down=True):>8s} {_percent(one.target):>7s}  "
                    f"{_percent(one.recovery):>8s} {_percent(one.review_share):>9s}  "
                    f"{one.accepted} ({one.errors}) of {one.called}")
    text += [_unreached(name, one, confidence) for name, one in choices.items() if not one.reached]
    accepted = sum(answers.weights[answers.accepted(c, choices[n].threshold)].sum()
                   for c, n in enumerate(answers.classes))
    return [*text, f"of all items {1 - accepted:.1%} go to review"]


def _unreached(name: str, one, confidence: float) -> str:
    """Why a class has no threshold that keeps the promise, and what comes nearest."""
    why = f"it takes {one.needed} accepted answers without an error at least, {one.called} are called {name}"
    if one.best_reachable is None:
        return (f"{name}: nothing can be shown: {one.called} answers are called so in a sample of the belt (none when "
                "the class, or all that was accepted of it, or all that was reviewed, has no labelled item)")
    best = f"the best that can be shown is {_percent(one.best_reachable, down=True)} from " \
           f"{one.best_reachable_threshold:.4f}"
    done = "always reviewed (--best-effort takes that)" if one.threshold is None else "taken as asked"
    return f"{name}: {_percent(one.target)} at confidence {confidence:g} cannot be shown: {why}; {best}; {done}"


def check_lines(result: dict, resamples: int, confidence: float) -> list[str]:
    """How often thresholds chosen on resampled answers missed the target."""
    return [f"check: {resamples} resamplings, thresholds chosen on each, purity counted in all answers; the target may "
            f"be missed in {1 - confidence:.1%} of them"] + [
        f"{name:<12s} missed in {one['violations']:6.1%}, reached in {one['reached']:6.1%}, mean recovery "
        f"{one['recovery']:6.1%}" for name, one in result.items()]


def _percent(value: float | None, down: bool = False) -> str:
    """A share as a percentage; a bound is rounded down."""
    import math
    return "-" if value is None else f"{math.floor(value * 1e4) / 100 if down else 100 * value:.2f}%"


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: a share between 0 and 1")
    return value


def _named(text: str, read=_share) -> tuple[str, float]:
    name, equals, value = text.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: NAME=SHARE is needed, like plastic=0.995")
    try:
        return name.strip(), read(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: {value!r} is not a number") from None


def _mix(text: str) -> dict[str, float]:
    pairs = [_named(part, float) for part in text.split(",")]
    if len(dict(pairs)) != len(pairs):
        raise argparse.ArgumentTypeError(f"{text}: a class is named twice")
    return dict(pairs)

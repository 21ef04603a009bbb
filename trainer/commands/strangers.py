"""trainer strangers: give a bundle a score that tells what is none of its classes."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.commands import DATA, OOF

SCORES = ("max_probability", "max_logit", "energy", "feature_distance")


def add(commands) -> None:
    """Add `strangers` to the trainer's commands."""
    p = commands.add_parser("strangers", help="choose the score that tells what is none of the classes")
    p.add_argument("--bundle", required=True, type=Path, help="a folder; its manifest gets the score")
    p.add_argument("--oof", type=Path, default=OOF,
                   help="out-of-fold answers: what is known (default: %(default)s)")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--real", type=Path, nargs="+", action="extend", default=[], metavar="PATH",
                   help="folders, pictures or videos of real strangers: every picture and frame is taken for one")
    p.add_argument("--rendered", type=_count, default=40, metavar="N", help="drawn strangers a kind (default: 40)")
    p.add_argument("--accept", type=_share, default=0.95, help="share of known items accepted (default: %(default)s)")
    p.add_argument("--score", choices=SCORES, help="default: the best, of equal ones the simplest")
    p.add_argument("--seed", type=int, default=0, help="of the drawn strangers")
    p.add_argument("--dry-run", action="store_true", help="only print")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from edge.bundles import Bundle
    from trainer.oof import OutOfFold
    from trainer.prepare import read_split
    from trainer.strangers import lines, measure, write
    report = measure(Bundle(str(arguments.bundle)), OutOfFold.load(arguments.oof), arguments.data,
                     read_split(arguments.data), tuple(arguments.real), arguments.rendered, arguments.accept,
                     arguments.seed)
    chosen = next((row for row in report.rows if row.rule.score == arguments.score), None) or report.best()
    print("\n".join(lines(report, chosen)))
    if arguments.dry_run:
        print(f"dry run: {arguments.bundle} is left as it is")
        return
    write(report, chosen)
    print(f"{arguments.bundle}: strangers by {chosen.rule.score} above {chosen.rule.threshold:g}")


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: above 0, to 1, is allowed")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return value

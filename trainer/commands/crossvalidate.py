"""`trainer crossvalidate`."""

from __future__ import annotations

from pathlib import Path


def add(commands) -> None:
    """Add the command to the parser's."""
    from trainer.commands.train import add_options
    p = commands.add_parser("crossvalidate", help="train a model a fold; their answers calibrate and prove the bundle")
    p.add_argument("--out", type=Path, default=Path("runs/crossvalidation"), help="default: %(default)s")
    p.add_argument("--folds", type=int, default=5)
    p.add_argument("--random", action="store_true", help="near-duplicates on both sides, to show what that flatters")
    add_options(p)
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from trainer.commands.train import options_of
    from trainer.crossvalidate import crossvalidate, lines
    scores = crossvalidate(arguments.data, arguments.out, options_of(arguments), arguments.folds,
                           grouped=not arguments.random)
    print("\n".join(lines(scores)))
    print(f"in {arguments.out}: oof.npz, scores.json, fold-0 to fold-{arguments.folds - 1}")

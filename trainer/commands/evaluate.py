"""`trainer evaluate`."""

from __future__ import annotations

from pathlib import Path

from trainer.commands import DATA


def add(commands) -> None:
    """Add the command to the parser's."""
    p = commands.add_parser("evaluate", help="score a bundle with the appliance's own code")
    p.add_argument("--bundle", required=True, type=Path)
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--split", choices=("train", "val", "test"), default="test")
    p.add_argument("--checkpoint", type=Path, help="best.pt, to compare with torch and plot the training")
    p.add_argument("--elsewhere", type=Path, metavar="FOLDER",
                   help="score on FOLDER/CLASS/*, pictures from somewhere else, instead of on the data set")
    p.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="default: %(default)s")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from edge.bundles import Bundle
    from trainer.evaluate import evaluate, lines
    if arguments.elsewhere:
        return _elsewhere(Bundle(str(arguments.bundle)), arguments.elsewhere, arguments.out)
    from trainer.prepare import read_split
    metrics = evaluate(Bundle(str(arguments.bundle)), arguments.data, read_split(arguments.data), arguments.split,
                       arguments.out, arguments.checkpoint)
    print("\n".join(lines(metrics)))
    print(f"in {arguments.out}: {', '.join(sorted(p.name for p in arguments.out.iterdir()))}")
    return None


def _elsewhere(bundle, folder: Path, out: Path) -> None:
    from trainer import elsewhere
    from trainer.files import write_json
    scores = {role: elsewhere.judge(bundle, role, folder) for role in bundle.files}
    write_json(out / "elsewhere.json", {"bundle": f"{bundle.name} {bundle.version}", "roles": scores})
    print("\n".join(line for one in scores.values() for line in elsewhere.lines(one)))
    print(f"in {out}: elsewhere.json")

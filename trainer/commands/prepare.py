"""`trainer prepare`."""

from __future__ import annotations

import sys
from pathlib import Path

from trainer.commands import DATA


def add(commands) -> None:
    """Add the command to the parser's."""
    p = commands.add_parser("prepare", help="split a zip or a folder of photographs into train, val and test")
    p.add_argument("source", nargs="?", type=Path, help="a zip or folder with one sub-folder a class inside")
    p.add_argument("--download", action="store_true", help="fetch the public TrashNet (43 MB) as the source")
    p.add_argument("--out", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=_run)


def _run(arguments) -> int:
    from trainer.download import download
    from trainer.prepare import prepare
    if bool(arguments.source) == arguments.download:
        print("trainer prepare: give either SOURCE (a zip or a folder) or --download", file=sys.stderr)
        return 2
    source = download(arguments.out.parent) if arguments.download else arguments.source
    split = prepare(source, arguments.out, seed=arguments.seed)
    for entry in split["left_out"]:
        print(f"left out: {entry['path']}: {entry['reason']}")
    for paths in split["groups_with_several_classes"]:
        print(f"look alike, but differ in class: {', '.join(paths)}")
    for part, counts in split["counts"].items():
        print(f"{part:5s} {sum(counts.values()):5d}  " + "  ".join(f"{c} {n}" for c, n in counts.items()))
    print(f"split {split['hash'][:16]} in {arguments.out}; {len(split['left_out'])} file(s) left out")
    return 0

"""`trainer report`."""

from __future__ import annotations

from pathlib import Path

from trainer.commands import DATA


def add(commands) -> None:
    """Add the command to the parser's."""
    p = commands.add_parser("report", help="write the performance report of a bundle, with its plots")
    p.add_argument("--bundle", required=True, type=Path)
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--crossvalidation", type=Path, metavar="DIR", help="folder of crossvalidate")
    p.add_argument("--random", type=Path, metavar="DIR", help="folder of crossvalidate --random")
    p.add_argument("--random-against", type=Path, metavar="DIR", help="folder of crossvalidate with the options of "
                   "--random and without --random, where --crossvalidation was trained for longer")
    p.add_argument("--checkpoint", type=Path, metavar="FILE", help="best.pt that the bundle was made from")
    p.add_argument("--elsewhere", type=Path, metavar="FOLDER", help="FOLDER/CLASS/*: pictures from somewhere else")
    p.add_argument("--experiment", type=Path, nargs="+", action="extend", default=[], metavar="RUNDIR",
                   help="folders of train, for the table of what was tried")
    p.add_argument("--benchmark", type=Path, nargs="+", action="extend", default=[], metavar="FILE",
                   help="JSON files of `python3 -m benchmarks … -o FILE`")
    p.add_argument("--photographs", action="store_true",
                   help="show the worst mistakes as pictures, too, which belong to others")
    p.add_argument("--out", type=Path, default=Path("docs/performance"), help="default: %(default)s")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from trainer.report import report
    written = report(arguments.bundle, arguments.data, arguments.out, crossvalidation=arguments.crossvalidation,
                     random=arguments.random, random_against=arguments.random_against,
                     checkpoint=arguments.checkpoint, elsewhere=arguments.elsewhere,
                     experiments=arguments.experiment, latency=arguments.benchmark, photographs=arguments.photographs)
    print(f"in {arguments.out}: {', '.join(sorted(p.name for p in written.parent.iterdir()))}")

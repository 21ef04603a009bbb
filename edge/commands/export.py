"""scrapsort export: results, overrides or the retraining queue."""

import argparse
import sys

from edge.clock import parse_utc
from edge.commands import common
from edge.errors import UsageError
from edge.journal.exports import KINDS, export


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("kind", choices=KINDS)
    common.add_config(parser)
    parser.add_argument("--format", choices=("csv", "json"), help="default: csv for results, json for the others")
    parser.add_argument("--since", metavar="T", default="", help="only items captured since T, such as 2026-11-22 or "
                                                                 "2026-11-22T09:15:00Z (UTC)")
    parser.add_argument("-o", "--out", metavar="FILE", help="- for standard output; default: "
                        "conveyor_results_<stamp>.csv, override_log.json or retraining_queue.json here")


def run(arguments: argparse.Namespace) -> int:
    """Export, and say to which file."""
    _, state = common.load_settings(arguments)
    form = arguments.format or ("csv" if arguments.kind == "results" else "json")
    try:
        since = parse_utc(arguments.since) if arguments.since else ""
    except ValueError as error:
        raise UsageError("--since: {}".format(error))
    path = export(state, arguments.kind, form, since, arguments.out)
    if path != "-":
        sys.stdout.write("{}\n".format(path))
    return 0

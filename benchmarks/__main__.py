"""python3 -m benchmarks latency|compare|roofline|pipeline|belt|accuracy|operations|soak."""

import argparse
import json
import os
import sys

from benchmarks import accuracy, belt, compare, latency, operations, pipeline, roofline, soak
from edge.commands import common
from edge.errors import ScrapsortError
from edge.files import write_durably

COMMANDS = (("latency", latency), ("compare", compare), ("roofline", roofline), ("pipeline", pipeline), ("belt", belt),
            ("accuracy", accuracy), ("operations", operations), ("soak", soak))
OF_FILES = (compare,)  # measures nothing: no settings, no model, and a table instead of JSON


def main() -> int:
    """Run one benchmark, print its table, and write its figures where -o says."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    for name, module in COMMANDS:
        command = commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0], description=module.__doc__)
        if module not in OF_FILES:
            common.add_config(command)
            common.add_model(command, several=module is latency)
            command.add_argument("-o", "--out", metavar="FILE", help="write the figures there as JSON")
        module.add(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    if getattr(arguments, "config", None):  # measured runs are processes of their own, and shall read the same settings
        os.environ["SCRAPSORT_CONFIG"] = os.path.abspath(arguments.config)
    try:
        result = arguments.run(arguments)
    except ScrapsortError as error:
        sys.stderr.write("benchmarks {}: {}\n".format(arguments.command, error))
        return error.exit_code
    wanted = []
    if getattr(arguments, "out", None):
        wanted.append((arguments.out, json.dumps(result, indent=2) + "\n"))
    if getattr(arguments, "page", None):
        wanted.append((arguments.page, belt.page(result, sys.argv[1:])))
    failed = 0
    for path, text in wanted:
        try:
            write_durably(path, text.encode("utf-8"))
        except OSError as error:
            sys.stderr.write("benchmarks {}: {}: cannot be written: {}\n".format(
                arguments.command, path, error.strerror))
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

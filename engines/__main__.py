"""python3 -m engines build|list|verify|prune: TensorRT plans of the active bundle, made where they are used."""

import argparse
import sys

from edge.commands import common
from edge.errors import ScrapsortError
from edge.logs import start_logging
from engines import build, stock


def main() -> int:
    """Do one command; its error is one line."""
    parser = argparse.ArgumentParser(prog="python3 -m engines", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    for name, what, add, run in (
            ("build", build.__doc__, build.add, build.run),
            ("list", "show each plan, and whether it would be used", stock.add_list, stock.run_list),
            ("verify", "run the plans against the golden answers again", lambda parser: None, stock.run_verify),
            ("prune", "remove plans that cannot be used any more", stock.add_prune, stock.run_prune)):
        command = commands.add_parser(name, help=(what or "").splitlines()[0], description=what)
        common.add_config(command)
        command.add_argument("--bundle", metavar="DIR", help="model bundle, a folder or .tar (default: the active one)")
        add(command)
        command.set_defaults(run=run)
    arguments = parser.parse_args()
    start_logging()
    try:
        return int(arguments.run(arguments))
    except ScrapsortError as error:
        sys.stderr.write("engines {}: {}\n".format(arguments.command, error))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("engines {}: interrupted; what was complete is kept\n".format(arguments.command))
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""The command line. Each command imports what it needs when it is used, so that --help answers at once."""

import argparse
import importlib
import io
import os
import sys
from typing import Any, List, Optional

import edge
from edge.errors import ScrapsortError

COMMANDS = (
    ("run", "sort a camera, a folder or a simulated belt until it ends"),
    ("setup", "look at a belt and propose the settings of its gate"),
    ("status", "how the run is that sorts now"),
    ("fire", "test one ejector while no belt is being sorted"),
    ("classify", "say what is in pictures"),
    ("export", "write results, overrides or the retraining queue as CSV or JSON"),
    ("journal", "bring back what can be read of a damaged journal"),
    ("review", "list and label what waits for a person"),
    ("model", "show or verify a model bundle"),
    ("doctor", "what is here, what will be used, what is wrong and the remedy"),
)


class _Parser(argparse.ArgumentParser):
    """Errors in one line; argparse would print the whole usage before it."""

    def error(self, message: str) -> Any:
        self.exit(2, "{}: {}; see {} --help\n".format(self.prog, message, self.prog))


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 failed at run time, 2 wrong usage or settings."""
    argv = sys.argv[1:] if argv is None else argv
    _tolerant_output()
    parser = _Parser(prog="scrapsort", description="Sorts scrap on a conveyor.", epilog="scrapsort COMMAND --help "
                     "tells more.")
    parser.add_argument("--version", action="version", version="scrapsort {}".format(edge.__version__))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS:
        command = commands.add_parser(name, help=text, description=text)
        if name in argv[:1]:  # the others' modules need not be imported
            module = _import(name)
            module.add(command)
            command.set_defaults(run=module.run)
    arguments = parser.parse_args(argv)
    if not arguments.command:
        parser.error("a command is needed: {}".format(", ".join(name for name, _ in COMMANDS)))
    try:
        return int(arguments.run(arguments))
    except ScrapsortError as error:
        sys.stderr.write("scrapsort {}: {}\n".format(arguments.command, error))
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("scrapsort {}: interrupted\n".format(arguments.command))
        return 1
    except BrokenPipeError:  # the reader of our output has enough
        sys.stdout = open(os.devnull, "w")
        return 1
    except OSError as error:  # a full disk behind stdout, say; what has a place of its own is reported there
        sys.stderr.write("scrapsort {}: {}\n".format(arguments.command, error))
        sys.stdout = open(os.devnull, "w")
        return 1


def _tolerant_output() -> None:
    """No file name may end a run: what the encoding of stdout lacks is written as an escape."""
    out = sys.stdout  # type: Any
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="backslashreplace")
    elif getattr(out, "errors", "") == "surrogateescape":  # Python 3.6 in the C locale of a service
        sys.stdout = io.TextIOWrapper(out.detach(), "utf-8", "surrogateescape", line_buffering=out.line_buffering)
    elif hasattr(out, "detach"):
        encoding = out.encoding
        sys.stdout = io.TextIOWrapper(out.detach(), encoding, "backslashreplace", line_buffering=out.line_buffering)


def _import(command: str) -> Any:
    try:
        return importlib.import_module("edge.commands." + command)
    except ImportError as error:  # numpy or OpenCV: everything else is imported only where it is used
        remedy = "run: python3 -m pip install numpy opencv-python-headless onnxruntime"
        if "failed to map segment" in str(error) or "annot allocate memory" in str(error):
            remedy = "there is not enough memory, or it is limited (LimitAS= of the unit, ulimit -v)"
        sys.stderr.write("scrapsort {}: {}; {}\n".format(command, error, remedy))
        sys.exit(1)

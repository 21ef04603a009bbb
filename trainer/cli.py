"""The trainer's command line; each command imports only what it needs."""

from __future__ import annotations

import argparse
import sys

from edge.errors import ScrapsortError
from trainer.commands import (
    audit,
    crossvalidate,
    evaluate,
    export,
    prepare,
    quantize,
    report,
    strangers,
    thresholds,
    train,
)
from trainer.errors import TrainerError

COMMANDS = (prepare, audit, train, crossvalidate, evaluate, export, quantize, strangers, thresholds, report)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage (argparse exits by itself)."""
    parser = argparse.ArgumentParser(prog="python3 -m trainer", description="From photographs to a model bundle.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except (TrainerError, ScrapsortError, OSError) as error:
        print(f"trainer {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"trainer {arguments.command}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130

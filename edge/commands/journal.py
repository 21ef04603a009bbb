"""scrapsort journal: bring back what can be read of a damaged journal."""

import argparse
import os
import sys

from edge.commands import common
from edge.errors import JournalError, UsageError
from edge.journal import aside, schema
from edge.journal.lock import StateLock, holder
from edge.journal.repair import repair


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="repair")
    actions.required = True
    mending = actions.add_parser("repair", help="take the items of a damaged journal that can be read into the present "
                                                "one; may be done while a run sorts")
    common.add_config(mending)
    mending.add_argument("file", nargs="?", metavar="FILE", help="default: all that were put aside in the state "
                        "folder (journal.db.corrupt-…), or journal.db if it is damaged")
    mending.add_argument("--into", metavar="FILE", help="a journal to take them into (default: the present one)")


def run(arguments: argparse.Namespace) -> int:
    """Repair; 1 when nothing could be read."""
    _, state = common.load_settings(arguments)
    present = os.path.join(state, schema.FILE)
    into = arguments.into or present
    if arguments.file:
        if os.path.abspath(arguments.file) == os.path.abspath(into):
            raise UsageError("journal repair {}: cannot be repaired into itself; leave FILE out, or give --into "
                             "FILE".format(arguments.file))
        files = [os.path.abspath(arguments.file)]
    else:
        files = aside.find_aside(state) or _put_present_aside(state, present)
    if not files:
        sys.stdout.write("{}: nothing to repair\n".format(present))
        return 0
    for path in files:
        done = repair(path, into)
        sys.stdout.write("{}: {} items read, {} taken into {}, {} were there already, {} lost\n".format(
            path, done.read, done.merged, into, done.known,
            "none" if not done.lost else "at most {}".format(done.lost)))
        if into == present and aside.MARK in os.path.basename(path):
            sys.stdout.write("kept as {}; delete it when nothing is missing\n".format(aside.mark_repaired(path)))
    return 0


def _put_present_aside(state: str, present: str) -> list:
    """The present journal as a list of one, put aside, if it is damaged."""
    if not os.path.isfile(present) or not _is_damaged(state):
        return []
    running = holder(state)
    if running is not None:
        raise JournalError("journal {}: damaged, and process {} sorts with it; it puts the file aside itself as soon "
                           "as it meets the damage, or stop it first".format(present, running or "?"))
    with StateLock(state):
        numbers = aside.numbers_given(present)
        path = aside.put_aside(state)
        connection = schema.connect(state)
        aside.count_on(connection, numbers)
        connection.close()
    return [path]


def _is_damaged(state: str) -> bool:
    import sqlite3
    try:
        connection = schema.connect(state)
        try:
            return connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok"
        finally:
            connection.close()
    except sqlite3.Error:
        return True
    except JournalError as error:
        if error.kind == "damaged":
            return True
        raise

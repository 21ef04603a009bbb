"""Sort a folder whose sub-folders are the classes with `scrapsort run`, and compare what the journal says."""

import argparse
import os
import tempfile
from typing import Any, Dict

from benchmarks import machine
from benchmarks.pipeline import sort_folder
from edge.commands import common
from edge.errors import SourceError
from edge.journal import schema


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="FOLDER", help="holds one sub-folder a class")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Sort and count."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        machine.lend_engines(state, folder)
        summary, _ = sort_folder(bundle.path, os.path.abspath(arguments.source), folder, settings.model.precision)
        connection = schema.connect_existing(folder)
        rows = [(os.path.basename(os.path.dirname(row["source"])), row["class"], row["decision"])
                for row in connection.execute("SELECT source, class, decision FROM items")]
        precision = connection.execute("SELECT precision FROM runs").fetchone()[0]
        connection.close()
    known = [row for row in rows if row[0] in bundle.classes]
    if not known:
        raise SourceError("{}: no pictures in sub-folders named {}".format(
            arguments.source, ", ".join(bundle.classes)))
    right = sum(truth == said for truth, said, _ in known)
    accepted = [row for row in known if row[2] == "accept"]
    right_accepted = sum(truth == said for truth, said, _ in accepted)
    result = {"items": len(rows), "right": right, "accuracy": right / len(known), "accepted": len(accepted),
              "accuracy_of_accepted": right_accepted / max(len(accepted), 1), "precision": precision,
              "items_per_s": summary["items_per_s"], "latency_ms": summary["latency_ms"]}
    print("{items} items, precision {precision}: accuracy {accuracy:.4f}, {items_per_s:.1f} items/s; {accepted} "
          "accepted, of these {accuracy_of_accepted:.4f} right".format(**result))
    return result

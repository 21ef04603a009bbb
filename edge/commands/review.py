"""scrapsort review: list and label what waits for a person."""

import argparse
import json
import os
import sys

from edge.commands import common
from edge.journal.review import label, waiting


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="list|label")
    actions.required = True
    listing = actions.add_parser("list", help="items that nobody has labelled yet")
    common.add_config(listing)
    listing.add_argument("--format", choices=("text", "json"), default="text")
    labelling = actions.add_parser("label", help="note the right class of an item")
    common.add_config(labelling)
    labelling.add_argument("item", type=common.count, help="its number in `scrapsort review list`")
    labelling.add_argument("class_name", metavar="class", help="the right class; may be abbreviated")
    labelling.add_argument("--by", metavar="NAME", help="who says so (default: the user's name)")


def run(arguments: argparse.Namespace) -> int:
    """List or label."""
    _, state = common.load_settings(arguments)
    if arguments.action == "label":
        sorted_as, now = label(state, arguments.item, arguments.class_name, arguments.by)
        sys.stdout.write("item {}: {} -> {}\n".format(arguments.item, sorted_as, now))
        return 0
    for row in waiting(state):
        picture = os.path.join(state, row["picture"]) if row["picture"] else row["source"]
        if arguments.format == "json":
            sys.stdout.write(json.dumps({
                "item": row["id"], "timestamp": row["captured_utc"], "image_path": picture,
                "predicted_class": row["class"], "confidence": row["confidence"],
                "reason": row["reason"] or "low_confidence"}) + "\n")
        else:
            sys.stdout.write("{:>8d}  {}  {:<10s} {:6.1%}  {:<14s}  {}\n".format(
                row["id"], row["captured_utc"], row["class"], row["confidence"], row["reason"] or "low_confidence",
                picture))
    return 0

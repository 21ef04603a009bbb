"""engines list, verify and prune: the plans that are there."""

import argparse
import json
import os
import sys
from typing import Any, Dict, NamedTuple

from edge import plans
from edge.bundles import Bundle
from edge.classifier.tensorrt import fingerprint
from edge.commands import common
from edge.errors import BackendError
from edge.plans import Plan
from engines.build import checked, describe
from engines.progress import say

FITS, STALE, OTHER, REFUSED, DAMAGED, UNKNOWN = "fits", "stale", "other model", "refused", "damaged", "unknown"


class Entry(NamedTuple):
    """A plan and what is to be thought of it."""

    plan: Plan
    state: str
    why: str


def add_list(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of list."""
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run_list(arguments: argparse.Namespace) -> int:
    """Show each plan, and whether it would be used."""
    settings, state = common.load_settings(arguments)
    entries, troubles = survey(plans.folder_of(state), common.open_bundle(arguments, settings, state))
    if arguments.format == "json":
        sys.stdout.write(json.dumps({"plans": [_as_dict(entry) for entry in entries], "troubles": troubles},
                                    indent=2) + "\n")
        return 0
    for entry in entries:
        say("{:<11s} {}{}".format(entry.state, describe(entry.plan), "\n            " + entry.why if entry.why else ""))
    for trouble in troubles:
        say("{:<11s} {}".format(DAMAGED, trouble))
    if not entries and not troubles:
        say("no plans in {}; run: python3 -m engines build".format(plans.folder_of(state)))
    return 0


def run_verify(arguments: argparse.Namespace) -> int:
    """Run each plan that fits against the golden answers again; 1 when one is bad, which is then refused."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    entries, troubles = survey(plans.folder_of(state), bundle)
    bad = len(troubles)
    for trouble in troubles:
        say("{}: {}".format(DAMAGED, trouble))
    for entry in entries:
        if entry.state != FITS:
            say("{}: {}: {}".format(entry.state, entry.plan.path, entry.why))
            bad += entry.state in (DAMAGED, REFUSED)
            continue
        sidecar = checked(bundle, entry.plan.path, entry.plan.sidecar)
        plan = plans.rewrite(entry.plan, sidecar)
        say("{}: {}".format("refused: " + sidecar.refused if sidecar.refused else "agrees", describe(plan)))
        bad += bool(sidecar.refused)
    return 1 if bad else 0


def add_prune(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of prune."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def run_prune(arguments: argparse.Namespace) -> int:
    """Remove plans that cannot be used by the active bundle on this machine."""
    settings, state = common.load_settings(arguments)
    folder = plans.folder_of(state)
    entries, _ = survey(folder, common.open_bundle(arguments, settings, state))
    if any(entry.state == UNKNOWN for entry in entries):
        raise BackendError("nothing is removed: what fits cannot be told here: {}".format(
            next(entry.why for entry in entries if entry.state == UNKNOWN)))
    freed = 0
    kept = {entry.plan.name for entry in entries if entry.state == FITS}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        stem, suffix = os.path.splitext(name)
        path = os.path.join(folder, name)
        if suffix not in (".plan", ".json") or name.startswith(".") or stem in kept:
            continue
        freed += os.path.getsize(path)
        say("{} {}".format("would remove" if arguments.dry_run else "removed", path))
        if not arguments.dry_run:
            os.unlink(path)
    say("{:.1f} MB {}".format(freed / 1e6, "would be freed" if arguments.dry_run else "freed"))
    return 0


def survey(folder: str, bundle: Bundle) -> Any:
    """([Entry], troubles) of a folder, seen from the active bundle and this machine."""
    found, troubles = plans.find(folder)
    return [_judge(plan, bundle) for plan in found], troubles


def _judge(plan: Plan, bundle: Bundle) -> Entry:
    made_for = plan.sidecar.fingerprint
    try:
        wanted = fingerprint(bundle, made_for.precision)
    except BackendError as error:
        return Entry(plan, UNKNOWN, str(error))
    if made_for.onnx_sha256 != wanted.onnx_sha256:
        return Entry(plan, OTHER, "is of {}; active is {} {}".format(plan.sidecar.bundle, bundle.name, bundle.version))
    if made_for != wanted:
        return Entry(plan, STALE, "was built for {}".format(", ".join(made_for.differences(wanted))))
    try:
        plan.read()
    except BackendError as error:
        return Entry(plan, DAMAGED, str(error))
    if plan.sidecar.refused:
        return Entry(plan, REFUSED, plan.sidecar.refused)
    return Entry(plan, FITS, plan.sidecar.slower)


def _as_dict(entry: Entry) -> Dict[str, Any]:
    values: Dict[str, Any] = json.loads(plans.as_json(entry.plan.sidecar).decode("utf-8"))
    return dict(values, path=entry.plan.path, state=entry.state, why=entry.why)


"""scrapsort model: show or verify a bundle."""

import argparse
import json
import sys
from typing import Any

from edge.bundles import Bundle
from edge.classifier.golden import check
from edge.classifier.onnxruntime import OnnxRuntimeClassifier
from edge.commands import common

CPU_ROLES = ("fp32", "fp16", "int8_cpu")  # int8_trt is made for TensorRT; its file is checked, not run


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="show|verify")
    actions.required = True
    for name, text in (("show", "what a bundle is and where it comes from"),
                       ("verify", "check hashes, and that each model gives the golden answers here")):
        action = actions.add_parser(name, help=text)
        common.add_config(action)
        action.add_argument("--bundle", metavar="DIR", help="default: the one that `run` would use")
        if name == "show":
            action.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Show or verify."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    if arguments.action == "verify":
        return _verify(bundle)
    if arguments.format == "json":
        sys.stdout.write(json.dumps(bundle.manifest, indent=2) + "\n")
        return 0
    sys.stdout.write("\n".join(_lines(bundle)) + "\n")
    return 0


def _verify(bundle: Bundle) -> int:
    bundle.verify()
    golden = bundle.golden()
    for role in sorted(bundle.files):
        if role not in CPU_ROLES:
            sys.stdout.write("{}: hash right; answers not checked here\n".format(role))
            continue
        with OnnxRuntimeClassifier(bundle, role) as classifier:
            result = check(classifier, golden)
            sys.stdout.write("{}: hash right; {} of {} golden pictures agree ({} too close to count), largest error of "
                             "a probability {:.5f}, allowed {:.5f}, on {}\n".format(
                                 role, result.agreed, result.decided, result.pictures - result.decided,
                                 result.worst_error, bundle.files[role].tolerance, classifier.device))
    sys.stdout.write("{} {}: verified\n".format(bundle.name, bundle.version))
    return 0


def _policy_lines(bundle: Bundle) -> list:
    """Why the thresholds are what they are."""
    policy = bundle.threshold_policy
    if not policy:
        return []
    classes = policy.get("classes") if isinstance(policy, dict) else None
    if not isinstance(classes, dict) or policy.get("kind") != "purity":
        return ["threshold policy: {}".format(policy if isinstance(policy, str) else json.dumps(policy))]
    given, mix, source = policy.get("per_class_targets"), policy.get("mix"), policy.get("source")
    targets = given if isinstance(given, dict) else {}
    lines = ["threshold policy: purity {} at confidence {}, mix {}, from {}".format(
        policy.get("target"), policy.get("confidence"), mix if isinstance(mix, str) else json.dumps(mix), source)]
    for name, entry in classes.items():
        if not isinstance(entry, dict):
            continue
        lines.append("    {:<10s} target {}, bound {}, recovery {}{}".format(
            name, entry.get("target", targets.get(name, policy.get("target"))), _short(entry.get("purity_lower_bound")),
            _short(entry.get("recovery")), ", not reached" if entry.get("reached") is False else ""))
    return lines


def _short(value: Any) -> str:
    return "{:.4g}".format(value) if isinstance(value, float) else "none" if value is None else str(value)


def _stranger_lines(bundle: Bundle) -> list:
    """How strangers are told, and what the manifest says of how well."""
    if bundle.stranger is None:
        return ["strangers: not told, the bundle has no score"]
    more = {key: value for key, value in bundle.manifest["stranger"].items()
            if key not in ("score", "threshold", "file")}
    return ["strangers: {} above {:g}{}".format(bundle.stranger.score, bundle.stranger.threshold,
                                                ", " + json.dumps(more) if more else "")]


def _lines(bundle: Bundle) -> list:
    manifest, metrics = bundle.manifest, bundle.manifest.get("metrics", {})
    lines = ["{} {} ({})".format(bundle.name, bundle.version, bundle.path),
             "classes: {}".format(", ".join(bundle.classes)),
             "thresholds: default {}{}".format(bundle.threshold, "".join(
                 ", {} {}".format(name, "always review" if value is None else value)
                 for name, value in sorted(bundle.thresholds.items())))]
    lines += _policy_lines(bundle) + _stranger_lines(bundle)
    for role, entry in sorted(manifest["files"].items()):
        lines.append("{}: {}, opset {}, IR {}, tolerance {}".format(
            role, entry["path"], entry.get("opset"), entry.get("ir_version"), entry.get("tolerance")))
        scores = metrics.get("roles", {}).get(role)
        if scores:
            lines.append("    on {} {} pictures: accuracy {:.4f}, macro-F1 {:.4f}, calibration error {:.4f}".format(
                scores["pictures"], metrics.get("split", ""), scores["accuracy"], scores["macro_f1"],
                scores["calibration_error"]))
    for key, value in sorted(manifest.get("provenance", {}).items()):
        lines.append("{}: {}".format(key, json.dumps(value)))
    return lines

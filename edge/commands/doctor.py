"""scrapsort doctor: what is here, what will be used, what is wrong and the exact remedy."""

import argparse
import importlib
import json
import os
import platform
import shutil
import sqlite3
import sys
from typing import Any, Callable, Dict, List, NamedTuple

import edge
from edge import settings as settings_module
from edge.bundles import Bundle, find
from edge.commands import common
from edge.errors import ScrapsortError
from edge.journal import advice, schema
from edge.outputs import probe_output

PACKAGES = (("numpy", True), ("cv2", True), ("onnxruntime", True), ("tensorrt", False), ("pycuda", False),
            ("openvino", False), ("jtop", False))


class Finding(NamedTuple):
    """One line of the report. level: ok, note or wrong."""

    level: str
    what: str
    value: str
    remedy: str = ""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_config(parser)
    common.add_model(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Report; 1 when something is wrong that keeps `run` from working."""
    findings = [Finding("ok", "scrapsort", edge.__version__), _python()] + _packages()
    found: Dict[str, Any] = {}
    for look in (_settings, _source, _state, _model, _ejector):
        findings += _guarded(look, arguments, found)
    wrong = [finding for finding in findings if finding.level == "wrong"]
    if arguments.format == "json":
        report = {"findings": [finding._asdict() for finding in findings], "wrong": len(wrong)}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        for finding in findings:
            remedy = "\n        -> {}".format(finding.remedy) if finding.remedy else ""
            sys.stdout.write("{:<6s} {:<14s} {}{}\n".format(finding.level, finding.what, finding.value, remedy))
        sys.stdout.write("{}\n".format("{} thing(s) wrong".format(len(wrong)) if wrong else "ready to sort"))
    return 1 if wrong else 0


def _guarded(look: Callable[[argparse.Namespace, Dict[str, Any]], List[Finding]], arguments: argparse.Namespace,
             found: Dict[str, Any]) -> List[Finding]:
    """What look finds; its error is a finding too, so that one trouble does not hide the next."""
    try:
        return look(arguments, found)
    except ScrapsortError as error:
        return [Finding("wrong", look.__name__.strip("_"), str(error))]


def _python() -> Finding:
    text = "Python {}, SQLite {}, {} {}, {} core(s)".format(
        platform.python_version(), sqlite3.sqlite_version, platform.system(), platform.machine(), os.cpu_count())
    return Finding("ok", "system", text)


def _packages() -> List[Finding]:
    findings = []
    for name, needed in PACKAGES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            remedy = "python3 -m pip install {}".format({"cv2": "opencv-python-headless"}.get(name, name))
            findings.append(Finding("wrong", name, str(error), remedy) if needed
                            else Finding("note", name, "not installed; not needed on this path"))
            continue
        findings.append(Finding("ok", name, str(getattr(module, "__version__", "?"))))
        if name == "cv2":
            findings.append(_opencv(module))
        if name == "onnxruntime":
            findings.append(Finding("ok", "providers", ", ".join(module.get_available_providers())))
    return findings


def _opencv(cv2: Any) -> Finding:
    line = next((line for line in cv2.getBuildInformation().splitlines() if "GStreamer" in line), "")
    has = "YES" in line
    return Finding("ok" if has else "note", "gstreamer", "OpenCV has it" if has else
                   "OpenCV was built without it; only csi:// and gst: need it")


def _settings(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    found["settings"], found["state"] = settings_module.Settings(), settings_module.state_folder(
        arguments.state, settings_module.Settings())
    found["settings"], found["state"] = common.load_settings(arguments)
    return [Finding("ok", "settings", found["settings"].file or "built-in defaults")]


def _source(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    """Whether the camera of the settings can be opened, as far as that is known without opening it."""
    from edge.frames import address, camera, probe  # here, so that a missing package is reported above first
    uri = found["settings"].source.uri
    kind, name = address.kind_of(uri), address.shown(uri)
    if not kind:
        return [Finding("ok", "source", name)]
    camera.check(uri)  # raises with the remedy
    if kind in (address.RTSP, address.HTTP) and not probe.is_there(uri):
        return [Finding("note", "source", "{}: does not answer now; a run waits for it".format(name),
                        "check its power, cable and address")]
    return [Finding("ok", "source", "{}: {}".format(name, {
        address.DEVICE: "is there and may be read", address.VIDEO: "is there", address.RTSP: "answers",
        address.HTTP: "answers"}.get(kind, "OpenCV has GStreamer for it")))]


def _state(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    state = found["state"]
    there = state  # or the first folder above that exists: it would hold it
    while not os.path.exists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    if not os.access(there, os.W_OK) or not os.path.isdir(there):
        return [Finding("wrong", "state", "{}: cannot be written".format(state),
                        "give a folder of your own with --state DIR, or mend owner and mount")]
    free_mb = shutil.disk_usage(there).free // 1000000
    findings = [Finding("ok", "state", "{}, {} MB free".format(state, free_mb))]
    if free_mb < found["settings"].journal.keep_free_mb:
        findings.append(Finding("note", "disk", "less than [journal] keep_free_mb = {} is free: pictures will not be "
                                "kept".format(found["settings"].journal.keep_free_mb), "free some space"))
    findings += [Finding(*one) for one in advice.findings(state)]
    if os.path.isfile(os.path.join(state, schema.FILE)):
        connection = schema.connect(state)
        try:
            items, = connection.execute("SELECT count(*) FROM items").fetchone()
            health, = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            raise schema.explain(error, os.path.join(state, schema.FILE))
        finally:
            connection.close()
        findings.append(Finding("ok" if health == "ok" else "wrong", "journal", "{} items, {}".format(items, health),
                                "" if health == "ok" else "scrapsort journal repair"))
    return findings


def _model(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    settings = found["settings"]
    bundle = Bundle(find(arguments.bundle, settings.model.bundle, found["state"]))
    from edge.classifier import open_classifier  # here, so that a missing package is reported above first
    with open_classifier(bundle, settings.model.backend, settings.model.precision) as classifier:
        findings = [Finding("note", "model", note) for note in classifier.notes]
        return findings + [Finding("ok", "model", "{} {} from {}".format(bundle.name, bundle.version, bundle.path)),
                           Finding("ok", "will use", "backend {} ({}), precision {}, golden answers agree".format(
                               classifier.backend, classifier.device, classifier.precision))]


def _ejector(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    """Whether the outputs of the lanes can be had, as far as that is known without moving a valve."""
    wishes = found["settings"].ejector
    if not wishes.enabled:
        return [Finding("ok", "ejector", "not enabled")]
    findings = []
    for uri in sorted({lane.output for lane in wishes.lane}):
        try:
            text = probe_output(uri)
            findings.append(Finding("ok", "ejector", "{}: {}".format(uri, text)) if text else Finding(
                "note", "ejector", "{}: no connection now; a run goes on trying".format(uri),
                "is the PLC on, the cable in, the address right?"))
        except ScrapsortError as error:
            findings.append(Finding("wrong", "ejector", str(error)))
    return findings or [Finding("wrong", "ejector", "enabled, but there is no [[ejector.lane]]", "docs/ejectors.md")]

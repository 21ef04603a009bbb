"""scrapsort doctor: what is here, what will be used, what is wrong and the exact remedy."""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import sys
from typing import Any, Callable, Dict, List

import edge
from edge import settings as settings_module
from edge.commands import common
from edge.errors import ScrapsortError
from edge.health import checks
from edge.health.checks import Finding
from edge.outputs import probe_output

# What needs NumPy is imported where it is used: a NumPy that cannot be imported is reported, too


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_config(parser)
    common.add_model(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Report; 1 when something is wrong that keeps `run` from working."""
    place = checks.Place()
    findings = [Finding("ok", "scrapsort", edge.__version__), _python()] + checks.packages(place)
    found: Dict[str, Any] = {"place": place}
    for look in (_settings, _machine, _source, _state, _journal, _model, _engines, _ejector):
        findings += _guarded(look, arguments, found)
    wrong = [finding for finding in findings if finding.level == "wrong"]
    if arguments.format == "json":
        report = {"findings": [finding._asdict() for finding in findings], "wrong": len(wrong)}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        sys.stdout.write("".join(line + "\n" for line in lines(findings)))
        sys.stdout.write("{}\n".format("{} thing(s) wrong".format(len(wrong)) if wrong else "ready to sort"))
    return 1 if wrong else 0


def lines(findings: List[Finding]) -> List[str]:
    """The report for people; a remedy that several findings in a row share is given once, after the last of them."""
    text = []
    for finding, following in zip(findings, findings[1:] + [None]):
        text.append("{:<6s} {:<14s} {}".format(finding.level, finding.what, finding.value))
        if finding.remedy and (following is None or following.remedy != finding.remedy):
            text += ["        -> {}".format(step) for step in finding.remedy.splitlines()]
    return text


def _guarded(look: Callable[[argparse.Namespace, Dict[str, Any]], List[Finding]], arguments: argparse.Namespace,
             found: Dict[str, Any]) -> List[Finding]:
    """What look finds; its error is a finding too, so that one trouble does not hide the next."""
    what = look.__name__.strip("_")
    try:
        return look(arguments, found)
    except ScrapsortError as error:
        return [Finding("wrong", what, str(error))]
    except ImportError as error:  # of a package that is reported as wrong already
        return [Finding("note", what, "not looked at: {}".format(error))]


def _python() -> Finding:
    text = "Python {}, SQLite {}, {} {}, {} core(s)".format(
        platform.python_version(), sqlite3.sqlite_version, platform.system(), platform.machine(), os.cpu_count())
    return Finding("ok", "system", text)


def _settings(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    found["settings"], found["state"] = settings_module.Settings(), settings_module.state_folder(
        arguments.state, settings_module.Settings())
    found["settings"], found["state"] = common.load_settings(arguments)
    return [Finding("ok", "settings", found["settings"].file or "built-in defaults")]


def _machine(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    return checks.machine(found["place"], found["settings"].model.backend == "tensorrt")


def _source(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    """Whether the camera of the settings can be opened, as far as that is known without opening it."""
    from edge.frames import address, camera, probe
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
    return findings


def _journal(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    from edge.journal import advice, schema
    state = found["state"]
    findings = [Finding(*one) for one in advice.findings(state)]
    if not os.path.isfile(os.path.join(state, schema.FILE)):
        return findings
    connection = schema.connect(state)
    try:
        items, = connection.execute("SELECT count(*) FROM items").fetchone()
        health, = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise schema.explain(error, os.path.join(state, schema.FILE))
    finally:
        connection.close()
    return findings + [Finding("ok" if health == "ok" else "wrong", "journal", "{} items, {}".format(items, health),
                               "" if health == "ok" else "scrapsort journal repair")]


def _model(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    from edge.classifier import open_classifier
    settings = found["settings"]
    from edge.classifier.choose import explain
    bundle = found["bundle"] = common.open_bundle(arguments, settings, found["state"])
    wishes = (bundle, settings.model.backend, settings.model.precision, found["state"], settings.model.cuda_memory)
    with open_classifier(*wishes) as classifier:
        findings = [Finding("note", "model", note) for note in classifier.notes]
        findings += [Finding("ok", "backends", line) for line in explain(*wishes) if line not in classifier.notes]
        return findings + [Finding("ok", "model", "{} {} from {}".format(bundle.name, bundle.version, bundle.path)),
                           Finding("ok", "will use", "backend {} ({}), precision {}, golden answers agree".format(
                               classifier.backend, classifier.device, classifier.precision))]


def _engines(arguments: argparse.Namespace, found: Dict[str, Any]) -> List[Finding]:
    """The TensorRT engines, where there are some or could be."""
    place, state, needed = found["place"], found["state"], found["settings"].model.backend == "tensorrt"
    if "bundle" not in found or not (needed or checks.may_have_engines(place, state)):
        return []
    return checks.plans(state, found["bundle"], "wrong" if needed else "note")


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

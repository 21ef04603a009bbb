"""Where the time of one item goes, under steady load, and beside a bare session.run and the naive way, in turn."""

import argparse
import sys
import tempfile
import time
from collections import OrderedDict
from typing import Any, Dict, List

from benchmarks import machine, steady, ways
from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.clock import Clock
from edge.commands import common
from edge.errors import BackendError, BundleError
from edge.frames.folder import list_pictures, read_frame
from edge.health.telemetry import Telemetry
from edge.settings import CUDA_MEMORY

FORMAT = "scrapsort-latency-2"
PICTURES = 60  # that are held in memory for the steady load
WITHOUT_DECODE, BARE, WHOLE, NAIVE = "whole item without decode", "bare session.run", "whole item", "naive item"
OF_ONNXRUNTIME = (("fp32", "fp32"), ("fp16", "fp16"), ("int8", "int8_cpu"))  # precision, role
OF_TENSORRT = ["fp16", "int8"]


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--source", metavar="FOLDER", help="pictures to use (default: drawn ones, 384 x 512 JPEG)")
    parser.add_argument("--items", type=common.count, default=400, help="of each way (default: 400)")
    parser.add_argument("--seconds", type=common.number, default=5.0, help="the steady load lasts for so long at least "
                        "(default: 5)")
    parser.add_argument("--warm-up", type=common.count, default=50, metavar="N", help="items before it (default: 50)")
    parser.add_argument("--memory", choices=CUDA_MEMORY, help="of the tensorrt backend (default: [model] cuda_memory)")
    parser.add_argument("--alone", action="store_true", help="the steady load alone, nothing beside it")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Measure each precision that was asked for, or each that the bundle has a model for."""
    wanted = [one for one in arguments.precision or () if one != "auto"]
    arguments.precision = None
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    backend = settings.model.backend
    if not wanted and settings.model.precision != "auto":
        wanted = [settings.model.precision]
    if not wanted:
        wanted = OF_TENSORRT if backend == "tensorrt" else [p for p, role in OF_ONNXRUNTIME if role in bundle.files]
    result: Dict[str, Any] = {
        "format": FORMAT, "date_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "command": sys.argv[1:],
        "machine": machine.describe(), "backend": backend, "items": arguments.items,
        "bundle": {"name": bundle.name, "version": bundle.version, "seal": bundle.manifest["seal"]},
        "precisions": OrderedDict(), "failed": {}}
    print("{processor}, {cores} cores, Python {python}, ONNX Runtime {onnxruntime}, OpenCV {opencv}".format(
        **result["machine"]))
    memory = arguments.memory or settings.model.cuda_memory
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder, Telemetry() as telemetry:
        paths = [found.path for found in list_pictures(arguments.source)] if arguments.source \
            else machine.draw_folder(folder)
        for precision in OrderedDict.fromkeys(wanted):
            try:
                with open_classifier(bundle, backend, precision, state, memory) as classifier:
                    result["precisions"][precision] = _measure(classifier, paths, arguments, memory, telemetry)
            except (BackendError, BundleError) as error:  # the other precisions may be had
                if len(wanted) == 1:
                    raise
                result["failed"][precision] = str(error)
                sys.stderr.write("benchmarks latency: {}: {}\n".format(precision, error))
    if not result["precisions"]:
        raise BackendError("none of {} could be measured".format(", ".join(wanted)))
    return result


def _measure(classifier: Any, paths: List[str], arguments: argparse.Namespace, memory: str,
             telemetry: Telemetry) -> Dict[str, Any]:
    """One precision: the steady load, then the ways in turn; prints both."""
    bundle: Bundle = classifier.bundle
    values: Dict[str, Any] = {
        "backend": classifier.backend, "device": classifier.device, "role": classifier.role,
        "precision": classifier.precision, "sha256": bundle.files[classifier.role].sha256,
        "memory": memory if classifier.backend == "tensorrt" else None,
        "notes": list(classifier.notes)}
    print("\n{} {}, {} on {} ({})".format(bundle.name, bundle.version, classifier.precision, classifier.backend,
                                          classifier.device))
    clock = Clock()
    views = [read_frame(path, path, clock).image_bgr for path in paths[:PICTURES]]
    loaded = steady.measure(classifier, views, arguments.items, arguments.seconds, arguments.warm_up, telemetry)
    values["steady"] = loaded.as_dict()
    _print_steady(values["steady"], loaded)
    if not arguments.alone:
        with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
            times_ms = ways.in_turn(classifier, paths, arguments.items, folder)
        rows = OrderedDict((name, machine.percentiles(times)) for name, times in times_ms.items())
        values["rows"] = rows
        values["rows_samples_ms"] = {name: [round(ms, 4) for ms in times] for name, times in times_ms.items()}
        _print_ways(values, rows, arguments.items)
    return values


def _print_steady(values: Dict[str, Any], loaded: steady.Steady) -> None:
    under = values["machine_under_load"]
    print("\nsteady load, picture in memory to answer: {items} items in {seconds:.1f} s, {items_per_s:.1f} items/s\n"
          .format(**values))
    machine.print_table(values["stages_ms"])
    told = ["{} {:.0f} C".format(name, celsius) for name, celsius in sorted(under.get("hottest_c", {}).items())]
    told += ["{} {:.0f}-{:.0f} MHz".format(name, low / 1e6, high / 1e6)
             for name, (low, high) in sorted(under.get("clocks_hz", {}).items())]
    if "items_per_joule" in values:
        told.insert(0, "{:.2f} W, {:.1f} items/J".format(under["total_mw"] / 1000.0, values["items_per_joule"]))
    told += ["nvpmodel " + under["nvpmodel"]] if under.get("nvpmodel") else []
    print("\n" + (", ".join(told) + "\n" if told else "") + loaded.verdict.word)
    for note in loaded.verdict.notes:
        print("note: " + note)


def _print_ways(values: Dict[str, Any], rows: Dict[str, Dict[str, float]], items: int) -> None:
    """The table, and the ratios, which are put into values too."""
    print("\n{} items of each way, in turn\n".format(items))
    machine.print_table(rows)
    if BARE in rows:
        values["whole_without_decode_to_bare"] = rows[WITHOUT_DECODE]["p50"] / rows[BARE]["p50"]
        print("\n{} / {}, p50: {:.3f}".format(WITHOUT_DECODE, BARE, values["whole_without_decode_to_bare"]))
    if NAIVE in rows:
        values["naive_to_whole"] = rows[NAIVE]["p50"] / rows[WHOLE]["p50"]
        print("{} / {}, p50: {:.3f}".format(NAIVE, WHOLE, values["naive_to_whole"]))

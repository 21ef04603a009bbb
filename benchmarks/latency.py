"""Where the time of one item goes, beside a bare session.run and the naive way, in turn in one run."""

import argparse
import os
import tempfile
import time
from collections import OrderedDict
from typing import Any, Dict, List

import numpy as np

from benchmarks import machine
from benchmarks.naive import Naive
from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.clock import Clock
from edge.commands import common
from edge.decision import Decider
from edge.errors import UsageError
from edge.frames.folder import list_pictures, read_frame
from edge.gate import EveryFrame
from edge.journal import Journal
from edge.preprocess import Preprocessor
from edge.sorter import decide_item

BLOCK = 20  # items in a row of each way; long enough that one way's idling threads do not disturb the next
STAGES = ("decode", "preprocess", "inference", "decide", "journal")


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--source", metavar="FOLDER", help="pictures to use (default: drawn ones, 384 x 512 JPEG)")
    parser.add_argument("--items", type=common.count, default=400, help="of each way (default: 400)")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Measure each role of the bundle that this machine can run, or the one asked for."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    precisions = [settings.model.precision] if settings.model.precision != "auto" else [
        p for p, role in (("fp32", "fp32"), ("fp16", "fp16"), ("int8", "int8_cpu")) if role in bundle.files]
    result: Dict[str, Any] = {"machine": machine.describe(), "items": arguments.items, "precisions": {}}
    print("{processor}, {cores} cores, Python {python}, ONNX Runtime {onnxruntime}, OpenCV {opencv}".format(
        **result["machine"]))
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        paths = [found.path for found in list_pictures(arguments.source)] if arguments.source \
            else machine.draw_folder(folder)
        for precision in precisions:
            rows = _measure(bundle, precision, paths, arguments.items, folder)
            ratio = rows["whole item without decode"]["p50"] / rows["bare session.run"]["p50"]
            result["precisions"][precision] = {"rows": rows, "whole_without_decode_to_bare": ratio}
            print("\n{} {}, {}, {} items of each way\n".format(bundle.name, bundle.version, precision,
                                                             arguments.items))
            machine.print_table(rows)
            print("\nwhole item without decode / bare session.run, p50: {:.3f}".format(ratio))
            if "naive item" in rows:
                naive = rows["naive item"]["p50"] / rows["whole item"]["p50"]
                result["precisions"][precision]["naive_to_whole"] = naive
                print("naive item / whole item, p50: {:.3f}".format(naive))
    return result


def _measure(bundle: Bundle, precision: str, paths: List[str], items: int, folder: str) -> Dict[str, Dict[str, float]]:
    """Percentiles by stage, whole item, bare session.run on the same tensors, and the naive way where Pillow is."""
    import onnxruntime
    with open_classifier(bundle, "onnxruntime", precision) as classifier:
        model = bundle.read(classifier.role)
        ways = [_Ours(classifier, Journal(os.path.join(folder, "state-" + precision))),
                _Bare(bundle, onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]))]
        try:
            ways.append(_Naively(Naive(model, os.path.join(folder, "naive.csv"))))
        except UsageError as error:
            print("naive way left out: {}".format(error))
        for first in range(0, items, BLOCK):
            for way in ways:
                way.item(paths[0], keep=False)  # wakes its threads
                for number in range(first, min(first + BLOCK, items)):
                    way.item(paths[number % len(paths)], keep=True)
        ways[0].close()
    rows: Dict[str, Dict[str, float]] = OrderedDict()
    for way in ways:
        for name, values_ms in way.times_ms.items():
            rows[name] = machine.percentiles(values_ms)
    return rows


class _Ours:
    """The way of one item through scrapsort's own code."""

    def __init__(self, classifier: Any, journal: Journal):
        self._classifier, self._journal, self._sequence = classifier, journal, 0
        self._decider = Decider.from_settings(classifier.bundle, 0.0, {})
        self._gate, self._clock = EveryFrame(), Clock()
        self.times_ms: Dict[str, List[float]] = OrderedDict(
            (name, []) for name in STAGES + ("whole item", "whole item without decode"))
        journal.begin("benchmark", classifier)

    def item(self, path: str, keep: bool) -> None:
        self._sequence += 1
        started = time.perf_counter()
        frame = read_frame(path, path, self._clock)
        decoded = time.perf_counter()
        for item in self._gate.offer(frame):
            record = decide_item(self._sequence, item, self._classifier, self._decider)
            decided = time.perf_counter()
            self._journal.record(record)
        ended = time.perf_counter()
        if keep:
            for name, value_ms in zip(self.times_ms, (
                    (decoded - started) * 1000, record.preprocess_ms, record.infer_ms, record.decide_ms,
                    (ended - decided) * 1000, (ended - started) * 1000, (ended - decoded) * 1000)):
                self.times_ms[name].append(value_ms)

    def close(self) -> None:
        self._journal.close()


class _Bare:
    """session.run and nothing else, on the tensors that the same pictures give."""

    def __init__(self, bundle: Bundle, session: Any):
        self._session, self._preprocessor, self._tensors = session, Preprocessor(bundle.input), {}
        self.times_ms: Dict[str, List[float]] = {"bare session.run": []}

    def item(self, path: str, keep: bool) -> None:
        if path not in self._tensors:
            tensor = np.empty(self._preprocessor.spec.shape, np.float32)
            self._preprocessor(read_frame(path, path, Clock()).image_bgr, tensor)
            self._tensors[path] = tensor
        started = time.perf_counter()
        self._session.run(["logits", "features"], {"image": self._tensors[path]})
        if keep:
            self.times_ms["bare session.run"].append((time.perf_counter() - started) * 1000)


class _Naively:
    def __init__(self, naive: Naive):
        self._naive = naive
        self.times_ms: Dict[str, List[float]] = {"naive item": []}

    def item(self, path: str, keep: bool) -> None:
        started = time.perf_counter()
        self._naive.item(path)
        if keep:
            self.times_ms["naive item"].append((time.perf_counter() - started) * 1000)

"""Ways of one item, timed in turn in one run: scrapsort's own, a bare session.run, and the naive one."""

import os
import time
from collections import OrderedDict
from typing import Any, Dict, List, Sequence

import numpy as np

from benchmarks.naive import Naive
from edge.bundles import Bundle
from edge.classifier.choose import ROLES_OF
from edge.clock import Clock
from edge.decision import Decider
from edge.errors import UsageError
from edge.frames.folder import read_frame
from edge.gate import EveryFrame
from edge.journal import Journal
from edge.preprocess import Preprocessor
from edge.sorter import decide_item

BLOCK = 20  # items in a row of each way; long enough that one way's idling threads do not disturb the next
STAGES = ("decode", "preprocess", "inference", "decide", "journal")


def in_turn(classifier: Any, paths: Sequence[str], items: int, folder: str) -> Dict[str, List[float]]:
    """Milliseconds of each item by stage, whole item, bare session.run on the same tensors, and the naive way.

    folder: for the journal and the naive way's CSV. The last two are ONNX Runtime's, whatever the classifier runs on;
    they are left out where the bundle has no model for it, or Pillow is missing, and that is printed.
    """
    ways: List[Any] = [Ours(classifier, Journal(os.path.join(folder, "state")))]
    try:
        ways += _others(classifier, folder)
        for first in range(0, items, BLOCK):
            for way in ways:
                way.item(paths[0], keep=False)  # wakes its threads
                for number in range(first, min(first + BLOCK, items)):
                    way.item(paths[number % len(paths)], keep=True)
    finally:
        ways[0].close()
    return OrderedDict((name, times_ms) for way in ways for name, times_ms in way.times_ms.items())


def _others(classifier: Any, folder: str) -> List[Any]:
    import onnxruntime
    bundle = classifier.bundle
    role = classifier.role if classifier.backend == "onnxruntime" else next(
        (role for role in ROLES_OF.get(classifier.precision, ()) if role in bundle.files), "")
    if not role:
        print("bare session.run and the naive way left out: the bundle has no {} model for ONNX Runtime".format(
            classifier.precision))
        return []
    model = bundle.read(role)
    ways: List[Any] = [Bare(bundle, onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]))]
    try:
        ways.append(Naively(Naive(model, os.path.join(folder, "naive.csv"))))
    except UsageError as error:
        print("naive way left out: {}".format(error))
    return ways


class Ours:
    """The way of one item through scrapsort's own code."""

    def __init__(self, classifier: Any, journal: Journal):
        self._classifier, self._journal, self._sequence = classifier, journal, 0
        self._decider = Decider.from_settings(classifier.bundle, 0.0, {})
        self._gate, self._clock = EveryFrame(), Clock()
        self.times_ms: Dict[str, List[float]] = OrderedDict(
            (name, []) for name in STAGES + ("whole item", "whole item without decode"))
        journal.begin("benchmark", classifier)

    def item(self, path: str, keep: bool) -> None:
        """One item; keep: its times count."""
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
        """Close the journal."""
        self._journal.close()


class Bare:
    """session.run and nothing else, on the tensors that the same pictures give."""

    def __init__(self, bundle: Bundle, session: Any):
        self._session, self._preprocessor, self._tensors = session, Preprocessor(bundle.input), {}
        self.times_ms: Dict[str, List[float]] = {"bare session.run": []}

    def item(self, path: str, keep: bool) -> None:
        """One item; keep: its times count."""
        if path not in self._tensors:
            tensor = np.empty(self._preprocessor.spec.shape, np.float32)
            self._preprocessor(read_frame(path, path, Clock()).image_bgr, tensor)
            self._tensors[path] = tensor
        started = time.perf_counter()
        self._session.run(["logits", "features"], {"image": self._tensors[path]})
        if keep:
            self.times_ms["bare session.run"].append((time.perf_counter() - started) * 1000)


class Naively:
    """The naive way."""

    def __init__(self, naive: Naive):
        self._naive = naive
        self.times_ms: Dict[str, List[float]] = {"naive item": []}

    def item(self, path: str, keep: bool) -> None:
        """One item; keep: its times count."""
        started = time.perf_counter()
        self._naive.item(path)
        if keep:
            self.times_ms["naive item"].append((time.perf_counter() - started) * 1000)

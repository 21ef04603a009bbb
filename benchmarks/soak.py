"""Many items through gate, classifier, decision and journal: does memory stay flat, is nothing lost or doubled?

A source of ready items feeds the loop of `scrapsort run` in a process of its own; the classifier is real, or one that
answers at once (null), so that a million items pass in minutes. It judges itself: exit code 1 when something grows.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, Iterator, List, Tuple

from benchmarks import machine
from edge.bundles import Bundle
from edge.classifier import open_classifier
from edge.classifier.base import Answer, Classifier
from edge.clock import Clock
from edge.commands import common
from edge.decision import Decider
from edge.errors import BackendError, UsageError
from edge.frames.base import Frame
from edge.frames.drawn import MATERIALS, draw_named
from edge.gate import EveryFrame
from edge.health import State, status_path
from edge.journal import Journal, Limits
from edge.journal.retention import LATEST
from edge.journal.schema import FILE
from edge.report import Report
from edge.review import Reviewer
from edge.sorter import Sorter
from edge.summary import Summary

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SAMPLE_S = 0.1
WARM = 0.2  # share of the items before which memory may still grow
GROWTH_MB, GROWTH_DESCRIPTORS = 8.0, 2  # between the medians of the first and the last fifth after that
DRAWN = 12


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--items", type=common.count, default=1000000, metavar="N", help="default: 1000000")
    parser.add_argument("--classifier", choices=("null", "real"), default="null", help="default: null")
    parser.add_argument("--keep-rows-mb", type=common.count, default=64, metavar="MB", help="retention of the run "
                        "(default: 64)")
    parser.add_argument("--commit-items", type=common.count, default=32, metavar="N", help="items a commit (default: "
                        "32); 1 is what a belt of an item a second does")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Soak, print and judge. Raises BackendError when something grew, was lost or came twice."""
    if not os.path.isdir("/proc/self/fd"):
        raise UsageError("soak reads /proc, which this system has not")
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    with tempfile.TemporaryDirectory(prefix="scrapsort-", dir=os.environ.get("SCRAPSORT_SOAK_DIR")) as folder:
        work = {"state": folder, "items": arguments.items, "classifier": arguments.classifier, "bundle": bundle.path,
                "precision": settings.model.precision, "keep_rows_mb": arguments.keep_rows_mb,
                "commit_items": arguments.commit_items}
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.soak", json.dumps(work)], cwd=REPOSITORY,
                                   stdout=subprocess.PIPE)
        samples = _watch(process, folder)
        assert process.stdout is not None
        output = process.stdout.read().decode("utf-8")
        if process.wait():
            raise BackendError("soak: the process that sorts ended with {}".format(process.returncode))
        result = dict(json.loads(output.splitlines()[-1]), machine=machine.describe(), samples=samples)
        result.update(_rows(os.path.join(folder, FILE), arguments.items))
    return _judge(result, arguments)


def _watch(process: Any, state: str) -> List[Dict[str, float]]:
    """What the process takes, now and then, until it has ended."""
    samples: List[Dict[str, float]] = []
    while process.poll() is None:
        try:
            with open("/proc/{}/status".format(process.pid)) as file:
                resident = [int(line.split()[1]) for line in file if line.startswith("VmRSS")]
            with open("/proc/{}/io".format(process.pid)) as file:
                io = dict(line.split(": ") for line in file.read().splitlines())
            descriptors = len(os.listdir("/proc/{}/fd".format(process.pid)))
        except OSError:
            break
        sizes = [os.path.getsize(os.path.join(state, name)) for name in (FILE, FILE + "-wal")
                 if os.path.exists(os.path.join(state, name))]
        if resident and sizes:  # it has begun
            samples.append({"resident_mb": resident[0] / 1024.0, "descriptors": descriptors,
                            "journal_mb": sum(sizes) / 1e6, "written_mb": int(io["write_bytes"]) / 1e6})
        time.sleep(SAMPLE_S)
    return samples[:-1] or samples  # the last one may be of its end


def _rows(path: str, items: int) -> Dict[str, Any]:
    """What is in the journal. Numbers are given once each, so the highest is how many rows there ever were; of the
    latest, which retention never touches, none may be missing.
    """
    connection = sqlite3.connect(path)
    try:
        count, different = connection.execute("SELECT count(*), count(DISTINCT sequence) FROM items").fetchone()
        given, = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'").fetchone()
        latest, = connection.execute("SELECT count(*) FROM items WHERE sequence > ?", (items - LATEST,)).fetchone()
        reviews, = connection.execute("SELECT count(*) FROM items WHERE decision = 'review'").fetchone()
        health = connection.execute("PRAGMA integrity_check").fetchone()[0]
        size = os.path.getsize(path)
    finally:
        connection.close()
    return {"rows": count, "lost": max(items - given, min(items, LATEST) - latest), "reviews": reviews,
            "doubled": max(given - items, count - different), "integrity": health, "journal_end_mb": size / 1e6}


def _judge(result: Dict[str, Any], arguments: argparse.Namespace) -> Dict[str, Any]:
    samples = result["samples"]
    later = samples[int(WARM * len(samples)):] or samples
    fifth = max(1, len(later) // 5)
    first, last = later[:fifth], later[-fifth:]
    grown = {name: _median(last, name) - _median(first, name) for name in ("resident_mb", "descriptors")}
    largest = max([one["journal_mb"] for one in samples] or [0.0])
    written = max([one["written_mb"] for one in samples] or [0.0])
    kb = written * 1000 / (arguments.items / 1000.0)
    result.update(grown=grown, journal_largest_mb=largest, written_kb_per_1000=kb)
    print("{} items, {} classifier, {} a commit: {:.1f} s, {:.0f} items/s".format(
        arguments.items, arguments.classifier, arguments.commit_items, result["seconds"],
        arguments.items / result["seconds"]))
    print("resident {:.1f} -> {:.1f} MB, descriptors {:.0f} -> {:.0f}, journal {:.1f} MB at most (limit {})".format(
        _median(first, "resident_mb"), _median(last, "resident_mb"), _median(first, "descriptors"),
        _median(last, "descriptors"), largest, arguments.keep_rows_mb))
    print("written to the disk: {:.0f} kB per 1,000 items{}".format(
        kb, "" if written else " (0: a file system in memory; $SCRAPSORT_SOAK_DIR names another)"))
    print("confirmed {}, in the journal {} ({} wait for review), thrown away by retention {}, lost {}, doubled {}, "
          "integrity {}".format(result["confirmed"], result["rows"], result["reviews"],
                                arguments.items - result["rows"] - result["lost"], result["lost"], result["doubled"],
                                result["integrity"]))
    troubles = [text for wrong, text in (
        (grown["resident_mb"] > GROWTH_MB, "memory grew by {:.1f} MB".format(grown["resident_mb"])),
        (grown["descriptors"] > GROWTH_DESCRIPTORS, "descriptors grew by {:.0f}".format(grown["descriptors"])),
        (largest > 1.25 * arguments.keep_rows_mb + 16, "the journal grew to {:.1f} MB".format(largest)),
        (result["lost"] or result["confirmed"] != arguments.items, "items were lost"),
        (result["doubled"], "items came twice"), (result["integrity"] != "ok", result["integrity"])) if wrong]
    if troubles:
        raise BackendError("not flat: " + "; ".join(troubles))
    print("flat: nothing grew, nothing was lost, nothing came twice")
    return result


def _median(samples: List[Dict[str, float]], name: str) -> float:
    values = sorted(one[name] for one in samples)
    return values[len(values) // 2] if values else 0.0


class Items:
    """A source of ready items: the same few drawn pictures, each time as another item."""

    def __init__(self, count: int, clock: Clock):
        side = 224
        self._count, self._clock = count, clock
        self._images = [draw_named(MATERIALS[n % len(MATERIALS)], n, side, side) for n in range(DRAWN)]

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._count):
            name = "soak:{}".format(number)
            yield Frame(name, name, self._images[number % DRAWN], None, self._clock.mono_s(), self._clock.wall_s(), 0.0)


class NullClassifier(Classifier):
    """Answers at once, another class each time, sure enough to be accepted."""

    backend = "null"

    def __init__(self, bundle: Bundle):
        super().__init__(bundle, "null")
        self._number = 0

    def classify(self, views: Any) -> Answer:
        """(k, C) logits of one class in turn."""
        self._number += 1
        k = len(views)
        self._logits[:k] = 0.0
        self._logits[:k, self._number % self._logits.shape[1]] = 20.0
        return Answer(self._logits[:k], self._features[:k], 0.0, 0.0)

    def _close(self) -> None:
        pass


def _work(work: Dict[str, Any]) -> Tuple[int, float, int]:
    """Sort so many items; (confirmed, seconds, decided)."""
    clock, stop, bundle = Clock(), threading.Event(), Bundle(work["bundle"])
    real = work["classifier"] == "real"
    classifier = open_classifier(bundle, "auto", work["precision"]) if real else NullClassifier(bundle)
    confirmed = [0]

    def on_commit(group: Any) -> None:
        confirmed[0] += len(group)

    conditions = State(status_path(work["state"], {}), clock).start()
    journal = Journal(work["state"], 1.0, work["commit_items"], 0, clock, on_commit,
                      Limits(90, work["keep_rows_mb"], 100), conditions.condition)
    conditions.counters("journal", journal.counters)
    journal.begin("soak", classifier)
    report = Report(Summary(bundle.classes, clock.mono_s()), clock)
    started = time.monotonic()
    sorter = Sorter(Items(work["items"], clock), EveryFrame(), classifier,
                    Decider.from_settings(bundle, 0.0, {}, stranger=real), Reviewer(bundle.classes, False, False),
                    journal, report, stop, 0.0, None, clock)
    sorter.run()
    journal.close()
    seconds = time.monotonic() - started
    conditions.close("end of source")
    classifier.close()
    return confirmed[0], seconds, report.summary.items


if __name__ == "__main__":
    done = _work(json.loads(sys.argv[1]))
    print(json.dumps({"confirmed": done[0], "seconds": done[1], "decided": done[2]}))

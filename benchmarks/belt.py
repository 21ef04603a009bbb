"""Sort a simulated belt with `scrapsort run` and hold every record against what really lay there."""

import argparse
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import parse_qsl, quote

import cv2
import numpy as np

from benchmarks import ejection, machine
from benchmarks.figures import percent, percentiles, share
from edge.commands import common
from edge.errors import BackendError, UsageError
from edge.frames.base import Frame
from edge.frames.simulated_belt import Options, SimulatedCamera
from edge.gate.belt import BeltGate
from edge.journal.schema import FILE
from edge.settings import Gate

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GATE_FRAMES = 600
RESAMPLINGS = 2000
MACHINE = "{processor}, {cores} cores, Python {python}, ONNX Runtime {onnxruntime}, OpenCV {opencv}"
GATE = ("\ngate alone, a frame of 1280 x 720, CPU time of one thread: p50 {p50:.1f} ms, p99 {p99:.1f} ms; a frame at "
        "60 frames/s lasts 16.7 ms")
PAGE = """# A simulated belt, measured

Written by `python3 -m benchmarks {command}`; do not edit it, run the command again.

{items} items a run, {source}, with {bundle}, by `scrapsort run`; what each word means: [belt.md](../belt.md#8-check).

```text
{text}
```
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--source", metavar="FOLDER", help="photographs to lay on the belt as tiles, in "
                        "sub-folders that are classes (default: drawn items)")
    parser.add_argument("--items", type=common.count, default=1000, help="a run (default: 1000)")
    parser.add_argument("--speed", type=common.number, nargs="+", default=[0.5, 1.5], metavar="MPS",
                        help="of the belt (default: 0.5 1.5)")
    parser.add_argument("--touching", type=common.number, nargs="+", default=[0.0, 0.1], metavar="SHARE",
                        help="share of items that touch the one before (default: 0 0.1)")
    parser.add_argument("--eject", action="store_true", help="with an ejector for each class, in real time: when each "
                        "fires, and in which bin each item ends")
    parser.add_argument("--pace", choices=("real", "fast"), default="fast", help="real: as a camera gives frames; fast "
                        "(default): as fast as they are taken")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", default="", metavar="KEY=VALUE&…",
                        help="more of sim:'s, such as fps=60&noise=0.03")
    parser.add_argument("--page", metavar="FILE", help="write what is printed there, too, as Markdown")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """One run for each speed and share of touching items; prints a table of all."""
    pace = "real" if arguments.eject else arguments.pace
    for key in ("speed", "touching", "pace", "seed", "items", "truth", "ejectors"):
        if key in dict(parse_qsl(arguments.options)):
            raise UsageError("--options {}: {} is the benchmark's own; see --help".format(arguments.options, key))
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    result: Dict[str, Any] = {"machine": machine.describe(), "bundle": "{} {}".format(bundle.name, bundle.version),
                              "source": "photographs as tiles" if arguments.source else "drawn items",
                              "items": arguments.items, "pace": pace, "seed": arguments.seed, "runs": []}
    print(MACHINE.format(**result["machine"]))
    command = ["--bundle", bundle.path, "--precision", settings.model.precision, "--format", "json", "--quiet"]
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        as_files = _classes_of_files(arguments.source, folder, command) if arguments.source else {}
        lanes = ejection.lanes(bundle.classes) if arguments.eject else ()
        if lanes:
            command += ["--config", ejection.write_settings(lanes, folder, arguments.config)]
        for speed in arguments.speed:
            for touching in arguments.touching:
                name = machine.lend_engines(state, os.path.join(folder, str(len(result["runs"]))))
                query = "seed={}&items={}&speed={:g}&touching={:g}&pace={}&ejectors={}&truth={}".format(
                    arguments.seed, arguments.items, speed, touching, pace,
                    ",".join(str(lane.distance_m) for lane in lanes), quote(name + ".truth"))
                source = "sim:{}?{}".format(os.path.abspath(arguments.source) if arguments.source else "", query)
                summary = _sort(source + ("&" + arguments.options if arguments.options else ""), name, command)
                truth, records = read_truth(name + ".truth"), read_records(name)
                figures = dict({"speed_mps": speed, "touching": touching, "seconds": summary["seconds"]},
                               **judge(truth, records, speed, as_files))
                if lanes:
                    figures["ejection"] = ejection.judge(truth, ejection.read(name), lanes, speed)
                result["runs"].append(figures)
                print("\n".join(lines(figures) + ejection.lines(figures.get("ejection"))), flush=True)
    result["gate_ms"] = time_gate(arguments.seed)
    print(GATE.format(**result["gate_ms"]))
    return result


def page(result: Dict[str, Any], words: Sequence[str]) -> str:
    """What was printed, as Markdown, with the words of the command and no folder of this machine."""
    text = [MACHINE.format(**result["machine"])]
    for figures in result["runs"]:
        text += lines(figures) + ejection.lines(figures.get("ejection"))
    shown = [os.path.basename(word) if os.path.isabs(word) else word for word in words]
    return PAGE.format(command=" ".join(shlex.quote(word) for word in shown),
                       text="\n".join(text + [GATE.format(**result["gate_ms"])]), **result)


def time_gate(seed: int) -> Dict[str, float]:
    """CPU time of the gate for a frame, in ms, over some seconds of a drawn belt."""
    camera = SimulatedCamera("", Options(seed=seed, speed=1.0, fps=60.0, pace="fast"))
    gate, stop, times = BeltGate(Gate(direction="right")), threading.Event(), []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for number in range(GATE_FRAMES):
            taken = camera.read(stop)
            assert taken is not None  # the belt has no end
            frame = Frame("", "", taken[1], None, taken[0], 0.0, 0.0)
            started = time.process_time()
            gate.offer(frame)
            if number >= GATE_FRAMES // 3:  # by then the belt is learned, and things are on it
                times.append((time.process_time() - started) * 1000)
    finally:
        cv2.setNumThreads(threads)
    return percentiles(times)


def _sort(source: str, state: str, command: List[str]) -> Any:
    """One `scrapsort run`; its summary."""
    process = subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", source, "--state", state] + command,
                               cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate()
    if process.returncode:
        raise BackendError("scrapsort run failed: {}".format(errors.decode("utf-8", "replace").strip()))
    return json.loads(output.decode("utf-8").splitlines()[-1])


def _classes_of_files(source: str, folder: str, command: List[str]) -> Dict[str, Optional[str]]:
    """What each picture of the folder is taken for as a file, by its path."""
    if not os.path.isdir(source):
        raise UsageError("--source {}: no such folder".format(source))
    _sort(os.path.abspath(source), os.path.join(folder, "files"), command)
    return {record.source: record.class_name for record in read_records(os.path.join(folder, "files"))}


class TrueItem(NamedTuple):
    """A line of the truth that sim: writes."""

    number: int
    class_name: str
    source: str
    line_mono_s: float
    touching: bool
    length_m: float
    ejectors_mono_s: Sequence[float] = ()


class Judged(NamedTuple):
    """A row of the journal."""

    source: str
    class_name: Optional[str]
    decision: str
    review_reason: Optional[str]
    line_mono_s: Optional[float]


def read_truth(path: str) -> List[TrueItem]:
    """What lay on the belt, in the order of crossing the line."""
    with open(path) as file:
        items = [TrueItem(**json.loads(line)) for line in file]
    return sorted(items, key=lambda item: item.line_mono_s)


def read_records(state: str) -> List[Judged]:
    """What a journal says, in its order."""
    connection = sqlite3.connect(os.path.join(state, FILE))
    try:
        return [Judged(*row) for row in connection.execute(
            "SELECT source, class, decision, review_reason, line_mono_s FROM items ORDER BY id")]
    finally:
        connection.close()


def groups_of(truth: Sequence[TrueItem], speed: float) -> List[List[TrueItem]]:
    """Items that lie alone, each a list of one, and those that touch, together."""
    groups: List[List[TrueItem]] = []
    for item in truth:
        last = groups[-1][-1] if groups else None
        together = (last is not None and last.touching and item.touching and
                    (item.line_mono_s - last.line_mono_s) * speed < (item.length_m + last.length_m) / 2)
        if together:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def judge(truth: Sequence[TrueItem], records: Sequence[Judged], speed: float,
          as_files: Dict[str, Optional[str]]) -> Dict[str, Any]:
    """Every record is given to the items across whose stretch of the line it falls."""
    left = sorted((record for record in records if record.line_mono_s is not None),
                  key=lambda record: record.line_mono_s or 0.0)
    missed = doubled = false_clusters = touching_right = touching_wrong = 0
    late_ms: List[float] = []
    singles: List[Any] = []
    accepted: List[Any] = []  # (true class or None for a cluster, class of the record)
    groups = groups_of(truth, speed)
    for group in groups:
        start_s = group[0].line_mono_s - group[0].length_m / 2 / speed
        end_s = group[-1].line_mono_s + group[-1].length_m / 2 / speed
        own = [record for record in left if start_s <= (record.line_mono_s or 0.0) <= end_s]
        left = [record for record in left if record not in own]
        accepted += [(group[0].class_name if len(group) == 1 else None, record.class_name) for record in own
                     if record.decision == "accept"]
        if len(group) > 1:
            right = len(own) == 1 and own[0].review_reason == "cluster"
            touching_right += right
            touching_wrong += not right
            continue
        missed += not own
        doubled += max(0, len(own) - 1)
        if own:
            nearest = min(own, key=lambda record: abs((record.line_mono_s or 0.0) - group[0].line_mono_s))
            late_ms.append(((nearest.line_mono_s or 0.0) - group[0].line_mono_s) * 1000)
            false_clusters += nearest.review_reason == "cluster"
            singles.append((group[0], nearest))
    beside_files = [(item.source, record.class_name == item.class_name, as_files[item.source] == item.class_name)
                    for item, record in singles if item.source in as_files]
    wrong = missed + doubled + len(left) + touching_wrong
    classes = sorted({item.class_name for item in truth})
    figures: Dict[str, Any] = {
        "true": len(truth), "records": len(records), "missed": missed, "doubled": doubled, "ghosts": len(left),
        "touching_groups": touching_right + touching_wrong, "touching_groups_wrong": touching_wrong,
        "miscounted": wrong / max(1, len(truth)), "singles_taken_for_clusters": false_clusters,
        "line_error_ms": percentiles([abs(value) for value in late_ms]),
        "accuracy": share(record.class_name == item.class_name for item, record in singles),
        "accuracy_as_files": share(as_file for _, _, as_file in beside_files), "gap_points": gap(beside_files),
        "accepted": len(accepted), "wrong_bin": sum(true != called for true, called in accepted),
        "per_bin": {name: {"purity": share(true == name for true, called in accepted if called == name),
                           "recovery": sum(true == called == name for true, called in accepted)
                           / max(1, sum(item.class_name == name for item in truth))} for name in classes}}
    return figures


def gap(rows: Sequence[Tuple[str, bool, bool]]) -> Optional[Tuple[float, float, float]]:
    """Points of accuracy that items on the belt (picture, right, right as a file) are from their files, with a 95 %
    interval from resampling the pictures, for the same one may have passed many times; None of none."""
    names = sorted({name for name, _, _ in rows})
    if not names:
        return None
    place = {name: number for number, name in enumerate(names)}
    counts, sums = np.zeros(len(names)), np.zeros(len(names))
    for name, right, as_file in rows:
        counts[place[name]] += 1
        sums[place[name]] += int(right) - int(as_file)
    drawn = np.random.RandomState(0).randint(0, len(names), (RESAMPLINGS, len(names)))
    low, high = np.percentile(100 * sums[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    return float(100 * sums.sum() / counts.sum()), float(low), float(high)


def lines(figures: Dict[str, Any]) -> List[str]:
    """A run for people."""
    apart = figures["gap_points"]
    text = ["", "belt at {speed_mps:g} m/s, {touching:.0%} touching: {true} items in {seconds:.0f} s".format(**figures),
            "  counted: {records} records, {missed} missed, {doubled} doubled, {ghosts} ghosts, "
            "{touching_groups_wrong} of {touching_groups} groups that "
            "touch not flagged as one; miscounted {miscounted:.2%}; "
            "{singles_taken_for_clusters} single items flagged as clusters".format(**figures),
            "  line crossed, error: " + ", ".join("{} {:.1f} ms".format(*one)
                                                  for one in figures["line_error_ms"].items()),
            "  accuracy per item {}, of the same pictures as files {}{}".format(
                percent(figures["accuracy"]), percent(figures["accuracy_as_files"]),
                "; apart {:+.1f} points [{:+.1f}, {:+.1f}]".format(*apart) if apart else ""),
            "  accepted {accepted}, of these wrong bin {wrong_bin}".format(**figures)]
    text += ["    {:<10s} purity {:>8s}  recovery {:>8s}".format(name, percent(one["purity"]), percent(one["recovery"]))
             for name, one in figures["per_bin"].items()]
    return text

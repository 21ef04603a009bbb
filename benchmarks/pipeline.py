"""The sustained rate of `scrapsort run` over a folder beside the naive way, in turn; and its memory."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List, Optional

from benchmarks import machine
from edge.commands import common
from edge.errors import BackendError
from edge.frames.folder import list_pictures

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--source", metavar="FOLDER", help="pictures to use (default: drawn ones, 384 x 512 JPEG)")
    parser.add_argument("--items", type=common.count, default=400, help="a run (default: 400)")
    parser.add_argument("--runs", type=common.count, default=5, help="of each way (default: 5)")
    parser.add_argument("--soak", type=common.count, metavar="N", help="instead: one run over N items, watching memory")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Compare rates, or watch the memory of one long run."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    result: Dict[str, Any] = {"machine": machine.describe()}
    print("{processor}, {cores} cores, Python {python}, ONNX Runtime {onnxruntime}, OpenCV {opencv}".format(
        **result["machine"]))
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        machine.lend_engines(state, os.path.join(folder, "state"))
        belt = _belt(folder, arguments.source, arguments.soak or arguments.items)
        if arguments.soak:
            precision = settings.model.precision
            return dict(result, soak=_soak(bundle.path, belt, folder, precision, arguments.soak))
        precisions = [settings.model.precision] if settings.model.precision != "auto" else [
            p for p, role in (("fp16", "fp16"), ("int8", "int8_cpu")) if role in bundle.files]
        model = os.path.join(folder, "model.onnx")
        role = "fp32" if "fp32" in bundle.files else "fp16"  # the naive way is a float model's
        with open(model, "wb") as file:
            file.write(bundle.read(role))
        rates: Dict[str, List[float]] = {"naive ({})".format(role): []}
        naive_rates = rates["naive ({})".format(role)]
        ratios: Dict[str, List[float]] = {precision: [] for precision in precisions}
        for number in range(arguments.runs):
            naive_rates.append(_naive_rate(model, belt, os.path.join(folder, "naive.csv")))
            for precision in precisions:
                summary, _ = sort_folder(bundle.path, belt, os.path.join(folder, "state"), precision)
                rates.setdefault("scrapsort run, " + precision, []).append(summary["items_per_s"])
                ratios[precision].append(summary["items_per_s"] / naive_rates[-1])
            print("run {} of {}: {}".format(number + 1, arguments.runs, ", ".join(
                "{} {:.1f} items/s".format(name, values[-1]) for name, values in rates.items())))
    print("\n| way | items/s median | lowest | highest |\n|---|---|---|---|")
    for name, values in rates.items():
        print("| {} | {:.1f} | {:.1f} | {:.1f} |".format(name, statistics.median(values), min(values), max(values)))
    for precision, values in ratios.items():
        print("scrapsort run, {} / naive ({}), run by run: median {:.3f}, lowest {:.3f}".format(
            precision, role, statistics.median(values), min(values)))
    return dict(result, items_per_s=rates, ratio_to_naive=ratios)


def _belt(folder: str, source: Optional[str], items: int) -> str:
    """A folder of as many files as there are items, each a link to one of a few pictures."""
    drawn, belt = os.path.join(folder, "drawn"), os.path.join(folder, "belt")
    os.mkdir(drawn)
    os.mkdir(belt)
    paths = [found.path for found in list_pictures(source)] if source else machine.draw_folder(drawn)
    for number in range(items):
        path = os.path.abspath(paths[number % len(paths)])
        os.symlink(path, os.path.join(belt, "{:06d}{}".format(number, os.path.splitext(path)[1])))
    return belt


def _naive_rate(model: str, belt: str, csv_path: str) -> float:
    output = subprocess.check_output([sys.executable, "-m", "benchmarks.naive", model, belt, csv_path],
                                     cwd=REPOSITORY)
    values = json.loads(output.decode("utf-8"))
    return float(values["items"] / values["seconds"])


def sort_folder(bundle: str, belt: str, state: str, precision: str, watch: bool = False) -> Any:
    """One `scrapsort run`: its summary, and (seconds, resident MB) samples when watched."""
    command = [sys.executable, "-m", "edge", "run", "--source", belt, "--state", state, "--bundle", bundle,
               "--precision", precision, "--format", "json", "--quiet"]
    samples: List[Any] = []
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sampler = threading.Thread(target=_sample, args=(process, samples), daemon=True)
    if watch:
        sampler.start()
    output, errors = process.communicate()
    if process.returncode:
        raise BackendError("scrapsort run failed: {}".format(errors.decode("utf-8").strip()))
    return json.loads(output.decode("utf-8").splitlines()[-1]), samples


def _sample(process: Any, samples: List[Any]) -> None:
    started = time.monotonic()
    while process.poll() is None:
        try:
            with open("/proc/{}/status".format(process.pid)) as file:
                resident = [line for line in file if line.startswith("VmRSS")]
        except OSError:
            return
        if resident:
            samples.append((time.monotonic() - started, int(resident[0].split()[1]) / 1024))
        time.sleep(0.5)


def _soak(bundle: str, belt: str, folder: str, precision: str, items: int) -> Dict[str, Any]:
    summary, samples = sort_folder(bundle, belt, os.path.join(folder, "state"), precision, watch=True)
    print("{} items at {:.1f} items/s, precision {}".format(summary["items"], summary["items_per_s"], precision))
    if not samples:
        print("memory: not measured, this system has no /proc")
        return {"summary": summary}
    shares = {share: samples[min(len(samples) - 1, int(share * len(samples)))][1] for share in (.1, .25, .5, .75, 1)}
    print("resident MB: " + ", ".join("{:.1f} at {:.0%}".format(mb, share) for share, mb in sorted(shares.items()))
          + ", highest {:.1f}".format(max(mb for _, mb in samples)))
    return {"summary": summary, "resident_mb": samples}

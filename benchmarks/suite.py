"""scripts/bench-jetson: every measurement on this machine in one command, and one archive of them to send."""

import argparse
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from benchmarks import machine
from edge import board
from edge.frames.address import shown
from edge.health.telemetry import Telemetry
from edge.settings import CUDA_MEMORY

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOOK_S, PATIENCE, INTERRUPTED = 2.0, 3, "interrupted"
OF_INTEREST = re.compile(r"thermal|throttl|over-?current|under-?voltage|soctherm|nvgpu|cpufreq|devfreq|ina3221|"
                         r"out of memory|oom-kill|nvpmodel", re.IGNORECASE)
HARDWARE_ADDRESS = re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE)
NAMED_SECRET = re.compile(r"((?:pass(?:word|wd)?|secret|token|api[-_]?key)[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+",
                          re.IGNORECASE)


class Part(NamedTuple):
    """One step. minutes: what it takes at most on a Nano; after PATIENCE times that it is ended."""

    name: str
    arguments: Sequence[str]  # of python3 -m
    minutes: float


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run every part; 1 when one failed, which costs nothing but itself. Prints the archive's path last."""
    parser = argparse.ArgumentParser(prog="scripts/bench-jetson", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few items of each: whether it works, not how fast")
    parser.add_argument("--out", default=".", metavar="DIR", help="where the archive goes (default: here)")
    parser.add_argument("--bundle", metavar="DIR", help="model bundle (default: the one that ships)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="only parts whose names start so")
    given = parser.parse_args(arguments)
    if not os.path.isdir(given.out):
        parser.error("--out {}: no such folder".format(given.out))
    this, stamp = board.read(), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = "scrapsort-bench-{}-{}".format(_slug(this.model or "laptop"), stamp)
    with tempfile.TemporaryDirectory(prefix="scrapsort-bench-") as folder:
        todo = [part for part in parts(folder, given.quick, given.bundle, _has("tensorrt"))
                if not given.only or part.name.startswith(tuple(given.only))]
        _say("{}: {} parts, up to {:.0f} minutes. Nothing else should run meanwhile.".format(
            this.model or "this machine", len(todo), sum(part.minutes for part in todo) / (20 if given.quick else 1)))
        if not this.is_jetson:
            _say("This is no Jetson: ONNX Runtime alone is measured.")
        _write(folder, "machine.json", json.dumps({"machine": machine.describe(), "started_utc": stamp, "quick":
                                                   given.quick, "nv_tegra_release": _release()}, indent=1))
        results = _run_all(todo, folder)
        _write(folder, "parts.json", json.dumps(results, indent=1))
        _write(folder, "dmesg.txt", _dmesg())
        path = os.path.join(os.path.abspath(given.out), name + ".tar.gz")
        pack(folder, path, name)
    failed = [one["part"] for one in results if one["code"] != 0]
    _say("{} of {} parts done{}".format(len(results) - len(failed), len(results),
                                        "; failed: " + ", ".join(failed) if failed else ""))
    _say("Please send this file: {}".format(path))
    return 1 if failed else 0


def parts(folder: str, quick: bool, bundle: Optional[str], has_tensorrt: bool) -> List[Part]:
    """What is run, in this order. folder: where results go."""
    state, model = os.path.join(folder, "state"), ["--bundle", os.path.abspath(bundle)] if bundle else []
    common = ["--state", state] + model

    def latency(name: str, minutes: float, items: str, *more: str) -> Part:
        count = ["--items", "4", "--seconds", "0", "--warm-up", "1"] if quick else ["--items", items, "--seconds", "30"]
        return Part(name, ["benchmarks", "latency", "-o", os.path.join(folder, name + ".json")] + common + count
                    + list(more), minutes)

    found = [Part("doctor", ["edge", "doctor", "--format", "json"] + common, 2)]
    if has_tensorrt:
        if _has("engines"):
            found += [Part("engines-build", ["engines", "build"] + common, 40), Part("engines-list", ["engines", "list"]
                                                                                  + common, 1)]
        engine = ["--backend", "tensorrt", "--precision", "fp16", "int8"]
        found += [latency("latency-tensorrt-" + memory, 4, "1000", "--memory", memory, "--alone", *engine)
                  for memory in CUDA_MEMORY]
        found.append(latency("latency-tensorrt-in-turn", 8, "200", *engine))
    found.append(latency("latency-onnxruntime", 15, "200", "--backend", "onnxruntime", "--precision", "fp16", "int8"))
    belt = ["--items", "4", "--speed", "1.5", "--touching", "0"] if quick else ["--items", "300"]
    found.append(Part("belt", ["benchmarks", "belt", "-o", os.path.join(folder, "belt.json")] + common + belt, 15))
    if _has("PIL"):  # the naive way beside it needs it
        rate = ["--items", "4", "--runs", "1"] if quick else ["--items", "200", "--runs", "3"]
        found.append(Part("pipeline", ["benchmarks", "pipeline", "-o", os.path.join(folder, "pipeline.json")] + common
                          + rate, 15))
    found.append(Part("roofline", ["benchmarks", "roofline", "-o", os.path.join(folder, "roofline.json")] + common, 1))
    return found + [Part("compare", ["benchmarks", "compare"], 1)]


def _run_all(todo: Sequence[Part], folder: str) -> List[Dict[str, Any]]:
    """Each part as a process of its own, its output in a file; telemetry beside all of it."""
    results: List[Dict[str, Any]] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(os.path.join(folder, "telemetry.jsonl"), stop), daemon=True)
    watcher.start()
    for number, part in enumerate(todo, 1):
        _say("[{}/{}] {} (up to {:.0f} minutes) ...".format(number, len(todo), part.name, part.minutes))
        started = time.monotonic()
        words = list(part.arguments)
        if part.name == "compare":
            words = _compare(words, folder)
        code, wrong = _call(words, os.path.join(folder, part.name + ".log"), part.minutes * 60 * PATIENCE)
        seconds = time.monotonic() - started
        wrong = wrong or (_last_line(os.path.join(folder, part.name + ".log")) if code else "")
        _say("      {} after {:.0f} s{}".format("FAILED" if code else "done", seconds, ": " + wrong if wrong else ""))
        results.append({"part": part.name, "code": code, "seconds": round(seconds, 1), "error": wrong,
                        "command": ["python3", "-m"] + words})
        if wrong == INTERRUPTED:
            break  # what is there is packed all the same
    stop.set()
    watcher.join()
    return results


def _call(words: Sequence[str], log_path: str, limit_s: float) -> Tuple[int, str]:
    """Exit code, and what went wrong when it is not the process that says so."""
    with open(log_path, "wb") as log:
        process = subprocess.Popen([sys.executable, "-m"] + list(words), cwd=REPOSITORY, stdout=log,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                   env=dict(os.environ, PYTHONUNBUFFERED="1"))  # so that lines stay in their order
        try:
            return process.wait(limit_s), ""
        except subprocess.TimeoutExpired:
            return -1, "ended after {:.0f} minutes".format(limit_s / 60)
        except KeyboardInterrupt:
            return -1, INTERRUPTED
        finally:
            if process.poll() is None:  # with all that it has started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _compare(words: List[str], folder: str) -> List[str]:
    made = sorted(name for name in os.listdir(folder) if name.startswith("latency-") and name.endswith(".json"))
    return words + [os.path.join(folder, name) for name in made] + [
        "-o", os.path.join(folder, "compare.md"), "--plot", os.path.join(folder, "compare.svg")]


def _watch(path: str, stop: threading.Event) -> None:
    """Telemetry of the whole run, a line of JSON each two seconds."""
    with Telemetry() as telemetry, open(path, "w") as file:
        while True:
            file.write(json.dumps(dict(telemetry.read().as_dict(), seconds=round(time.monotonic(), 1))) + "\n")
            file.flush()
            if stop.wait(LOOK_S):
                return


def pack(folder: str, path: str, name: str) -> None:
    """One archive of the files directly in folder, each without secrets; what lies in sub-folders stays here."""
    with tarfile.open(path, "w:gz") as archive:
        for one in sorted(os.listdir(folder)):
            source = os.path.join(folder, one)
            if os.path.isfile(source) and not os.path.islink(source):
                with open(source, encoding="utf-8", errors="replace") as file:
                    data = masked(file.read(), folder).encode("utf-8")
                info = tarfile.TarInfo(name + "/" + one)
                info.size, info.mtime = len(data), int(time.time())
                archive.addfile(info, io.BytesIO(data))


def masked(text: str, folder: str = "") -> str:
    """Without passwords, hardware addresses, and the names of the user's own folders."""
    text = "\n".join(shown(line) for line in text.split("\n"))
    text = NAMED_SECRET.sub(r"\1***", HARDWARE_ADDRESS.sub("**:**:**:**:**:**", text))
    for known, word in ((folder, "BENCH"), (REPOSITORY, "SCRAPSORT"), (os.path.expanduser("~"), "~")):
        if len(known) > 1:
            text = text.replace(known, word)
    return text


def _dmesg() -> str:
    """The kernel's last words on heat, power, clocks and memory; empty where they may not be read."""
    try:
        output = subprocess.check_output(["dmesg"], stderr=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = output.decode("utf-8", "replace").splitlines()
    return "\n".join([line for line in lines if OF_INTEREST.search(line)][-200:])


def _release() -> str:
    try:
        with open("/etc/nv_tegra_release") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _last_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return masked(lines[-1][:300]) if lines else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

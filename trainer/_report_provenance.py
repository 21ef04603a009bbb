"""Where a bundle comes from: hashes, commits, the commands that make it again, the machine of the report."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from dataclasses import asdict, fields
from pathlib import Path

from trainer._report_sources import Sources
from trainer._report_text import NONE, bullets, code, missing, paragraph, place, table
from trainer.drawn_strangers import KINDS
from trainer.files import sha256_of
from trainer.prepare import SPLIT_FILE, SPLITS
from trainer.train import Options

OOF = "oof.npz"


def provenance(sources: Sources) -> list[str]:
    """The section as Markdown blocks."""
    return ["## Where it comes from", *_data(sources), *_bundle(sources), "### Commands",
            paragraph("Rebuilt from what the bundle, its checkpoint and the cross-validation have recorded. Options "
                      "that are not named have the defaults of this report's commit; a file stands with its name alone "
                      "where it lay outside the folder that the report was made in."), code(commands(sources)),
            "### The machine that measured", table(("what", "which"), hardware(), left=2)]


def _data(sources: Sources) -> list[str]:
    split, counts = sources.split, sources.split["counts"]
    sizes: dict[int, int] = {}
    for file in split["files"]:
        sizes[file["group"]] = sizes.get(file["group"], 0) + 1
    several = [size for size in sizes.values() if size > 1]
    rows = [(c, *(counts[s].get(c, 0) for s in SPLITS), sum(counts[s].get(c, 0) for s in SPLITS))
            for c in split["classes"]]
    rows.append(("all", *(sum(counts[s].values()) for s in SPLITS), len(split["files"])))
    duplicates = (
        f"Pictures that look alike (perceptual hashes that differ in at most {split['near_duplicate_bits']} of 64 "
        "bits) form a group, and a group lies on one side of the split as a whole: "
        f"{len(sizes)} groups, {len(several)} of them with two or more pictures ({sum(several)} pictures together, "
        f"{max(several, default=1)} in the largest); {len(split['groups_with_several_classes'])} groups hold several "
        "classes.")
    return ["### Data", bullets([
        f"data set: {split['source']}, {len(split['files'])} pictures used, {len(split['left_out'])} left out",
        f"split: SHA-256 `{split['hash']}` (over part, class and content of every picture), seed {split['seed']}; the "
        "test pictures were checked against it for this report"]), table(("class", *SPLITS, "all"), rows),
        paragraph(duplicates)]


def _bundle(sources: Sources) -> list[str]:
    manifest, made, given = sources.bundle.manifest, sources.bundle.manifest["provenance"], sources.given
    lines = [f"bundle: {sources.bundle.name} {sources.bundle.version}, created {manifest['created']}",
             f"seal: `{manifest['seal']}`", f"license: {manifest['license']}",
             f"commit of the export: {_code(made.get('git_commit'))}; of this report: {_commit()}",
             f"trained on {made['device']} with torch {made['torch']}, part {made.get('part', 'train')}, "
             f"{made['epochs_done']} epochs in the weights that were kept",
             f"started from {made['initialisation']}, SHA-256 {_code(made.get('initialisation_sha256'))}"]
    if made.get("teacher_sha256"):
        lines.append(f"teacher: {made['hyper_parameters']['teacher']}, SHA-256 `{made['teacher_sha256']}`")
    files = [(role, file.path, f"{len(sources.bundle.read(role)) / 1e6:.1f}", file.sha256)
             for role, file in sources.bundle.files.items()]
    read = [(place(path), sha256_of(path)) for path in _read(given)]
    absent = [] if given.checkpoint else [missing(
        "the checkpoint, against which the bundle is held and whose curves are drawn", "trainer train",
        "--checkpoint best.pt")]
    return ["### Bundle", bullets(lines), table(("role", "file", "MB", "SHA-256"), files, left=2), *absent,
            "### Files that this report was made from", table(("file", "SHA-256"), read, left=2)]


def _read(given) -> list[Path]:
    paths = [given.data / SPLIT_FILE]
    paths += [folder / OOF for folder in (given.crossvalidation, given.random_against, given.random) if folder]
    paths += [given.checkpoint] if given.checkpoint else []
    paths += [run / "best.pt" for run in given.experiments if (run / "best.pt").exists()]
    return [*paths, *given.benchmarks]


def _code(text: str | None) -> str:
    return f"`{text}`" if text else "not recorded"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=Path(__file__).parent, check=True, text=True,
                              capture_output=True).stdout.strip()
    try:
        changed = git("status", "--porcelain", "--", ".", "../edge")
        return f"`{git('rev-parse', 'HEAD')}`" + (" with changes that were not committed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "not known, this is no git checkout"


# ---------------------------------------------------------------- commands

def commands(sources: Sources) -> list[str]:
    """The commands that make bundle and report, one a line, in their order."""
    given, manifest, split = sources.given, sources.bundle.manifest, sources.split
    data = [] if place(given.data) == "data/materials" else ["--data", place(given.data)]
    bundle, quantised = place(given.bundle), {
        role for role, one in manifest.get("quantisation", {}).items() if "test" in one}  # by quantize, later
    lines = [_line("prepare", split["source"], *_unless(split["seed"], 0, "--seed"), "--out", place(given.data))]
    steps, checkpoint = _training(manifest["provenance"], data)
    lines += steps
    for folds, folder in ((sources.folds, given.crossvalidation), (sources.random_against, given.random_against),
                          (sources.random, given.random)):
        if folds:
            lines += folding(folds.answers.about, place(folder), data)
    oof = f"{place(given.crossvalidation)}/{OOF}" if given.crossvalidation else f"runs/crossvalidation/{OOF}"
    calibrated = ["--oof", oof] if "out-of-fold" in manifest["provenance"].get("temperature", "") else []
    exported = [role for role in sources.bundle.files if role not in quantised]
    lines.append(_line("export", "--checkpoint", checkpoint, *data, "--out", bundle, "--name", sources.bundle.name,
                       "--roles", *exported, *calibrated, "--license", manifest["license"]))
    if quantised:
        lines.append(_line("quantize", "--checkpoint", checkpoint, *data, "--bundle", bundle, "--roles",
                           *sorted(quantised)))
    stranger, policy = manifest.get("stranger"), sources.bundle.threshold_policy
    if stranger:
        lines.append(_line("strangers", "--bundle", bundle, *data, "--oof", oof, *_stranger_options(stranger)))
    if isinstance(policy, dict):
        journal = policy["source"].startswith("journal")
        lines.append(_line("thresholds", "--bundle", bundle, *(
            ["--from-journal", "STATE"] if journal else [*data, "--oof", oof]), *_threshold_options(policy)))
    return [*lines, _line("report", *_report_options(given, data))]


def _line(command: str, *words: str) -> str:
    return f"python3 -m trainer {command} {shlex.join(words)}"


def _unless(value, default, flag: str) -> list[str]:
    return [] if value == default else [flag, str(value)]


def options(values: dict) -> list[str]:
    """Hyper-parameters as words of a command line; those at their defaults are left out."""
    usual = asdict(Options())
    return [word for name, value in values.items() if value != usual.get(name)
            for word in (f"--{name.replace('_', '-')}", str(value))]


def _training(made: dict, data: list[str]) -> tuple[list[str], str]:
    """The runs of train, the first one first, and the checkpoint that the last one leaves."""
    chain, lines, before = _chain({"options": made["hyper_parameters"], **made}), [], ""
    for number, one in enumerate(chain, 1):
        out = "runs/default" if len(chain) == 1 else f"runs/step-{number}"
        if not one.get("options"):
            before = chain[number]["options"]["init"] if number < len(chain) else ""
            lines.append(f"# how {before} was made is not recorded")
            continue
        values = one["options"] | ({"init": before} if before else {})
        lines.append(_line("train", *data, *options(values), *_unless(one.get("part", "train"), "train", "--part"),
                           "--out", out))
        before = f"{out}/best.pt"
    return lines, before


def folding(about: dict, folder: str, data: list[str]) -> list[str]:
    """The runs of crossvalidate, the first one first."""
    lines, before, chain = [], "", _chain(about)
    for number, one in enumerate(chain, 1):
        out = folder if number == len(chain) else f"{folder}-step-{number}"
        values = one["options"] | ({"init": before} if before else {})
        lines.append(_line("crossvalidate", *data, *options(values), "--folds", str(about["folds"]),
                           *([] if about["grouped"] else ["--random"]), "--out", out))
        before = out
    return lines


def _chain(node: dict | None) -> list[dict]:
    """A run and those that it started from, the first one first."""
    chain: list[dict] = []
    while node:
        chain.insert(0, node)
        node = node.get("started_from")
    return chain


def _stranger_options(stranger: dict) -> list[str]:
    counts = stranger.get("strangers", {})
    rendered = ["--rendered", str(counts["rendered"] // len(KINDS))] if counts.get("rendered") else []
    return ["--score", stranger["score"], *_unless(stranger.get("accepts", 0.95), 0.95, "--accept"), *rendered,
            *(["--real", "PATH"] if counts.get("real") else [])]


def _threshold_options(policy: dict) -> list[str]:
    words = ["--purity", str(policy["target"]), "--confidence", str(policy["confidence"])]
    for name, target in policy["per_class_targets"].items():
        words += ["--class", f"{name}={target}"]
    if isinstance(policy["mix"], dict):
        words += ["--mix", ",".join(f"{name}={w}" for name, w in policy["mix"].items())]
    forced = any(not one["reached"] and one["threshold"] is not None for one in policy["classes"].values())
    return words + (["--best-effort"] if forced else [])


def _report_options(given, data: list[str]) -> list[str]:
    words = ["--bundle", place(given.bundle), *data]
    several = {"experiments": "--experiment", "benchmarks": "--benchmark"}
    for field in fields(given):
        value = getattr(given, field.name)
        if field.name in ("crossvalidation", "random", "random_against", "checkpoint", "elsewhere") and value:
            words += [f"--{field.name.replace('_', '-')}", place(value)]
        elif field.name in several and value:
            words += [several[field.name], *(place(path) for path in value)]
    return [*words, *(["--photographs"] if given.photographs else []), "--out", place(given.out)]


# ---------------------------------------------------------------- hardware

def hardware() -> list[tuple[str, str]]:
    """What the figures were measured on, without the machine's or anybody's name."""
    import cv2
    import matplotlib
    import numpy
    import onnx
    import onnxruntime
    import torch
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return [("processor", _processor()), ("cores", str(os.cpu_count() or NONE)), ("memory", _memory()),
            ("system", _system()), ("GPU", gpu), ("Python", platform.python_version()),
            ("torch", str(torch.__version__)), ("onnx", onnx.__version__), ("onnxruntime", onnxruntime.__version__),
            ("numpy", numpy.__version__), ("opencv", cv2.__version__), ("matplotlib", matplotlib.__version__)]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine() or NONE


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return "not known"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, {platform.machine()}"

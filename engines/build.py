"""engines build: compile the active bundle to TensorRT plans, check each, and put it where the daemon finds it."""

import argparse
import hashlib
import os
import time
from typing import Any, Dict, List, Optional

from edge import plans
from edge.bundles import Bundle
from edge.classifier.tensorrt import device as tensorrt_device
from edge.classifier.tensorrt import fingerprint
from edge.clock import Clock, utc_text
from edge.commands import common
from edge.errors import BackendError, ScrapsortError
from edge.locks import HeldError, MachineLock
from edge.plans import Plan, Sidecar
from engines import capabilities, children, preflight
from engines.progress import Progress, say

AGAIN = 2  # times that a killed build is tried again, each with half the workspace


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--precision", dest="precisions", nargs="+", choices=("auto", "fp32", "fp16", "int8"),
                        default=["auto"], help="default: auto, all that this board is good for")
    parser.add_argument("--dla", type=int, metavar="N", help="run on DLA core N, and on the GPU what it cannot")
    parser.add_argument("--workspace", type=common.count, metavar="MiB", help="memory for the builder to try kernels "
                        "in (default: 256 on a small board, else 1024, and no more than is free)")
    parser.add_argument("--opt-level", type=int, choices=range(6), metavar="0-5", help="how long to search (TensorRT's "
                        "own default: 3)")
    parser.add_argument("--timing-cache", metavar="FILE", help="measurements of earlier builds, read and renewed "
                        "(default: one in the folder of the plans)")
    parser.add_argument("--force", action="store_true", help="build also what is there and fits")


def run(arguments: argparse.Namespace) -> int:
    """Build; 1 when a precision that was asked for could not be had."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    folder = plans.folder_of(state)
    device = capabilities.ask(tensorrt_device.gpu(), tensorrt_device.module().__version__)
    if arguments.dla is not None:
        why = capabilities.dla_refusal(device, _dla_cores(), arguments.dla)
        if why:
            raise BackendError("--dla {}: {}".format(arguments.dla, why))
    wanted = capabilities.chosen(arguments.precisions, bundle, device, arguments.dla)
    say("{} {} on {}: {}, into {}".format(bundle.name, bundle.version, device, ", ".join(wanted), folder))
    if "auto" in arguments.precisions and "int8" not in wanted:
        say("int8 left out: {}".format(capabilities.refusal("int8", bundle, device, arguments.dla)))
    preflight.check_disk(folder)
    try:
        lock = MachineLock("engines", os.path.realpath(folder))
    except HeldError as error:
        raise BackendError("{}: process {} builds there already".format(folder, error))
    failed = 0
    try:
        _sweep(folder)
        for precision in wanted:
            try:
                _Build(bundle, folder, precision, arguments).run()
            except ScrapsortError as error:
                say("{}: failed: {}".format(precision, error))
                failed += 1
        rank(folder, bundle)
    finally:
        lock.close()
    return 1 if failed else 0


class _Build:
    """One precision of one bundle."""

    def __init__(self, bundle: Bundle, folder: str, precision: str, arguments: argparse.Namespace):
        self.bundle, self.folder, self.precision = bundle, folder, precision
        self.fingerprint = fingerprint(bundle, precision)
        self.name = plans.name_of(self.fingerprint, arguments.dla)
        self.force, self.wanted_workspace_mb = arguments.force, arguments.workspace
        self.timing_cache = arguments.timing_cache or os.path.join(folder, "timing-{}-{}.cache".format(
            self.fingerprint.tensorrt, self.fingerprint.compute_capability))
        self.options: Dict[str, Any] = {"opt_level": arguments.opt_level, "dla_core": arguments.dla,
                                        "workspace_wanted_mb": arguments.workspace}
        self.temporary = os.path.join(folder, ".{}.{}".format(self.name, os.getpid()))

    def run(self) -> None:
        """Build, check, keep. Raises BackendError and BundleError."""
        present = self._present()
        if present is not None and not self.force and self._as_wanted(present):
            say("{}: {} is there and fits; --force builds it again".format(self.precision, present.path))
            return
        started = time.monotonic()
        try:
            self._compile()
            sidecar = self._check(time.monotonic() - started)
            if sidecar.refused and present is not None:
                raise BackendError("{}; the one of {} stays".format(sidecar.refused, present.sidecar.built_utc))
            with open(self.temporary + ".plan", "rb") as file:
                plan = plans.write(self.folder, self.name, file.read(), sidecar)
        except OSError as error:
            raise BackendError("{}: cannot be written: {}".format(self.folder, error.strerror or error))
        finally:
            for suffix in (".plan", ".onnx"):
                if os.path.exists(self.temporary + suffix):
                    os.unlink(self.temporary + suffix)
        say("{}: {}".format(self.precision, describe(plan)))
        if sidecar.refused:
            raise BackendError(sidecar.refused)

    def _present(self) -> Optional[Plan]:
        """The plan that could be used now, if there is one."""
        usable, _ = plans.fitting(self.folder, self.fingerprint)
        return next((plan for plan in usable if plan.name == self.name), None)

    def _as_wanted(self, plan: Plan) -> bool:
        """Whether a plan was built with these options, and is whole."""
        try:
            plan.read()
        except BackendError as error:
            say("{}: {}".format(self.precision, error))
            return False
        return {key: plan.sidecar.options.get(key) for key in self.options} == self.options

    def _compile(self) -> None:
        """Into a temporary file, in a process of its own; when that is killed, again with half the workspace."""
        with open(self.temporary + ".onnx", "wb") as file:
            file.write(self.bundle.read(plans.ROLE_OF[self.precision]))
        workspace_mb = preflight.workspace_mb(self.wanted_workspace_mb)
        for attempt in range(AGAIN + 1):
            self.options["workspace_mb"] = workspace_mb
            request = dict(self.options, model=self.temporary + ".onnx", plan=self.temporary + ".plan",
                           precision=self.precision, timing_cache=self.timing_cache)
            try:
                with Progress("{}: building, workspace {} MiB".format(self.precision, workspace_mb)) as progress:
                    children.run("engines.compiler", request, progress.line)
                return
            except children.KilledError as error:
                smaller = max(preflight.LEAST_WORKSPACE_MB, workspace_mb // 2)
                if attempt == AGAIN or smaller == workspace_mb:
                    raise BackendError("{} with a workspace of {} MiB; stop other programs or add swap (scrapsort "
                                       "doctor says how)".format(error, workspace_mb))
                say("{}: {}; again with a workspace of {} MiB".format(self.precision, error, smaller))
                workspace_mb = smaller

    def _check(self, build_s: float) -> Sidecar:
        """Run the golden answers on the new plan, in a process of its own too; its sidecar says how it went."""
        with open(self.temporary + ".plan", "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        sidecar = Sidecar(self.fingerprint, digest, "{} {}".format(self.bundle.name, self.bundle.version),
                          plans.ROLE_OF[self.precision], dict(self.options), build_s, utc_text(Clock().wall_s()))
        return checked(self.bundle, self.temporary + ".plan", sidecar)


def checked(bundle: Bundle, path: str, sidecar: Sidecar) -> Sidecar:
    """The sidecar with what running the plan at path shows: golden, latency_ms, layers, and refused where it is bad."""
    request = {"bundle": os.path.abspath(bundle.path), "plan": os.path.abspath(path),
               "sidecar": dict(sidecar._asdict(), fingerprint=dict(sidecar.fingerprint._asdict()))}
    try:
        with Progress("{}: checking".format(sidecar.fingerprint.precision)) as progress:
            found = children.run("engines.checker", request, progress.line)["checked"]
    except BackendError as error:
        return sidecar._replace(refused="does not run: {}".format(error), golden={}, latency_ms={}, layers={},
                                tactics={})
    golden = found["golden"]
    refused = ""
    if golden["agreed"] != golden["decided"] or not golden["worst_error"] <= golden["tolerance"]:
        refused = "does not give the golden answers of {}: {} of {} classes agree, a probability is off by {:.4f} " \
                  "(allowed {:.4f})".format(sidecar.role, golden["agreed"], golden["decided"], golden["worst_error"],
                                            golden["tolerance"])
    return sidecar._replace(golden=golden, latency_ms=found["latency_ms"], layers=found["layers"],
                            tactics=found["tactics"], refused=refused)


def rank(folder: str, bundle: Bundle) -> None:
    """Mark the engines of a bundle that auto shall pass over: those not faster than the next simpler one."""
    best: Optional[Plan] = None
    ours = [plan for plan in _usable(folder, bundle) if plan.sidecar.latency_ms]
    for plan in sorted(ours, key=lambda p: (plans.SIMPLER.index(p.sidecar.fingerprint.precision), p.name)):
        slower = ""
        if best is not None and plan.sidecar.latency_ms["p50"] >= best.sidecar.latency_ms["p50"]:
            slower = "takes {:.2f} ms (p50), {} takes {:.2f}: auto uses that".format(
                plan.sidecar.latency_ms["p50"], best.sidecar.fingerprint.precision, best.sidecar.latency_ms["p50"])
            say("{}: {}".format(plan.sidecar.fingerprint.precision, slower))
        else:
            best = plan
        if slower != plan.sidecar.slower:
            plans.rewrite(plan, plan.sidecar._replace(slower=slower))


def _usable(folder: str, bundle: Bundle) -> List[Plan]:
    """All plans of this bundle that could be used here."""
    found: List[Plan] = []
    for precision, role in plans.ROLE_OF.items():
        if role in bundle.files:
            found += plans.fitting(folder, fingerprint(bundle, precision))[0]
    return found


def describe(plan: Plan) -> str:
    """A plan in one line."""
    sidecar = plan.sidecar
    parts = [os.path.basename(plan.path), "{:.1f} MB".format(os.path.getsize(plan.path) / 1e6)]
    if sidecar.build_s:
        parts.append("built in {:.0f} s".format(sidecar.build_s))
    if sidecar.golden:
        parts.append("golden answers: {agreed} of {decided} agree, largest error {worst_error:.4f} (allowed "
                     "{tolerance:.4f})".format(**sidecar.golden))
    if sidecar.latency_ms:
        parts.append("p50 {p50:.2f} ms, p99 {p99:.2f} ms".format(**sidecar.latency_ms))
    if sidecar.layers:
        parts.append("layers: " + ", ".join("{} {}".format(count, name) for name, count in sorted(
            sidecar.layers.items())))
    return "; ".join(parts)


def _dla_cores() -> int:
    """How many DLA cores TensorRT sees."""
    from edge.classifier.tensorrt.api import Words, make_builder
    trt = tensorrt_device.module()
    builder = make_builder(trt, Words(trt))
    return int(builder.num_DLA_cores)


def _sweep(folder: str) -> None:
    """Remove what a killed build has left; the lock says that none runs."""
    for name in os.listdir(folder):
        if name.startswith(".") and name.rsplit(".", 1)[-1] in ("plan", "onnx", "tmp"):
            os.unlink(os.path.join(folder, name))

"""The TensorRT engines that were built here: which fit, and why the others do not."""

import os
import shutil
from typing import Any, Callable, List, Optional

from edge import board
from edge import plans as plans_module
from edge.errors import BackendError, PlanError, ScrapsortError
from edge.health.checks.finding import NOTE, OK, Finding
from edge.health.checks.place import Place
from edge.plans import Fingerprint, Plan

BUILD = "python3 -m engines build"
PLAN_MB = 100  # at most, with the timing cache; a ResNet18 takes 22 MB in FP16


def may_have_engines(place: Place, state: str) -> bool:
    """Whether this is a Jetson, or has TensorRT, or engines were built here before."""
    return (board.read(place.root).is_jetson or bool(place.module("tensorrt"))
            or bool(plans_module.find(plans_module.folder_of(state))[0]))


def plans(state: str, bundle: Any, missing: str = NOTE,
          fingerprint: Optional[Callable[[Any, str], Fingerprint]] = None) -> List[Finding]:
    """One line for each precision that the bundle has a model for, in the order in which they are built.

    missing: the level where none can be used. fingerprint: of this machine; by default TensorRT and CUDA are asked.
    """
    folder = plans_module.folder_of(state)
    found, troubles = plans_module.find(folder)
    findings = [Finding(NOTE, "engines", text.partition("; run:")[0], BUILD) for text in troubles]
    wanted = [precision for precision in plans_module.SIMPLER if plans_module.ROLE_OF[precision] in bundle.files]
    for precision in wanted:
        try:
            here = (fingerprint or _fingerprint)(bundle, precision)
        except ScrapsortError as error:
            return findings + [Finding(missing, "engines", "{} built, none can be used: {}".format(
                len(found) or "none", error))]
        findings += _of(found, here, missing)
    if not wanted:
        findings.append(Finding(missing, "engines", "none can be built: the bundle has {}, not {}".format(
            ", ".join(sorted(bundle.files)), " or ".join(sorted(plans_module.ROLE_OF.values())))))
    return findings + _room(state, len(wanted))


def _of(found: List[Plan], here: Fingerprint, missing: str) -> List[Finding]:
    """The plans of one precision of this model."""
    what = "engine " + here.precision
    mine = [plan for plan in found if (plan.sidecar.fingerprint.onnx_sha256, plan.sidecar.fingerprint.precision) ==
            (here.onnx_sha256, here.precision)]
    if not mine:
        return [Finding(missing, what, "none", BUILD)]
    return [_state(plan, here, what, missing) for plan in mine]


def _state(plan: Plan, here: Fingerprint, what: str, missing: str) -> Finding:
    sidecar, name = plan.sidecar, os.path.basename(plan.path)
    differences = sidecar.fingerprint.differences(here)
    if differences:
        return Finding(missing, what, "{} was built for {}".format(name, ", ".join(differences)), BUILD)
    try:
        plan.read()
    except PlanError as error:
        return Finding(missing, what, str(error).partition("; run:")[0], BUILD)
    if sidecar.refused:
        return Finding(missing, what, "{} is refused: {}".format(name, sidecar.refused),
                       "another precision is used; after an update of JetPack or the bundle: " + BUILD)
    text = "{} fits{}{}".format(name, ", {:.1f} ms (p50)".format(sidecar.latency_ms["p50"])
                                if "p50" in sidecar.latency_ms else "",
                                ", built " + sidecar.built_utc if sidecar.built_utc else "")
    return Finding(OK, what, text + (": auto passes it over: " + sidecar.slower if sidecar.slower else ""))


def _room(state: str, count: int) -> List[Finding]:
    there = state
    while not os.path.exists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    free_mb = shutil.disk_usage(there).free // 1000000
    if free_mb >= PLAN_MB * count:
        return []
    return [Finding(NOTE, "engines", "{} MB free in {}: {} engines of {} MB at most may not fit".format(
        free_mb, state, count, PLAN_MB), "python3 -m engines prune, or free some space")]


def _fingerprint(bundle: Any, precision: str) -> Fingerprint:
    try:
        from edge.classifier.tensorrt import fingerprint
    except ImportError as error:
        raise BackendError("TensorRT cannot be asked: {}".format(error))
    return fingerprint(bundle, precision)

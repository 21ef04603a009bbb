"""Which model answers: what can be used here, best first, and why the rest cannot.

The order is: TensorRT plans by their measured latency, ONNX Runtime on CUDA, ONNX Runtime on the CPU. Nothing is used
that does not give the golden answers.
"""

import functools
import importlib.util
import os
from collections import OrderedDict
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from edge import board, plans
from edge.bundles import Bundle, Golden
from edge.classifier.base import Classifier
from edge.classifier.golden import check
from edge.classifier.onnxruntime import CPU, CUDA, OnnxRuntimeClassifier, providers
from edge.errors import BackendError, BundleError, ScrapsortError

ROLES_OF = {"fp32": ["fp32"], "fp16": ["fp16"], "int8": ["int8_cpu"]}
AUTO_CPU = ["int8_cpu", "fp32", "fp16"]  # fastest first; measured by `python3 -m benchmarks latency`
AUTO_CUDA = ["fp16", "fp32", "int8_cpu"]  # QDQ made for CPUs is slow there
REMEDY = "run: python3 -m engines build"


class DeviceError(BackendError):
    """A device that is not usable at all: what else wants it need not be tried."""


class Candidate(NamedTuple):
    """One way to get answers, not opened yet."""

    backend: str  # tensorrt or onnxruntime
    role: str  # of the bundle's model
    device: str  # what must compute, or it is not this candidate; empty: whatever the backend finds
    name: str  # in notes: int8_cpu, fp16 on CUDA, plan 0123456789ab-fp16
    rank: Tuple[float, ...]  # the lower, the better
    key: Tuple[Any, ...]  # the same as long as its file is the same
    make: Callable[[], Classifier]

    @property
    def text(self) -> str:
        """It for people: tensorrt fp16 (plan 0123456789ab-fp16), onnxruntime int8 (CPUExecutionProvider)."""
        return "{} {} ({})".format(self.backend, self.role.partition("_")[0], self.device or self.name)

    def open(self, golden: Golden) -> Classifier:
        """The classifier, open and held against the golden answers.

        Raises BackendError or BundleError, also for what nobody expects of a library: there may be a next candidate.
        """
        classifier = self.make()
        try:
            classifier.open()
            if self.device and classifier.device != self.device:
                raise DeviceError((classifier.notes or ["{} could not be used".format(self.device)])[-1])
            check(classifier, golden)
        except BaseException as error:
            classifier.close()
            if isinstance(error, Exception) and not isinstance(error, ScrapsortError):
                raise BackendError("unexpected: {!r}".format(error))
            raise
        return classifier


class Choice(NamedTuple):
    """What there is to choose from."""

    usable: List[Candidate]  # best first
    reasons: List[str]  # why something better is not among them, a line each
    remarks: List[str]  # likewise, but what nobody misses: a laptop has no TensorRT


def candidates(bundle: Bundle, backend: str = "auto", precision: str = "auto", state: str = "",
               cuda_memory: str = "copy") -> Choice:
    """What answers for bundle, best first; backend, precision and cuda_memory as in [model] of the settings.

    state: the folder whose engines may be used; empty: none. Opens nothing and raises nothing: what is missing is
    among the reasons.
    """
    usable: List[Candidate] = []
    reasons: List[str] = []
    remarks: List[str] = []
    if backend != "onnxruntime" and (state or backend == "tensorrt"):
        usable, reasons, remarks = _of_plans(bundle, precision, plans.folder_of(state), cuda_memory)
        if backend == "tensorrt":
            reasons, remarks = reasons + remarks, []
    if backend != "tensorrt":
        try:
            usable = usable + _of_onnx(bundle, precision)
        except BackendError as error:  # it is not installed
            remarks = remarks + ["nothing to fall back to: {}".format(error)]
    return Choice(usable, reasons, remarks)


def open_classifier(bundle: Bundle, backend: str = "auto", precision: str = "auto", state: str = "",
                    cuda_memory: str = "copy") -> Classifier:
    """Open the classifier that was asked for, checked against the bundle's golden answers.

    backend: auto, tensorrt or onnxruntime; precision: auto, fp32, fp16 or int8; state: the folder whose engines may
    be used; cuda_memory: copy or mapped, of the tensorrt backend. What fails the golden check or cannot be loaded is
    passed over and named in the result's notes. Raises BackendError or BundleError.
    """
    choice = candidates(bundle, backend, precision, state, cuda_memory)
    first = open_first(bundle, backend, precision, choice, bundle.golden())
    first.classifier.notes += choice.reasons + once(first.passed_over.values())
    return first.classifier


class First(NamedTuple):
    """What open_first has opened."""

    candidate: Candidate
    classifier: Classifier
    passed_over: Dict[Tuple[Any, ...], str]  # why each better one is not used, by its key


def open_first(bundle: Bundle, backend: str, precision: str, choice: Choice, golden: Golden) -> First:
    """The first of choice that opens; the last one's error if none does. backend and precision: for its words."""
    if not choice.usable:
        raise _nothing(bundle, backend, precision, choice.reasons)
    whys: Dict[Tuple[Any, ...], str] = {}
    for candidate in choice.usable:
        if candidate.key in whys:
            continue
        try:
            return First(candidate, candidate.open(golden), whys)
        except (BackendError, BundleError) as error:
            if candidate is choice.usable[-1]:
                raise error if candidate.backend != "tensorrt" else type(error)(_with_remedy(str(error)))
            whys.update(why_not(candidate, error, choice.usable))
    raise BackendError("; ".join(once(whys.values())))  # only where ONNX Runtime can do CUDA but no CPU


def why_not(candidate: Candidate, error: Exception, usable: Sequence[Candidate]) -> Dict[Tuple[Any, ...], str]:
    """The line about a candidate that cannot be opened, by its key; of a missing device, for all of usable on it."""
    line = "{} passed over: {}".format(candidate.name, error)
    if candidate.backend == "tensorrt":
        line = _with_remedy(line)
    return {one.key: line for one in usable
            if one is candidate or (isinstance(error, DeviceError) and one.device == candidate.device)}


def once(lines: Iterable[str]) -> List[str]:
    """The lines in their order, each once."""
    return list(OrderedDict.fromkeys(lines))


def explain(bundle: Bundle, backend: str = "auto", precision: str = "auto", state: str = "",
            cuda_memory: str = "copy") -> List[str]:
    """For doctor: what would be tried, in order, then why what would be better is not among it; a line each."""
    choice = candidates(bundle, backend, precision, state, cuda_memory)
    order = ", then ".join(candidate.text for candidate in choice.usable)
    return ["in this order: {}".format(order or "nothing")] + choice.reasons + choice.remarks


def _of_plans(bundle: Bundle, precision: str, folder: str, cuda_memory: str) -> Choice:
    """The TensorRT plans of this bundle in folder that fit this machine."""
    precisions = [name for name in plans.SIMPLER
                  if plans.ROLE_OF[name] in bundle.files and precision in ("auto", name)]
    found: List[plans.Plan] = []
    reasons: List[str] = []
    slower: List[str] = []  # and what else nobody misses
    try:
        classifier, fingerprint = _tensorrt()
        for name in precisions:
            fitting, troubles = plans.fitting(folder, fingerprint(bundle, name))
            reasons += [trouble for trouble in troubles if trouble not in reasons]
            for plan in fitting:
                if plan.sidecar.slower and precision == "auto":
                    slower.append("{}: {}".format(plan.path, plan.sidecar.slower))
                else:
                    found.append(plan)
    except BackendError as error:
        why = ["tensorrt: {}".format(error)]
        return Choice([], why, []) if _is_wanted(folder) else Choice([], [], why)
    if not precisions:  # on a laptop nobody has asked for one
        (reasons if _is_wanted(folder) else slower).append(
            "{}: has no model for a TensorRT engine of precision {}; it has {}".format(
                bundle.path, precision, ", ".join(sorted(bundle.files))))
    elif not found and not reasons:
        reasons.append("no engine {}for {} {} in {}; {}".format(
            "" if precision == "auto" else "of precision {} ".format(precision), bundle.name, bundle.version, folder,
            REMEDY))
    usable = [Candidate("tensorrt", plan.sidecar.role, "", "plan {}".format(plan.name), _rank_of(plan), _key_of(plan),
                        functools.partial(classifier, bundle, plan, cuda_memory)) for plan in found]
    return Choice(sorted(usable, key=lambda candidate: candidate.rank), reasons, slower)


def _tensorrt() -> Any:
    """The class of the tensorrt backend, and what makes fingerprints. Nothing of NVIDIA's is imported before."""
    try:
        from edge.classifier.tensorrt import TensorRtClassifier, fingerprint
    except ImportError as error:
        raise BackendError("cannot be used: {}".format(error))
    return TensorRtClassifier, fingerprint


def _is_wanted(folder: str) -> bool:
    """Whether something here speaks for TensorRT, so that its absence is worth a word."""
    try:
        installed = importlib.util.find_spec("tensorrt") is not None
    except ValueError:  # a module that was made up
        installed = True
    return installed or board.read().is_jetson or any(
        name.endswith(".plan") for name in (os.listdir(folder) if os.path.isdir(folder) else []))


def _rank_of(plan: plans.Plan) -> Tuple[float, ...]:
    """By measured latency; what was not measured comes last, the lowest precision first."""
    p50_ms = plan.sidecar.latency_ms.get("p50")
    simplicity = -plans.SIMPLER.index(plan.sidecar.fingerprint.precision)
    return 0, p50_ms if isinstance(p50_ms, (int, float)) else float("inf"), simplicity


def _key_of(plan: plans.Plan) -> Tuple[Any, ...]:
    try:
        status = os.stat(plan.path)
    except OSError:
        return plan.path, plan.sidecar.plan_sha256
    return plan.path, plan.sidecar.plan_sha256, status.st_mtime_ns, status.st_size


def _of_onnx(bundle: Bundle, precision: str) -> List[Candidate]:
    """ONNX Runtime's candidates. Raises BackendError when it is not installed."""
    usable = []
    for tier, provider, auto, on in ((1, CUDA, AUTO_CUDA, " on CUDA"), (2, CPU, AUTO_CPU, "")):
        roles = auto if precision == "auto" else ROLES_OF[precision]
        for number, role in enumerate(roles):
            if provider in providers() and role in bundle.files:
                wanted = [provider] if provider == CPU else [provider, CPU]
                usable.append(Candidate("onnxruntime", role, provider, role + on, (tier, number), (provider, role),
                                        functools.partial(OnnxRuntimeClassifier, bundle, role, wanted)))
    return usable


def _nothing(bundle: Bundle, backend: str, precision: str, reasons: Sequence[str]) -> Exception:
    """The error when there is no candidate at all."""
    if backend == "tensorrt":
        return BackendError("; ".join(reasons))
    try:
        providers()
    except BackendError as error:
        return error
    return BundleError("; ".join(["{}: has no model for precision {}; it has {}".format(
        bundle.path, precision, ", ".join(sorted(bundle.files)))] + list(reasons)))


def _with_remedy(line: str) -> str:
    """A line about an engine, with what to do."""
    return line if REMEDY in line else "{}; {}".format(line, REMEDY)

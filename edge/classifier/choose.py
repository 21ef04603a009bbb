"""Which model answers: backend and precision as asked for, or the fastest that gives the golden answers."""

from typing import List

from edge.bundles import Bundle, Golden
from edge.classifier.base import Classifier
from edge.classifier.golden import check
from edge.classifier.onnxruntime import CUDA, OnnxRuntimeClassifier, providers
from edge.errors import BackendError, BundleError

ROLES_OF = {"fp32": ["fp32"], "fp16": ["fp16"], "int8": ["int8_cpu"]}
AUTO_CPU = ["int8_cpu", "fp32", "fp16"]  # fastest first; measured by `python3 -m benchmarks latency`
AUTO_CUDA = ["fp16", "fp32", "int8_cpu"]  # QDQ made for CPUs is slow there


def open_classifier(bundle: Bundle, backend: str = "auto", precision: str = "auto") -> Classifier:
    """Open the classifier that was asked for, checked against the bundle's golden answers.

    backend: auto or onnxruntime; precision: auto, fp32, fp16 or int8. With auto, a role that fails the golden check
    or cannot be loaded is passed over and named in the result's notes. Raises BackendError or BundleError.
    """
    golden = bundle.golden()
    if precision != "auto":
        return _open_first(bundle, _roles(bundle, ROLES_OF[precision], precision), golden)
    expects_cuda = providers()[0] == CUDA
    classifier = _open_first(bundle, _roles(bundle, AUTO_CUDA if expects_cuda else AUTO_CPU), golden)
    if expects_cuda and classifier.device != CUDA:
        # CUDA is installed but not usable: what is fastest there is not what is fastest here
        notes = classifier.notes
        classifier.close()
        classifier = _open_first(bundle, _roles(bundle, AUTO_CPU), golden)
        classifier.notes = notes + [note for note in classifier.notes if note not in notes]
    return classifier


def _open_first(bundle: Bundle, roles: List[str], golden: Golden) -> Classifier:
    """The first of roles that loads and gives the golden answers; the last one's error if none does."""
    passed_over: List[str] = []
    for role in roles:
        classifier = OnnxRuntimeClassifier(bundle, role)
        try:
            classifier.open()
            check(classifier, golden)
        except (BackendError, BundleError) as error:
            classifier.close()
            if role == roles[-1]:
                raise
            passed_over.append("{} passed over: {}".format(role, error))
            continue
        classifier.notes += passed_over
        return classifier
    raise AssertionError("unreachable: _roles is never empty")


def _roles(bundle: Bundle, wanted: List[str], precision: str = "auto") -> List[str]:
    roles = [role for role in wanted if role in bundle.files]
    if not roles:
        raise BundleError("{}: has no model for precision {}; it has {}".format(
            bundle.path, precision, ", ".join(sorted(bundle.files))))
    return roles

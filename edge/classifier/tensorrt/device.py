"""What a plan depends on, as this machine has it."""

import contextlib
import io
from typing import Any

from edge import board
from edge.bundles import Bundle
from edge.classifier.cuda import first_line, version_text
from edge.errors import BackendError
from edge.plans import ROLE_OF, Fingerprint


def fingerprint(bundle: Bundle, precision: str) -> Fingerprint:
    """What a plan of this precision must have been made from and for, to be used here.

    Raises BackendError with the reason when the bundle has no such model, or TensorRT, pycuda or a GPU is missing.
    """
    role = ROLE_OF[precision]
    if role not in bundle.files:
        raise BackendError("{}: has no {} model, which a TensorRT engine of precision {} is built from; it has {}; "
                           "run on a workstation: python3 -m trainer {}".format(
                               bundle.path, role, precision, ", ".join(sorted(bundle.files)),
                               "quantize" if role == "int8_trt" else "export"))
    trt, device = module(), gpu()
    major, minor = device.compute_capability()
    return Fingerprint(bundle.files[role].sha256, precision, trt.__version__, _cuda_version(), device.name(),
                       "{}.{}".format(major, minor), board.read().l4t)


def module() -> Any:
    """The module tensorrt. Raises BackendError with the remedy when there is none that can be used."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # stdout is for machines
            import tensorrt
    except (ImportError, OSError, AttributeError) as error:  # AttributeError: TensorRT 8 meets a newer NumPy
        raise BackendError("TensorRT is not there ({}); on a Jetson it comes with JetPack for the system's Python: "
                           "sudo apt-get install tensorrt python3-libnvinfer, and in a virtual environment "
                           "--system-site-packages".format(first_line(error)))
    if not hasattr(tensorrt, "Runtime"):
        raise BackendError("TensorRT is not whole: the module {} has no Runtime; sudo apt-get install --reinstall "
                           "python3-libnvinfer".format(getattr(tensorrt, "__file__", "tensorrt")))
    return tensorrt


def gpu() -> Any:
    """The first GPU, without a context on it. Raises BackendError."""
    from edge.classifier.cuda import _driver
    driver = _driver()
    try:
        driver.init()
        if not driver.Device.count():
            raise BackendError("CUDA: no GPU found; is the driver loaded?")
        return driver.Device(0)
    except driver.Error as error:
        raise BackendError("CUDA: {}; is the driver loaded, and is this user in the group video?".format(
            first_line(error)))


def _cuda_version() -> str:
    from edge.classifier.cuda import _driver
    return version_text(_driver().get_driver_version())

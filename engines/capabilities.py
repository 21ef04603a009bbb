"""Which precisions a board computes fast, and why another is refused."""

from typing import Any, List, NamedTuple, Optional, Tuple

from edge.bundles import Bundle
from edge.errors import UsageError
from edge.plans import ROLE_OF

DLA_UNTIL = (10, 7)  # the last TensorRT that drives a DLA with what we hand it


class Device(NamedTuple):
    """What is asked of a board before it builds."""

    gpu: str  # NVIDIA Tegra X1
    capability: Tuple[int, int]  # (5, 3)
    tensorrt: str  # 8.2.1.8

    def __str__(self) -> str:
        return "{} (compute capability {}.{}), TensorRT {}".format(self.gpu, self.capability[0], self.capability[1],
                                                                  self.tensorrt)


def fast_fp16(capability: Tuple[int, int]) -> bool:
    """Twice the rate of float32 or more: NVIDIA's CUDA C programming guide, table of arithmetic throughput."""
    return capability in ((5, 3), (6, 0), (6, 2)) or capability >= (7, 0)


def fast_int8(capability: Tuple[int, int]) -> bool:
    """Dot products of 8-bit integers: compute capability 6.1 and from 7.0, not Nano's 5.3 nor TX2's 6.2."""
    return capability == (6, 1) or capability >= (7, 0)


def refusal(precision: str, bundle: Bundle, device: Device, dla_core: Optional[int]) -> str:
    """Why an engine of this precision is not built here, with what to use instead; empty: it is."""
    role = ROLE_OF[precision]
    if precision == "int8" and not fast_int8(device.capability):
        return "{} has no fast INT8: it would be slower than FP16; use --precision fp16".format(device)
    if precision == "fp16" and not fast_fp16(device.capability):
        return "{} has no fast FP16; use --precision fp32".format(device)
    if role not in bundle.files:
        return "{} has no {} model, which {} is built from; it has {}; make it on a workstation with python3 -m " \
               "trainer {}".format(bundle.path, role, precision, ", ".join(sorted(bundle.files)),
                                   "quantize" if role == "int8_trt" else "export")
    if dla_core is not None and precision != "fp16":
        return "a DLA runs FP16 only here; use --precision fp16, or leave out --dla"
    return ""


def dla_refusal(device: Device, dla_cores: int, dla_core: int) -> str:
    """Why there is no such DLA core to build for; empty: there is."""
    if version(device.tensorrt)[:2] > DLA_UNTIL:
        return "TensorRT {} drives no DLA (the last that does is {}.{}); leave out --dla".format(
            device.tensorrt, *DLA_UNTIL)
    if dla_cores == 0:
        return "{} has no DLA; leave out --dla".format(device)
    if dla_core >= dla_cores:
        return "{} has the DLA cores 0 to {}; --dla {} is none of them".format(device, dla_cores - 1, dla_core)
    return ""


def chosen(wanted: List[str], bundle: Bundle, device: Device, dla_core: Optional[int]) -> List[str]:
    """The precisions to build, simplest first: those wanted, or with auto all that this board is good for.

    Raises UsageError for the first one wanted by name that is refused.
    """
    if "auto" in wanted:
        best = [p for p in ("fp16", "int8") if not refusal(p, bundle, device, dla_core)]
        if not best and not refusal("fp32", bundle, device, dla_core):
            best = ["fp32"]
        if not best:
            raise UsageError("--precision auto: " + refusal("fp16", bundle, device, dla_core))
        return best
    for precision in wanted:
        why = refusal(precision, bundle, device, dla_core)
        if why:
            raise UsageError("--precision {}: {}".format(precision, why))
    return [p for p in ROLE_OF if p in wanted]


def version(text: str) -> Tuple[int, ...]:
    """(8, 2, 1, 8) of 8.2.1.8; what is no number ends it."""
    numbers: List[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def ask(driver_device: Any, tensorrt_version: str) -> Device:
    """The Device of a pycuda.driver.Device."""
    return Device(driver_device.name(), tuple(driver_device.compute_capability()), tensorrt_version)

"""What doctor looks at, by noun. Each check takes a Place, so that a folder can stand in for the machine.

What only a Jetson has is looked at on a Jetson alone: elsewhere it is one line.
"""

from typing import List

from edge import board as board_module
from edge.health.checks.board import board
from edge.health.checks.cuda import cuda, pycuda, tensorrt
from edge.health.checks.finding import NOTE, OK, WRONG, Finding
from edge.health.checks.jtop import jtop
from edge.health.checks.memory import memory
from edge.health.checks.packages import packages
from edge.health.checks.place import Interpreter, Place
from edge.health.checks.plans import may_have_engines, plans

__all__ = ["NOTE", "OK", "WRONG", "Finding", "Interpreter", "Place", "machine", "may_have_engines", "packages", "plans"]


def machine(place: Place, needs_tensorrt: bool = False) -> List[Finding]:
    """Board, JetPack, power, CUDA, TensorRT, pycuda, jtop and memory.

    needs_tensorrt: the settings ask for it, so that what is missing for it is wrong, not only slower.
    """
    which = board_module.read(place.root)
    if not which.is_jetson:
        return [Finding(OK, "board", "not a Jetson; the CPU or a graphics card is used")]
    findings = board(place, which)
    for check in (cuda, tensorrt, pycuda):
        findings += check(place, which, WRONG if needs_tensorrt else NOTE)
    return findings + jtop(place) + memory(place)

"""Which Jetson, which JetPack, and whether it runs as fast as it may."""

import re
from typing import Dict, List, Tuple

from edge.board import Board
from edge.health.checks.finding import NOTE, OK, Finding
from edge.health.checks.place import Place
from edge.health.sysfs import Sysfs
from edge.health.telemetry import Telemetry

RELEASE = "/etc/nv_tegra_release"
FIRST_L4T = (32, 7)  # JetPack 4.6.1, the first with TensorRT 8.2


def board(place: Place, which: Board) -> List[Finding]:
    """The board, its JetPack, its power mode and clocks."""
    parts = [which.model or "a Jetson"]
    if which.compute_capability:
        parts += ["compute capability " + which.compute_capability,
                  "{} DLA cores".format(which.dla_cores) if which.dla_cores else "no DLA"]
    if place.in_container:
        parts.append("in a container")
    return [Finding(OK, "board", ", ".join(parts)), _jetpack(place, which)] + _power(place)


def _jetpack(place: Place, which: Board) -> Finding:
    if not which.l4t:
        return Finding(NOTE, "jetpack", "which one is not known: there is no {}".format(RELEASE),
                       "start the container with --volume {0}:{0}:ro".format(RELEASE) if place.in_container else
                       "sudo apt-get install --reinstall nvidia-l4t-core")
    text = "JetPack {} (L4T {})".format(which.jetpack or "that this version does not know", which.l4t)
    if tuple(int(part) for part in which.l4t.split(".")[:2]) < FIRST_L4T:
        return Finding(NOTE, "jetpack", text + ": older than 4.6.1, its TensorRT cannot be used",
                       "flash JetPack 4.6.1 or newer")
    return Finding(OK, "jetpack", text)


def _power(place: Place) -> List[Finding]:
    sysfs = Sysfs(place.root)
    with Telemetry(place.root) as telemetry:
        now = telemetry.read()
    modes, mode = sysfs.power_modes(), sysfs.power_mode()
    findings = []
    if mode is not None:
        name, best = modes.get(mode, "?"), best_mode(modes)
        text = "nvpmodel {} ({})".format(mode, name)
        findings.append(Finding(OK, "power", text) if mode == best else Finding(
            NOTE, "power", "{}: mode {} ({}) is faster".format(text, best, modes.get(best, "MAXN")),
            "sudo nvpmodel -m {}".format(best)))
    elif now.nvpmodel:  # of jetson-stats, as in a container, which tells no other modes
        findings.append(Finding(OK, "power", "nvpmodel " + now.nvpmodel))
    if now.jetson_clocks is not None:
        findings.append(Finding(OK, "clocks", "locked at their highest (jetson_clocks)") if now.jetson_clocks else
                        Finding(NOTE, "clocks", "follow the load: single items take longer than they need",
                                "sudo jetson_clocks"))
    return findings


def best_mode(modes: Dict[int, str]) -> int:
    """The fastest of nvpmodel's modes: not always 0 (Xavier NX: 8, Orin Nano Super: 2), and never the highest number.

    MAXN has no limit; where there is none, the most watts, then the most cores.
    """
    def speed(number: int) -> Tuple[bool, bool, int, int, int]:
        name = modes[number].upper()
        watts, cores = re.search(r"(\d+)W", name), re.search(r"(\d+)_?CORE", name)
        return ("MAXN" in name, "SUPER" in name, int(watts.group(1)) if watts else 0,
                int(cores.group(1)) if cores else 0, -number)
    return max(modes, key=speed) if modes else 0


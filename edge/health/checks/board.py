"""Which Jetson, which JetPack, and whether it runs as fast as it may."""

import re
from typing import Dict, List, Optional, Tuple

from edge.board import Board
from edge.health.checks.finding import NOTE, OK, Finding
from edge.health.checks.place import Place

RELEASE = "/etc/nv_tegra_release"
FIRST_L4T = (32, 7)  # JetPack 4.6.1, the first with TensorRT 8.2
# Where `nvpmodel -m` keeps its choice as `pmode:0002`, and the modes that there are: both can be read without root
MODE, MODES = "/var/lib/nvpmodel/status", "/etc/nvpmodel.conf"
GPUS = ("*gpu*", "*.gp10b", "*.gv11b", "*.ga10b")  # names of the GPU among devfreq's devices, by generation


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
    modes, default = read_modes(place)
    chosen = re.search(r"pmode:(\d+)", place.text(MODE))
    mode = int(chosen.group(1)) if chosen else default
    locked = clocks_locked(place)
    findings = []
    if mode is not None:
        name, best = modes.get(mode, "?"), best_mode(modes)
        text = "nvpmodel {} ({})".format(mode, name)
        findings.append(Finding(OK, "power", text) if mode == best else Finding(
            NOTE, "power", "{}: mode {} ({}) is faster".format(text, best, modes.get(best, "MAXN")),
            "sudo nvpmodel -m {}".format(best)))
    if locked is not None:
        findings.append(Finding(OK, "clocks", "locked at their highest (jetson_clocks)") if locked else Finding(
            NOTE, "clocks", "follow the load: single items take longer than they need", "sudo jetson_clocks"))
    return findings


def read_modes(place: Place) -> Tuple[Dict[int, str], Optional[int]]:
    """nvpmodel's modes by number, and the one that it starts with."""
    text = place.text(MODES)
    modes = {int(number): name for number, name in re.findall(
        r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", text, re.MULTILINE)}
    default = re.search(r"^\s*<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>", text, re.MULTILINE)
    return modes, int(default.group(1)) if default else None


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


def clocks_locked(place: Place) -> Optional[bool]:
    """Whether CPU and GPU clocks are held at their highest, as jetson_clocks does; None: not to be seen here."""
    pairs = [(place.text(path), place.text(path.replace("_min_", "_max_"))) for path in
             place.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_min_freq")]
    gpus = sorted({path for name in GPUS for path in place.glob("/sys/class/devfreq/{}/min_freq".format(name))})
    pairs += [(place.text(path), place.text(path.replace("min_freq", "max_freq"))) for path in gpus]
    return all(low == high for low, high in pairs) if pairs else None

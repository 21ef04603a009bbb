"""Which board this is: what the system itself tells, without asking CUDA."""

import os
import re
from typing import Dict, NamedTuple, Optional, Tuple

# By the chip that the device tree names as compatible: compute capability and DLA cores (facts of NVIDIA's manuals)
CHIPS: Dict[str, Tuple[str, int]] = {
    "nvidia,tegra210": ("5.3", 0),  # Nano, TX1
    "nvidia,tegra186": ("6.2", 0),  # TX2
    "nvidia,tegra194": ("7.2", 2),  # Xavier
    "nvidia,tegra234": ("8.7", 2),  # Orin; the Orin Nano has no DLA
    "nvidia,tegra264": ("11.0", 0),  # Thor
}
NO_DLA = "Orin Nano"
# JetPack by L4T release, as NVIDIA's archive lists them; a later patch of the same line falls to the last one known
JETPACKS: Dict[str, str] = {"32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4",
                            "32.7.5": "4.6.5", "32.7.6": "4.6.6", "35.1.0": "5.0.2", "35.2.1": "5.1",
                            "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4",
                            "36.2.0": "6.0 DP", "36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1"}


class Board(NamedTuple):
    """A Jetson, or any other machine: then model, chip, l4t and jetpack are empty."""

    model: str = ""  # NVIDIA Jetson Nano Developer Kit
    chip: str = ""  # nvidia,tegra210
    l4t: str = ""  # 32.7.4
    jetpack: str = ""  # 4.6.4
    compute_capability: str = ""  # 5.3; empty: ask CUDA
    dla_cores: int = 0

    @property
    def is_jetson(self) -> bool:
        """Whether this is a Jetson, or a container on one."""
        return bool(self.chip or self.l4t)


def read(root: str = "/") -> Board:
    """What the device tree and /etc/nv_tegra_release below root say; never raises."""
    model = _text(root, "proc/device-tree/model").strip("\0\n ")
    compatible = _text(root, "proc/device-tree/compatible").split("\0")
    chip = next((name for name in compatible if name in CHIPS), "")
    l4t = _l4t(_text(root, "etc/nv_tegra_release"))
    capability, dla_cores = CHIPS.get(chip, ("", 0))
    return Board(model if chip else "", chip, l4t, JETPACKS.get(l4t, ""), capability,
                 0 if NO_DLA in model else dla_cores)


def memory_mb(root: str = "/") -> Optional[Dict[str, int]]:
    """MemTotal, MemAvailable, SwapTotal and SwapFree in MB of 1,000,000 bytes; None where there is no /proc."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(root, "proc/meminfo"), re.MULTILINE))
    names = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    return {name: int(found.get(name, 0)) * 1024 // 1000000 for name in names} if "MemTotal" in found else None


def _l4t(release: str) -> str:
    """32.7.4 out of `# R32 (release), REVISION: 7.4, GCID: …`."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", release)
    return "{}.{}".format(*match.groups()) if match else ""


def _text(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

"""Which board this is: what the system itself tells, without asking CUDA."""

import os
import re
from typing import Dict, NamedTuple, Optional, Tuple

# By the chip that the device tree names as compatible: compute capability and DLA cores. Compute capabilities: NVIDIA's
# table at developer.nvidia.com/cuda-gpus and, of older chips, cuda-legacy-gpus (Thor was 10.1 before CUDA 13). DLA:
# the modules' data sheets; Thor has none.
CHIPS: Dict[str, Tuple[str, int]] = {
    "nvidia,tegra210": ("5.3", 0),  # Nano, TX1
    "nvidia,tegra186": ("6.2", 0),  # TX2
    "nvidia,tegra194": ("7.2", 2),  # Xavier
    "nvidia,tegra234": ("8.7", 2),  # Orin; the Orin Nano has no DLA, the 8 GB Orin NX one core
    "nvidia,tegra264": ("11.0", 0),  # Thor
}
NO_DLA = "Orin Nano"
# /sys/devices/soc0/soc_id, for containers, from which Docker hides the device tree: TEGRA210 and so on in the kernel's
# include/soc/tegra/fuse.h, as drivers/soc/tegra/fuse/fuse-tegra.c prints them, with the family Tegra
SOC_IDS = {0x21: "nvidia,tegra210", 0x18: "nvidia,tegra186", 0x19: "nvidia,tegra194", 0x23: "nvidia,tegra234",
           0x26: "nvidia,tegra264"}
# JetPack by L4T release, from NVIDIA's JetPack archive (developer.nvidia.com/embedded/jetpack-archive) and, where that
# names no patch, the release notes of Jetson Linux. A patch that is not listed is named after the one before it.
JETPACKS: Dict[str, str] = {"32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4",
                            "32.7.5": "4.6.5", "32.7.6": "4.6.6", "35.1.0": "5.0.2", "35.2.1": "5.1",
                            "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4",
                            "35.6.1": "5.1.5", "36.2.0": "6.0 DP", "36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2",
                            "36.4.4": "6.2.1", "36.5.0": "6.2.2", "38.2.0": "7.0", "38.4.0": "7.1", "39.2.0": "7.2"}


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
    """What the device tree, or else the chip's own id, and /etc/nv_tegra_release below root say; never raises."""
    model = _text(root, "proc/device-tree/model")
    compatible = _text(root, "proc/device-tree/compatible").split("\0")
    chip = next((name for name in compatible if name in CHIPS), "")
    if not chip:
        chip = _chip_by_id(root)
        model = model or _text(root, "sys/devices/soc0/machine")
    model = model.strip("\0\n ")
    l4t = _l4t(_text(root, "etc/nv_tegra_release"))
    capability, dla_cores = CHIPS.get(chip, ("", 0))
    return Board(model if chip else "", chip, l4t, _jetpack(l4t), capability, 0 if NO_DLA in model else dla_cores)


def memory_mb(root: str = "/") -> Optional[Dict[str, int]]:
    """MemTotal, MemAvailable, SwapTotal and SwapFree in MB of 1,000,000 bytes; None where there is no /proc."""
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(root, "proc/meminfo"), re.MULTILINE))
    names = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree")
    return {name: int(found.get(name, 0)) * 1024 // 1000000 for name in names} if "MemTotal" in found else None


def _chip_by_id(root: str) -> str:
    number = _text(root, "sys/devices/soc0/soc_id").strip()
    of_tegra = _text(root, "sys/devices/soc0/family").startswith("Tegra")
    return SOC_IDS.get(int(number), "") if of_tegra and number.isdigit() else ""


def _jetpack(l4t: str) -> str:
    """That of the release, or of the nearest one before it of the same line, such as 36.4; empty: not known."""
    if not l4t:
        return ""
    known = {_numbers(release): name for release, name in JETPACKS.items()}
    before = [release for release in known if release[:2] == _numbers(l4t)[:2] and release <= _numbers(l4t)]
    return known[max(before)] if before else ""


def _numbers(release: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _l4t(release: str) -> str:
    """32.7.4 out of `# R32 (release), REVISION: 7.4, GCID: …`."""
    match = re.search(r"R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", release)
    return "{}.{}".format(*match.groups()) if match else ""


def _text(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

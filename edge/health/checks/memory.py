"""Whether there is memory enough to build an engine."""

import re
from typing import List

from edge import board
from edge.health.checks.finding import NOTE, OK, Finding
from edge.health.checks.place import Place

NEEDED_MB = 2000  # CUDA, TensorRT and its builder at work on a ResNet18; below it the kernel may kill the builder
SWAP_FILE = "/var/swapfile"
MAKE_SWAP = ("sudo fallocate -l 4G {0} && sudo chmod 600 {0} && sudo mkswap {0} && sudo swapon {0}\n"
             "echo '{0} none swap sw 0 0' | sudo tee -a /etc/fstab").format(SWAP_FILE)


def memory(place: Place) -> List[Finding]:
    """Memory that is free, and swap. Free zram counts half: what is swapped there stays in memory, compressed."""
    mb = board.memory_mb(place.root)
    if mb is None:
        return []
    disk, zram = _free_swap_mb(place)
    swap = "swap {} MB free{}".format(disk + zram, ", {} of them zram".format(zram) if zram else "") \
        if disk or zram else "no swap"
    text = "{} of {} MB available, {}".format(mb["MemAvailable"], mb["MemTotal"], swap)
    if mb["MemAvailable"] + disk + zram // 2 >= NEEDED_MB:
        return [Finding(OK, "memory", text)]
    return [Finding(NOTE, "memory", text + ": the builder of engines may be killed", "stop what else runs, such as the "
                    "desktop: sudo systemctl isolate multi-user.target" + ("" if place.in_container or disk
                                                                           else "\n" + MAKE_SWAP))]


def _free_swap_mb(place: Place) -> List[int]:
    """Free swap in MB of 1,000,000 bytes: on disks, and in zram."""
    free = [0, 0]
    for name, size, used in re.findall(r"^(/\S+)\s+\S+\s+(\d+)\s+(\d+)", place.text("/proc/swaps"), re.MULTILINE):
        free["/zram" in name] += (int(size) - int(used)) * 1024 // 1000000
    return free

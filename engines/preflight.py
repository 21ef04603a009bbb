"""Whether a build has the memory and the disk it takes, before it takes hours to find out."""

import os
import shutil
from typing import Optional

from edge import board
from edge.errors import BackendError

LIBRARIES_MB = 500  # TensorRT, cuDNN and cuBLAS with their kernels, once loaded
LEAST_WORKSPACE_MB = 16
SMALL_MACHINE_MB = 5000  # a Nano
PLAN_MB = 100  # the largest plan, its copy while it is written, and the timing cache


def workspace_mb(wanted: Optional[int], root: str = "/") -> int:
    """The workspace to build with: as wanted, or by the machine's size, and no more than its memory holds now.

    Raises BackendError when memory is too short for any.
    """
    memory = board.memory_mb(root)
    if memory is None:
        return wanted or 256
    size = wanted or (256 if memory["MemTotal"] < SMALL_MACHINE_MB else 1024)
    free = memory["MemAvailable"] + memory["SwapFree"]
    if free < LIBRARIES_MB + LEAST_WORKSPACE_MB:
        raise BackendError(
            "{} MB of memory and swap are free, {} are needed to build: stop the desktop (sudo systemctl isolate "
            "multi-user.target) or add swap (sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile && sudo mkswap "
            "/swapfile && sudo swapon /swapfile)".format(free, LIBRARIES_MB + LEAST_WORKSPACE_MB))
    return max(LEAST_WORKSPACE_MB, min(size, free - LIBRARIES_MB))


def check_disk(folder: str) -> None:
    """Raises BackendError when folder cannot be written, or has no room for a plan."""
    try:
        os.makedirs(folder, exist_ok=True)
        free_mb = shutil.disk_usage(folder).free // 1000000
    except OSError as error:
        raise BackendError("{}: cannot be made: {}; give another --state".format(folder, error.strerror or error))
    if not os.access(folder, os.W_OK):
        raise BackendError("{}: cannot be written; run as the user scrapsort, or give another --state".format(folder))
    if free_mb < PLAN_MB:
        raise BackendError("{}: {} MB are free, {} are needed for a plan; python3 -m engines prune frees old "
                           "ones".format(folder, free_mb, PLAN_MB))

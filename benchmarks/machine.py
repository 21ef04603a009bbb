"""What the figures were taken on, and the pictures they were taken with."""

import os
import platform
from typing import Any, Dict, List

import cv2
import numpy as np

import edge
from edge.frames.drawn import MATERIALS, draw_named

DRAWN_PICTURES = 60


def describe() -> Dict[str, Any]:
    """Processor, cores and versions."""
    import onnxruntime
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__, "numpy": np.__version__,
            "scrapsort": edge.__version__}


def draw_folder(folder: str, count: int = DRAWN_PICTURES) -> List[str]:
    """Write count drawn items, 384 x 512 JPEG of quality 80 as TrashNet has them, and return their paths."""
    paths = []
    for number in range(count):
        path = os.path.join(folder, "item{}.jpg".format(number))
        cv2.imwrite(path, draw_named(MATERIALS[number % len(MATERIALS)], number), [cv2.IMWRITE_JPEG_QUALITY, 80])
        paths.append(path)
    return paths


def percentiles(values_ms: List[float]) -> Dict[str, float]:
    """p50, p95, p99 and max."""
    p50, p95, p99 = np.percentile(values_ms, (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(max(values_ms))}


def print_table(rows: Dict[str, Dict[str, float]]) -> None:
    """Rows of percentiles as a Markdown table."""
    print("| stage | p50 ms | p95 ms | p99 ms | max ms |\n|---|---|---|---|---|")
    for name, row in rows.items():
        print("| {} | {p50:.3f} | {p95:.3f} | {p99:.3f} | {max:.3f} |".format(name, **row))

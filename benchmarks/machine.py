"""What the figures were taken on, and the pictures they were taken with."""

import importlib
import importlib.util
import os
import platform
from typing import Any, Dict, List

import cv2
import numpy as np

import edge
from edge import board
from edge.frames.drawn import MATERIALS, draw_named

DRAWN_PICTURES = 60


def describe() -> Dict[str, Any]:
    """Processor or board, cores and versions; those of TensorRT and pycuda where they are."""
    import onnxruntime
    this = board.read()
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    found = {"processor": this.model or model, "cores": os.cpu_count(), "python": platform.python_version(),
             "onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__, "numpy": np.__version__,
             "scrapsort": edge.__version__}
    for name in ("tensorrt", "pycuda"):
        if importlib.util.find_spec(name) is not None:
            found[name] = _version(name)
    if this.is_jetson:
        found["board"] = dict(this._asdict())
    return found


def _version(package: str) -> str:
    try:
        module = importlib.import_module(package)
    except Exception as error:  # a binding without its libraries fails in its own ways
        return "cannot be imported: {}".format(error)
    return str(getattr(module, "__version__", getattr(module, "VERSION_TEXT", "?")))


def lend_engines(state: str, to: str) -> str:
    """Make the state folder `to`, in which the engines of another one are found, too; returns it."""
    os.makedirs(to, exist_ok=True)
    engines, link = os.path.join(os.path.abspath(state), "engines"), os.path.join(to, "engines")
    if os.path.isdir(engines) and not os.path.lexists(link):
        os.symlink(engines, link)
    return to


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

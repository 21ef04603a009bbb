"""The naive way, as prototypes do it: PIL, float64, session.run, and a CSV opened again for each row.

As a program: python3 -m benchmarks.naive MODEL.onnx FOLDER CSV prints {"items", "seconds"} as JSON.
"""

import csv
import json
import os
import sys
import time
from typing import Any, Sequence

import numpy as np

from edge.errors import UsageError

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Naive:
    """Classifies and logs one picture after another."""

    def __init__(self, model: Any, csv_path: str):
        """Raises UsageError when Pillow is missing. model: path or bytes of an ONNX file."""
        try:
            from PIL import Image
        except ImportError:
            raise UsageError("the naive way needs Pillow; run: python3 -m pip install pillow")
        import onnxruntime
        self._image, self._csv_path = Image, csv_path
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._height_px, self._width_px = self._session.get_inputs()[0].shape[2:]

    def item(self, path: str) -> int:
        """Classify one picture and log it; returns the class's index."""
        started = time.time()
        picture = self._image.open(path).convert("RGB").resize((self._width_px, self._height_px))
        array = (np.array(picture) / 255.0 - np.array(MEAN)) / np.array(STD)
        tensor = np.expand_dims(array.transpose(2, 0, 1), 0).astype(np.float32)
        logits = self._session.run(["logits"], {"image": tensor})[0][0]
        powers = np.exp(logits - logits.max())
        best = int(powers.argmax())
        with open(self._csv_path, "a", newline="") as file:
            csv.writer(file).writerow([time.strftime("%Y-%m-%d %H:%M:%S"), path, best,
                                       float(powers[best] / powers.sum()), (time.time() - started) * 1000])
        return best


def main(arguments: Sequence[str]) -> int:
    """Run over a folder."""
    model, folder, csv_path = arguments
    naive = Naive(model, csv_path)
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    for path in paths[:3]:
        naive.item(path)
    started = time.perf_counter()
    for path in paths:
        naive.item(path)
    print(json.dumps({"items": len(paths), "seconds": time.perf_counter() - started}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

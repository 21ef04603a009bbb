"""The process that tries a plan: golden answers, latency, layers. As compiler, it speaks JSON with its parent.

Its standard input: {"bundle": path, "plan": path, "sidecar": {…}}; its last line {"checked": {…}} or {"error": …}.
"""

import json
import sys
import time
from typing import Any, Dict

import numpy as np

from edge.bundles import Bundle
from edge.classifier.golden import compare
from edge.classifier.tensorrt import TensorRtClassifier
from edge.classifier.tensorrt.layers import count, tactics
from edge.errors import ScrapsortError
from edge.plans import Fingerprint, Plan, Sidecar
from engines.children import be_modest
from engines.compiler import speaker

WARM_UP, PICTURES = 50, 300
ANSWER_S = 30.0  # nobody waits for these; beside a belt that is being sorted, this process has to wait for a processor


def main() -> int:
    """Do what the request on standard input says."""
    be_modest()
    request = json.loads(sys.stdin.read())
    say = speaker()
    try:
        say({"checked": check(request)})
    except ScrapsortError as error:
        say({"error": str(error)})
        return 1
    return 0


def check(request: Dict[str, Any]) -> Dict[str, Any]:
    """golden, latency_ms, layers and tactics, as they stand in a sidecar. Raises BackendError and BundleError."""
    bundle = Bundle(request["bundle"])
    values = request["sidecar"]
    sidecar = Sidecar(**dict(values, fingerprint=Fingerprint(**values["fingerprint"])))
    classifier = TensorRtClassifier(bundle, Plan(request["plan"], sidecar))
    classifier.answer_s = ANSWER_S
    with classifier:
        golden = bundle.golden()
        result = compare(classifier, golden)
        times_ms = []
        for number in range(WARM_UP + PICTURES):
            started = time.perf_counter()
            classifier.classify_resized(golden.images_rgb[number % len(golden.images_rgb)])
            if number >= WARM_UP:
                times_ms.append((time.perf_counter() - started) * 1000)
        p50, p95, p99 = np.percentile(times_ms, (50, 95, 99))
        return {"golden": dict(result._asdict(), tolerance=bundle.files[sidecar.role].tolerance),
                "latency_ms": {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(times_ms),
                               "n": len(times_ms)},
                "layers": count(classifier.information()), "tactics": tactics(classifier.information())}


if __name__ == "__main__":
    sys.exit(main())

"""A classifier under steady load, pictures in memory to answers in memory: what published figures are about."""

import time
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from benchmarks.machine import percentiles
from benchmarks.sampling import OtherLoad, Sampler, Samples, Verdict, judge, summarise
from edge.health.telemetry import Telemetry

END_TO_END = "end to end"
CPU_PROVIDER = "CPUExecutionProvider"


class Steady(NamedTuple):
    """What was measured: milliseconds of each item by stage, over so many seconds, and the telemetry beside."""

    samples_ms: Dict[str, List[float]]  # by stage; the last one is END_TO_END
    seconds: float
    telemetry: Samples
    verdict: Verdict

    def as_dict(self) -> Dict[str, Any]:
        """For JSON, with the raw samples."""
        count, power = len(self.samples_ms[END_TO_END]), summarise(self.telemetry)
        values = {"items": count, "seconds": self.seconds, "items_per_s": count / self.seconds,
                  "latency_ms": percentiles(self.samples_ms[END_TO_END]),
                  "stages_ms": {name: percentiles(times) for name, times in self.samples_ms.items()},
                  "valid": self.verdict.word if self.verdict.valid is None else self.verdict.valid,
                  "reasons": list(self.verdict.reasons), "notes": list(self.verdict.notes), "machine_under_load": power,
                  "samples_ms": {name: [round(ms, 4) for ms in times] for name, times in self.samples_ms.items()},
                  "telemetry": [dict(reading.as_dict(), seconds=round(at_s, 3)) for at_s, reading in self.telemetry]}
        if power.get("total_mw"):
            values["joules_per_item"] = power["total_mw"] / 1000.0 * self.seconds / count
            values["items_per_joule"] = 1 / values["joules_per_item"]
        return values


def measure(classifier: Any, views: Sequence[np.ndarray], items: int, seconds: float, warm_up: int,
            telemetry: Telemetry) -> Steady:
    """Classify one picture after another, at least so many and for at least so long.

    views: pictures (h, w, 3) uint8 BGR. Raises BackendError when the backend fails.
    """
    classifier.timed = True
    try:
        for number in range(warm_up):
            classifier.classify([views[number % len(views)]])
        sampler, others = Sampler(telemetry), OtherLoad()
        with sampler:
            samples_ms, took_s = _load(classifier, views, items, seconds)
    finally:
        classifier.timed = False
    verdict = judge(sampler.samples, telemetry.trips_c, len(samples_ms[END_TO_END]), on_gpu(classifier),
                    others.share())
    return Steady(samples_ms, took_s, sampler.samples, verdict)


def on_gpu(classifier: Any) -> bool:
    """Whether a GPU does the work."""
    return classifier.backend == "tensorrt" or classifier.device not in ("", CPU_PROVIDER)


def _load(classifier: Any, views: Sequence[np.ndarray], items: int, seconds: float) -> Tuple[Dict[str, List[float]],
                                                                                          float]:
    stages: Dict[str, List[float]] = {}
    whole: List[float] = []
    started = ended = time.perf_counter()
    while len(whole) < items or ended - started < seconds:
        before = time.perf_counter()
        classifier.classify([views[len(whole) % len(views)]])
        ended = time.perf_counter()
        whole.append((ended - before) * 1000)
        for name, ms in classifier.stages_ms.items():
            stages.setdefault(name, []).append(ms)
    stages[END_TO_END] = whole
    return stages, ended - started

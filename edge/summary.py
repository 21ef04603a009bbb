"""Counts and latencies of a run, in memory that does not grow with it."""

import math
from collections import OrderedDict
from typing import Any, Dict, List, Sequence

from edge.decision import CLUSTER, ERROR, REVIEW, STRANGER
from edge.journal.record import Record


class Percentiles:
    """Percentiles of durations from 1 us to 1000 s, within 1 %, from counts in logarithmic bins."""

    LOWEST_MS, STEP = 0.001, math.log(1.01)

    def __init__(self) -> None:
        self._counts = [0] * 2084  # 1.01 ** 2083 is 1e9
        self.count = 0

    def add(self, duration_ms: float) -> None:
        """Count one duration."""
        bin_of = int(math.log(max(duration_ms, self.LOWEST_MS) / self.LOWEST_MS) / self.STEP)
        self._counts[min(bin_of, len(self._counts) - 1)] += 1
        self.count += 1

    def at(self, percent: float) -> float:
        """The duration in ms that percent of all are at or below; 0 when there are none."""
        rank, seen = max(1, math.ceil(self.count * percent / 100)), 0
        for bin_of, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return self.LOWEST_MS * math.exp((bin_of + 0.5) * self.STEP)
        return 0.0


class Summary:
    """What a run adds up to."""

    def __init__(self, classes: Sequence[str], started_mono_s: float):
        self.by_class: Dict[str, int] = OrderedDict((name, 0) for name in classes)
        self.items = self.low_confidence = self.strangers = self.clusters = 0
        self.overrides = self.queued = self.errors = 0
        self.items_not_kept = self.pictures_not_kept = 0  # by the journal, known at the end
        self.latency = Percentiles()
        self.ejections: Dict[str, int] = {}  # the ejector's own counts; empty: there is none
        self._started_mono_s = started_mono_s

    def add(self, record: Record) -> None:
        """Count one item."""
        self.items += 1
        self.queued += bool(record.queue_reason)
        if record.decision == ERROR or record.class_name is None:
            self.errors += 1
            return
        self.by_class[record.class_name] += 1
        self.low_confidence += record.decision == REVIEW  # as the flag: whatever the reason
        self.strangers += record.review_reason == STRANGER
        self.clusters += record.review_reason == CLUSTER
        self.overrides += record.override is not None and record.override.class_name != record.class_name
        self.latency.add(record.total_ms)

    def as_dict(self, now_mono_s: float) -> Dict[str, Any]:
        """The summary as plain values; items_per_s counts from the start of the loop until now_mono_s."""
        seconds = max(now_mono_s - self._started_mono_s, 1e-9)
        return {"items": self.items, "by_class": dict(self.by_class), "low_confidence": self.low_confidence,
                "strangers": self.strangers, "clusters": self.clusters, "overrides": self.overrides,
                "queued": self.queued, "errors": self.errors, "items_not_kept": self.items_not_kept,
                "pictures_not_kept": self.pictures_not_kept, "ejections": dict(self.ejections),
                "seconds": round(seconds, 3), "items_per_s": round(self.items / seconds, 2),
                "latency_ms": {"p{:g}".format(p): round(self.latency.at(p), 3) for p in (50, 95, 99)}}

    def counters(self) -> Dict[str, int]:
        """Counts so far, for whoever asks while the run goes on."""
        return {"items": self.items, "low_confidence": self.low_confidence, "strangers": self.strangers,
                "clusters": self.clusters, "errors": self.errors}

    def lines(self, now_mono_s: float) -> List[str]:
        """The summary for people."""
        values = self.as_dict(now_mono_s)
        counts = "  ".join("{} {}".format(name, count) for name, count in self.by_class.items() if count)
        of_these = ", ".join("{} {}".format(name, values[name]) for name in ("strangers", "clusters")
                             if values[name])
        shown = " ({})".format(of_these) if of_these else ""
        ejected = ["ejections: " + ", ".join("{} {}".format(*one) for one in self.ejections.items())] \
            if self.ejections else []
        lost = ["NOT KEPT in the journal: {} items, {} pictures".format(self.items_not_kept, self.pictures_not_kept)] \
            if self.items_not_kept or self.pictures_not_kept else []
        last = ejected + lost
        return ["{items} items in {seconds:.1f} s, {items_per_s:.1f} items/s".format(**values),
                "by class: {}".format(counts or "none"),
                "low confidence {low_confidence}{}, overrides {overrides}, queued {queued}, errors {errors}".format(
                    shown, **values),
                "latency p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms".format(**values["latency_ms"])] + last

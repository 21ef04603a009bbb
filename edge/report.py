"""What a run says while it runs: text for people, JSON lines for machines, or the summary alone."""

import json
import os
import sys
import threading
from typing import IO, Any, Dict, Iterable, List, Optional, Sequence, Tuple

from edge.decision import CLUSTER, ERROR, REVIEW, STRANGER
from edge.journal.record import Record
from edge.journal.writer import Committed
from edge.summary import Summary

BAR_CELLS = 20


class Report:
    """Counts only; base of the others. item is called by the loop, committed by the journal's thread."""

    def __init__(self, summary: Summary, clock: Any, out: Optional[IO[str]] = None):
        self.summary, self._clock, self._out = summary, clock, out or sys.stdout

    def item(self, record: Record) -> None:
        """An item was decided and handed to the journal."""
        self.summary.add(record)

    def committed(self, group: Sequence[Committed]) -> None:
        """Items are on disk."""

    def end(self, ended_by: str) -> None:
        """The run is over."""
        self._print([ended_by] + self.summary.lines(self._clock.mono_s()))

    def _print(self, lines: Iterable[str]) -> None:
        self._out.write("".join(line + "\n" for line in lines))
        self._out.flush()


class TextReport(Report):
    """One item at a time: class, confidence, top 3 with bars, LOW CONFIDENCE, milliseconds."""

    def __init__(self, summary: Summary, clock: Any, classes: Sequence[str], out: Optional[IO[str]] = None):
        super().__init__(summary, clock, out)
        self._classes, self._shown = tuple(classes), 0

    def show(self, record: Record) -> None:
        """Print an item; before a question about it, or else when it is done."""
        self._shown = record.sequence
        self._print(item_lines(record, self._classes, has_blocks(self._out)))

    def item(self, record: Record) -> None:
        """Print an item that a question has not shown already."""
        super().item(record)
        if self._shown != record.sequence:
            self.show(record)


class JsonReport(Report):
    """One JSON object a line. An item's line is printed once it is on disk, so a line is a receipt."""

    def __init__(self, summary: Summary, clock: Any, classes: Sequence[str], stop: threading.Event,
                 quiet: bool = False, out: Optional[IO[str]] = None):
        super().__init__(summary, clock, out)
        self._classes, self._stop, self._quiet = tuple(classes), stop, quiet

    def committed(self, group: Sequence[Committed]) -> None:
        """Print a group; when nobody reads any more, the run stops, and nothing recorded is lost."""
        if self._quiet:
            return
        try:
            self._print(json.dumps(self._as_dict(one)) for one in group)
        except BrokenPipeError:
            self._out = open(os.devnull, "w")
            self._stop.set()

    def end(self, ended_by: str) -> None:
        """Print the summary as the last line."""
        values = dict({"event": "summary", "ended_by": ended_by}, **self.summary.as_dict(self._clock.mono_s()))
        self._print([json.dumps(values)])

    def _as_dict(self, one: Committed) -> Dict[str, Any]:
        record = one.record
        values = dict({"event": "item", "item": one.item, "sequence": record.sequence},
                      **answer_fields(record, self._classes))
        if record.bin is not None:
            values["bin"] = record.bin
        if record.override is not None:
            values["corrected_class"] = record.override.class_name
        return values


def answer_fields(record: Record, classes: Sequence[str]) -> Dict[str, Any]:
    """An item's answer as machines get it: from `classify` and, with numbers added, from `run`."""
    if record.decision == ERROR:
        return {"image_path": record.source, "error": record.error}
    return {"image_path": record.source, "predicted_class": record.class_name,
            "confidence": round(record.confidence or 0.0, 6), "low_confidence_flag": record.decision == REVIEW,
            "probabilities": {name: round(p, 6) for name, p in zip(classes, record.probabilities)},
            "decision": record.decision, "latency_ms": round(record.total_ms, 3),
            "model_version": record.model_version, "backend": record.backend, "precision": record.precision,
            "stranger_score": None if record.stranger_score is None else round(record.stranger_score, 6),
            "review_reason": record.review_reason or None}


def item_lines(record: Record, classes: Sequence[str], blocks: bool, top: int = 3) -> List[str]:
    """An item as text with its top classes; blocks: draw bars with block characters, else with #."""
    name = record.source if record.source.startswith(("sim:", "drawn:")) else os.path.basename(record.source)
    if record.decision == ERROR:
        return ["#{:<5d} {:<28.28s} BAD PICTURE: {} ({})".format(record.sequence, name, record.error, record.source)]
    head = "#{:<5d} {:<28.28s} {:<10s} {:6.1%} {:7.1f} ms{}".format(
        record.sequence, name, record.class_name or "", record.confidence or 0.0, record.total_ms, _mark(record))
    head += "" if record.bin is None else "  -> bin {}".format(record.bin)
    ranked = sorted(zip(classes, record.probabilities), key=lambda pair: -pair[1])[:top]
    return [head] + _bars(ranked, blocks)


def _mark(record: Record) -> str:
    """Why an item goes to review."""
    if record.decision != REVIEW:
        return ""
    if record.review_reason == STRANGER:
        return "  STRANGER (score {:.3f}) -> review".format(record.stranger_score or 0.0)
    if record.review_reason == CLUSTER:
        return "  CLUSTER (several things that touch) -> review"
    if record.threshold is None:
        return "  ALWAYS REVIEW (this class is never accepted) -> review"
    return "  LOW CONFIDENCE (below {:.2f}) -> review".format(record.threshold)


def _bars(ranked: Sequence[Tuple[str, float]], blocks: bool) -> List[str]:
    full, empty = ("█", "·") if blocks else ("#", ".")
    return ["       {:<10s} {}{} {:6.1%}".format(name, full * int(round(p * BAR_CELLS)),
                                                empty * (BAR_CELLS - int(round(p * BAR_CELLS))), p)
            for name, p in ranked]


def has_blocks(out: IO[str]) -> bool:
    """Whether out's encoding has the characters of the bars."""
    try:
        "█·".encode(getattr(out, "encoding", None) or "ascii")
        return True
    except (UnicodeEncodeError, LookupError):
        return False

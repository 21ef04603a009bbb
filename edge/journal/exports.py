"""Exports under the names that users of the first prototype know, read row by row from the journal."""

import csv
import io
import json
import os
import sqlite3
import sys
from typing import IO, Any, Dict, Iterable, Iterator, List, Optional

from edge.clock import Clock
from edge.errors import JournalError
from edge.files import path_text, replace_durably
from edge.journal import schema

KINDS = ("results", "overrides", "queue")
FURTHER = ("run", "sequence", "decision", "threshold", "probabilities", "model_version", "backend", "precision",
           "decode_ms", "preprocess_ms", "infer_ms", "decide_ms", "captured_mono_s", "clock_synchronised", "boot_id",
           "bin", "ejection_error_ms", "override_by", "override_utc", "kept_picture", "error",
           "stranger_score", "review_reason", "line_mono_s", "belt_speed_mps", "views", "ejection", "ejected_mono_s")
RESULT_COLUMNS = ("timestamp", "frame_id", "image_path", "predicted_class", "confidence", "low_confidence_flag",
                  "manual_override", "corrected_class", "processing_time_ms") + FURTHER
LOG_COLUMNS = ("frame_id", "image_path", "predicted_class", "correct_class", "confidence", "timestamp")
SELECT = ("SELECT items.*, runs.boot_id, runs.classes FROM items JOIN runs ON runs.id = items.run{join} "
          "WHERE items.captured_utc >= ?{condition} ORDER BY items.id")


def export(state: str, kind: str, form: str, since: str = "", out: Optional[str] = None,
           clock: Clock = Clock()) -> str:
    """Write results, overrides or queue as csv or json; returns the path, or - for standard output.

    out: a path, - for standard output, or None for the customary name in the current folder. since: as of
    edge.clock.parse_utc. A file is written whole or not at all. Raises JournalError.
    """
    columns = RESULT_COLUMNS if kind == "results" else LOG_COLUMNS
    rows = _rows(state, kind, since)
    first = next(rows, None)  # errors of the journal come before a file is touched
    chained = _chain(first, rows)
    path = out or _customary_name(kind, form, clock)
    if path == "-":
        _write(sys.stdout, chained, columns, form)
        return path

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        _write(text, chained, columns, form)
        text.flush()
        text.detach()

    try:
        if os.path.exists(path) and not os.path.isfile(path):  # /dev/null or a pipe is written to, not replaced
            with open(path, "wb") as file:
                write(file)
        else:
            replace_durably(path, write)
    except OSError as error:
        raise JournalError("export {}: cannot be written: {}".format(path, error.strerror or error))
    return path


def _customary_name(kind: str, form: str, clock: Clock) -> str:
    if kind == "results":
        import time
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(clock.wall_s()))
        return "conveyor_results_{}.{}".format(stamp, form)
    return "{}.{}".format("override_log" if kind == "overrides" else "retraining_queue", form)


def _rows(state: str, kind: str, since: str) -> Iterator[Dict[str, Any]]:
    connection = schema.connect_existing(state)
    join = " JOIN queue ON queue.item = items.id" if kind == "queue" else ""
    condition = " AND items.override_class IS NOT NULL AND items.override_class != items.class" \
        if kind == "overrides" else ""
    try:
        for row in connection.execute(SELECT.format(join=join, condition=condition), (since,)):
            yield _result(row, state) if kind == "results" else _log_entry(row, state)
    except sqlite3.Error as error:
        raise schema.explain(error, state)
    finally:
        connection.close()


def _result(row: sqlite3.Row, state: str) -> Dict[str, Any]:
    corrected = row["override_class"] if row["override_class"] not in (None, row["class"]) else None
    result = {"timestamp": row["captured_utc"], "frame_id": row["id"], "image_path": row["source"],
              "predicted_class": row["class"], "confidence": row["confidence"],
              "low_confidence_flag": row["decision"] == "review", "manual_override": corrected is not None,
              "corrected_class": corrected, "processing_time_ms": round(row["total_ms"], 3)}
    for name in FURTHER:
        result[name] = row[name] if name not in ("probabilities", "kept_picture") else None
    if row["probabilities"]:
        result["probabilities"] = dict(zip(json.loads(row["classes"]), json.loads(row["probabilities"])))
    result["kept_picture"] = _kept(row, state)
    return result


def _log_entry(row: sqlite3.Row, state: str) -> Dict[str, Any]:
    return {"frame_id": row["id"], "image_path": _kept(row, state) or row["source"], "predicted_class": row["class"],
            "correct_class": row["override_class"], "confidence": row["confidence"], "timestamp": row["captured_utc"]}


def _kept(row: sqlite3.Row, state: str) -> Optional[str]:
    return path_text(os.path.join(state, *row["picture"].split("/"))) if row["picture"] else None


def _chain(first: Optional[Dict[str, Any]], rest: Iterator[Dict[str, Any]]) -> Iterator[Dict[str, Any]]:
    if first is not None:
        yield first
        yield from rest


def _write(file: Any, rows: Iterable[Dict[str, Any]], columns: Iterable[str], form: str) -> None:
    if form == "json":
        separator = "[\n"
        for row in rows:
            file.write(separator + json.dumps(row))
            separator = ",\n"
        file.write("\n]\n" if separator == ",\n" else "[]\n")
        return
    names: List[str] = list(columns)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([json.dumps(v) if isinstance(v, dict) else v for v in (row[name] for name in names)])

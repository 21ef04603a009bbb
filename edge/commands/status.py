"""scrapsort status: how the run is that sorts now, from another terminal."""

import argparse
import calendar
import json
import os
import shutil
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from edge.commands import common
from edge.errors import JournalError, SettingsError
from edge.health import read, read_service, status_path
from edge.health.state import REFRESH_S
from edge.journal import schema
from edge.journal.lock import LOCK_FILE, holder
from edge.journal.review import count_waiting

SERVICE_STATE = "/var/lib/scrapsort"
STALE_S = 6 * REFRESH_S  # a run that writes nothing for so long hangs


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common.add_config(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Print it; 1 when nothing runs, something is wrong, or the run has not written its status for STALE_S."""
    values, state = _ask(arguments)
    if values is None:
        raise JournalError("state folder {}: nothing has run there; start it with {}, or give --state DIR".format(
            state, "`sudo systemctl start scrapsort`" if os.path.isdir(SERVICE_STATE) else "`scrapsort run`"))
    running = values["running"] = _runs(values, state)
    silent_s = age_s(values.get("written_utc"), time.time())
    if running and silent_s > STALE_S:
        values["conditions"] = dict(values.get("conditions", {}), status={
            "ok": False, "trouble": "nothing was heard of the run for {:.0f} s: it hangs, or its disk is full".format(
                silent_s), "since_utc": values["written_utc"]})
    values.update(_place(str(values.get("state", state))))
    if arguments.format == "json":
        sys.stdout.write(json.dumps(values, indent=2) + "\n")
    else:
        sys.stdout.write("".join(line + "\n" for line in lines(values)))
    well = all(one.get("ok") for one in values.get("conditions", {}).values())
    return 0 if running and well else 1


def _ask(arguments: argparse.Namespace) -> Tuple[Optional[Dict[str, Any]], str]:
    """What the run last said, and its state folder. Broken settings keep nobody from asking after the service, which
    may well go on with those before.
    """
    try:
        _, state = common.load_settings(arguments)
    except SettingsError as error:
        values = None if arguments.state else read_service()
        if values is None:
            raise
        values["settings_error"] = str(error)
        return values, str(values.get("state", SERVICE_STATE))
    return _values(state, arguments.state is not None)


def _values(state: str, given: bool) -> Tuple[Optional[Dict[str, Any]], str]:
    """What the run in this state folder last said, and the folder. In a shell that names none, of the service, where
    there is one and nothing runs in this user's own."""
    own = read(status_path(state))
    if given or os.environ.get("STATE_DIRECTORY") or os.environ.get("RUNTIME_DIRECTORY"):
        return own, state
    if own is not None and _runs(own, state):
        return own, state
    service = read_service()
    return (own, state) if service is None else (service, str(service.get("state", state)))


def _runs(values: Dict[str, Any], state: str) -> bool:
    """Whether the run that said so still sorts."""
    if not os.access(os.path.join(state, LOCK_FILE), os.R_OK):  # another user's folder
        return not values.get("ended_by") and os.path.isdir("/proc/{}".format(values.get("pid")))
    return holder(state) in (values.get("pid"), 0)  # `fire` holds it, too


def _place(state: str) -> Dict[str, Any]:
    """What the state folder itself tells: its disk, its journal, what waits for a person."""
    found: Dict[str, Any] = {}
    try:
        usage, journal = shutil.disk_usage(state), os.path.join(state, schema.FILE)
        size = sum(os.path.getsize(path) for path in (journal, journal + "-wal") if os.path.isfile(path))
        found["disk"] = {"free_mb": usage.free // 1000000, "of_mb": usage.total // 1000000,
                         "journal_mb": round(size / 1e6, 1)}
    except OSError:  # another user's folder
        pass
    waiting = count_waiting(state)
    if waiting is not None:
        found["review"] = {"waiting": waiting}
    return found


def age_s(written_utc: Any, now_s: float) -> float:
    """Seconds since a time such as 2026-11-23T02:01:24.500Z; 0 for what is none."""
    try:
        return now_s - calendar.timegm(time.strptime(written_utc[:19], "%Y-%m-%dT%H:%M:%S"))
    except (TypeError, ValueError):
        return 0.0


def lines(values: Dict[str, Any]) -> List[str]:
    """The status for people: what runs, each condition, the counters."""
    text = ["{} ({}), as of {}".format(
        "sorting, process {}".format(values.get("pid")) if values["running"] else
        "not running; the last run ended: {}".format(values.get("ended_by") or "killed"),
        ", ".join("{} {}".format(name, values[name]) for name in ("source", "model", "backend", "precision")
                  if name in values), values.get("written_utc"))]
    if values.get("camera_size"):
        text.append("note   {:<20s} {}".format("camera", values["camera_size"]))
    text += ["note   {:<20s} {}".format("backend", note) for note in values.get("notes", [])]
    if values.get("settings_error"):
        text.append("note   {:<20s} {}".format("settings", values["settings_error"]))
    text += ["note   {:<20s} {}".format(name, note) for name, note in _of_before(values)]
    for name, one in sorted(values.get("conditions", {}).items()):
        text.append("{:<6s} {:<20s} {}".format("ok" if one["ok"] else "WRONG", name,
                                              "{} (since {})".format(one["trouble"] or "well", one["since_utc"])))
    for name, counts in values.items():
        if isinstance(counts, dict) and name not in ("conditions", "before", "last_error") and counts:
            text.append("       {:<20s} {}".format(name, ", ".join("{} {}".format(*pair) for pair in counts.items())))
    return text


def _of_before(values: Dict[str, Any]) -> Iterator[Tuple[str, str]]:
    """The latest warning or error, and what became of the run before."""
    error = values.get("last_error") or {}
    if error:
        yield "last {}".format(error.get("level")), "{} ({})".format(error.get("text"), error.get("utc"))
    if values.get("restarts"):
        before = values.get("before") or {}
        yield "restarts", "{} since the machine started; the latest after a run that ended: {} ({})".format(
            values["restarts"], before.get("ended_by"), before.get("last_heard_utc"))
        error = before.get("last_error") or {}
        if error:
            yield "before that", "{} ({})".format(error.get("text"), error.get("utc"))

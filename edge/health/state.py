"""What is wrong and since when, and what was counted: a small file that another terminal can read.

Any thread may report; one writes. Nothing here is precious: the file is replaced whole, but not forced to the disk.
"""

import json
import logging
import os
import threading
from typing import Any, Callable, Dict, Mapping, Optional

from edge.clock import Clock, boot_id, utc_text
from edge.logs import fields

log = logging.getLogger("scrapsort")

FILE = "status.json"
SERVICE = "/run/scrapsort"  # $RUNTIME_DIRECTORY of the service
LOOK_S = 0.25  # a change of a condition is in the file after so long
REFRESH_S = 10.0  # counters are; an SD card wears out


def status_path(state: str, environ: Optional[Mapping[str, str]] = None) -> str:
    """Where a run says how it is: $RUNTIME_DIRECTORY (a memory file system under systemd), else the state folder."""
    environ = os.environ if environ is None else environ
    return os.path.join(environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or state, FILE)


def read(path: str) -> Optional[Dict[str, Any]]:
    """What a run last said, or None when there is nothing that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def read_service() -> Optional[Dict[str, Any]]:
    """What the run of the machine's service last said; None as of read."""
    return read(os.path.join(SERVICE, FILE))


def _since_boot(before: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """boot_id; restarts: how often, since the machine started, a run followed one that did not end by itself; and how
    the latest such ended. before: the status of the run before, of this process or of another."""
    boot = boot_id()
    if before is None or before.get("boot_id") != boot:
        return {"boot_id": boot, "restarts": 0}
    known = {"boot_id": boot, "restarts": before.get("restarts", 0)}
    ended_by = before.get("ended_by") or "killed"
    if before.get("pid") != os.getpid() and (ended_by == "killed" or ended_by.startswith("failed")):
        known["restarts"] += 1
        return dict(known, before={"ended_by": ended_by, "last_heard_utc": before.get("written_utc"),
                                   "last_error": before.get("last_error") or {}})
    return dict(known, **{key: before[key] for key in ("before",) if key in before})


class State:
    """The conditions of one run: each has a name and a trouble, empty when all is well."""

    def __init__(self, path: str, clock: Clock = Clock(), **facts: Any):
        """facts stand in the file as they are, such as source or backend. Call start for the file to be written."""
        self._path, self._clock = path, clock
        self._facts: Dict[str, Any] = dict(facts, pid=os.getpid(), started_utc=utc_text(clock.wall_s()),
                                           **_since_boot(read(path)))
        self._troubles: Dict[str, str] = {}
        self._since: Dict[str, str] = {}
        self._counters: Dict[str, Callable[[], Mapping[str, Any]]] = {}
        self._lock = threading.Lock()
        self._changed = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="state", daemon=True)

    def condition(self, name: str, trouble: str = "") -> None:
        """The condition name has this trouble now; empty: none. A change is logged, and in the file within a second."""
        with self._lock:
            before = self._troubles.get(name)
            if trouble == before:
                return
            self._troubles[name], self._since[name] = trouble, utc_text(self._clock.wall_s())
            self._changed = True
        if trouble:
            log.warning("%s: %s", name, trouble, extra=fields(condition=name))
        elif before:
            log.info("%s: well again", name, extra=fields(condition=name))

    def trouble(self, name: str) -> str:
        """What is wrong with name; empty: nothing."""
        with self._lock:
            return self._troubles.get(name, "")

    def troubles(self) -> Dict[str, str]:
        """What is wrong now, by condition."""
        with self._lock:
            return {name: trouble for name, trouble in self._troubles.items() if trouble}

    def counters(self, name: str, ask: Callable[[], Mapping[str, Any]]) -> None:
        """ask() is called for the counters called name whenever the file is written; it must not wait."""
        with self._lock:
            self._counters[name] = ask

    def fact(self, **facts: Any) -> None:
        """Facts that have changed or became known."""
        with self._lock:
            self._facts.update(facts)
            self._changed = True

    def as_dict(self) -> Dict[str, Any]:
        """All of it."""
        with self._lock:
            asks = dict(self._counters)
            values: Dict[str, Any] = dict(self._facts, written_utc=utc_text(self._clock.wall_s()), conditions={
                name: {"ok": not trouble, "trouble": trouble, "since_utc": self._since[name]}
                for name, trouble in self._troubles.items()})
        for name, ask in asks.items():
            values[name] = dict(ask())
        return values

    def start(self) -> "State":
        """Write the file, and go on doing so."""
        self._write()
        self._thread.start()
        return self

    def close(self, ended_by: str = "") -> None:
        """Write the file a last time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.fact(ended_by=ended_by)
        self._write()

    def _work(self) -> None:
        written_s = self._clock.mono_s()
        while not self._stop.wait(LOOK_S):
            if self._changed or self._clock.mono_s() - written_s >= REFRESH_S:
                written_s = self._clock.mono_s()
                self._write()

    def _write(self) -> None:
        with self._lock:
            self._changed = False
        temporary = "{}.{}".format(self._path, os.getpid())
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                if os.environ.get("RUNTIME_DIRECTORY"):
                    os.chmod(temporary, 0o644)  # for all users, whatever may be read of the rest
                json.dump(self.as_dict(), file, indent=1)
            os.replace(temporary, self._path)
        except OSError:  # a full disk stops no belt; the log has it all
            try:
                os.unlink(temporary)
                self._write_in_place()  # the alarm takes no more room than the status before it
            except OSError:
                pass

    def _write_in_place(self) -> None:
        with open(self._path, "r+", encoding="utf-8") as file:
            json.dump(self.as_dict(), file, indent=1)
            file.truncate()

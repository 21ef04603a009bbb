"""The process that fires (worker.py), as the loop's side holds it: started, spoken to, listened to, ended."""

import json
import queue
import subprocess
import threading
import time
from typing import Any, Callable, Dict, Optional

from edge import children

HUNG_S = 3.0  # a process that has said nothing for so long is replaced
OPEN_S = 15.0  # opening Jetson.GPIO takes seconds
END_S = 4.0  # for closing the valves


class Process:
    """One worker and its two pipes."""

    def __init__(self, hello: Dict[str, Any], hear: Callable[[Dict[str, Any]], None]):
        self._process = children.start("edge.ejector.worker")
        self._hear = hear
        self._error: Optional[str] = None
        self._ready, self.ended = threading.Event(), threading.Event()
        self._heard_s = time.monotonic()
        self._outbox: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
        self.say(hello)
        self._threads = [threading.Thread(target=work, name="ejector's words", daemon=True)
                         for work in (self._listen, self._write)]
        children.start_threads(self._process, self._threads)

    def wait_ready(self) -> Optional[str]:
        """None when it is ready to fire, else why it is not."""
        self._ready.wait(OPEN_S)
        self._heard_s = time.monotonic()
        if self._error is not None:
            return self._error
        return None if self._ready.is_set() and self.alive else "the process that fires does not start"

    @property
    def alive(self) -> bool:
        """Whether it runs, and said so lately."""
        return time.monotonic() - self._heard_s < HUNG_S and self._process.poll() is None

    @property
    def what_happened(self) -> str:
        """To one that is not alive."""
        return "hangs" if self._process.poll() is None else "has died (exit code {})".format(self._process.returncode)

    def say(self, message: Dict[str, Any]) -> None:
        """A line to it, by a thread that may wait for it."""
        self._outbox.put(message)

    def _write(self) -> None:
        assert self._process.stdin is not None
        try:
            for message in iter(self._outbox.get, None):
                self._process.stdin.write((json.dumps(message) + "\n").encode("utf-8"))
                self._process.stdin.flush()
        except OSError:  # it is gone: alive says so
            pass
        try:
            self._process.stdin.close()
        except OSError:
            pass

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            try:
                message = json.loads(raw.decode("utf-8"))
            except ValueError:  # none of its words
                continue
            self._heard_s = time.monotonic()
            if "ready" in message:
                self._ready.set()
            elif "error" in message:
                self._error = message["error"]
            elif "ended" in message:
                self.ended.set()
            elif message:
                self._hear(message)
        self._ready.set()
        self.ended.set()

    def close(self, hangs: bool, within_s: float = END_S) -> None:
        """Its pipe closes, upon which it closes its valves and ends; what hangs is killed."""
        assert self._process.stdout is not None
        self._outbox.put(None)
        if hangs:
            self._process.kill()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(within_s)
        self._process.stdout.close()

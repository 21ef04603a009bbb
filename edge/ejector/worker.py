"""The process that fires: started by process.py, watched by link.py.

It owns the outputs. A line of JSON comes in for each item and each change of the belt's speed, and a line goes out for
each firing. All valves are closed at start, at the end, when the loop's process is gone (its end of the pipe closes,
however it died) and when it has not been heard of for dead_s: it hangs, or is stopped. The process is one of its own
for that, and because a thread of the loop's would wait for Python's lock when it has to fire.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

from edge import children
from edge.clock import Clock
from edge.ejector.schedule import FAILED, FIRED, MERGED, Change, Result, Schedule
from edge.errors import OutputError, ScrapsortError
from edge.jumps import Jumps
from edge.locks import HeldError, MachineLock
from edge.logs import start_logging
from edge.outputs import Output, open_output
from edge.outputs.address import normal
from edge.settings import Lane

SPIN_S = 0.002  # a sleeping process wakes up to so much late, so the rest is waited for awake
SIGNAL_S = 0.02  # from the moment that is told of a signal to that at which the output was asked
LAST_WORDS_S = 1.0
SAY_S = 0.5  # how often it says that it is well
LOOK_S = 0.1  # how often outputs and the loop's signs of life are looked at
REALTIME_PRIORITY = 20
CONNECT_S = 1.0  # what has to connect is waited for so long before it is called broken
Say = Callable[[Dict[str, Any]], None]


class Worker:
    """Carries a schedule out. receive may be called from another thread than work."""

    def __init__(self, schedule: Schedule, outputs: Sequence[Output], dead_s: float, say: Say, clock: Clock = Clock()):
        """outputs: one for each of schedule.outputs. dead_s: without a message for so long, all is closed."""
        self._schedule, self._outputs, self._dead_s, self._say, self._clock = schedule, outputs, dead_s, say, clock
        self._wake = threading.Condition()
        self._heard_s, self._said_s = clock.mono_s(), 0.0
        self._ending = self._finishing = self._dead = False
        self._unsettled: Deque[Tuple[float, Result]] = deque()
        self._troubles: List[Optional[str]] = [None] * len(outputs)  # each is said once at least
        self.all_off()

    def receive(self, message: Dict[str, Any]) -> None:
        """What the loop says: {item, lane, line_s}, {speed, from_s}, {finish}, {stuck} (it hangs) or {} (it lives)."""
        with self._wake:
            if not message:  # only this is a sign of life: others than the loop may speak of items and speeds
                self._heard_s = self._clock.mono_s()
                return
            if "item" in message:
                late = self._schedule.add(message["item"], message["lane"], message["line_s"], self._clock.mono_s())
                if late is not None:
                    self._tell(late)
            elif "speed" in message:
                self._schedule.belt(message["speed"], message["from_s"])
            elif "finish" in message:
                self._finishing = True
            elif "stuck" in message:
                self._drop()
            self._wake.notify()

    def end(self) -> None:
        """The loop is gone: work returns."""
        with self._wake:
            self._ending = True
            self._wake.notify()

    def all_off(self) -> None:
        """Close every valve."""
        for output in self._outputs:
            output.set(False)

    def work(self) -> None:
        """Until end, or until all is fired after finish."""
        try:
            while self._step():
                pass
        finally:
            self._drop()
            self._tell_settled(float("inf"))

    def _drop(self) -> None:
        """Close every valve and forget what is on its way."""
        self.all_off()
        for result in self._schedule.drop(self._clock.mono_s()):
            self._tell(result)

    def _step(self) -> bool:
        """Wait for what is next, then do it; False: it is over."""
        with self._wake:
            self._look()
            if self._ending or (self._finishing and not self._schedule.busy and not self._unsettled):
                return False
            next_s = self._schedule.next_s()
            left_s = next_s - self._clock.mono_s() - SPIN_S
            if left_s > 0:
                self._wake.wait(min(left_s, LOOK_S))
                return True
        while self._clock.mono_s() < next_s:  # no sleep is that exact
            pass
        with self._wake:
            changes, results = self._schedule.due(self._clock.mono_s())
            self._carry_out(changes, results)
        return True

    def _carry_out(self, changes: List[Change], results: List[Result]) -> None:
        for change in changes:
            self._outputs[change.valve].set(change.on)
        for result in results:
            output, opened = self._output_of(result), result.what in (FIRED, MERGED)
            if opened and output.trouble:
                self._tell(result._replace(what=FAILED))
            elif opened and output.settle_s:
                self._unsettled.append((self._clock.mono_s() + output.settle_s, result))
            else:
                self._tell(result)

    def _output_of(self, result: Result) -> Output:
        return self._outputs[self._schedule.outputs.index(self._schedule.lanes[result.lane].output)]

    def _tell_settled(self, until_s: float) -> None:
        """Tell what became of firings whose outputs need time to know."""
        while self._unsettled and self._unsettled[0][0] <= until_s:
            result = self._unsettled.popleft()[1]
            pulse_s = self._schedule.lanes[result.lane].pulse_ms / 1000 if result.what == MERGED else 0.0
            lost = self._output_of(result).lost(result.mono_s - pulse_s - SIGNAL_S, result.mono_s + SIGNAL_S)
            self._tell(result._replace(what=FAILED) if lost else result)

    def _look(self) -> None:
        """Whether the outputs are well and the loop is."""
        for number, output in enumerate(self._outputs):
            if output.trouble != self._troubles[number]:
                self._troubles[number] = output.trouble
                self._say({"output": output.uri, "trouble": output.trouble})
        now_s = self._clock.mono_s()
        self._tell_settled(now_s)
        dead = now_s - self._heard_s > self._dead_s
        if now_s - self._said_s >= SAY_S:
            self._said_s = now_s
            self._say({})
        if dead and not self._dead:
            self._drop()
        self._dead = dead

    def _tell(self, result: Result) -> None:
        self._say(dict(result._asdict()))


def main() -> int:
    """The process. The first line that comes in says what to open."""
    # It ends with the loop, and closes all then. systemd's watchdog sends SIGABRT to all processes of a service
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGABRT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    words = children.words()
    start_logging()
    wanted = json.loads(sys.stdin.readline() or "null")
    if wanted is None:
        return 1
    outbox: "queue.Queue[Optional[Dict[str, Any]]]" = queue.Queue()
    writer = threading.Thread(target=_write, args=(words, outbox), name="words", daemon=True)
    writer.start()
    outputs: List[Output] = []
    locks: List[MachineLock] = []  # kept until the end: another run or `fire` may have another state folder
    try:
        schedule = Schedule([Lane(*lane) for lane in wanted["lanes"]], wanted["min_gap_ms"] / 1000, wanted["overlap"],
                            wanted["late_ms"] / 1000)
        for uri in schedule.outputs:
            if not uri.startswith("log:"):
                locks.append(_lock(uri))
            outputs.append(open_output(uri))
    except ScrapsortError as error:
        _close(outputs)
        outbox.put({"error": str(error)})
        _end(writer, outbox)
        return 1
    connected_by_s = time.monotonic() + CONNECT_S
    while any(output.trouble for output in outputs) and time.monotonic() < connected_by_s:
        time.sleep(0.01)
    worker = Worker(schedule, outputs, wanted["dead_s"], outbox.put)
    outbox.put({"ready": True})
    threading.Thread(target=_listen, args=(worker,), name="listen", daemon=True).start()
    _real_time()
    try:
        with Jumps():  # a valve that is open must close when its time is over
            worker.work()
    finally:
        _close(outputs)
        outbox.put({"ended": True})
        _end(writer, outbox)
    return 0


def _write(words: int, outbox: "queue.Queue[Optional[Dict[str, Any]]]") -> None:
    """Write what is said. A loop that is stopped reads nothing: only this thread waits for it then."""
    for message in iter(outbox.get, None):
        try:
            os.write(words, (json.dumps(message) + "\n").encode("utf-8"))
        except OSError:  # the loop is gone
            return


def _end(writer: threading.Thread, outbox: "queue.Queue[Optional[Dict[str, Any]]]") -> None:
    outbox.put(None)
    writer.join(LAST_WORDS_S)


def _lock(uri: str) -> MachineLock:
    """Of an output. Raises OutputError when another process fires it."""
    try:
        return MachineLock("output", normal(uri))
    except HeldError as holder:
        raise OutputError("{}: in use by process {}; is a belt being sorted?".format(uri, holder))


def _close(outputs: Sequence[Output]) -> None:
    for output in outputs:
        output.close()


def _listen(worker: Worker) -> None:
    for line in sys.stdin:
        worker.receive(json.loads(line))
    worker.end()


def _real_time() -> None:
    """Before all ordinary work, where this user may; else as punctual as an ordinary process is."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(REALTIME_PRIORITY))  # type: ignore[attr-defined]  # Linux alone
    except (AttributeError, OSError):
        pass


if __name__ == "__main__":
    sys.exit(main())

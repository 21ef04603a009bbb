"""The loop's pulse: each turn feeds the watchdog, and every few seconds a line for people goes to systemd."""

from collections import deque
from typing import Callable, Deque, Dict, Optional, Tuple

from edge import logs
from edge.clock import Clock
from edge.health.notify import Notifier

EVERY_S = 5.0
RATE_S = 60.0  # the rate is that of so long


class Pulse:
    """Call beat once a frame, and while waiting for one; it takes microseconds unless a line is due."""

    def __init__(self, notifier: Notifier, items: Callable[[], int], model: Callable[[], str],
                 troubles: Callable[[], Dict[str, str]], clock: Clock = Clock(),
                 temperature_c: Callable[[], Optional[float]] = lambda: None):
        """items: sorted so far; model: name, version, backend and precision in use; troubles: as State.troubles."""
        self._notifier, self._items, self._model, self._troubles = notifier, items, model, troubles
        self._clock, self._temperature_c = clock, temperature_c
        self._counted: Deque[Tuple[float, int]] = deque([(clock.mono_s(), items())])
        self._due_s = clock.mono_s() + EVERY_S

    def beat(self) -> None:
        """The loop turns."""
        self._notifier.ping()
        now_s = self._clock.mono_s()
        if now_s >= self._due_s:
            self._due_s = now_s + EVERY_S
            self._count(now_s)
            self._notifier.status(self.line())
            logs.flush()

    def _count(self, now_s: float) -> None:
        self._counted.append((now_s, self._items()))
        while len(self._counted) > 2 and self._counted[1][0] <= now_s - RATE_S:
            self._counted.popleft()

    def items_per_s(self) -> float:
        """Of the latest minute."""
        (first_s, first), now_s = self._counted[0], self._clock.mono_s()
        return (self._items() - first) / (now_s - first_s) if now_s > first_s else 0.0

    def line(self) -> str:
        """sorting 3.1 items/s, trashnet-resnet18 1.2.0, tensorrt fp16, 61 C; before it what is wrong, if anything."""
        parts = ["sorting {:.1f} items/s".format(self.items_per_s()), self._model()]
        temperature_c = self._temperature_c()
        if temperature_c is not None:
            parts.append("{:.0f} C".format(temperature_c))
        line = ", ".join(parts)
        troubles = self._troubles()
        if not troubles:
            return line
        name = min(troubles, key=lambda one: (one != "settings", one))  # a person waits for the word on those
        more = " (and {} more)".format(len(troubles) - 1) if len(troubles) > 1 else ""
        return "degraded: {}: {}{}; {}".format(name, troubles[name], more, line)


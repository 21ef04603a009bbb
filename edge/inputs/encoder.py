"""The belt's speed by wire: pulses at a pin, a PLC's counter of pulses, or a PLC's register that holds mm/s."""

import threading
from collections import deque
from typing import Callable, Deque, Tuple

from edge.clock import Clock
from edge.errors import SettingsError
from edge.health import State
from edge.inputs.edges import check_edges, open_edges
from edge.outputs import address
from edge.outputs.modbus import Connection

TELL_S = 0.05  # how often the speed is told
WINDOW_S = 0.25  # over which pulses are counted
STOPPED = 4.0  # no pulse for so many of the usual pauses, and STILL_S: the belt stands
STILL_S = 0.1
FASTEST_MPS = 10.0
WRAPS = 65536  # a register's values
Told = Callable[[float, float], None]  # speed in m/s, monotonic time from which it holds


class Pulses:
    """Speed from the times of pulses. add and speed may be called from two threads."""

    def __init__(self, pulses_per_metre: float):
        self._metres = 1 / pulses_per_metre
        self._times: Deque[float] = deque(maxlen=1024)

    def add(self, mono_s: float) -> None:
        """A pulse came."""
        self._times.append(mono_s)

    def speed(self, now_s: float) -> float:
        """m/s; 0 when there were no pulses lately."""
        times = list(self._times)
        recent = [time_s for time_s in times if now_s - time_s <= WINDOW_S]
        if len(recent) < 3:
            recent = times[-3:]  # slow: over more than the window
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        pause_s = (recent[-1] - recent[0]) / (len(recent) - 1)
        silent_s = now_s - recent[-1]
        if silent_s > max(STILL_S, STOPPED * pause_s):
            return 0.0
        return self._metres / max(pause_s, silent_s)


def signed(value: int) -> int:
    """16 bits as a number that may be negative."""
    return (value + WRAPS // 2) % WRAPS - WRAPS // 2


class Counter:
    """Speed from a 16-bit counter of pulses that is read now and then, and starts again at 0 after 65535."""

    def __init__(self, pulses_per_metre: float):
        self._metres = 1 / pulses_per_metre
        self._seen: Deque[Tuple[float, int]] = deque()

    def speed(self, now_s: float, count: int) -> float:
        """m/s over the last WINDOW_S."""
        if self._seen and signed(count - self._seen[-1][1]) < 0:  # a belt that trembles or runs back, or a new start
            self._seen.clear()
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()
        first_s, first = self._seen[0]
        return signed(count - first) * self._metres / (now_s - first_s) if now_s > first_s else 0.0


class Encoder:
    """Tells the belt's speed every TELL_S from a thread of its own, from start to close."""

    def __init__(self, told: Told, conditions: State, clock: Clock = Clock()):
        self._told, self._conditions, self._clock = told, conditions, clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)

    def start(self) -> "Encoder":
        """Begin to tell."""
        self._thread.start()
        return self

    def close(self) -> None:
        """No more; may be called twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)

    def _work(self) -> None:
        while not self._stop.wait(TELL_S):
            try:
                speed = self._read()
                if speed > FASTEST_MPS:
                    raise OSError("{:.1f} m/s is no belt's speed; is encoder_pulses_per_metre right?".format(speed))
            except Exception as error:  # a PLC that is gone; whatever it is, the belt is watched by the camera then
                self._conditions.condition("encoder", (str(error).strip() or type(error).__name__).splitlines()[0])
                self._stop.wait(5 * TELL_S)
                continue
            self._conditions.condition("encoder")
            self._told(speed, self._clock.mono_s())

    def _read(self) -> float:
        raise NotImplementedError


class PinEncoder(Encoder):
    """gpio:PIN or gpiod:CHIP/LINE, a rising edge a pulse."""

    def __init__(self, uri: str, pulses_per_metre: float, told: Told, conditions: State, clock: Clock = Clock()):
        super().__init__(told, conditions, clock)
        self._pulses = Pulses(pulses_per_metre)
        self._edges = open_edges(uri, self._pulses.add)

    def _read(self) -> float:
        if self._edges.trouble:
            raise OSError(self._edges.trouble)
        return self._pulses.speed(self._clock.mono_s())

    def close(self) -> None:
        """Free the pin, too."""
        super().close()
        self._edges.close()


class ModbusEncoder(Encoder):
    """modbus:HOST[:PORT]/register|input/NUMBER: a counter of pulses, or mm/s where pulses_per_metre is 0."""

    def __init__(self, uri: str, pulses_per_metre: float, told: Told, conditions: State, clock: Clock = Clock()):
        super().__init__(told, conditions, clock)
        self._uri = uri
        self._place = address.modbus(uri, "register", ("register", "input"))
        self._connection = Connection(self._place.host, self._place.port)
        self._per_metre = pulses_per_metre
        self._counter = Counter(pulses_per_metre) if pulses_per_metre else None

    def _read(self) -> float:
        try:
            value = self._connection.read(self._place)
        except Exception as error:
            self._connection.close()
            if self._per_metre:
                self._counter = Counter(self._per_metre)  # what it counted meanwhile is no speed
            raise OSError("{}: {}; is the PLC on, the cable in, the address right?".format(
                self._uri, (str(error).strip() or type(error).__name__).splitlines()[0]))
        if self._counter is None:
            return max(0.0, signed(value) / 1000)
        return self._counter.speed(self._clock.mono_s(), value)

    def close(self) -> None:
        """Close the connection, too."""
        super().close()
        self._connection.close()


def check_encoder(uri: str, pulses_per_metre: float) -> None:
    """Raises UsageError or SettingsError when that cannot be; opens nothing."""
    if uri.startswith("modbus:"):
        address.modbus(uri, "register", ("register", "input"))
        return
    check_edges(uri)
    if not pulses_per_metre:
        raise SettingsError("[gate] encoder {}: needs encoder_pulses_per_metre".format(uri))


def open_encoder(uri: str, pulses_per_metre: float, told: Told, conditions: State, clock: Clock = Clock()) -> Encoder:
    """Open it; start makes it tell. Raises UsageError, SettingsError or OutputError."""
    check_encoder(uri, pulses_per_metre)
    kind = ModbusEncoder if uri.startswith("modbus:") else PinEncoder
    return kind(uri, pulses_per_metre, told, conditions, clock)

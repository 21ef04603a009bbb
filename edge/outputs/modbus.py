"""modbus:HOST[:PORT]/coil/N or /register/N - bits of a PLC over Modbus TCP, written by one thread for each PLC."""

import inspect
import logging
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, Optional, Set, Tuple

from edge.errors import OutputError
from edge.outputs import address
from edge.outputs.address import Modbus
from edge.outputs.base import Output

TIMEOUT_S = 0.5  # of a connection or an answer; trouble shows within twice as long
AGAIN_S = 0.25
REFRESH_S = 0.5  # all is written again so often: that finds a cable that is out, and mends a PLC that restarted
STALE_S = 0.1  # a pulse that could not be written for so long is not written late
SETTLE_S = 2 * TIMEOUT_S + STALE_S  # after so long it is known whether a pulse was written
CLOSE_S = 1.5


class ModbusOutput(Output):
    """One coil, or a register that is 1 or 0. set() only notes what is wanted; a PLC that is gone delays nobody."""

    settle_s = SETTLE_S

    def __init__(self, uri: str):
        """Raises UsageError, or OutputError where pymodbus is missing."""
        self.uri = uri
        self._place = address.modbus(uri, "coil", ("coil", "register"))
        self._plc = Plc.of(self._place)
        self.set(False)

    def set(self, on: bool) -> None:
        """Noted at once, written as soon as the PLC answers; a pulse that is over by then is left out."""
        self._plc.want(self._place, on)

    @property
    def trouble(self) -> str:  # type: ignore[override]  # of the connection, or of this place alone
        """What the PLC did not do."""
        return self._plc.trouble_of(self._place)

    def lost(self, from_s: float, to_s: float) -> bool:
        """Whether an opening that was asked for between these monotonic times was not written."""
        return self._plc.lost(self._place, from_s, to_s)

    def close(self) -> None:
        """Off; the connection is closed with its last output."""
        self._plc.leave(self._place)


class RefusedError(OSError):
    """The PLC answers, but not to this place."""


class Plc:
    """The connection to one PLC, and what is wanted of it."""

    _all: Dict[Tuple[str, int], "Plc"] = {}
    _lock = threading.Lock()

    def __init__(self, host: str, port: int):
        """Raises OutputError where pymodbus is missing."""
        self.name = "modbus:{}:{}".format(host, port)
        self._trouble = "{}: not connected yet".format(self.name)
        self._refused: Dict[Modbus, str] = {}
        self._connection = Connection(host, port)
        self._wanted: Dict[Modbus, bool] = {}
        self._left: Set[Modbus] = set()
        self._changes: Deque[Tuple[float, Modbus, bool]] = deque()
        self._lost: Deque[Tuple[float, Modbus]] = deque(maxlen=1024)
        self._news = threading.Condition()
        self._close_by_s: Optional[float] = None
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, place: Modbus) -> "Plc":
        """The one for this address; outputs of one PLC share its connection."""
        with cls._lock:
            if (place.host, place.port) not in cls._all:
                cls._all[place.host, place.port] = cls(place.host, place.port)
            return cls._all[place.host, place.port]

    def trouble_of(self, place: Modbus) -> str:
        """What is wrong with the connection, or with this place."""
        return self._trouble or self._refused.get(place, "")

    def lost(self, place: Modbus, from_s: float, to_s: float) -> bool:
        """Whether an opening of the place was not written."""
        with self._news:
            return any(one == place and from_s <= asked_s <= to_s for asked_s, one in self._lost)

    def want(self, place: Modbus, on: bool) -> None:
        """From now on that place shall be so."""
        with self._news:
            self._wanted[place] = on
            self._changes.append((time.monotonic(), place, on))
            self._news.notify()

    def leave(self, place: Modbus) -> None:
        """That place shall be off and is nobody's any more; with the last one all are written, and it is closed."""
        with self._lock, self._news:
            if place in self._left or place not in self._wanted:
                return
            self._left.add(place)
            self._wanted[place] = False
            self._changes.append((time.monotonic(), place, False))
            last = len(self._left) == len(self._wanted)
            if last:
                self._close_by_s = time.monotonic() + CLOSE_S
                for key in [key for key, plc in self._all.items() if plc is self]:
                    del self._all[key]
            self._news.notify()
        if last:
            self._thread.join(CLOSE_S + 2 * TIMEOUT_S)

    def _work(self) -> None:
        to_refresh: Deque[Modbus] = deque()
        refresh_s = 0.0
        while True:
            with self._news:
                while not self._changes and not to_refresh and self._close_by_s is None:
                    left_s = refresh_s - time.monotonic()
                    if left_s <= 0:
                        to_refresh.extend(self._wanted)
                        refresh_s = time.monotonic() + REFRESH_S
                        break
                    self._news.wait(left_s)
                change = self._changes.popleft() if self._changes else None  # pulses come before the refreshing
            try:
                if change is not None:
                    self._carry_out(*change)
                elif to_refresh:
                    place = to_refresh.popleft()
                    self._write(place, self._wanted[place])
                elif self._close_by_s is not None:
                    self._end()
                    return
            except Exception as error:  # pymodbus has its own tree, sockets theirs; each means: no connection
                to_refresh.clear()
                refresh_s = 0.0
                self._fail(error, change)

    def _carry_out(self, asked_s: float, place: Modbus, on: bool) -> None:
        stale = on and time.monotonic() - asked_s > STALE_S
        if stale or (not self._write(place, on) and on):
            self._lose(asked_s, place)

    def _write(self, place: Modbus, on: bool) -> bool:
        """Whether the PLC took it; raises when there is no connection."""
        try:
            self._connection.write(place, on)
        except RefusedError as error:
            self._trouble, self._refused[place] = "", "{}: {}; is it the right number?".format(self.name, error)
            return False
        self._trouble = ""
        self._refused.pop(place, None)
        return True

    def _lose(self, asked_s: float, place: Modbus) -> None:
        with self._news:
            self._lost.append((asked_s, place))

    def _fail(self, error: Exception, change: Optional[Tuple[float, Modbus, bool]]) -> None:
        """Say it. Openings that wait are lost; closings are not, for all is written anew once it answers."""
        self._trouble = "{}: {}; is the PLC on, the cable in, the address right?".format(
            self.name, (str(error).strip() or type(error).__name__).splitlines()[0])
        self._connection.close()
        with self._news:
            self._lost.extend((asked_s, place) for asked_s, place, on in list(self._changes) + [change or (0, None, 0)]
                              if on and place is not None)
            self._changes.clear()
            if self._close_by_s is None:
                self._news.wait(AGAIN_S)

    def _end(self) -> None:
        """Write that all is off, again and again until it is done or CLOSE_S is over."""
        to_do = set(self._wanted)
        while to_do and time.monotonic() < (self._close_by_s or 0.0):
            for place in sorted(to_do):
                try:
                    self._connection.write(place, False)
                    to_do.discard(place)
                except RefusedError:
                    if place in self._refused:  # it never took anything
                        to_do.discard(place)
                except Exception:
                    self._connection.close()
                    time.sleep(0.05)
        self._connection.close()


class Connection:
    """A Modbus TCP connection that is made when it is needed; each call raises an Exception when it fails."""

    def __init__(self, host: str, port: int):
        """Raises OutputError where pymodbus is missing."""
        self._host, self._port = host, port
        self._client: Any = None
        self._client_class, self._unit_name = _client_class("modbus:{}:{}".format(host, port))

    def write(self, place: Modbus, on: bool) -> None:
        """Write a coil or a holding register."""
        unit = {self._unit_name: place.unit}
        client = self.connect()
        self._check(place, client.write_coil(place.number, on, **unit) if place.kind == "coil" else
                    client.write_register(place.number, int(on), **unit))

    def read(self, place: Modbus) -> int:
        """A holding or input register, 0 to 65535."""
        client, options = self.connect(), {"count": 1, self._unit_name: place.unit}
        answer = (client.read_input_registers if place.kind == "input" else client.read_holding_registers)(
            place.number, **options)
        self._check(place, answer)
        return int(answer.registers[0])

    def connect(self) -> Any:
        """The client, connected."""
        if self._client is None:
            client = self._client_class(self._host, port=self._port, timeout=TIMEOUT_S, retries=0)
            if not client.connect():
                client.close()
                raise OSError("no connection")
            self._client = client
        return self._client

    def _check(self, place: Modbus, answer: Any) -> None:
        if answer is None or answer.isError():
            # Before pymodbus 3.7 a lost connection comes back as an answer, too; only the PLC's own has a code
            kind = RefusedError if hasattr(answer, "exception_code") else OSError
            raise kind("{} {}: {}".format(place.kind, place.number, answer))

    def close(self) -> None:
        """Until the next call."""
        if self._client is not None:
            self._client.close()
            self._client = None


def answers(uri: str) -> bool:
    """Whether the PLC of an output takes a connection. Raises UsageError, or OutputError where pymodbus is missing."""
    place = address.modbus(uri, "coil", ("coil", "register"))
    connection = Connection(place.host, place.port)
    try:
        connection.connect()
        return True
    except Exception:  # as in Plc
        return False
    finally:
        connection.close()


def _client_class(name: str) -> Tuple[Any, str]:
    """pymodbus' client, and how its version names the unit."""
    try:
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError:  # 2.x, the last for Python 3.6
            from pymodbus.client.sync import ModbusTcpClient  # type: ignore[no-redef]  # older
    except ImportError:
        raise OutputError("{}: pymodbus is missing; run `python3 -m pip install pymodbus`".format(name))
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what fails is said by us, once
    names = inspect.signature(ModbusTcpClient.write_coil).parameters
    return ModbusTcpClient, next((one for one in ("device_id", "slave", "unit") if one in names), "unit")

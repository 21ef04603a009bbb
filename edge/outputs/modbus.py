"""modbus:HOST[:PORT]/coil/N or /register/N - bits of a PLC over Modbus TCP, written by one thread for each PLC."""

import inspect
import logging
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, Optional, Tuple

from edge.errors import OutputError
from edge.outputs import address
from edge.outputs.address import Modbus
from edge.outputs.base import Output

TIMEOUT_S = 0.5  # of a connection or an answer; trouble shows within twice as long
AGAIN_S = 0.25
REFRESH_S = 0.5  # all is written again so often: that finds a cable that is out, and mends a PLC that restarted
STALE_S = 0.1  # a pulse that could not be written for so long is not written late
CLOSE_S = 2.0


class ModbusOutput(Output):
    """One coil, or a register that is 1 or 0. set() only notes what is wanted; a PLC that is gone delays nobody."""

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
    def trouble(self) -> str:  # type: ignore[override]  # of the connection
        """What the PLC did not do."""
        return self._plc.trouble

    def close(self) -> None:
        """Off; the connection is closed with its last output."""
        self._plc.leave(self._place)


class Plc:
    """The connection to one PLC, and what is wanted of it."""

    _all: Dict[Tuple[str, int], "Plc"] = {}
    _lock = threading.Lock()

    def __init__(self, host: str, port: int):
        """Raises OutputError where pymodbus is missing."""
        self.name = "modbus:{}:{}".format(host, port)
        self.trouble = "{}: not connected yet".format(self.name)
        self._connection = Connection(host, port)
        self._wanted: Dict[Modbus, bool] = {}
        self._changes: Deque[Tuple[float, Modbus, bool]] = deque()
        self._news = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, place: Modbus) -> "Plc":
        """The one for this address; outputs of one PLC share its connection."""
        with cls._lock:
            if (place.host, place.port) not in cls._all:
                cls._all[place.host, place.port] = cls(place.host, place.port)
            return cls._all[place.host, place.port]

    def want(self, place: Modbus, on: bool) -> None:
        """From now on that place shall be so."""
        with self._news:
            self._wanted[place] = on
            self._changes.append((time.monotonic(), place, on))
            self._news.notify()

    def leave(self, place: Modbus) -> None:
        """That place shall be off and is nobody's any more; with the last one the connection is closed."""
        with self._lock, self._news:
            if place not in self._wanted:
                return
            del self._wanted[place]
            self._changes.append((time.monotonic(), place, False))
            self._closing = not self._wanted
            if self._closing:
                for key in [key for key, plc in self._all.items() if plc is self]:
                    del self._all[key]
            self._news.notify()
        if self._closing:
            self._thread.join(CLOSE_S)

    def _next(self, until_s: float) -> Optional[Tuple[float, Modbus, bool]]:
        """The next change, or None when until_s has come or the end."""
        with self._news:
            while not self._changes:
                left_s = until_s - time.monotonic()
                if left_s <= 0 or self._closing:
                    return None
                self._news.wait(left_s)
            return self._changes.popleft()

    def _work(self) -> None:
        refresh_s = 0.0
        while True:
            change = self._next(refresh_s)
            try:
                if change is not None:
                    asked_s, place, on = change
                    if not on or time.monotonic() - asked_s < STALE_S:
                        self._connection.write(place, on)
                elif not self._closing:
                    with self._news:
                        wanted = dict(self._wanted)
                    for place, on in wanted.items():
                        self._connection.write(place, on)
                    refresh_s = time.monotonic() + REFRESH_S
                    if wanted:  # else nothing was tried
                        self.trouble = ""
            except Exception as error:  # pymodbus has its own tree, sockets theirs; each means: not done
                self._fail(error)
                refresh_s = time.monotonic()
            if self._closing and not self._changes:
                self._connection.close()
                return

    def _fail(self, error: Exception) -> None:
        """Say it, and forget what has become too old; off is among what is wanted, so nothing stays open."""
        self.trouble = "{}: {}; is the PLC on, the cable in, the address right?".format(
            self.name, (str(error).strip() or type(error).__name__).splitlines()[0])
        self._connection.close()
        with self._news:
            self._changes.clear()
            if not self._closing:
                self._news.wait(AGAIN_S)


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
            raise OSError("{} {}: {}".format(place.kind, place.number, answer))

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
            from pymodbus.client.sync import ModbusTcpClient  # type: ignore[no-redef]
    except ImportError:
        raise OutputError("{}: pymodbus is missing; run `python3 -m pip install pymodbus`".format(name))
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what fails is said by us, once
    names = inspect.signature(ModbusTcpClient.write_coil).parameters
    return ModbusTcpClient, next((one for one in ("device_id", "slave", "unit") if one in names), "unit")

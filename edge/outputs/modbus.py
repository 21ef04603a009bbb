"""modbus:HOST[:PORT]/COIL - a coil of a PLC over Modbus TCP, written by a thread of its own for each PLC."""

import inspect
import threading
import time
from typing import Any, Dict, Optional, Tuple

from edge.errors import OutputError
from edge.outputs.base import Output

TIMEOUT_S = 1.0  # of a connection or an answer; trouble shows within twice as long
AGAIN_S = 0.5
REFRESH_S = 1.0  # coils are written again so often: it finds out that the cable is out, and mends a restarted PLC


class ModbusOutput(Output):
    """One coil. set() only notes what is wanted; a PLC that is gone delays nobody."""

    def __init__(self, plc: "Plc", coil: int):
        self.uri, self._plc, self._coil = "modbus:{}/{}".format(plc.name, coil), plc, coil
        plc.want(coil, False)

    @classmethod
    def of(cls, host: str, port: int, coil: int) -> "ModbusOutput":
        """The coil of the PLC there; outputs of one PLC share its connection."""
        return cls(Plc.of(host, port), coil)

    def set(self, on: bool) -> None:
        """Noted at once, written as soon as the PLC answers; what was wanted in between is never written late."""
        self._plc.want(self._coil, on)

    @property
    def trouble(self) -> Optional[str]:
        """What the PLC did not do."""
        return self._plc.trouble

    def close(self) -> None:
        """Off; the connection is closed with its last output."""
        self._plc.leave(self._coil)


class Plc:
    """The connection to one PLC and the coils that are wanted of it."""

    _all: Dict[Tuple[str, int], "Plc"] = {}
    _lock = threading.Lock()

    def __init__(self, host: str, port: int):
        self.host, self.port, self.name = host, port, "{}:{}".format(host, port)
        self.trouble: Optional[str] = "output modbus:{}: not connected yet".format(self.name)
        self._client_class, self._unit = _client_class(self.name)
        self._client: Any = None
        self._wanted: Dict[int, bool] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="modbus " + self.name, daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, host: str, port: int) -> "Plc":
        """The one for this address."""
        with cls._lock:
            if (host, port) not in cls._all:
                cls._all[host, port] = cls(host, port)
            return cls._all[host, port]

    def want(self, coil: int, on: bool) -> None:
        """From now on the coil shall be so."""
        with self._changed:
            self._wanted[coil] = on
            self._changed.notify()

    def leave(self, coil: int) -> None:
        """The coil shall be off and is nobody's any more; without any, the connection is closed."""
        self.want(coil, False)
        with self._changed:
            if any(self._wanted.values()) or self._closing:
                return
            self._closing = True
            self._changed.notify()
        self._thread.join(2 * TIMEOUT_S)
        with self._lock:
            self._all.pop((self.host, self.port), None)

    def _work(self) -> None:
        written: Dict[int, bool] = {}
        refreshed_s = 0.0
        while True:
            with self._changed:
                if self._wanted == written and not self._closing:
                    self._changed.wait(REFRESH_S)
                wanted, closing = dict(self._wanted), self._closing
            if time.monotonic() - refreshed_s > REFRESH_S:
                written, refreshed_s = {}, time.monotonic()
            try:
                for coil, on in wanted.items():
                    if written.get(coil) != on:
                        self._write(coil, on)
                        written[coil] = on
                self.trouble = None
            except Exception as error:  # pymodbus has its own tree, sockets theirs; each means: not done
                self._disconnect()
                written = {}
                self.trouble = "output modbus:{}: {}; is the PLC on, the cable in, the address right?".format(
                    self.name, str(error).splitlines()[0] if str(error) else type(error).__name__)
                if not closing:
                    time.sleep(AGAIN_S)
            if closing:
                self._disconnect()
                return

    def _write(self, coil: int, on: bool) -> None:
        if self._client is None:
            client = self._client_class(self.host, port=self.port, timeout=TIMEOUT_S)
            if not client.connect():
                raise OSError("no connection")
            self._client = client
        answer = self._client.write_coil(coil, on, **self._unit)
        if answer is None or answer.isError():
            raise OSError("coil {}: {}".format(coil, answer))

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _client_class(name: str) -> Tuple[Any, Dict[str, int]]:
    """pymodbus' client and how its version names the unit."""
    try:
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError:  # 2.x, the last for Python 3.6
            from pymodbus.client.sync import ModbusTcpClient
    except ImportError:
        raise OutputError("output modbus:{}: pymodbus is missing; run `python3 -m pip install pymodbus`".format(name))
    names = inspect.signature(ModbusTcpClient.write_coil).parameters
    unit = next((one for one in ("device_id", "slave", "unit") if one in names), "unit")
    return ModbusTcpClient, {unit: 1}

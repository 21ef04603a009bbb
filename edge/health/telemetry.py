"""How warm the machine is, what it draws, how fast its clocks run and whether it is slowed down, at one moment.

The figures are read from the system's own files. Where those do not say all, as in a container, jetson-stats is asked
too if it is installed and its service runs; scrapsort needs neither.
"""

import importlib
import os
import shutil
import subprocess
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from edge import board
from edge.health.sysfs import Frequency, Sysfs, total_mw

JTOP_SOCKET = "run/jtop.sock"
QUERY_S = 5.0  # for `nvpmodel -q`


class Reading(NamedTuple):
    """One moment. What the machine does not tell is None or empty."""

    source: str = ""  # sysfs, or sysfs and jtop
    temperatures_c: Dict[str, float] = {}  # by zone
    power_mw: Dict[str, float] = {}  # by rail
    total_mw: Optional[float] = None  # of the board; the sum of the rails where the whole is not measured
    clocks: Dict[str, Frequency] = {}  # gpu, cpu0, …, emc
    gpu_load: Optional[float] = None  # 0 to 1
    fan: Optional[float] = None  # 0 to 1
    nvpmodel: str = ""
    jetson_clocks: Optional[bool] = None  # whether the clocks are pinned
    throttling: Tuple[str, ...] = ()  # what slows the machine down at this moment
    events: Dict[str, int] = {}  # how often it was slowed down since its start, by cause
    memory_mb: Optional[Dict[str, int]] = None  # as board.memory_mb

    def as_dict(self) -> Dict[str, Any]:
        """For JSON, without what is not known."""
        values = {name: value for name, value in self._asdict().items() if value not in (None, "", (), {})}
        if self.clocks:
            values["clocks"] = {name: dict(clock._asdict()) for name, clock in self.clocks.items()}
        return values


class Telemetry:
    """Ask `read` as often as you like: some thirty small files, a few milliseconds. It never raises."""

    def __init__(self, root: str = "/", jtop: Optional[Callable[[], Any]] = None):
        """jtop makes a jetson-stats client; by default the installed one, where its service can be reached."""
        self._root, self._sysfs = root, Sysfs(root)
        self.trips_c = self._sysfs.trips_c  # by zone: from where on the kernel slows the machine down
        self._asked_nvpmodel: Optional[str] = None
        self._jtop = _start_jtop(root, jtop)

    def read(self) -> Reading:
        """How the machine is now."""
        power_mw, clocks = self._sysfs.power_mw(), self._sysfs.clocks()
        reading = Reading("sysfs", self._sysfs.temperatures_c(), power_mw, total_mw(power_mw), clocks,
                          self._sysfs.gpu_load(), self._sysfs.fan(), self._nvpmodel(), _pinned(clocks),
                          self._sysfs.throttling(), self._sysfs.events(), board.memory_mb(self._root))
        return reading if self._jtop is None else self._fill(reading)

    def close(self) -> None:
        """Let go of jetson-stats; may be called twice."""
        client, self._jtop = self._jtop, None
        if client is not None:
            _quietly(client.close)

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _nvpmodel(self) -> str:
        mode = self._sysfs.nvpmodel()
        if mode or self._root != "/":
            return mode
        if self._asked_nvpmodel is None:  # a process is too much for each reading
            self._asked_nvpmodel = _query_nvpmodel()
        return self._asked_nvpmodel

    def _fill(self, reading: Reading) -> Reading:
        """What sysfs left open, from jetson-stats."""
        client, found = self._jtop, {}  # type: Any, Dict[str, Any]
        for name, ask in (("temperatures_c", _jtop_temperatures), ("power_mw", _jtop_power),
                          ("total_mw", lambda c: float(c.power["tot"]["power"])), ("clocks", _jtop_gpu),
                          ("gpu_load", lambda c: _integrated(c)["status"]["load"] / 100.0),
                          ("fan", lambda c: min(one["speed"][0] for one in c.fan.values()) / 100.0),
                          ("nvpmodel", lambda c: c.nvpmodel.name.replace(" ", "_")),
                          ("jetson_clocks", lambda c: None if c.jetson_clocks is None else bool(c.jetson_clocks))):
            known = getattr(reading, name)
            if known in (None, "", {}) or (name == "clocks" and "gpu" not in known):
                value = _quietly(ask, client)
                if value not in (None, {}):
                    found[name] = dict(known, **value) if isinstance(known, dict) and value else value
        return reading._replace(source="sysfs and jtop", **found) if found else reading


def _pinned(clocks: Dict[str, Frequency]) -> Optional[bool]:
    """Whether jetson_clocks is on, as it shows in the clocks' bounds; None without a GPU's clock."""
    if "gpu" not in clocks:
        return None
    known = [clock.pinned for clock in clocks.values() if clock.pinned is not None]
    return all(known) if known else None


def _query_nvpmodel() -> str:
    if shutil.which("nvpmodel") is None:
        return ""
    try:
        output = subprocess.check_output(["nvpmodel", "-q"], stderr=subprocess.DEVNULL, timeout=QUERY_S)
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = [line.partition("NV Power Mode:")[2].strip() for line in output.decode("utf-8", "replace").splitlines()]
    return next((line for line in lines if line), "")


def _start_jtop(root: str, make: Optional[Callable[[], Any]]) -> Any:
    """A client that is connected, or None."""
    if make is None:
        if not os.path.exists(os.path.join(root, JTOP_SOCKET)):  # without its service the package is of no use
            return None
        try:
            make = importlib.import_module("jtop").jtop
        except Exception:  # it may be of another Python, or of another version than its service
            return None
    client = _quietly(make)
    try:
        client.start()
    except Exception:  # its own exceptions share no public base with anything; None has no start either
        return None
    return client


def _quietly(ask: Any, *arguments: Any) -> Any:
    """What ask gives; None when it fails, whatever a foreign library raises."""
    try:
        return ask(*arguments)
    except Exception:
        return None


def _jtop_temperatures(client: Any) -> Dict[str, float]:
    return {name.lower(): float(one["temp"]) for name, one in client.temperature.items() if one.get("online", True)}


def _jtop_power(client: Any) -> Dict[str, float]:
    rails = {name: float(rail["power"]) for name, rail in client.power["rail"].items()}
    total = client.power["tot"]
    return dict(rails, **({total["name"]: float(total["power"])} if total.get("name") else {}))


def _integrated(client: Any) -> Any:
    return next(one for one in client.gpu.values() if one["type"] == "integrated")


def _jtop_gpu(client: Any) -> Dict[str, Frequency]:
    """jetson-stats gives kHz."""
    clock = _integrated(client)["freq"]
    now, low, high = (int(clock[key]) * 1000 if key in clock else None for key in ("cur", "min", "max"))
    return {"gpu": Frequency(now, low, high, clock.get("governor", ""))}

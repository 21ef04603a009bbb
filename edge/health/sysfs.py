"""What Linux tells of a machine in files: temperatures, power, clocks, fan, throttling. Of a Jetson, and of a laptop.

Where each figure lies differs between JetPack 4 (iio:device, pwm-fan), 5 and 6 (hwmon); each place is looked for once.
"""

import glob
import os
import re
from typing import Dict, List, NamedTuple, Optional, Tuple

GPU_NAME = re.compile(r"(^|\.)(gpu|gp10b|gv11b|ga10b)$|^gpu-gpc")  # 57000000.gpu, 17000000.ga10b, gpu-gpc-0 on Thor
# What slows a machine down when it is on; fans, and warnings about a hot case, do not
SLOWS = re.compile(r"throttle|balanced|cpufreq|devfreq|^processor$|emergency", re.IGNORECASE)
EMC_RATES = ("sys/kernel/debug/bpmp/debug/clk/emc/rate", "sys/kernel/debug/clk/emc/clk_rate")  # root alone reads them
FAN_PWM = ("sys/devices/pwm-fan/cur_pwm", "sys/devices/pwm-fan/target_pwm")
COUNTERS = ("sys/class/hwmon/hwmon*/oc*_event_cnt",  # under-voltage and over-current, since the start of the machine
            "sys/devices/platform/*-throttle-alert/thermal_trip_event",
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count")  # of Intel's processors
ALARMS = "sys/class/hwmon/hwmon*/curr[123]_*_alarm"
WHOLE_RAILS = ("POM_5V_IN", "VDD_IN")  # what the board draws as a whole, where it is measured
MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", re.MULTILINE)  # in nvpmodel.conf
DEFAULT_MODE = re.compile(r"^\s*<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>", re.MULTILINE)
OUTSIDE_C = (-40.0, 150.0)  # a sensor that is switched off says -256


class Frequency(NamedTuple):
    """A clock in Hz: now, and between which bounds it may be moved."""

    now_hz: Optional[int]
    min_hz: Optional[int]
    max_hz: Optional[int]
    governor: str = ""

    @property
    def pinned(self) -> Optional[bool]:
        """Whether it cannot move, as after jetson_clocks."""
        return None if self.min_hz is None or self.max_hz is None else self.min_hz == self.max_hz


class Sysfs:
    """Files below root, found when this is made. Nothing raises: what is missing is left out."""

    def __init__(self, root: str = "/"):
        self._root = root
        zones = {self._zone_name(zone): zone for zone in self._find("sys/class/thermal/thermal_zone*")}
        self._zones = {name: zone for name, zone in sorted(zones.items()) if name and not name.startswith("pmic")}
        self.trips_c = self._trips()  # by zone: from where on the kernel slows the machine down
        self._rails = self._find_rails()
        self._clocks = self._find_clocks()
        self._gpu_load = next((path for path in [
            os.path.join(folder, "device", "load") for name, folder in self._clocks if name == "gpu"
        ] + self._find("sys/devices/gpu.0/load") + self._find("sys/devices/platform/gpu.0/load")
            if os.path.isfile(path)), "")
        self._fan = next(iter([path for name in FAN_PWM for path in self._find(name)] + [
            os.path.join(folder, "pwm1") for folder in self._hwmon("pwmfan")]), "")
        self._cooling = [path for path in self._find("sys/class/thermal/cooling_device*")
                         if SLOWS.search(_text(os.path.join(path, "type")))]
        self._counters = [path for pattern in COUNTERS for path in self._find(pattern)]
        self._alarms = [path for path in self._find(ALARMS) if _text(os.path.join(os.path.dirname(path), "name"))
                        == "ina3221"]

    def temperatures_c(self) -> Dict[str, float]:
        """By zone: cpu, gpu, tj, …"""
        read = {name: _number(os.path.join(zone, "temp")) for name, zone in self._zones.items()}
        found = {name: value / 1000.0 for name, value in read.items() if value is not None}
        return {name: value for name, value in found.items() if OUTSIDE_C[0] < value < OUTSIDE_C[1]}

    def power_mw(self) -> Dict[str, float]:
        """By rail, as the board names them."""
        found: Dict[str, float] = {}
        for name, volt, ampere in self._rails:
            millivolt, milliampere = _number(volt), _number(ampere) if ampere else 1000
            if millivolt is not None and milliampere is not None:
                found[name] = millivolt * milliampere / 1000.0
        return found

    def clocks(self) -> Dict[str, Frequency]:
        """gpu, cpu0, cpu4, … (the first core of those that share one), emc (the memory, where it may be read)."""
        found = {}
        for name, folder in self._clocks:
            if name == "gpu":
                names, factor = ("cur_freq", "min_freq", "max_freq", "governor"), 1
            elif name == "emc":
                found[name] = Frequency(_number(folder), None, None)
                continue
            else:
                names, factor = ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", "scaling_governor"), 1000
            now, low, high = (None if hz is None else hz * factor for hz in (
                _number(os.path.join(folder, one)) for one in names[:3]))
            found[name] = Frequency(now, low, high, _text(os.path.join(folder, names[3])))
        return {name: one for name, one in found.items() if one.now_hz is not None}

    def gpu_load(self) -> Optional[float]:
        """From 0 to 1."""
        load = _number(self._gpu_load)
        return None if load is None else load / 1000.0

    def fan(self) -> Optional[float]:
        """From 0 to 1."""
        pwm = _number(self._fan)
        return None if pwm is None else pwm / 255.0

    def throttling(self) -> Tuple[str, ...]:
        """What slows the machine down at this moment."""
        slowing = [_text(os.path.join(path, "type")) for path in self._cooling
                   if (_number(os.path.join(path, "cur_state")) or 0) > 0]
        return tuple(slowing + [self._alarm_name(path) for path in self._alarms if _number(path)])

    def events(self) -> Dict[str, int]:
        """How often the machine was slowed down since it was started, by cause."""
        found = {}
        for path in self._counters:
            count, folder = _number(path), os.path.basename(os.path.dirname(path))
            name = folder if os.path.basename(path) == "thermal_trip_event" else os.path.basename(path)
            if count is not None:
                found[name] = count
        return found

    def nvpmodel(self) -> str:
        """The power mode's name, or its number where nvpmodel.conf does not name it; empty where there is none."""
        mode = self._chosen_mode()
        return "" if mode is None else self.power_modes().get(mode, str(mode))

    def power_modes(self) -> Dict[int, str]:
        """nvpmodel's modes: their names by number."""
        return {int(number): name for number, name in MODE.findall(self._modes())}

    def power_mode(self) -> Optional[int]:
        """The number of nvpmodel's mode: the one that was chosen, else the one that the board starts with."""
        mode = self._chosen_mode()
        default = DEFAULT_MODE.search(self._modes()) if mode is None else None
        return int(default.group(1)) if default else mode

    def _modes(self) -> str:
        return _text(os.path.join(self._root, "etc/nvpmodel.conf"))

    def _chosen_mode(self) -> Optional[int]:
        """`nvpmodel -m` keeps its choice as `pmode:0002`, which can be read without root."""
        found = re.search(r"pmode:(\d+)", _text(os.path.join(self._root, "var/lib/nvpmodel/status")))
        return int(found.group(1)) if found else None

    def _find(self, pattern: str) -> List[str]:
        return sorted(glob.glob(os.path.join(glob.escape(self._root), pattern)))

    def _hwmon(self, name: str) -> List[str]:
        return [path for path in self._find("sys/class/hwmon/hwmon*") if _text(os.path.join(path, "name")) == name]

    @staticmethod
    def _zone_name(zone: str) -> str:
        """cpu of CPU-therm and cpu-thermal, tboard of Tboard_tegra; the PMIC's sensor always says the same."""
        return re.sub(r"[-_](therm(al)?|tegra)$", "", _text(os.path.join(zone, "type")).lower())

    def _trips(self) -> Dict[str, float]:
        found: Dict[str, float] = {}
        for name, zone in self._zones.items():
            kinds = sorted(glob.glob(os.path.join(glob.escape(zone), "trip_point_*_type")))
            trips = [_number(kind[:-len("type")] + "temp") for kind in kinds if _text(kind) == "passive"]
            known = [trip / 1000.0 for trip in trips if trip is not None and trip > 0]
            if known:
                found[name] = min(known)
        return found

    def _find_rails(self) -> List[Tuple[str, str, str]]:
        """(name, file of mW, "") on JetPack 4; (name, file of mV, file of mA) from JetPack 5 on."""
        found = []
        for label in self._find("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-9]"):
            number = label[-1]
            found.append((_text(label), os.path.join(os.path.dirname(label), "in_power{}_input".format(number)), ""))
        for label in self._find("sys/class/hwmon/hwmon*/in[123]_label"):
            folder, number = os.path.split(label)[0], os.path.basename(label)[2]
            if os.path.isfile(os.path.join(folder, "curr{}_input".format(number))):
                found.append((_text(label), os.path.join(folder, "in{}_input".format(number)),
                              os.path.join(folder, "curr{}_input".format(number))))
        return [rail for rail in found if rail[0] and rail[0] != "NC"]  # NC: not connected

    def _find_clocks(self) -> List[Tuple[str, str]]:
        gpus = [path for path in self._find("sys/class/devfreq/*") if GPU_NAME.search(os.path.basename(path))]
        found = [("gpu", path) for path in gpus[:1]]
        found += [("cpu" + os.path.basename(path)[len("policy"):], path)
                  for path in self._find("sys/devices/system/cpu/cpufreq/policy[0-9]*")]
        return found + [("emc", path) for name in EMC_RATES for path in self._find(name)][:1]

    @staticmethod
    def _alarm_name(path: str) -> str:
        folder, name = os.path.split(path)
        return "{} of {}".format(name, _text(os.path.join(folder, "in{}_label".format(name[4]))) or folder)


def total_mw(power_mw: Dict[str, float]) -> Optional[float]:
    """What the board draws: its input where that is measured, else the sum of its rails."""
    whole = [power_mw[name] for name in WHOLE_RAILS if name in power_mw]
    return whole[0] if whole else sum(power_mw.values()) if power_mw else None


def _text(path: str) -> str:
    """The file's text without the white space around it; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0\n\t ")
    except (OSError, ValueError):  # a sensor that is off answers with an error
        return ""


def _number(path: str) -> Optional[int]:
    found = re.match(r"-?\d{1,15}(?!\d)", _text(path)) if path else None
    return int(found.group()) if found else None

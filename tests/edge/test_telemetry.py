"""Telemetry of three Jetsons as their files say it, of a laptop, and with jetson-stats beside."""

import json
import os
import types

import pytest
from jetson_trees import NANO, ORIN, XAVIER, lay

from edge.health import Telemetry


def test_a_nano_with_jetpack_4(tmp_path):
    telemetry = Telemetry(lay(tmp_path, NANO))
    reading = telemetry.read()
    # The PMIC's sensor says 100 C for ever, and is left out
    assert reading.temperatures_c == {"ao": 41.5, "cpu": 37.0, "gpu": 36.5, "pll": 35.5, "thermal-fan-est": 37.0}
    assert reading.power_mw == {"POM_5V_IN": 7350, "POM_5V_GPU": 3120, "POM_5V_CPU": 1450}
    assert reading.total_mw == 7350  # the board's input, not the sum with what it feeds
    assert reading.clocks["gpu"] == (921600000, 921600000, 921600000, "nvhost_podgov")
    assert reading.clocks["cpu0"] == (1479000000, 1479000000, 1479000000, "schedutil")
    assert reading.clocks["emc"].now_hz == 1600000000
    assert (reading.gpu_load, reading.fan, reading.nvpmodel) == (0.993, 1.0, "MAXN")
    assert reading.jetson_clocks is True
    assert reading.throttling == () and reading.events == {}
    assert reading.memory_mb["MemTotal"] == 4157
    assert telemetry.trips_c == {"cpu": 82.0}
    assert reading.source == "sysfs"


def test_a_xavier_with_jetpack_5(tmp_path):
    reading = Telemetry(lay(tmp_path, XAVIER)).read()
    assert reading.temperatures_c == {"cpu": 45.0, "gpu": 44.5, "aux": 43.0, "ao": 43.5, "tboard": 40.0}
    assert reading.power_mw == {"GPU": 3832.0, "CPU": 1916.0, "SOC": 958.0}
    assert reading.total_mw == 6706.0  # no rail carries the whole: their sum
    assert reading.clocks["gpu"].now_hz == 522750000 and reading.clocks["gpu"].pinned is False
    assert reading.clocks["cpu2"].now_hz == 2265600000
    assert (reading.gpu_load, reading.fan, reading.nvpmodel) == (0.48, 0.2, "MODE_30W_ALL")
    assert reading.jetson_clocks is False
    assert reading.throttling == ("curr2_max_alarm of CPU",)


def test_an_orin_with_jetpack_6(tmp_path):
    telemetry = Telemetry(lay(tmp_path, ORIN))
    reading = telemetry.read()
    assert reading.temperatures_c == {"cpu": 50.5, "gpu": 49.8, "tj": 99.5}  # cv0 is switched off
    assert reading.power_mw == {"VDD_IN": 9300.0, "VDD_CPU_GPU_CV": 4500.0} and reading.total_mw == 9300.0
    assert reading.throttling == ("gpu-throttle-alert",)
    assert reading.events == {"oc1_event_cnt": 0, "oc3_event_cnt": 37, "gpu-throttle-alert": 2}
    assert reading.nvpmodel == "2"  # a mode that nvpmodel.conf does not name
    assert telemetry.trips_c == {"tj": 99.0}
    json.dumps(reading.as_dict())


def test_a_reading_follows_the_files(tmp_path):
    telemetry = Telemetry(lay(tmp_path, NANO))
    telemetry.read()
    lay(tmp_path, {"sys/class/devfreq/57000000.gpu/cur_freq": 76800000, "sys/class/thermal/thermal_zone1/temp": 83000,
                   "sys/class/thermal/cooling_device1/cur_state": 2})
    reading = telemetry.read()
    assert reading.clocks["gpu"].now_hz == 76800000
    assert reading.temperatures_c["cpu"] == 83.0
    assert reading.throttling == ("cpu-balanced",)


def test_what_is_missing_is_none_and_nothing_raises(tmp_path):
    reading = Telemetry(str(tmp_path)).read()
    assert reading == reading._replace(source="sysfs", temperatures_c={}, power_mw={}, total_mw=None, clocks={},
                                       gpu_load=None, fan=None, nvpmodel="", jetson_clocks=None, throttling=(),
                                       events={}, memory_mb=None)
    assert reading.as_dict() == {"source": "sysfs"}


@pytest.mark.parametrize("content", ["", "n/a", "\xff\x00", "9" * 400])
def test_files_with_nonsense_raise_nothing(tmp_path, content):
    telemetry = Telemetry(lay(tmp_path, ORIN))
    for folder, _, names in os.walk(str(tmp_path)):
        for name in names:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content.encode("latin-1"))
    telemetry.read()
    Telemetry(str(tmp_path)).read()


def test_a_file_that_goes_away_raises_nothing(tmp_path):
    telemetry = Telemetry(lay(tmp_path, NANO))
    os.remove(str(tmp_path / "sys/class/devfreq/57000000.gpu/cur_freq"))
    os.remove(str(tmp_path / "sys/class/thermal/thermal_zone1/temp"))
    reading = telemetry.read()
    assert "gpu" not in reading.clocks and "cpu" not in reading.temperatures_c


def test_this_machine():
    """Whatever this is, it can be asked."""
    with Telemetry() as telemetry:
        json.dumps(telemetry.read().as_dict())


class Jtop:
    """What jetson-stats 4 answers on a Nano; ended: by close."""

    def __init__(self, start=lambda: None):
        self.start, self.closed = start, False
        self.temperature = {"CPU": {"temp": 44.0, "online": True}, "CV0": {"temp": -256, "online": False}}
        self.power = {"rail": {"GPU": {"power": 1000}}, "tot": {"power": 5000, "name": "POM_5V_IN"}}
        self.gpu = {"gpu": {"type": "integrated", "status": {"load": 50.0},
                            "freq": {"cur": 921600, "min": 76800, "max": 921600, "governor": "nvhost_podgov"}}}
        self.fan = {"pwmfan": {"speed": [40.0]}}
        self.nvpmodel = types.SimpleNamespace(name="MAXN")
        self.jetson_clocks = False

    def close(self):
        self.closed = True


def test_jetson_stats_fills_what_the_files_do_not_say(tmp_path):
    client = Jtop()
    telemetry = Telemetry(str(tmp_path), jtop=lambda: client)
    reading = telemetry.read()
    assert reading.temperatures_c == {"cpu": 44.0}
    assert reading.power_mw == {"GPU": 1000.0, "POM_5V_IN": 5000.0} and reading.total_mw == 5000.0
    assert reading.clocks["gpu"] == (921600000, 76800000, 921600000, "nvhost_podgov")
    assert (reading.gpu_load, reading.fan, reading.nvpmodel) == (0.5, 0.4, "MAXN")
    assert reading.jetson_clocks is False
    assert reading.source == "sysfs and jtop"
    telemetry.close()
    telemetry.close()
    assert client.closed
    assert telemetry.read().source == "sysfs"


def test_where_the_files_speak_jetson_stats_is_not_needed(tmp_path):
    reading = Telemetry(lay(tmp_path, NANO), jtop=Jtop).read()
    assert reading.source == "sysfs" and reading.total_mw == 7350


def test_jetson_stats_without_its_service_is_left_out(tmp_path):
    def start():
        raise RuntimeError("The jtop.service is not active")

    class Gone(Jtop):
        """Connected once, and then the service died: every answer is an error."""

        def __getattribute__(self, name):
            if name in ("start", "closed", "__dict__", "__class__"):
                return object.__getattribute__(self, name)
            raise EOFError(name)

    assert Telemetry(str(tmp_path), jtop=lambda: Jtop(start)).read().source == "sysfs"
    assert Telemetry(str(tmp_path), jtop=Gone).read().source == "sysfs"


def test_a_package_that_cannot_be_imported_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "jtop").mkdir()
    (tmp_path / "jtop" / "__init__.py").write_text("raise SyntaxError('of another Python')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Telemetry(lay(tmp_path / "root", {"run/jtop.sock": ""})).read().source == "sysfs"

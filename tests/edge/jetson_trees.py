"""Files of /sys, /proc and /etc as three Jetsons have them, to be laid below a folder; paths are the boards' own."""

import os

CPU = "sys/devices/system/cpu/cpufreq/policy{}/"


def _cpu(policy, now_khz, low_khz, high_khz, governor):
    folder = CPU.format(policy)
    return {folder + "scaling_cur_freq": now_khz, folder + "scaling_min_freq": low_khz,
            folder + "scaling_max_freq": high_khz, folder + "scaling_governor": governor}


def _gpu(name, now_hz, low_hz, high_hz, load):
    folder = "sys/class/devfreq/{}/".format(name)
    return {folder + "cur_freq": now_hz, folder + "min_freq": low_hz, folder + "max_freq": high_hz,
            folder + "governor": "nvhost_podgov", folder + "device/load": load}


def _zones(*zones):
    found = {}
    for number, (kind, temperature) in enumerate(zones):
        found["sys/class/thermal/thermal_zone{}/type".format(number)] = kind
        found["sys/class/thermal/thermal_zone{}/temp".format(number)] = temperature
    return found


# JetPack 4.6: power as iio:device, the fan as pwm-fan, after jetson_clocks
NANO = dict(
    _zones(("AO-therm", 41500), ("CPU-therm", 37000), ("GPU-therm", 36500), ("PLL-therm", 35500),
           ("PMIC-Die", 100000), ("thermal-fan-est", 37000)),
    **dict(_cpu(0, 1479000, 1479000, 1479000, "schedutil"), **dict(
        _gpu("57000000.gpu", 921600000, 921600000, 921600000, 993), **{
            "sys/class/thermal/thermal_zone1/trip_point_0_type": "passive",
            "sys/class/thermal/thermal_zone1/trip_point_0_temp": 82000,
            "sys/class/thermal/thermal_zone1/trip_point_1_type": "critical",
            "sys/class/thermal/thermal_zone1/trip_point_1_temp": 102500,
            "sys/class/thermal/thermal_zone1/trip_point_2_type": "active",
            "sys/class/thermal/thermal_zone1/trip_point_2_temp": 51000,
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_IN",
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input": 7350,
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1": "POM_5V_GPU",
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input": 3120,
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_2": "POM_5V_CPU",
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power2_input": 1450,
            "sys/class/thermal/cooling_device0/type": "pwm-fan",
            "sys/class/thermal/cooling_device0/cur_state": 3,
            "sys/class/thermal/cooling_device1/type": "cpu-balanced",
            "sys/class/thermal/cooling_device1/cur_state": 0,
            "sys/devices/pwm-fan/cur_pwm": 255,
            "sys/kernel/debug/clk/emc/clk_rate": 1600000000,
            "var/lib/nvpmodel/status": "pmode:0000",
            "etc/nvpmodel.conf": "# modes\n< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >",
            "proc/meminfo": "MemTotal:        4059712 kB\nMemAvailable:    2000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB",
        })))

# JetPack 5.1, AGX Xavier: power below hwmon, no rail for the whole board; clocks move
XAVIER = dict(
    _zones(("CPU-therm", 45000), ("GPU-therm", 44500), ("AUX-therm", 43000), ("AO-therm", 43500),
           ("Tboard_tegra", 40000), ("PMIC-Die", 50000)),
    **dict(dict(_cpu(0, 1190400, 1190400, 2265600, "schedutil"), **_cpu(2, 2265600, 1190400, 2265600, "schedutil")),
           **dict(_gpu("17000000.gv11b", 522750000, 114750000, 1377000000, 480), **{
               "sys/class/hwmon/hwmon2/name": "ina3221",
               "sys/class/hwmon/hwmon2/in1_label": "GPU", "sys/class/hwmon/hwmon2/in1_input": 19160,
               "sys/class/hwmon/hwmon2/curr1_input": 200,
               "sys/class/hwmon/hwmon2/in2_label": "CPU", "sys/class/hwmon/hwmon2/in2_input": 19160,
               "sys/class/hwmon/hwmon2/curr2_input": 100,
               "sys/class/hwmon/hwmon2/in3_label": "SOC", "sys/class/hwmon/hwmon2/in3_input": 19160,
               "sys/class/hwmon/hwmon2/curr3_input": 50,
               "sys/class/hwmon/hwmon2/in7_label": "sum of shunt voltages", "sys/class/hwmon/hwmon2/in7_input": 9,
               "sys/class/hwmon/hwmon2/curr1_crit_alarm": 0, "sys/class/hwmon/hwmon2/curr2_max_alarm": 1,
               "sys/class/hwmon/hwmon3/name": "pwmfan", "sys/class/hwmon/hwmon3/pwm1": 51,
               "var/lib/nvpmodel/status": "pmode:0003 fmode:quiet",
               "etc/nvpmodel.conf": "< POWER_MODEL ID=3 NAME=MODE_30W_ALL >",
           })))

# JetPack 6, Orin Nano: over-current counters, a sensor that is off, throttling at this moment
ORIN = dict(
    _zones(("cpu-thermal", 50500), ("gpu-thermal", 49800), ("cv0-thermal", -256000), ("tj-thermal", 99500)),
    **dict(_cpu(0, 1510400, 729600, 1510400, "schedutil"), **dict(
        _gpu("17000000.gpu", 612000000, 306000000, 1020000000, 999), **{
            "sys/class/thermal/thermal_zone3/trip_point_0_type": "passive",
            "sys/class/thermal/thermal_zone3/trip_point_0_temp": 99000,
            "sys/class/hwmon/hwmon1/name": "ina3221",
            "sys/class/hwmon/hwmon1/in1_label": "VDD_IN", "sys/class/hwmon/hwmon1/in1_input": 5000,
            "sys/class/hwmon/hwmon1/curr1_input": 1860,
            "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV", "sys/class/hwmon/hwmon1/in2_input": 5000,
            "sys/class/hwmon/hwmon1/curr2_input": 900,
            "sys/class/hwmon/hwmon1/in3_label": "NC", "sys/class/hwmon/hwmon1/in3_input": 0,
            "sys/class/hwmon/hwmon1/curr3_input": 0,
            "sys/class/hwmon/hwmon3/name": "soctherm_oc",
            "sys/class/hwmon/hwmon3/oc1_event_cnt": 0, "sys/class/hwmon/hwmon3/oc3_event_cnt": 37,
            "sys/devices/platform/gpu-throttle-alert/thermal_trip_event": 2,
            "sys/class/thermal/cooling_device4/type": "gpu-throttle-alert",
            "sys/class/thermal/cooling_device4/cur_state": 1,
            "sys/class/thermal/cooling_device5/type": "hot-surface-alert",
            "sys/class/thermal/cooling_device5/cur_state": 1,
            "var/lib/nvpmodel/status": "pmode:0002", "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >",
        })))


def lay(folder, files):
    """Write the files below folder; returns it as text."""
    for name, content in files.items():
        path = os.path.join(str(folder), name)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path, "w") as file:
            file.write("{}\n".format(content))
    return str(folder)

"""The units of systemd/: what each systemd from 237 (JetPack 4) to 252 knows of them, and how closed they are."""

import os
import re
import shutil
import subprocess

import pytest
from helpers import REPOSITORY

FOLDER = os.path.join(REPOSITORY, "systemd")
SERVICES = ("scrapsort.service", "scrapsort-engines.service")
# Which version brought an option that came after 237, as "Added in version" of systemd.exec(5), .service(5) and
# .resource-control(5) say; all other options that are used here are older
SINCE = {"PrivateMounts": 239, "LogRateLimitIntervalSec": 240, "LogRateLimitBurst": 240, "ProtectHostname": 242,
         "RestrictSUIDSGID": 242, "ProtectKernelLogs": 244, "ProtectClock": 245, "ProtectProc": 247}
OLD = re.findall(r"\w+", """
After AmbientCapabilities BindReadOnlyPaths CapabilityBoundingSet ConditionPathExists ConfigurationDirectory
CPUWeight Description DeviceAllow DevicePolicy Documentation Environment EnvironmentFile ExecReload ExecStart Group
IOSchedulingClass KeyringMode KillMode LimitCORE LimitNOFILE LimitRTPRIO LockPersonality Nice NoNewPrivileges
NotifyAccess OOMScoreAdjust PathChanged PrivateNetwork PrivateTmp ProtectControlGroups ProtectHome
ProtectKernelModules ProtectKernelTunables ProtectSystem ReadWritePaths RemoveIPC Restart RestartSec
RestrictAddressFamilies RestrictNamespaces RestrictRealtime RuntimeDirectory RuntimeDirectoryMode
RuntimeDirectoryPreserve StandardError StandardOutput StartLimitIntervalSec StateDirectory StateDirectoryMode
SupplementaryGroups SyslogIdentifier SystemCallArchitectures SystemCallErrorNumber SystemCallFilter TimeoutStartSec
TimeoutStopSec Type UMask User WantedBy WatchdogSec""")
# The groups of system calls in systemd.exec(5) of 237; @system-service came with 239, others later
GROUPS_237 = re.findall(r"\S+", """
@aio @basic-io @chown @clock @cpu-emulation @debug @file-system @io-event @ipc @keyring @memlock
@module @mount @network-io @obsolete @privileged @process @raw-io @reboot @resources @setuid @signal @swap @sync
@timer""")
VERSIONS = (237, 245, 249, 252)
# Exposure as `systemd-analyze security` counts it, times ten; less is better
MOST = {("scrapsort.service", 237): 26, ("scrapsort.service", 252): 20,
        ("scrapsort-engines.service", 237): 26, ("scrapsort-engines.service", 252): 20}


def options(name):
    """(option, value) of a unit, in order."""
    with open(os.path.join(FOLDER, name)) as file:
        lines = [line.strip() for line in file]
    return [tuple(line.split("=", 1)) for line in lines if line and not line.startswith(("#", "["))]


@pytest.mark.parametrize("name", sorted(os.listdir(FOLDER)))
def test_each_option_is_one_whose_first_version_is_known(name):
    if name.endswith((".service", ".path")):
        unknown = {key for key, _ in options(name)} - set(SINCE) - set(OLD)
        assert not unknown, "say in SINCE or OLD since when"
        assert all(since <= max(VERSIONS) for since in SINCE.values())


@pytest.mark.parametrize("name", SERVICES)
def test_system_calls_are_denied_by_groups_that_237_has_and_never_whitelisted(name):
    filters = [value for key, value in options(name) if key == "SystemCallFilter"]
    assert filters
    for value in filters:
        assert value.startswith("~")
        assert set(re.findall(r"@[\w-]+", value)) <= set(GROUPS_237)


def test_what_a_dead_belt_would_need_is_in_the_unit():
    values = dict(options("scrapsort.service"))
    assert values["Restart"] == "always"
    assert values["StartLimitIntervalSec"] == "0"  # never gives up
    assert values["KillMode"] == "control-group"  # the process that fires outlives the sorter and closes its valves
    assert float(values["TimeoutStopSec"]) > 4.5  # longer than edge.signals.END_S
    assert values["Type"] == "notify"
    assert values["RuntimeDirectoryPreserve"] == "restart"  # failed starts are counted there


def analyze(*arguments):
    """systemd-analyze's exit code and words; skips where there is none that can do this."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(["systemd-analyze"] + list(arguments), stdout=subprocess.PIPE,  # noqa: UP022  # 3.6 has no capture_output
                          stderr=subprocess.PIPE, check=False)
    error = done.stderr.decode("utf-8", "replace")
    if "unrecognized option" in error:
        pytest.skip("this systemd-analyze is too old: {}".format(error.strip()))
    return done.returncode, done.stdout.decode("utf-8", "replace"), error


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", SERVICES)
def test_exposure_with_what_a_systemd_knows(name, version, tmp_path):
    unit = tmp_path / name
    with open(os.path.join(FOLDER, name)) as file:
        lines = [line for line in file if SINCE.get(line.partition("=")[0], 0) <= version]
    unit.write_text("".join(lines))
    most = MOST[name, 252 if version >= 247 else 237]
    code, out, error = analyze("security", "--offline=true", "--threshold={}".format(most), "--no-pager", str(unit))
    assert code == 0, out.splitlines()[-1:] + [error]


@pytest.mark.parametrize("name", ["scrapsort.service", "scrapsort-engines.service", "scrapsort-engines.path"])
def test_systemd_finds_nothing_wrong_but_what_is_not_installed_here(name):
    _, _, error = analyze("verify", "--man=no", "--recursive-errors=no", os.path.join(FOLDER, name))
    assert [line for line in error.splitlines() if name in line and "is not executable" not in line] == []

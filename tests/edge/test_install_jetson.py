"""scripts/install-jetson on the files of a Nano: what it would run, that a second time does nothing, and the way back.

On a machine with a real systemd it is tested in tests/faults/test_package.py.
"""

import argparse
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
if os.name != "posix":
    pytest.skip("for Linux", allow_module_level=True)
from appliance import jetson  # noqa: E402  # after its folder is on the path
from appliance.machine import Machine, StepError  # noqa: E402  # after its folder is on the path

FSTAB = "/dev/root / ext4 defaults 0 1\n"
MODES = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=5W >\n< PM_CONFIG DEFAULT=0 >\n"


class Nano(Machine):
    """Its files are in a folder, its commands are written down, and those that matter here have their effect."""

    def __init__(self, root):
        Machine.__init__(self, str(root))
        self.ran, self.installed, self.free = [], set(), 20000
        for path, text in (("/etc/nv_tegra_release", "# R32 (release), REVISION: 7.4, GCID: 1, BOARD: t210ref\n"),
                           ("/proc/device-tree/model", "NVIDIA Jetson Nano Developer Kit\0"),
                           ("/proc/device-tree/compatible", "nvidia,p3450-0000\0nvidia,tegra210\0"),
                           ("/proc/meminfo", "MemTotal: 4059264 kB\nMemAvailable: 3000000 kB\nSwapTotal: 0 kB\n"),
                           ("/proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 507404 0 5\n"),
                           ("/etc/nvpmodel.conf", MODES), ("/var/lib/nvpmodel/status", "pmode:0001\n"),
                           ("/usr/local/cuda/bin/nvcc", "x"), ("/etc/fstab", FSTAB)):
            self.write(path, text)

    def run(self, *command, check=True):
        self.ran.append(" ".join(command).replace(self.root, ""))
        if command[:2] == ("apt-get", "install"):
            self.installed |= set(command[4:])
        if command[:2] == ("dpkg", "--force-confdef"):
            self.installed.add("scrapsort")
        if command[0] == "swapon":
            self.write("/proc/swaps", self.text("/proc/swaps") + "{} file 4194300 0 -2\n".format(jetson.SWAP))
        return True

    def free_mb(self, path):
        return self.free

    def ask(self, *command):
        if command[0] == "dpkg-query":
            there = command[-1] in self.installed
            return there, "install ok installed" if there else ""
        if command[-1] == "import tensorrt":
            return True, ""
        return True, "enabled"


@pytest.fixture
def nano(tmp_path, monkeypatch):
    def build(tree, folder):
        path = os.path.join(folder, "scrapsort_1.0_all.deb")
        with open(path, "w") as file:
            file.write("package")
        return path
    monkeypatch.setattr(jetson.package, "build", build)
    monkeypatch.delenv("SUDO_USER", raising=False)
    (tmp_path / "root").mkdir()
    return Nano(str(tmp_path / "root"))


def arguments(**more):
    values = {"anyway": False, "wheels": None, "no_swap": False, "fastest": False, "purge": False}
    return argparse.Namespace(**dict(values, **more))


def test_a_card_without_room_is_not_filled_by_a_swap_file(nano, capsys):
    nano.free = jetson.SWAP_MB + 100
    jetson.swap(nano, jetson.board.read(nano.root), arguments())
    assert nano.ran == [] and "no room for 4096 MB of swap in /var" in capsys.readouterr().out
    assert "swap" not in nano.changed()
    assert Machine.free_mb(nano, "/var") > 0


def test_all_steps_on_a_nano_and_none_of_them_twice(nano, capsys):
    assert jetson.install(nano, arguments()) == 0
    said = capsys.readouterr().out
    assert "Jetson Nano Developer Kit, JetPack 4.6.4 (L4T 32.7.4)" in said
    assert nano.ran[:2] == ["apt-get update", "apt-get install -y --no-install-recommends python3-venv python3-dev g++"]
    assert nano.ran[2:6] == ["fallocate -l 4096M /var/swapfile-scrapsort", "chmod 600 /var/swapfile-scrapsort",
                             "mkswap /var/swapfile-scrapsort", "swapon /var/swapfile-scrapsort"]
    assert [command.split()[0] for command in nano.ran[6:]] == ["dpkg"] + ["/usr/sbin/scrapsort-setup"] * 2 + [
        "/usr/bin/scrapsort"]
    assert nano.ran[-1] == "/usr/bin/scrapsort doctor --state /var/lib/scrapsort"
    assert nano.text("/etc/fstab") == FSTAB + jetson.SWAP_LINE
    profile = nano.text(jetson.PROFILE)
    assert "export OPENBLAS_CORETYPE=ARMV8" in profile and "PATH=/usr/local/cuda/bin:$PATH" in profile
    assert "mode 1 (5W); mode 0 (MAXN) is faster: --fastest" in said and not [c for c in nano.ran if "nvpmodel" in c]
    # Again: it looks, and scrapsort-setup and doctor look, too
    record, nano.ran = nano.text(nano.RECORD), []
    assert jetson.install(nano, arguments()) == 0
    assert nano.ran == ["/usr/sbin/scrapsort-setup", "/usr/sbin/scrapsort-setup --pycuda",
                        "/usr/bin/scrapsort doctor --state /var/lib/scrapsort"]
    assert nano.text(nano.RECORD) == record and nano.text("/etc/fstab") == FSTAB + jetson.SWAP_LINE


def test_the_way_back_leaves_what_was_there(nano, capsys):
    jetson.install(nano, arguments(fastest=True))
    assert "nvpmodel -m 0" in nano.ran
    nano.write(jetson.SWAP, "swap")
    nano.ran = []
    assert jetson.uninstall(nano, arguments()) == 0
    assert nano.ran == ["dpkg -r scrapsort", "nvpmodel -m 1", "swapoff /var/swapfile-scrapsort"]
    assert nano.text("/etc/fstab") == FSTAB
    assert not any(map(nano.exists, (jetson.PROFILE, jetson.SWAP, nano.RECORD, os.path.dirname(nano.RECORD))))
    assert "packages of the system stay, for others may use them by now: g++ python3-dev python3-venv" in (
        capsys.readouterr().out)
    nano.installed.clear()
    nano.ran = []
    assert jetson.uninstall(nano, arguments()) == 0 and nano.ran == []  # twice


def test_wheels_that_are_here_need_no_pip(nano):
    jetson.install(nano, arguments(wheels="/srv/wheels", no_swap=True))
    assert not [command for command in nano.ran if "python3-venv" in command or "swap" in command]
    assert "/usr/sbin/scrapsort-setup --wheels /srv/wheels" in nano.ran


def test_what_it_refuses(nano, tmp_path, capsys):
    nano.write("/etc/nv_tegra_release", "# R32 (release), REVISION: 4.3, GCID: 1\n")
    with pytest.raises(StepError) as error:
        jetson.install(nano, arguments())
    assert "L4T 32.4.3 is older than JetPack 4.6.1" in str(error.value) and not nano.ran
    (tmp_path / "pc").mkdir()
    pc = Machine(str(tmp_path / "pc"))
    with pytest.raises(StepError) as error:
        jetson.install(pc, arguments())
    assert "this is no Jetson" in str(error.value)


def test_a_dry_run_changes_nothing(nano, capsys):
    dry = Machine(nano.root, dry=True)
    dry.ask = nano.ask
    before = sorted(os.walk(nano.root))
    jetson.install(dry, arguments(fastest=True))
    assert sorted(os.walk(nano.root)) == before and nano.ran == []
    assert "would run nvpmodel -m 0" in capsys.readouterr().out

"""The Debian package in a machine with a real systemd: install, upgrade, downgrade, removal, purge, without a network."""

import os
import subprocess

import package_bed
import pytest
from package_bed import CONFFILE, NEW, OLD, STATE, TREE, PackageBed

WHY = package_bed.why_none()
pytestmark = pytest.mark.skipif(bool(WHY), reason="no bed: " + WHY)
DPKG = "DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i /srv/{}"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Packages of two versions with wheels, one without, and the wheels."""
    from appliance import package
    folder = str(tmp_path_factory.mktemp("dist"))
    wheels = package_bed.wheel_folder("amd64")
    newer = package_bed.further_on(str(tmp_path_factory.mktemp("newer")))
    for tree, version in ((TREE, OLD), (newer, NEW)):
        os.rename(package.build(tree, folder, version, "amd64", wheels, "none"), os.path.join(folder, version + ".deb"))
    os.rename(package.build(TREE, folder, OLD, compress="none"), os.path.join(folder, "bare.deb"))
    os.symlink(wheels, os.path.join(folder, "wheels"))
    package.shutil.copytree(wheels, os.path.join(folder, "wheels-here"))
    return folder


@pytest.fixture
def bed(dist):
    one = PackageBed(dist)
    yield one
    one.close()


def test_it_sorts_once_it_is_installed(bed):
    bed.sh(DPKG.format("1.0.deb"))
    bed.wait_for_items(3)
    assert "sorting, process" in bed.sh("scrapsort status")
    assert "ready to sort" in bed.sh("scrapsort doctor --state " + STATE)
    assert {"video", "gpio", "jtop"} <= set(bed.sh("id -nG scrapsort").split())
    for unit in package_bed.package.units(TREE):
        assert bed.sh("systemctl is-enabled " + unit).strip() == "enabled"
    # Nothing of the code belongs to the service's user, and it does not use another scrapsort that lies about
    assert not bed.sh("find /opt/scrapsort -user scrapsort")
    bed.sh("mkdir -p /tmp/other/edge && echo 'raise SystemExit(9)' >/tmp/other/edge/__init__.py")
    assert bed.sh("cd /tmp/other && scrapsort --version").startswith("scrapsort ")
    bed.sh("cd /tmp/other && scrapsort-bench --help >/dev/null || /opt/scrapsort/bin/scrapsort-bench --help >/dev/null")


def test_an_upgrade_keeps_state_and_settings(bed):
    bed.sh(DPKG.format("1.0.deb"))
    bed.wait_for_items(2)
    bed.sh("sed -i 's/^#commit_s = .*/commit_s = 0.5/' " + CONFFILE)
    settings, made = bed.sh("cat " + CONFFILE), bed.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from")
    before, pid, schema = bed.items(), bed.pid(), int(bed.sql("PRAGMA user_version"))
    said = bed.sh(DPKG.format("1.1.deb"))
    assert "scrapsort-setup: nothing to do" in said
    bed.wait_for_items(2)
    assert bed.pid() != pid and bed.items() >= before + 2
    assert bed.sql("SELECT count(DISTINCT run) FROM items") == "2"
    assert int(bed.sql("PRAGMA user_version")) == schema + 1
    assert bed.sh("cat " + CONFFILE) == settings and "#more = 1" in bed.sh("cat {}.dpkg-dist".format(CONFFILE))
    assert bed.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from") == made
    # The older package does not take over a journal that it cannot read, and the belt goes on
    pid = bed.pid()
    said = bed.sh(DPKG.format("1.0.deb"), good=False)
    refused = [line for line in said.splitlines() if "refused" in line]
    assert len(refused) == 1 and "has schema version {}, this package knows up to {}".format(schema + 1, schema) in refused[0]
    assert bed.pid() == pid and bed.is_active()
    assert bed.sh("dpkg-query -W -f '${Version} ${Status}' scrapsort") == NEW + " install ok installed"
    bed.wait_for_items(1)
    # Without that journal it may
    bed.sh("systemctl stop scrapsort; rm {}/journal.db*".format(STATE))
    bed.sh(DPKG.format("1.0.deb"))
    assert not bed.is_active()  # what a person has stopped stays so
    bed.sh("systemctl start scrapsort")
    bed.wait_for_items(1)


def test_removed_it_keeps_its_state_and_purged_nothing(bed):
    bed.sh("find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/run/*' | sort >/tmp/before")
    bed.sh(DPKG.format("1.0.deb"))
    bed.wait_for_items(2)
    bed.sh("echo '# mine' >>" + CONFFILE)
    bed.sh("dpkg -r scrapsort")
    left = bed.items()
    assert left >= 2 and "# mine" in bed.sh("cat " + CONFFILE)
    assert bed.sh("ls /opt /usr/bin/scrapsort 2>/dev/null", None) == "/opt:\n"
    assert not bed.is_active()
    bed.sh(DPKG.format("1.0.deb"))
    bed.wait_for_items(1)
    assert bed.items() > left and "# mine" in bed.sh("cat " + CONFFILE)
    bed.sh("dpkg -P scrapsort")
    bed.sh("find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/run/*' | sort >/tmp/after")
    new = bed.sh("diff /tmp/before /tmp/after | sed -n 's/^> //p'").splitlines()
    new = [name for name in new if not name.startswith(("/var/log/", "/var/lib/dpkg", "/var/lib/systemd/", "/dev/"))
           and name not in ("/etc/group-", "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-", "/etc/.pwd.lock")]
    assert not new
    assert "scrapsort" in bed.sh("getent passwd scrapsort")


def test_without_wheels_it_waits_for_its_environment(bed):
    said = bed.sh(DPKG.format("bare.deb"))
    lines = [line for line in said.splitlines() if line.startswith("scrapsort-setup: ")]
    assert len(lines) == 1 and "run: sudo scrapsort-setup" in lines[0] and "onnxruntime" in lines[0]
    assert bed.sh("systemctl is-enabled scrapsort").strip() == "enabled"
    assert "ConditionPathExists=/opt/scrapsort/venv/bin/python" in bed.sh("systemctl status scrapsort", good=False)
    assert "run: sudo scrapsort-setup" in bed.sh("scrapsort status", good=False)
    # Without a network, nor pip, nor ensurepip: one line that says what to do
    said = bed.sh("scrapsort-setup", good=False).splitlines()
    assert said[-1] == "scrapsort-setup: there is no pip to fetch wheels with; run: sudo apt-get install python3-venv"
    bed.sh("scrapsort-setup --wheels /srv/wheels-here")
    bed.wait_for_items(1)
    # What cannot be imported does not take the place of what can
    bed.sh("cp -r /srv/wheels-here /root/bad && cd /root/bad && printf 'import nothing_of_that_name\\n' >onnxruntime.py && "
           "mkdir -p onnxruntime && mv onnxruntime.py onnxruntime/__init__.py && python3 -c \"import glob, zipfile; "
           "name = glob.glob('onnxruntime-*.whl')[0]; meta = zipfile.ZipFile(name); "
           "m = [n for n in meta.namelist() if n.endswith('METADATA')][0]; text = meta.read(m); "
           "z = zipfile.ZipFile(name, 'w'); z.writestr(m, text); z.write('onnxruntime/__init__.py')\"")
    said = bed.sh("scrapsort-setup --force --wheels /root/bad", good=False)
    assert "cannot be imported" in said and "nothing_of_that_name" in said
    assert bed.sh("scrapsort --version").startswith("scrapsort ")
    assert "ready to sort" in bed.sh("scrapsort doctor --state " + STATE)


def test_a_prepared_archive_installs_without_a_network(dist, tmp_path):
    from appliance import bundle, package
    path = str(tmp_path / "offline.tar")
    bundle.bundle(TREE, "debian12", path, lambda tree, folder, *rest: package.shutil.copytree(
        package_bed.wheel_folder("amd64"), folder))
    subprocess.check_call(["tar", "-xf", path, "-C", str(tmp_path)])
    bed = PackageBed(str(tmp_path), "offline")
    try:
        assert subprocess.call(["ip", "-V"], stdout=subprocess.DEVNULL) or bed.sh("cat /proc/net/route").count("\n") == 1
        folder = "/root/scrapsort-offline"
        bed.sh("cp -r /srv/scrapsort-offline /root && echo x >>{}/wheels/$(ls {}/wheels | grep numpy)".format(folder, folder))
        assert "the archive is damaged" in bed.sh(folder + "/install.sh", good=False)
        bed.sh("dpkg -s scrapsort", good=False)
        bed.sh("rm -r {} && cp -r /srv/scrapsort-offline /root".format(folder))
        assert "ready to sort" in bed.sh(folder + "/install.sh")
        bed.wait_for_items(1)
        bed.sh(folder + "/install.sh")  # twice without harm
        bed.wait_for_items(1)
    finally:
        bed.close()

"""The Debian package in a machine with a real systemd: install, upgrade, downgrade, removal, purge, no network."""

import os
import shutil
import subprocess
import time

import package_bed
import pytest
from package_bed import CONFFILE, NEW, OLD, ROOT, STATE, PackageBed, write_row

WHY = package_bed.why_none()
pytestmark = pytest.mark.skipif(bool(WHY), reason="no bed: " + WHY)
FIND = "find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/run/*' | sort >/tmp/"
DPKG = "DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i /srv/{}"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Packages of two versions with wheels, one without, and the wheels."""
    folder = str(tmp_path_factory.mktemp("dist"))
    wheels = package_bed.wheel_folder("amd64")
    newer = package_bed.further_on(str(tmp_path_factory.mktemp("newer")))
    for tree, version in ((ROOT, OLD), (newer, NEW)):
        os.rename(package_bed.package.build(tree, folder, version, "amd64", wheels, "none"),
                  os.path.join(folder, version + ".deb"))
    os.rename(package_bed.package.build(ROOT, folder, OLD, compress="none"), os.path.join(folder, "bare.deb"))
    shutil.copytree(wheels, os.path.join(folder, "wheels"))
    return folder


@pytest.fixture
def bed(dist):
    one = PackageBed(dist)
    yield one
    one.close()


def test_lintian_finds_nothing(dist):
    if shutil.which("lintian") is None:
        pytest.skip("the packages were NOT linted: no lintian; apt-get install lintian")
    for name in ("1.0.deb", "bare.deb"):
        done = subprocess.Popen(["lintian", "--fail-on", "warning", os.path.join(dist, name)], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        said = done.communicate()[0].decode("utf-8")
        assert done.returncode == 0, said


def test_it_sorts_once_it_is_installed(bed):
    bed.sh(DPKG.format("1.0.deb"))
    bed.wait_for_items(3)
    assert "sorting, process" in bed.sh("scrapsort status")
    assert "ready to sort" in bed.sh("scrapsort doctor --state " + STATE)
    assert {"video", "gpio", "jtop"} <= set(bed.sh("id -nG scrapsort").split())
    for unit in package_bed.package.units(ROOT):
        assert bed.sh("systemctl is-enabled " + unit).strip() == "enabled"
    assert bed.sh("stat -c '%U %G %a' /etc/scrapsort/scrapsort.toml").split() == ["root", "scrapsort", "640"]
    # Members of the group label while it sorts; others are told how it is
    assert bed.sh("stat -c '%U %G %a' " + STATE).split() == ["scrapsort", "scrapsort", "2770"]
    bed.sh("useradd -m -G scrapsort anna && useradd -m visitor")
    bed.sh("runuser -l anna -c 'scrapsort review label 1 glass --state {0} && scrapsort review list --state {0}'"
           .format(STATE))
    assert "sorting, process" in bed.sh("runuser -l visitor -c 'scrapsort status || true'")
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
    started = time.monotonic()
    said = bed.sh(DPKG.format("1.1.deb"))
    assert "scrapsort-setup: nothing to do" in said
    bed.wait_for_items(1)
    recover_s = time.monotonic() - started
    bed.wait_for_items(1)
    assert bed.pid() != pid and bed.items() >= before + 2
    # What the older one had recorded is there, each item once and in order
    doubled = int(bed.sql("SELECT count(*) - count(DISTINCT run * 1000000 + sequence) FROM items"))
    lost = int(float(bed.sql("SELECT total(number) FROM (SELECT max(sequence) - min(sequence) + 1 - count(*) AS number "
                             "FROM items GROUP BY run)")))
    write_row("upgrade under load", "dpkg -i of a newer package", before, bed.items(), lost, recover_s)
    assert doubled == lost == 0
    assert bed.sql("SELECT count(DISTINCT run) FROM items") == "2"
    assert int(bed.sql("PRAGMA user_version")) == schema + 1
    assert bed.sh("cat " + CONFFILE) == settings and "#more = 1" in bed.sh("cat {}.dpkg-dist".format(CONFFILE))
    assert bed.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from") == made
    # The older package does not take over a journal that it cannot read, and the belt goes on
    pid = bed.pid()
    said = bed.sh(DPKG.format("1.0.deb"), good=False)
    refused = [line for line in said.splitlines() if "refused" in line]
    assert len(refused) == 1
    assert "has schema version {}, this package knows up to {}".format(schema + 1, schema) in refused[0]
    assert bed.pid() == pid and bed.is_active()
    before = bed.items()
    bed.wait_for_items(1)
    write_row("downgrade that cannot read the journal", "dpkg -i of an older package: refused", before, bed.items(), 0,
              None)
    assert bed.sh("dpkg-query -W -f '${Version} ${Status}' scrapsort") == NEW + " install ok installed"
    bed.wait_for_items(1)
    # Without that journal it may
    bed.sh("systemctl stop scrapsort; rm {}/journal.db*".format(STATE))
    bed.sh(DPKG.format("1.0.deb"))
    assert not bed.is_active()  # what a person has stopped stays so
    bed.sh("systemctl start scrapsort")
    bed.wait_for_items(1)


def test_removed_it_keeps_its_state_and_purged_nothing(bed):
    bed.sh(FIND + "before")
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
    bed.sh(FIND + "after")
    assert not package_bed.left_over(bed.sh("diff /tmp/before /tmp/after | sed -n 's/^> //p'"))
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
    bed.sh("scrapsort-setup --wheels /srv/wheels")
    bed.wait_for_items(1)
    # What cannot be imported does not take the place of what can
    bed.sh("cp -r /srv/wheels /var/tmp/bad && cd /var/tmp/bad && mkdir onnxruntime && "
           "echo 'import nothing_of_that_name' >onnxruntime/__init__.py && python3 -c \"import glob, zipfile; "
           "name = glob.glob('onnxruntime-*.whl')[0]; meta = zipfile.ZipFile(name); "
           "m = [n for n in meta.namelist() if n.endswith('METADATA')][0]; text = meta.read(m); "
           "z = zipfile.ZipFile(name, 'w'); z.writestr(m, text); z.write('onnxruntime/__init__.py')\"")
    said = bed.sh("scrapsort-setup --force --wheels /var/tmp/bad", good=False)
    assert "cannot be imported" in said and "nothing_of_that_name" in said
    assert bed.sh("scrapsort --version").startswith("scrapsort ")
    assert "ready to sort" in bed.sh("scrapsort doctor --state " + STATE)


def test_a_prepared_archive_installs_without_a_network(dist, tmp_path):
    from appliance import bundle
    path = str(tmp_path / "offline.tar")
    bundle.bundle(ROOT, "debian12", path, lambda tree, folder, *rest: shutil.copytree(
        package_bed.wheel_folder("amd64"), folder))
    subprocess.check_call(["tar", "-xf", path, "-C", str(tmp_path)])
    bed = PackageBed(str(tmp_path), "offline")
    try:
        assert bed.sh("cat /proc/net/route").count("\n") == 1  # its headline: there is no way out
        folder = "/var/tmp/scrapsort-offline"
        bed.sh("cp -r /srv/scrapsort-offline /var/tmp && echo x | tee -a {}/wheels/numpy*.whl".format(folder))
        assert "the archive is damaged" in bed.sh(folder + "/install.sh", good=False)
        bed.sh("dpkg -s scrapsort", good=False)
        bed.sh("rm -r {} && cp -r /srv/scrapsort-offline /var/tmp".format(folder))
        assert "ready to sort" in bed.sh(folder + "/install.sh")
        bed.wait_for_items(1)
        bed.sh(folder + "/install.sh")  # twice without harm
        bed.wait_for_items(1)
    finally:
        bed.close()


@pytest.fixture
def checkout(tmp_path_factory):
    """A bed with a copy of this checkout, and wheels for it, in /srv."""
    folder = str(tmp_path_factory.mktemp("checkout"))
    package_bed.copy_tree(ROOT, os.path.join(folder, "scrapsort"), ("scripts",))
    shutil.copytree(package_bed.wheel_folder("amd64"), os.path.join(folder, "wheels"))
    one = PackageBed(folder, "checkout")
    yield one
    one.close()


def test_install_jetson_from_a_checkout_twice_and_back(checkout):
    bed, install = checkout, "/srv/scrapsort/scripts/install-jetson"
    assert bed.sh(install, good=False).splitlines()[-1].startswith("scripts/install-jetson: this is no Jetson: ")
    bed.sh("useradd -m worker; " + FIND + "before")
    bed.sh(install + " --anyway --dry-run --wheels /srv/wheels")
    assert not bed.sh("dpkg -l scrapsort 2>/dev/null | grep ^ii || true")
    command = "SUDO_USER=worker {} --anyway --wheels /srv/wheels".format(install)
    said = bed.sh(command)
    assert "11. doctor" in said and said.rstrip().endswith("ready to sort")
    assert "scrapsort" in bed.sh("id -nG worker").split()
    bed.wait_for_items(2)
    items, pid, made = bed.items(), bed.pid(), bed.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from")
    said = bed.sh(command)
    assert "there: scrapsort_" in said and "worker is in group scrapsort" in said and "nothing to do" in said
    assert bed.pid() == pid and bed.sh("stat -c %i-%Y /opt/scrapsort/venv/made-from") == made
    bed.sh("setpriv --reuid worker --regid worker --init-groups scrapsort status")
    # Taken back: state stays, nothing else does
    said = bed.sh(install + " --uninstall")
    assert "uninstalled; journal, models and settings are kept" in said
    assert bed.items() >= items and not bed.is_active()
    assert "scrapsort" not in bed.sh("id -nG worker").split()
    bed.sh(install + " --uninstall --purge")
    bed.sh(FIND + "after")
    assert not package_bed.left_over(bed.sh("diff /tmp/before /tmp/after | sed -n 's/^> //p'"))
    bed.sh(install + " --uninstall")


def test_an_opencv_of_the_system_is_not_covered(tmp_path):
    """With Debian's own OpenCV and NumPy, as JetPack's would be: what GStreamer needs stays what is imported."""
    python, look = "/usr/bin/python3", "import cv2, numpy, onnxruntime; print(cv2.__file__, numpy.__file__)"
    here = subprocess.Popen([python, "-c", "import sys, cv2; print('%d.%d' % sys.version_info[:2])"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).communicate()[0].decode().strip()
    if here != package_bed.BED_PYTHON:
        pytest.skip("this machine has no Python {} with OpenCV; apt-get install python3-opencv".format(
            package_bed.BED_PYTHON))
    root = tmp_path / "root"
    package_bed.copy_tree(ROOT, str(root))
    shutil.copytree(package_bed.wheel_folder("amd64"), str(root / "wheels"))
    setup = [python, "-I", os.path.join(ROOT, "scripts", "appliance", "environment.py"), "--installing"]
    said = subprocess.check_output(setup + ["--root", str(root), "--cache", str(tmp_path / "cache")]).decode("utf-8")
    assert "OpenCV 4." in said and "is the system's" in said
    found = subprocess.check_output([str(root / "venv" / "bin" / "python"), "-c", look]).decode().split()
    assert all(path.startswith("/usr/lib/python3/dist-packages/") for path in found)
    out = subprocess.check_output([str(root / "venv" / "bin" / "python"), "-m", "edge", "doctor", "--state",
                                   str(tmp_path / "state")], cwd=str(root)).decode("utf-8")
    assert "ready to sort" in out


@pytest.mark.parametrize("jetpack", ["4.6", "5.1", "6.x", "7.x"])
def test_the_pins_of_a_jetpack_make_an_environment_on_its_python(jetpack, tmp_path):
    """On this processor, and without JetPack's own OpenCV, whose wheel takes its place."""
    import environments
    from appliance import wheels
    python = wheels.JETPACKS[jetpack]["python"]
    interpreter = environments.find_interpreters().get(tuple(map(int, python.split("."))))
    if interpreter is None:
        pytest.skip("JetPack {}'s pins were NOT tried: no Python {} here".format(jetpack, python))
    root = tmp_path / "root"
    package_bed.copy_tree(ROOT, str(root))
    os.symlink(package_bed.wheel_folder("amd64", python, True), str(root / "wheels"))
    options = ["--installing", "--root", str(root), "--cache", str(tmp_path / "cache")]
    code = "import sys; sys.path.insert(0, {!r}); import environment; environment.JETSON = '/'; " \
           "sys.exit(environment.main({!r}))".format(os.path.join(ROOT, "scripts", "appliance"), options)
    said = subprocess.check_output([interpreter, "-I", "-c", code], stderr=subprocess.STDOUT).decode("utf-8")
    assert "environment made" in said
    out = subprocess.check_output([str(root / "venv" / "bin" / "python"), "-m", "edge", "classify", "--format", "json",
                                   "--precision", "int8", picture(tmp_path)], cwd=str(root)).decode("utf-8")
    assert '"predicted_class"' in out
    pins = dict(wheels.pins(ROOT, python, True))
    found = subprocess.check_output([str(root / "venv" / "bin" / "python"), "-c",
                                     "import numpy, onnxruntime; print(numpy.__version__, onnxruntime.__version__)"])
    assert found.decode().split() == [pins["numpy"], pins["onnxruntime"]]


def picture(folder):
    """A drawn item as a file."""
    import cv2

    from edge.frames.drawn import draw_named
    path = str(folder / "metal.png")
    assert cv2.imwrite(path, draw_named("metal", 3))
    return path

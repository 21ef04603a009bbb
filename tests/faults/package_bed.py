"""Packages of scrapsort for the bed: made of this checkout, and of one that is a version further on."""

import os
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for _folder in ("tests/beds", "scripts"):
    sys.path.insert(0, os.path.join(ROOT, _folder))

from appliance import package, wheels  # noqa: E402  # after their folders are on the path
from nspawn import CACHE, Bed, NoBedError, root_file_system  # noqa: E402  # after its folder is on the path
from table import write_row  # noqa: E402  # after its folder is on the path

__all__ = ["BED_PYTHON", "CACHE", "CONFFILE", "NEW", "OLD", "ROOT", "STATE", "PackageBed", "package", "write_row"]

BED_PYTHON = "3.11"
OLD, NEW = "1.0", "1.1"
MIGRATIONS_END = "\n)\n\n\ndef connect("
STATE, CONFFILE = "/var/lib/scrapsort", "/etc/scrapsort/scrapsort.toml"


def why_none(needs=()):
    """Why there can be no bed here; empty: there can."""
    missing = [name for name in ("dpkg-deb",) + tuple(needs) if shutil.which(name) is None]
    if missing:
        return "no {}".format(", ".join(missing))
    try:
        root_file_system()
    except (NoBedError, OSError) as error:
        return str(error)
    return ""


def wheel_folder(architecture, python=BED_PYTHON, jetson=False):
    """The wheels for a Python, the bed's, fetched once."""
    text = "".join("{}=={} ".format(*pin) for pin in wheels.pins(ROOT, python, jetson))
    folder = os.path.join(CACHE, "wheels", "{}-{}-{}".format(python, architecture, package.hashlib.sha256(
        text.encode()).hexdigest()[:12]))
    if not os.path.isdir(folder):
        shutil.rmtree(folder + ".part", ignore_errors=True)
        wheels.fetch(ROOT, folder + ".part", python, architecture, jetson)
        os.rename(folder + ".part", folder)
    return folder


def further_on(folder):
    """This checkout in a folder, with one more version of the journal and one more setting."""
    copy_tree(ROOT, folder)
    _edit(os.path.join(folder, "edge/journal/schema.py"), MIGRATIONS_END,
          '\n    """\n    ALTER TABLE items ADD COLUMN further TEXT;\n    """,' + MIGRATIONS_END)
    uri = '    uri: str = "sim:"\n'
    _edit(os.path.join(folder, "edge/settings.py"), uri, uri + "    more: int = 1\n")
    return folder


def copy_tree(tree, folder, more=()):
    """What a package is made of, without history; more folders, too."""
    for name in package.files_of(tree, package.CODE + ("docs", "systemd", "requirements") + tuple(more)):
        package.copy(os.path.join(tree, name), os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), os.stat(os.path.join(tree, name)).st_mode & 0o777)


def left_over(lines):
    """Of new paths, a line each, those that are not the doing of dpkg, systemd and useradd themselves."""
    return [name for name in lines.splitlines() if not name.startswith((
        "/var/log/", "/var/lib/dpkg", "/var/lib/systemd/", "/dev/")) and not (
            name.startswith("/etc/") and name.endswith("-")) and name != "/etc/.pwd.lock"]


def _edit(path, old, new):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert text.count(old) == 1, (path, old)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


class PackageBed:
    """A bed into which packages are installed; what is said there is kept for the transcript."""

    def __init__(self, folder, name="package"):
        """folder: that of the packages, /srv in the bed."""
        for one in (folder, os.path.dirname(folder)):
            os.chmod(one, 0o755)
        self.bed = Bed(name, [(folder, "/srv")]).power_on()
        self.said = []

    def sh(self, command, good=True, timeout=300.0):
        """Run a shell command; its stdout and stderr together. good: it must end so; None: either way."""
        code, out, err = self.bed.run("sh", "-c", "exec 2>&1; " + command, check=False, timeout=timeout)
        self.said.append("$ {}\n{}".format(command, out + err))
        assert good is None or (code == 0) == good, "{} ended with {}:\n{}".format(command, code, out + err)
        return out

    def items(self):
        """How many items are recorded."""
        return int(self.sql("SELECT count(*) FROM items"))

    def sql(self, query):
        """One value of the journal, as its user reads it."""
        return self.sh("setpriv --reuid scrapsort --regid scrapsort --clear-groups python3 -c 'import sqlite3; "
                       "print(sqlite3.connect(\"{}/journal.db\", timeout=20).execute(\"{}\").fetchone()[0])'".format(
                           STATE, query)).strip()

    def wait(self, what, within_s=120.0):
        """Until what() is true."""
        clock = package.time
        deadline = clock.monotonic() + within_s
        while not what():
            assert clock.monotonic() < deadline, "did not happen:\n" + self.sh(
                "systemctl --no-pager status scrapsort; journalctl --no-pager -u scrapsort | tail -20", None)
            clock.sleep(0.3)

    def wait_for_items(self, more=1):
        """Until the service is ready and so many more items are recorded."""
        self.wait(self.is_active)
        self.wait(lambda: os.path.exists(self.bed.path(STATE + "/journal.db")))
        before = self.items()
        self.wait(lambda: self.items() >= before + more)

    def is_active(self):
        """Whether the service says that it is ready."""
        return self.bed.run("systemctl", "is-active", "scrapsort", check=False)[1].strip() == "active"

    def pid(self):
        """The service's process."""
        return self.sh("systemctl show -p MainPID --value scrapsort").strip()

    def close(self):
        """Pull the plug."""
        self.bed.pull_the_plug()

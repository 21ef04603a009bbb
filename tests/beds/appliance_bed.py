"""scrapsort installed in a bed, as a package would install it."""

import compileall
import json
import os
import shutil
import sqlite3
import subprocess
import time

from nspawn import ROOT, Bed, NoBedError, packages

LAUNCHER = """#!/bin/sh
export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}/opt/scrapsort/app:/opt/scrapsort/site"
exec /usr/bin/python3 -m {} "$@"
"""
PARTS = ("edge", "engines", "models", "systemd", "tests/edge/doubles", "tests/edge/modbus_server.py")
UNITS = ("scrapsort.service", "scrapsort-engines.service", "scrapsort-engines.path")
STATE = "/var/lib/scrapsort"
SETTINGS = "/etc/scrapsort/scrapsort.toml"


class Appliance:
    """A bed with scrapsort in it; its state folder outlives a pulled plug."""

    def __init__(self, folder, name="scrapsort"):
        """folder: an empty one. Raises NoBedError."""
        opt, self.state = os.path.join(folder, "opt"), os.path.join(folder, "state")
        for one in ("bin", "app", "site"):
            os.makedirs(os.path.join(opt, one))
        os.mkdir(self.state)
        for one in (folder, os.path.dirname(folder)):  # the bed's users must come through
            os.chmod(one, 0o755)
        for part in PARTS:
            copy = shutil.copytree if os.path.isdir(os.path.join(ROOT, part)) else shutil.copy
            copy(os.path.join(ROOT, part), os.path.join(opt, "app", part))
        self._compile(os.path.join(opt, "app"))
        for command, module in (("scrapsort", "edge"), ("scrapsort-engines", "engines")):
            path = os.path.join(opt, "bin", command)
            with open(path, "w") as file:
                file.write(LAUNCHER.format(module))
            os.chmod(path, 0o755)
        self.bed = Bed(name, [(opt, "/opt/scrapsort"), (packages(), "/opt/scrapsort/site")], [(self.state, STATE)])

    @staticmethod
    def _compile(folder):
        compileall.compile_dir(folder, quiet=2)  # of use where this Python is the bed's

    def power_on(self):
        """Boot, make the user, install the units; starts nothing."""
        self.bed.power_on()
        for unit in UNITS:
            shutil.copy(os.path.join(ROOT, "systemd", unit), self.bed.path("/etc/systemd/system/"))
        shutil.copy(os.path.join(ROOT, "systemd", "scrapsort.sysusers"),
                    self.bed.path("/usr/lib/sysusers.d/scrapsort.conf"))
        self.bed.run("systemd-sysusers")
        self.bed.run("systemctl", "daemon-reload")
        return self

    def settings(self, text):
        """Write the file of settings."""
        self.bed.write(SETTINGS, text)

    def environment(self, **values):
        """Write /etc/default/scrapsort."""
        self.bed.write("/etc/default/scrapsort", "".join("{}={}\n".format(*one) for one in values.items()))

    def drop_in(self, text, unit="scrapsort.service"):
        """A drop-in for the unit; empty: none."""
        self.bed.write("/etc/systemd/system/{}.d/test.conf".format(unit), text)
        self.bed.run("systemctl", "daemon-reload")

    def systemctl(self, *arguments, check=True, timeout=320.0):
        """systemctl in the bed: (exit code, stdout, stderr)."""
        return self.bed.run("systemctl", *arguments, check=check, timeout=timeout)

    def show(self, name, unit="scrapsort.service"):
        """One of `systemctl show`."""
        return self.systemctl("show", "-p", name, unit)[1].strip().partition("=")[2]

    @property
    def pid(self):
        """The sorter's, in the bed; 0: it does not run."""
        return int(self.show("MainPID"))

    @property
    def status(self):
        """The STATUS line."""
        return self.show("StatusText")

    def signal(self, name, who="main"):
        """A signal to the sorter."""
        self.systemctl("kill", "--kill-who=" + who, "-s", name, "scrapsort.service")

    def log(self, unit="scrapsort.service"):
        """What the journal of the bed has of a unit and of systemd about it: a dictionary a line."""
        out = self.bed.run("journalctl", "-u", unit, "-o", "json", "--no-pager")[1]
        return [json.loads(line) for line in out.splitlines()]

    def lines(self, unit="scrapsort.service"):
        """Its messages."""
        return [one.get("MESSAGE", "") for one in self.log(unit)]

    def rows(self, query="SELECT count(*) FROM items"):
        """Of the sorter's journal; empty while there is none."""
        path = os.path.join(self.state, "journal.db")
        if not os.path.exists(path):
            return []
        connection = sqlite3.connect(path, timeout=20)
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()

    @property
    def items(self):
        """How many are recorded."""
        found = self.rows()
        return found[0][0] if found else 0

    def wait(self, what, within_s=120.0, every_s=0.1):
        """Seconds until what() is true; AssertionError with the log's end when it does not become so."""
        started = time.monotonic()
        while not what():
            if time.monotonic() - started > within_s:
                raise AssertionError("did not happen within {:g} s: {}\n{}".format(
                    within_s, self.status, "\n".join(self.lines()[-30:])))
            time.sleep(every_s)
        return time.monotonic() - started

    def items_come(self, within_s=180.0):
        """Seconds until one more item is recorded."""
        before = self.items
        return self.wait(lambda: self.items > before, within_s)

    def close(self):
        """Pull the plug."""
        self.bed.pull_the_plug()


def why_none():
    """Why there can be no bed here; empty: there can."""
    try:
        from nspawn import root_file_system
        root_file_system()
        packages()
    except NoBedError as error:
        return str(error)
    except (OSError, subprocess.SubprocessError) as error:
        return "no bed: {}".format(error)
    return ""

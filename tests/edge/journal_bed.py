"""`scrapsort run` on a simulated belt, with ejectors, whose disk is made to fail: what the tests of faults share."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = "sim:?speed=1.5&width=640&height=360&seed=3"
LANE = '[[ejector.lane]]\nclass = "{}"\nbin = {}\noutput = "log:{}"\ndistance_m = 0.3\npulse_ms = 20.0\n'
LANES = "".join(LANE.format(name, number, name) for number, name in enumerate(
        ("review", "cardboard", "glass", "metal", "paper", "plastic", "trash")))
SETTINGS = "[journal]\nkeep_free_mb = 0\n[ejector]\nenabled = true\nlate_ms = 1000.0\n" + LANES
ALARM_S = 2.0


class Belt:
    """A running `scrapsort run`; what it says is kept with the times at which it said so."""

    def __init__(self, state, folder, arguments=(), environment=None, prefix=(), python=sys.executable):
        settings = os.path.join(str(folder), "scrapsort.toml")
        with open(settings, "w") as file:
            file.write(SETTINGS)
        environ = dict(os.environ, RUNTIME_DIRECTORY=str(folder), **(environment or {}))
        command = list(prefix) + [python, "-m", "edge", "run", "--source", SOURCE, "--state", str(state),
                                  "--config", settings, "--precision", "int8", "--format", "json",
                                  "--active-learning"] + list(arguments)
        self.state, self.said, self.receipts, self.summary = str(state), [], [], None
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_err)]
        for reader in self._readers:
            reader.start()

    def _read_out(self):
        for line in self.process.stdout:
            value = json.loads(line.decode("utf-8"))
            if value["event"] == "summary":
                self.summary = value
            else:
                self.receipts.append(value)

    def _read_err(self):
        for line in self.process.stderr:
            self.said.append((time.monotonic(), line.decode("utf-8").rstrip()))

    def wait_for(self, what, within_s, why):
        """Until what() is true; what it gave."""
        deadline = time.monotonic() + within_s
        while True:
            found = what()
            if found:
                return found
            assert time.monotonic() < deadline and self.process.poll() is None, "{} within {} s: {}".format(
                why, within_s, "\n".join(text for _, text in self.said if " output " not in text)[-3000:])
            time.sleep(0.05)

    def hear(self, pattern, since_s=0.0, within_s=20.0):
        """When it first said so after since_s (monotonic)."""
        return self.wait_for(lambda: next((at for at, text in self.said if at >= since_s and re.search(pattern, text)),
                                          None), within_s, "{!r} was not said".format(pattern))

    def fired(self):
        """Valves opened so far."""
        return sum(" output " in text and text.endswith(" on") for _, text in self.said)

    def sort(self, items, within_s=60.0):
        """Until so many more are on the disk."""
        wanted = len(self.receipts) + items
        self.wait_for(lambda: len(self.receipts) >= wanted, within_s, "{} items were not recorded".format(items))

    def fire(self, times, within_s=30.0):
        """Until so many more valves have opened: the belt is sorted, whatever the disk does."""
        wanted = self.fired() + times
        self.wait_for(lambda: self.fired() >= wanted, within_s, "{} valves did not open".format(times))

    def end(self, number=signal.SIGTERM):
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def rows(state, query="SELECT sequence FROM items ORDER BY id"):
    """Read as any other program would."""
    connection = sqlite3.connect(os.path.join(str(state), "journal.db"), timeout=10)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


class Disk:
    """A file system of its own."""

    def __init__(self, path, options, image=None):
        os.makedirs(path)
        self.path, self._full, self._filler = path, threading.Event(), None
        if image is None:
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path]
        else:
            with open(image, "wb") as file:
                file.truncate(32 * 1024 * 1024)
            subprocess.check_call(["mkfs.ext4", "-q", "-F", image])
            command = ["mount", "-o", "loop", image, path]
        done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            os.rmdir(path)
            pytest.skip("cannot mount here: {}".format(done.stderr.decode().strip()))

    def remount(self, options):
        subprocess.check_call(["mount", "-o", "remount," + options, self.path])

    def fill(self):
        """Another program takes every byte, and each that becomes free."""
        self._full.clear()
        self._filler = threading.Thread(target=self._fill)
        self._filler.start()

    def _fill(self):
        with open(os.path.join(self.path, "filler"), "ab", 0) as file:
            while not self._full.wait(0.02):
                for size in (65536, 4096, 1):
                    try:
                        while True:
                            file.write(b"x" * size)
                    except OSError:
                        continue

    def free(self):
        self._full.set()
        if self._filler is not None:
            self._filler.join()
        os.unlink(os.path.join(self.path, "filler"))

    def close(self):
        self._full.set()
        subprocess.call(["umount", "-l", self.path])


def need(*programs):
    """Skip, with the reason, where root or a program is missing."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting file systems needs root on Linux")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip("{} is missing; apt-get install {}".format(program, program))


def go_through(belt, fault, how, inject, mend, items=4, alarm="journal: journal ", well="journal: well again",
               **more):
    """Sort, inject, sort on, mend, sort on, end; a row of the table of faults."""
    try:
        belt.hear("source sim:", within_s=60.0)
        belt.sort(items)
        before, fired = len(rows(belt.state)), belt.fired()
        started = time.monotonic()
        inject()
        alarm_s = belt.hear(alarm, started) - started
        belt.fire(items)
        fired = belt.fired() - fired
        mended = time.monotonic()
        mend()
        recover_s = belt.hear(well, mended, 30.0) - mended
        belt.sort(items)
        code = belt.end()
    finally:
        if belt.process.poll() is None:
            belt.end(signal.SIGKILL)
    sequences = [row[0] for row in rows(belt.state)]
    row = dict({"fault": fault, "injected": how, "items_before": before, "items_after": len(sequences),
                "lost": belt.summary["items"] - len(set(sequences)), "doubled": len(sequences) - len(set(sequences)),
                "said_lost": belt.summary["items_not_kept"], "alarm_s": round(alarm_s, 2),
                "recover_s": round(recover_s, 2), "fired_meanwhile": fired}, **more)
    write_row(row)
    assert code == 0 and row["doubled"] == 0 and sequences == sorted(sequences)
    assert alarm_s < ALARM_S + 1.0, row  # a commit's second before the disk is met at all
    assert [one["sequence"] for one in belt.receipts] == sequences
    assert rows(belt.state, "PRAGMA integrity_check") == [("ok",)]
    return row


def write_row(row):
    """A row of the table of faults, where $SCRAPSORT_FAULTS_OUT says."""
    print(json.dumps(row))
    if os.environ.get("SCRAPSORT_FAULTS_OUT"):
        with open(os.environ["SCRAPSORT_FAULTS_OUT"], "a") as file:
            file.write(json.dumps(row) + "\n")

"""The machine that something is installed on: its files, commands that change it, a record of what was changed."""

import json
import os
import shutil
import subprocess
import sys


class StepError(Exception):
    """Why a step cannot be done, in one line."""


class Machine:
    """Files are those below root. dry: what would be done is said, and not done."""

    RECORD = "/var/lib/scrapsort-install/changed.json"

    def __init__(self, root="/", dry=False):
        self.root, self.dry = root, dry

    def real(self, path):
        """Where a path of the machine lies for us."""
        return os.path.join(self.root, path.lstrip("/"))

    def exists(self, path):
        """Whether there is such a file or folder."""
        return os.path.exists(self.real(path))

    def free_mb(self, path):
        """What is free where a folder lies, in MB of 1,000,000 bytes."""
        return shutil.disk_usage(self.real(path)).free // 1000000

    def text(self, path):
        """What stands in a file; empty when it cannot be read."""
        try:
            with open(self.real(path), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def write(self, path, text, mode=0o644):
        """Write a file as a whole; where text is empty it is removed."""
        if self.dry:
            say("    would {} {}".format("write" if text else "remove", path))
            return
        real = self.real(path)
        if not text:
            if os.path.lexists(real):
                os.unlink(real)
            return
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(real + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(real + ".new", mode)
        os.rename(real + ".new", real)

    def run(self, *command, check=True):
        """Run a command that changes something; what it says is shown. Returns whether it ended well."""
        say("    {}{}".format("would run " if self.dry else "$ ", " ".join(command)))
        if self.dry:
            return True
        environ = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        code = subprocess.call(command, stdin=subprocess.DEVNULL, env=environ)
        if code and check:
            raise StepError("`{}` ended with {}".format(" ".join(command), code))
        return code == 0

    def ask(self, *command):
        """(whether it ended well, its stdout) of a command that only looks."""
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
        except OSError:
            return False, ""
        out = process.communicate()[0].decode("utf-8", "replace").strip()
        return process.returncode == 0, out

    def changed(self):
        """{step: what it has changed}, of this and earlier times."""
        text = self.text(self.RECORD)
        return json.loads(text) if text else {}

    def note(self, step, value):
        """Keep what a step has changed, for --uninstall; None: it is undone."""
        if self.dry:
            return
        record = self.changed()
        record[step] = value
        record = {key: one for key, one in record.items() if one is not None}
        self.write(self.RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n" if record else "")
        if not record and os.path.isdir(os.path.dirname(self.real(self.RECORD))):
            os.rmdir(os.path.dirname(self.real(self.RECORD)))


def say(text):
    """A line of progress, in order with what commands print."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()

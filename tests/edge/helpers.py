"""What the tests of edge do alike: wait for something, run a scrapsort command, read a journal."""

import json
import os
import sqlite3
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = os.path.join(REPOSITORY, "models", "trashnet-resnet18")
SHARED = os.environ.get("SCRAPSORT_SHARED_DATA", os.path.join(os.path.dirname(REPOSITORY), "shared", "data"))
LIMIT_S = 15.0  # for what should take a second or two: this machine may be busy
MINE = ("SCRAPSORT_CONFIG", "RUNTIME_DIRECTORY")  # of the shell that runs the tests; no test shall depend on them


def until(what, within_s=LIMIT_S):
    """Wait until what() is true."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "did not happen within {} s".format(within_s)
        time.sleep(0.005)


def is_alive(pid):
    try:
        with open("/proc/{}/stat".format(pid)) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---------------------------------------------------------------- commands

def start(*arguments, **keywords):
    """Start a scrapsort command: a Popen. keywords are Popen's, but env is added to the environment of the tests."""
    environment = {key: value for key, value in os.environ.items() if key not in MINE}
    environment.update({"PYTHONIOENCODING": "utf-8"}, **keywords.pop("env", {}))
    keywords = dict({"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}, **keywords)
    return subprocess.Popen([sys.executable, "-m", "edge"] + [str(one) for one in arguments], cwd=REPOSITORY,
                            env=environment, **keywords)


def scrapsort(*arguments, **keywords):
    """Run a scrapsort command to its end, keywords as for start: (exit code, stdout, stderr)."""
    process = start(*arguments, **keywords)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


# ---------------------------------------------------------------- what came of it

def one_line(caught, *names):
    """The message of an error that pytest.raises caught, which is one line with these names in it."""
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    for name in names:
        assert name in message, message
    return message


def rows(state, query="SELECT * FROM items ORDER BY id", parameters=()):
    """Read a journal with a connection of our own, as any other program would."""
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()

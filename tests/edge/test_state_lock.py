"""One run at a time on a state folder."""

import os
import signal
import subprocess
import sys

import pytest
from helpers import REPOSITORY, one_line

from edge.errors import JournalError
from edge.journal import StateLock


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state")


HOLDER = ("import sys; from edge.journal import StateLock\n"
          "with StateLock(sys.argv[1]):\n"
          "    sys.stdout.write('held\\n'); sys.stdout.flush(); sys.stdin.read()\n")


def hold(state):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, state], cwd=REPOSITORY, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def finish(process):
    process.stdin.close()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_with_the_first_ones_number(state):
    process = hold(state)
    try:
        for _ in range(2):  # asking does not free it
            with pytest.raises(JournalError) as caught:
                StateLock(state)
            one_line(caught, state, "in use by process {};".format(process.pid), "--state")
        StateLock(state + "2").close()  # another folder is another lock
    finally:
        finish(process)
    StateLock(state).close()


def test_the_lock_is_free_once_its_holder_was_killed(state):
    process = hold(state)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with StateLock(state) as lock, open(lock.path) as file:
        assert file.read() == "{}\n".format(os.getpid())  # the dead one's number is gone
    finish(process)


def test_within_one_process_too(state):
    with StateLock(state):
        with pytest.raises(JournalError) as caught:
            StateLock(state)
        one_line(caught, "in use by process {}".format(os.getpid()))
    StateLock(state).close()

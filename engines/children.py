"""Runs the compiler or the checker in a process of its own: what kills it kills neither the parent nor the daemon."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any, Callable, Dict

from edge.errors import BackendError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NICE = 10  # the belt goes first


class KilledError(BackendError):
    """A child that ended by SIGKILL: as a rule the kernel's, when memory is short."""


def run(module: str, request: Dict[str, Any], on_line: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    """The last line of `python3 -m module` on this request; on_line gets the others as they come.

    Raises KilledError, or BackendError with what the child said last.
    """
    path = os.pathsep.join([ROOT] + [entry for entry in [os.environ.get("PYTHONPATH")] if entry])
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=errors, env=dict(os.environ, PYTHONPATH=path))
        try:
            last = _listen(process, request, on_line)
            code = process.wait()
        except BaseException:  # Ctrl-C, too: a builder shall not go on alone
            process.kill()
            process.wait()
            raise
        if code == 0 and last:
            return last
        if "error" in last:
            raise BackendError(str(last["error"]))
        if code == -signal.SIGKILL:
            raise KilledError("{} was killed, most likely for want of memory".format(module))
        errors.seek(0)
        said = [line for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        raise BackendError("{} ended with {}: {}".format(module, _how(code), said[-1] if said else "it said nothing"))


def _listen(process: Any, request: Dict[str, Any], on_line: Callable[[Dict[str, Any]], None]) -> Dict[str, Any]:
    try:
        process.stdin.write(json.dumps(request).encode("utf-8"))
        process.stdin.close()
    except OSError:  # it died before it could read: its end tells why
        pass
    last: Dict[str, Any] = {}
    for line in process.stdout:
        try:
            last = json.loads(line.decode("utf-8"))
        except ValueError:  # a library that prints past Python
            continue
        on_line(last)
    return last


def be_modest() -> None:
    """Called in the child: low priority, and first to go when memory is short, before the daemon."""
    os.nice(NICE)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("800")
    except OSError:
        pass


def _how(code: int) -> str:
    if code >= 0:
        return "exit code {}".format(code)
    try:
        return signal.Signals(-code).name
    except ValueError:
        return "signal {}".format(-code)

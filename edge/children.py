"""Python processes of our own that are spoken to by lines over pipes: started alike, and with clean words."""

import errno
import json
import os
import subprocess
import sys
import threading
from typing import Any, Sequence

import edge

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; sys.exit(main())"


def start(module: str, **more: Any) -> Any:
    """A subprocess.Popen that runs main() of a module; its stdin and stdout are pipes, more goes to Popen.

    It has this process' own search path: what is called edge in the current folder may be another thing. It is in a
    session of its own, so that Ctrl-C, Ctrl-Z and the end of a terminal are for this process alone. Raises OSError.
    """
    folder = os.path.dirname(os.path.dirname(os.path.abspath(edge.__file__)))
    path = [entry for entry in sys.path if entry]  # an empty one is whatever folder is the current one now
    if folder not in path:
        path.insert(0, folder)
    return subprocess.Popen([sys.executable, "-c", _START.format(module), json.dumps(path)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, start_new_session=os.name == "posix", **more)


def start_threads(process: Any, threads: Sequence[threading.Thread]) -> None:
    """Start those who speak with a process. Where there is no memory for them the process is ended: raises OSError."""
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:  # "can't start new thread"
        process.kill()
        process.wait()
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def words() -> int:
    """A file number for what such a process says; what a library prints goes where its errors go from now on."""
    number = os.dup(1)
    os.dup2(2, 1)
    return number

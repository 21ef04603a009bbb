"""Files that matter are written to a temporary name, fsynced, renamed, and their folder fsynced."""

import os
import tempfile
from typing import IO, Callable


def path_text(path: str) -> str:
    """A path as text that can be kept and printed, also where its bytes are no UTF-8 or the locale is C."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def temporary_folder() -> str:
    """The folder for temporary files; /tmp also where no byte fits into any: on a full disk Python names none."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return "/tmp"


def write_durably(path: str, data: bytes) -> None:
    """Put data at path so that after a power cut either the old or the whole new file is there. Raises OSError."""
    replace_durably(path, lambda file: file.write(data))


def replace_durably(path: str, write: Callable[[IO[bytes]], object]) -> None:
    """Let write(file) fill a temporary file beside path, then rename it into place, durably. Raises OSError."""
    folder, name = os.path.split(os.path.abspath(path))
    temporary = os.path.join(folder, ".{}.{}.tmp".format(name, os.getpid()))
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Make renames in a folder durable; systems that cannot open folders do without."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

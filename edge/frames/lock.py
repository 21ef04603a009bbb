"""One `run` at a time on a camera: two would fire the same ejectors."""

import os
from typing import Optional, Sequence

from edge.errors import SourceError
from edge.frames.address import CSI, kind_of, number_of, shown
from edge.locks import HeldError, MachineLock


class CameraLock:
    """Held from construction to close."""

    def __init__(self, uri: str, folders: Optional[Sequence[str]] = None):
        """Raises SourceError that names the process which holds it."""
        try:
            self._lock = MachineLock("camera", _name(uri), folders)
        except HeldError as holder:
            raise SourceError("source {}: in use by process {}; stop that run or give another --source".format(
                shown(uri), holder))

    def close(self) -> None:
        """Free the lock."""
        self._lock.close()


def _name(uri: str) -> str:
    """One for each camera: of the device behind a link, of the sensor with its number."""
    if uri.startswith("/dev/"):
        return os.path.realpath(uri)
    return "csi://{}".format(number_of(uri)) if kind_of(uri) == CSI else uri

"""One `run` at a time on a camera: two would fire the same ejectors."""

import os
from typing import Optional, Sequence

from edge.errors import SourceError
from edge.frames.address import shown
from edge.locks import HeldError, MachineLock


class CameraLock:
    """Held from construction to close."""

    def __init__(self, uri: str, folders: Optional[Sequence[str]] = None):
        """Raises SourceError that names the process which holds it."""
        name = os.path.realpath(uri) if uri.startswith("/dev/") else uri  # of the device behind a link
        try:
            self._lock = MachineLock("camera", name, folders)
        except HeldError as holder:
            raise SourceError("source {}: in use by process {}; stop that run or give another --source".format(
                shown(uri), holder))

    def close(self) -> None:
        """Free the lock."""
        self._lock.close()

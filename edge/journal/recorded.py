"""Whether a picture was recorded before: the reading side of a run, with a connection of its own."""

import sqlite3
import threading
from typing import Optional

from edge.journal import schema


class Recorded:
    """Asked by the source's thread; dropped by the journal's when the file is another one from now on."""

    def __init__(self, path: str):
        self._path, self._lock = path, threading.Lock()
        self._connection: Optional[sqlite3.Connection] = None

    def ask(self, source_key: str) -> bool:
        """Whether any run has recorded this very picture; False also when the journal cannot be read now."""
        for _ in range(2):  # the second time with a new connection
            try:
                with self._lock:
                    if self._connection is None:
                        self._connection = sqlite3.connect(self._path, timeout=schema.BUSY_S, check_same_thread=False)
                    return self._connection.execute("SELECT 1 FROM items WHERE source_key = ? LIMIT 1",
                                                    (source_key,)).fetchone() is not None
            except sqlite3.Error:
                self.drop()
        return False

    def drop(self) -> None:
        """Close the connection; the next question opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

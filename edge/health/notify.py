"""Tells systemd how the run is: ready, in words, alive. Does nothing where no systemd asks for it.

The protocol is sd_notify(3): datagrams of KEY=VALUE lines to the socket that $NOTIFY_SOCKET names.
"""

import os
import socket
from typing import Mapping, Optional

from edge.clock import Clock

PINGS = 4.0  # in the time after which systemd takes the process for hung


class Notifier:
    """One run's line to systemd. Nothing here raises or waits: a manager that is not there stops no belt."""

    def __init__(self, environ: Optional[Mapping[str, str]] = None, clock: Clock = Clock()):
        environ = os.environ if environ is None else environ
        self._clock = clock
        self._socket: Optional[socket.socket] = None
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # of the abstract name space
            self._address = "\0" + self._address[1:]
        if self._address and hasattr(socket, "AF_UNIX"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
            self._socket.setblocking(False)
        self.watchdog_s = _watchdog_s(environ)
        self._every_s = self.watchdog_s / PINGS
        self._pinged_s = -self._every_s
        self._said = ""
        self.is_reloading = False

    @property
    def is_asked(self) -> bool:
        """Whether a manager listens."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """The first inference has succeeded: from here on the unit counts as started. Also ends reloading."""
        self._said, self.is_reloading = status, False
        self._send("READY=1\nSTATUS={}".format(_line(status)))

    def status(self, text: str) -> None:
        """One line for `systemctl status`; sent when it differs from the latest."""
        if text != self._said:
            self._said = text
            self._send("STATUS={}".format(_line(text)))

    def ping(self) -> None:
        """Called by the conveyor loop as it turns: feeds the watchdog, as often as that asks for."""
        if self.watchdog_s:
            now_s = self._clock.mono_s()
            if now_s - self._pinged_s >= self._every_s:
                self._pinged_s = now_s
                self._send("WATCHDOG=1")

    def patience(self, seconds: float = 0.0) -> None:
        """From now on systemd waits for a ping so long, 0: as at first. For what takes long and is no loop."""
        if self.watchdog_s:
            self._send("WATCHDOG_USEC={}\nWATCHDOG=1".format(int((seconds or self.watchdog_s) * 1000000)))

    def reloading(self) -> None:
        """Settings are read anew; ready ends it. MONOTONIC_USEC is for Type=notify-reload of systemd 253 and later."""
        self.is_reloading = True
        self._send("RELOADING=1\nMONOTONIC_USEC={}".format(int(self._clock.mono_s() * 1000000)))

    def stopping(self, why: str) -> None:
        """The end has begun. Safe in a signal's handler."""
        self._send("STOPPING=1\nSTATUS={}".format(_line(why)))

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode("utf-8"), self._address)
        except OSError:  # its queue is full, or it is gone
            pass


def _watchdog_s(environ: Mapping[str, str]) -> float:
    """After how long without a ping systemd acts; 0: it does not, or means another process."""
    try:
        if int(environ.get("WATCHDOG_PID") or os.getpid()) != os.getpid():
            return 0.0
        return int(environ.get("WATCHDOG_USEC") or 0) / 1e6
    except ValueError:
        return 0.0


def _line(text: str) -> str:
    return " ".join(text.split())

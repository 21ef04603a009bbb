"""Time: the monotonic clock for intervals, wall time as a label, and whether that label can be trusted."""

import ctypes
import datetime
import os
import threading
import time
from typing import Any, Optional, Tuple

TIME_ERROR = 5  # ntp_adjtime(3): the clock is not synchronised
SYNCHRONISED_FOR_S = 10.0  # how long an answer of the kernel is kept
TIMESYNCD = "/run/systemd/timesync/synchronized"  # there once systemd-timesyncd (239 and later) has set the clock


class Clock:
    """The real clock. Tests pass one of their own with the same methods."""

    def __init__(self) -> None:
        self._asked_mono_s = float("-inf")
        self._synchronised: Optional[bool] = None

    def mono_s(self) -> float:
        """Monotonic seconds since an arbitrary start; the same for all processes of one boot on Linux."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds since 1970 in UTC, as the system believes."""
        return time.time()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until event is set or seconds have passed; whether it is set."""
        return event.wait(max(0.0, seconds))

    def synchronised(self) -> Optional[bool]:
        """Whether NTP holds the wall clock, or None where the system does not say."""
        now = self.mono_s()
        if now - self._asked_mono_s > SYNCHRONISED_FOR_S:
            self._asked_mono_s, self._synchronised = now, _ask_kernel()
        return self._synchronised


def _ask_kernel() -> Optional[bool]:
    try:
        adjtime: Any = ctypes.CDLL(None).ntp_adjtime
    except (OSError, AttributeError, TypeError):  # not a POSIX system, or a C library without it
        return None
    buffer = ctypes.create_string_buffer(512)  # struct timex has 208 bytes; modes = 0 only reads
    state = adjtime(buffer)
    if state < 0:  # a service that may not set the clock may not ask either
        return True if os.path.exists(TIMESYNCD) else None
    return state != TIME_ERROR


def boot_id() -> str:
    """What tells one boot from the next, or an empty string where the system has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def utc_text(wall_s: float) -> str:
    """Seconds since 1970 -> 2026-11-22T09:15:00.123Z; sorts as text in the order of time."""
    seconds, milliseconds = divmod(int(round(wall_s * 1000)), 1000)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return "{}.{:03d}Z".format(moment.isoformat(), milliseconds)


def parse_utc(text: str) -> str:
    """Bring a user's time to the form of utc_text.

    Accepts 2026-11-22, 2026-11-22T09:15, …:00, …:00.123, each with or without Z (taken as UTC), and with a blank
    for the T. Raises ValueError.
    """
    bare = text.strip().replace(" ", "T")
    bare = bare[:-1] if bare.endswith("Z") else bare
    forms: Tuple[str, ...] = ("%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
    for form in forms:
        try:
            moment = datetime.datetime.strptime(bare, form)
        except ValueError:
            continue
        return moment.isoformat(timespec="milliseconds") + "Z"  # strftime does not pad years below 1000
    raise ValueError("{!r} is no time; use 2026-11-22 or 2026-11-22T09:15:00Z (UTC)".format(text))

"""The service of jetson-stats, which tells temperatures and power; without it they come from sysfs."""

import os
from typing import List

from edge.health.checks.finding import NOTE, OK, Finding
from edge.health.checks.place import Place

SOCKET, SERVICE = "/run/jtop.sock", "/etc/systemd/system/jtop.service"


def jtop(place: Place) -> List[Finding]:
    """Whether it can be asked."""
    version = place.version("jetson-stats")
    if place.exists(SOCKET):
        if not version and not place.module("jtop"):
            return [Finding(NOTE, "jtop", "its service runs, but this Python has no module jtop",
                            "python3 -m pip install jetson-stats")]
        if not os.access(place.real(SOCKET), os.R_OK | os.W_OK):
            return [Finding(NOTE, "jtop", "its service runs, but this user may not ask it",
                            "sudo usermod -aG jtop $USER, then log in again" if not place.in_container else
                            "start the container with --group-add $(getent group jtop | cut -d: -f3)")]
        return [Finding(OK, "jtop", "jetson-stats {}, its service runs".format(version or "?"))]
    if place.in_container:
        return [Finding(OK, "jtop", "not mounted; temperatures come from sysfs")]
    if place.exists(SERVICE) or version:
        return [Finding(NOTE, "jtop", "its service does not run; temperatures come from sysfs",
                        "sudo systemctl restart jtop.service")]
    return [Finding(OK, "jtop", "not installed; temperatures come from sysfs")]

"""What `scrapsort doctor` has to say of the journal: its disk, what waits for repair, what was lost."""

import glob
import os
import re
import sqlite3
from typing import Dict, List, Optional, Tuple

from edge.journal import aside, schema

Advice = Tuple[str, str, str, str]  # level (ok, note or wrong), what, value, remedy
CARD = re.compile(r"/dev/mmcblk\d")


def findings(state: str, mounts: str = "/proc/mounts", journald: str = "/etc/systemd") -> List[Advice]:
    """Advice about the state folder, as the rows of doctor's report."""
    found: List[Advice] = []
    for path in aside.find_aside(state):
        found.append(("note", "journal", "{}: a damaged journal that was put aside".format(path),
                      "scrapsort journal repair"))
    lost = _lost(state)
    if lost:
        found.append(("note", "journal", lost, "its table losses tells when and why"))
    device, options = _mount_of(state, mounts)
    if CARD.match(device):
        if "noatime" not in options:
            found.append(("note", "disk", "{} (an SD card or eMMC) notes each time that a file is read".format(device),
                          "add noatime to its options in /etc/fstab"))
        if not _is_bounded(journald):
            found.append(("note", "disk", "systemd's journal may take a tenth of {}, and writes all the time".format(
                device), "in /etc/systemd/journald.conf set Storage=volatile, or SystemMaxUse=64M and "
                         "SyncIntervalSec=15m"))
    return found


def _lost(state: str) -> str:
    path = os.path.join(state, schema.FILE)
    if not os.path.isfile(path):
        return ""
    try:
        connection = sqlite3.connect(schema.read_only_uri(path), uri=True)
        try:
            items, pictures, last = connection.execute(
                "SELECT sum(items), sum(pictures), max(to_utc) FROM losses").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:  # an older journal, or a damaged one: that is another finding
        return ""
    return "{} items and {} pictures could not be kept, the last at {}".format(items, pictures, last) if last else ""


def _mount_of(path: str, mounts: str) -> Tuple[str, List[str]]:
    """Device and options of the file system that path lies on."""
    real, best = os.path.realpath(path), ("", "", "")  # type: str, Tuple[str, str, str]
    for line in _read(mounts).splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        point = fields[1].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[1]):
            best = (fields[0], point, fields[3])
    return best[0], best[2].split(",")


def _is_bounded(folder: str) -> bool:
    """Whether systemd's journal is kept in memory, or has a limit."""
    values: Dict[str, str] = {}
    for path in [os.path.join(folder, "journald.conf")] + sorted(glob.glob(os.path.join(
            folder, "journald.conf.d", "*.conf"))):
        for line in _read(path).splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith("#"):
                values[name.strip()] = value.strip()
    limit: Optional[str] = values.get("SystemMaxUse")
    return values.get("Storage") in ("volatile", "none") or bool(limit)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""

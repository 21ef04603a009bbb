"""The appliance in a bed, and what the tests of its service share: starting it, and what its journal must be."""

import os
import shutil
import sqlite3
import tempfile
import time

import pytest
from appliance_bed import Appliance, why_none

DRAWN = "[source]\nuri = \"drawn:\"\ninterval_s = {}\n[model]\nbackend = \"onnxruntime\"\n"
WATCHED = "[source]\nuri = \"{}\"\nwatch = true\n[model]\nbackend = \"onnxruntime\"\n"
BELT = "[source]\nuri = \"sim:?width=320&height=240&fps=15&gap=0.02\"\n[model]\nbackend = \"onnxruntime\"\n"
LANE = "[[ejector.lane]]\nclass = \"{}\"\nbin = {}\noutput = \"{}\"\ndistance_m = 0.3\npulse_ms = {}\n"
CLASSES = ("cardboard", "glass", "metal", "paper", "plastic", "trash", "review")
DOUBLES = "/opt/scrapsort/app/tests/edge/doubles"
PICTURES = "/srv/pictures"


@pytest.fixture(scope="module")
def bed():
    """One machine for all tests of a file."""
    why = why_none()
    if why:
        pytest.skip(why)
    folder = tempfile.mkdtemp(prefix="scrapsort-bed-")
    made = Appliance(folder)
    try:
        yield made.power_on()
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sorter(bed):
    """The appliance, stopped and as new."""
    if not bed.bed.leader:
        bed.power_on()
    bed.systemctl("stop", "scrapsort", check=False)
    bed.systemctl("reset-failed", check=False)
    bed.bed.run("sh", "-c", "rm -rf /var/lib/scrapsort/* /run/scrapsort /run/hooks /etc/default/scrapsort "
                            "/etc/systemd/system/scrapsort.service.d /etc/nv_tegra_release /etc/scrapsort/* /srv/*; "
                            "mkdir -p /run/hooks; "
                            "journalctl --rotate -q; journalctl --vacuum-time=1s -q")
    bed.systemctl("daemon-reload")
    bed.settings(DRAWN.format(0.1))
    yield bed
    bed.systemctl("stop", "scrapsort", check=False)


def lanes(output, pulse_ms):
    """A valve for each class and for what must be reviewed; {} in output is the bin's number."""
    return "[ejector]\nenabled = true\n" + "".join(
        LANE.format(name, number, output.format(number), pulse_ms) for number, name in enumerate(CLASSES, 1))


def start(bed, settings=None):
    """Start it and wait for the first item: (seconds of `systemctl start`, seconds until an item is recorded)."""
    if settings is not None:
        bed.settings(settings)
    started = time.monotonic()
    bed.systemctl("start", "scrapsort")
    return time.monotonic() - started, bed.items_come() + time.monotonic() - started


def is_whole(bed):
    """The journal's file is sound, and each run's items are there once, from 1 to the last."""
    connection = sqlite3.connect(bed.state + "/journal.db", timeout=20)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for run, count, first, last, different in connection.execute(
                "SELECT run, count(*), min(sequence), max(sequence), count(DISTINCT sequence) FROM items GROUP BY run"):
            assert (first, last, different) == (1, count, count), "run {}".format(run)
    finally:
        connection.close()


def back_again(bed, old_pid, within_s=120.0):
    """Seconds until systemd has started another process, and until that one has recorded an item."""
    before = bed.items
    started = time.monotonic()
    bed.wait(lambda: bed.pid not in (0, old_pid), within_s, every_s=0.05)
    noticed_s = time.monotonic() - started
    bed.wait(lambda: bed.items > before, within_s)
    return noticed_s, time.monotonic() - started


def put_pictures(bed, first, count, folder=PICTURES):
    """So many different pictures in a folder of the bed, each there at once as a whole."""
    import cv2

    from edge.frames.drawn import draw_named
    here = bed.bed.path(folder)
    os.makedirs(here, exist_ok=True)
    for number in range(first, first + count):
        data = cv2.imencode(".jpg", draw_named("glass", number, 192, 256))[1].tobytes()
        with open(os.path.join(here, "new"), "wb") as file:
            file.write(data)
        os.rename(os.path.join(here, "new"), os.path.join(here, "p{}.jpg".format(number)))

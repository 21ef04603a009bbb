"""Settings, bundle and picture folder are spoiled in turn, before a start and while the service sorts, in the bed.

What is open goes on; what cannot be used is said in one line, and taken again once it is mended.
"""

import os
import time

import pytest
from service_bed import DRAWN, PICTURES, WATCHED, is_whole, put_pictures, start
from table import write_row

SETTINGS, CURRENT = "/etc/scrapsort/scrapsort.toml", "/var/lib/scrapsort/models/current"
BUNDLE = "/opt/scrapsort/app/models/trashnet-resnet18"
# By kind: how it is spoiled, and what the line says; {} is the file
SPOILED_SETTINGS = {
    "random bytes": ("head -c 300 /dev/urandom >{0}.new; chmod 644 {0}.new; mv {0}.new {0}", "not valid TOML"),
    "cut off": ("printf '[source]\\nuri = \"dra' >{}", "not valid TOML"),
    "not to be read": ("chmod 000 {}", "cannot be read: Permission denied"),
    "a folder": ("rm {0}; mkdir {0}", "cannot be read: is no file"),
}
SPOILED_BUNDLES = {
    "a flipped byte in each model": ("for f in {}/*.onnx; do printf X | dd of=$f bs=1 seek=5000000 conv=notrunc; done",
                                     "is damaged: sha256"),
    "a manifest that is cut off": ("truncate -s 1000 {}/manifest.json", "manifest.json is not JSON"),
    "golden answers that are gone": ("rm {}/golden.npz", "golden.npz: not found"),
    "not to be read": ("chmod 000 {}", "Permission denied"),
}


def said(bed, words):
    """The sorter's lines with these words, each of which must be one line."""
    lines = [one["MESSAGE"] for one in bed.log() if one.get("SYSLOG_IDENTIFIER") == "scrapsort"]
    found = [line for line in lines if words in line]
    assert not any("\n" in line or "Traceback" in line for line in lines), lines
    return found


def sh(bed, text):
    bed.bed.run("sh", "-c", text)


def fails_to_start(bed, words):
    """Start what cannot start: the line that says why, and the seconds from mending it until it sorts are left."""
    bed.systemctl("start", "--no-block", "scrapsort")
    bed.wait(lambda: said(bed, words), 60)
    bed.wait(lambda: bed.status.startswith("failed: "), 60)  # the second time there is a pause, which it tells
    assert words in bed.status
    return said(bed, words)


def copy_of_the_bundle(bed):
    sh(bed, "mkdir -p {0} && cp -r {1} {2} && chown -R scrapsort: {0}".format(os.path.dirname(CURRENT), BUNDLE,
                                                                             CURRENT))


# -------------------------------------------------------------------- settings

@pytest.mark.parametrize("kind", sorted(SPOILED_SETTINGS))
def test_settings(sorter, kind):
    spoil, words = SPOILED_SETTINGS[kind]
    start(sorter)
    before, pid = sorter.items, sorter.pid
    sh(sorter, spoil.format(SETTINGS))
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: sorter.status.startswith("degraded: settings: refused, those before stay in use"), 30)
    assert words in sorter.status
    assert len(said(sorter, words)) == 1
    sorter.items_come()
    assert sorter.pid == pid
    running = sorter.items
    sorter.systemctl("stop", "scrapsort")
    lines = fails_to_start(sorter, words)
    assert sorter.items >= running
    started = time.monotonic()
    sh(sorter, "rm -rf " + SETTINGS)
    sorter.settings(DRAWN.format(0.1))
    recover_s = sorter.items_come()
    is_whole(sorter)
    write_row("settings: " + kind, "while it sorts, with a reload; then before a start", before, sorter.items, 0,
              recover_s, said=lines[-1])
    assert time.monotonic() - started < 60


def test_settings_that_are_gone(sorter):
    """A reload takes no built-in ones in their place, which would sort a simulated belt."""
    start(sorter)
    before, pid = sorter.items, sorter.pid
    sh(sorter, "rm " + SETTINGS)
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: "settings cannot be read: the file is gone" in sorter.status, 30)
    status = sorter.status
    sorter.items_come()
    started = time.monotonic()
    sorter.settings(DRAWN.format(0.1))
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: sorter.status.startswith("sorting"), 30)
    recover_s = time.monotonic() - started
    sorter.items_come()
    assert sorter.pid == pid
    assert sorter.rows("SELECT DISTINCT source FROM runs") == [("drawn:",)]
    is_whole(sorter)
    write_row("settings: gone", "rm while it sorts, with a reload", before, sorter.items, 0, recover_s, said=status)


# -------------------------------------------------------------------- bundle

@pytest.mark.parametrize("kind", sorted(SPOILED_BUNDLES))
def test_a_bundle(sorter, kind):
    spoil, words = SPOILED_BUNDLES[kind]
    copy_of_the_bundle(sorter)
    start(sorter)
    before, pid = sorter.items, sorter.pid
    sh(sorter, spoil.format(CURRENT))
    sorter.items_come()
    sorter.settings(DRAWN.format(0.05))  # would begin the belt anew
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: sorter.status.startswith("degraded: settings: refused, those before stay in use"), 30)
    assert words in sorter.status
    sorter.items_come()
    assert sorter.pid == pid
    assert sorter.rows("SELECT count(*) FROM runs") == [(1,)]  # the belt was not even put down
    sorter.systemctl("stop", "scrapsort")
    lines = fails_to_start(sorter, words)
    sh(sorter, "chmod 755 {0}; rm -rf {0}".format(CURRENT))
    copy_of_the_bundle(sorter)
    recover_s = sorter.items_come()
    is_whole(sorter)
    write_row("bundle: " + kind, "while it sorts, with a reload; then before a start", before, sorter.items, 0,
              recover_s, said=lines[-1])


@pytest.mark.parametrize("kind", ["a flipped byte", "gone"])
def test_one_model_of_several(sorter, kind):
    """The bundle's next one answers, and that is said."""
    copy_of_the_bundle(sorter)
    start(sorter)
    before, pid = sorter.items, sorter.pid
    model = CURRENT + "/model-int8_cpu.onnx"
    sh(sorter, "rm " + model if kind == "gone" else "printf X | dd bs=1 seek=5000000 conv=notrunc of=" + model)
    sorter.settings(DRAWN.format(0.05))
    started = time.monotonic()
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: sorter.rows("SELECT count(*) FROM items WHERE precision = 'fp16'")[0][0] > 0, 60)
    recover_s = time.monotonic() - started
    assert sorter.pid == pid
    line = said(sorter, "int8_cpu passed over: ")
    assert len(line) == 1
    sorter.systemctl("restart", "scrapsort")
    sorter.items_come()
    is_whole(sorter)
    write_row("bundle: the model in use, " + kind, "while it sorts, then a reload that needs it; a restart", before,
              sorter.items, 0, recover_s, said=line[0])


# -------------------------------------------------------------------- pictures

def test_a_picture_folder_that_is_not_there_or_closed_at_the_start(sorter):
    sorter.settings(WATCHED.format(PICTURES))
    fails_to_start(sorter, PICTURES + ": no such file or folder")
    sorter.systemctl("stop", "scrapsort")
    put_pictures(sorter, 0, 5)
    sh(sorter, "chmod 000 " + PICTURES)
    lines = fails_to_start(sorter, "folder cannot be read: Permission denied")
    sh(sorter, "chmod 755 " + PICTURES)
    recover_s = sorter.wait(lambda: sorter.items == 5, 120)
    is_whole(sorter)
    write_row("picture folder: not to be read at the start", "chmod 000", 0, sorter.items, 0, recover_s, said=lines[-1])


GONE = {
    "renamed": ("mv {0} {0}.away", "mv {0}.away {0}", "No such file or directory"),
    "unmounted (a tmpfs)": ("umount {0}", "mount --bind /srv/kept {0}", ""),
    "closed": ("chmod 000 {0}", "chmod 755 {0}", "Permission denied"),
}


@pytest.mark.parametrize("kind", sorted(GONE))
def test_a_watched_folder_that_vanishes_and_returns(sorter, kind):
    gone, back, words = GONE[kind]
    is_mount = kind.startswith("unmounted")
    sh(sorter, "mkdir -p {} /srv/kept".format(PICTURES) + (
        " && mount -t tmpfs tmpfs /srv/kept && chmod 755 /srv/kept && " + back.format(PICTURES) if is_mount else ""))
    put_pictures(sorter, 0, 20)
    start(sorter, WATCHED.format(PICTURES))
    sorter.wait(lambda: sorter.items >= 2)
    before, pid = sorter.items, sorter.pid
    there = "/srv/kept" if is_mount else PICTURES + ".away" if kind == "renamed" else PICTURES
    sh(sorter, gone.format(PICTURES))
    try:
        if words:
            sorter.wait(lambda: sorter.status.startswith("degraded: source: "), 30)
            assert words in sorter.status
        status = sorter.status
        put_pictures(sorter, 20, 5, there)  # they arrive meanwhile, where it is now
        time.sleep(3)
    finally:
        sh(sorter, back.format(PICTURES))
    returned = time.monotonic()
    sorter.wait(lambda: sorter.items >= 25, 60)
    recover_s = time.monotonic() - returned
    for number in range(25, 28):  # away for a moment, again and again
        sh(sorter, gone.format(PICTURES))
        time.sleep(0.4)
        sh(sorter, back.format(PICTURES))
        put_pictures(sorter, number, 1)
        time.sleep(0.7)
    sorter.wait(lambda: sorter.items >= 28, 60)
    time.sleep(2)
    assert sorter.pid == pid
    is_whole(sorter)
    errors = sorter.rows("SELECT source, error FROM items WHERE decision = 'error'")
    assert not errors
    assert sorter.rows("SELECT count(*), count(DISTINCT source_key) FROM items") == [(28, 28)]
    sorter.systemctl("stop", "scrapsort")
    if is_mount:
        sh(sorter, "umount {} /srv/kept".format(PICTURES))
    write_row("watched folder: {}, and back".format(kind), "in the bed, while pictures arrive", before, 28, 0,
              recover_s, said=status if words else "nothing: it is an empty folder meanwhile")

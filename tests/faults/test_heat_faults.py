"""A Jetson that is too hot, in the bed: made files lie over its /sys/class/thermal."""

import json
import time

import pytest
from service_bed import BELT, CLASSES, PICTURES, WATCHED, is_whole, lanes, put_pictures, start
from table import write_row

THERMAL, PLC_PORT = "/run/thermal", 5022
REVIEW = CLASSES.index("review") + 1
WARM_C, TOO_HOT_C = 60, 96  # 5 C beyond the limit of 90: nothing is sorted
# Writes a line for each coil of the PLC that goes on
WATCH = """
import json, socket, sys, time
one, before = socket.create_connection(("127.0.0.1", {}), 2), 0
while True:
    one.sendall(bytes([0, 1, 0, 0, 0, 6, 1, 1, 0, 0, 0, 16]))
    answer = one.recv(100)
    bits = answer[-2] | answer[-1] << 8
    for coil in range(16):
        if bits & ~before & 1 << coil:
            print(json.dumps([time.monotonic(), coil]), file=open("/run/edges", "a"))
    before = bits
    time.sleep(0.01)
"""


def warm(bed, temp_c):
    """The GPU's sensor says so from now on; when, monotonic."""
    bed.bed.write(THERMAL + "/thermal_zone1/temp", "{}\n".format(temp_c * 1000))
    return time.monotonic()


@pytest.fixture
def board(sorter):
    """The appliance on a Jetson at 60 C."""
    sorter.bed.write("/etc/nv_tegra_release", "# R32 (release), REVISION: 7.1\n")
    for number, name in enumerate(("CPU-therm", "GPU-therm")):
        sorter.bed.write("{}/thermal_zone{}/type".format(THERMAL, number), name + "\n")
    sorter.bed.write(THERMAL + "/thermal_zone0/temp", "50000\n")
    warm(sorter, WARM_C)
    sorter.bed.run("mount", "--bind", THERMAL, "/sys/class/thermal")
    yield sorter
    sorter.systemctl("stop", "scrapsort", check=False)
    sorter.bed.run("umount", "/sys/class/thermal")


@pytest.fixture
def plc(board):
    """A PLC whose coils are watched."""
    board.bed.run("rm", "-f", "/run/edges")
    board.bed.run("systemd-run", "--unit=plc", "--collect", "-E", "PYTHONPATH=/opt/scrapsort/site", "python3",
                  "/opt/scrapsort/app/tests/edge/modbus_server.py", PLC_PORT)
    board.bed.run("systemd-run", "--unit=watch", "--collect", "-p", "Restart=always", "-p", "RestartSec=0.2", "python3",
                  "-c", WATCH.format(PLC_PORT))
    yield board
    board.systemctl("stop", "watch", "plc", check=False)


def edges(bed):
    """(monotonic seconds, coil) of each valve that was opened."""
    code, out, _ = bed.bed.run("cat", "/run/edges", check=False)
    return [json.loads(line) for line in out.splitlines()] if code == 0 else []


def count(bed, condition):
    """Rows for which it holds."""
    found = bed.rows("SELECT count(*) FROM items WHERE " + condition)
    return found[0][0] if found else 0


def test_on_a_belt_what_is_too_hot_to_sort_goes_to_review_and_no_other_valve_opens(plc):
    start(plc, BELT + lanes("modbus:127.0.0.1:{}/coil/{{}}".format(PLC_PORT), 60))
    plc.wait(lambda: count(plc, "decision != 'error'") >= 8 and len(edges(plc)) >= 5)
    before, pid = plc.items, plc.pid
    warm(plc, TOO_HOT_C)
    plc.wait(lambda: count(plc, "error LIKE 'too hot%'") >= 12, 60)
    plc.wait(lambda: plc.status.startswith("degraded: temperature: above 90 C"), 10)
    said = plc.status
    assert "nothing is sorted until it has cooled" in said
    assert "96 C" in said
    hot = count(plc, "decision != 'error'")
    cooled = warm(plc, WARM_C)
    plc.wait(lambda: count(plc, "decision != 'error'") > hot, 60)
    recover_s = time.monotonic() - cooled
    plc.wait(lambda: plc.status.startswith("sorting"), 90)
    all_again_s = time.monotonic() - cooled
    plc.wait(lambda: count(plc, "decision != 'error'") >= hot + 8, 60)
    assert plc.pid == pid
    plc.systemctl("stop", "scrapsort")
    is_whole(plc)
    errors = plc.rows("SELECT DISTINCT error FROM items WHERE decision = 'error'")
    assert errors and all(one[0].startswith("too hot, not classified: gpu 96 C, limit 90 C") or
                          one[0] == "too hot, not classified: gpu 60 C, limit 90 C" for one in errors), errors
    assert plc.rows("SELECT DISTINCT bin, class FROM items WHERE decision = 'error'") == [(REVIEW, None)]
    fired = plc.rows("SELECT ejected_mono_s, bin FROM items WHERE ejection IN ('fired', 'merged')")
    opened = edges(plc)
    wrong = [one for one in opened if not any(bin_of == one[1] and abs(at - one[0]) < 0.5 for at, bin_of in fired)]
    assert not wrong
    firsts = plc.rows("SELECT captured_mono_s FROM items WHERE decision = 'error' ORDER BY id")
    # What crossed the line before has passed all valves by then: 0.3 m at 0.5 m/s
    quiet = [coil for at, coil in opened if firsts[0][0] + 2.0 < at < cooled]
    assert quiet and set(quiet) == {REVIEW}
    write_row("heat, on a belt with valves", "96 C in a made /sys/class/thermal, limit 90 C", before, plc.items, 0,
              recover_s, all_again_s=round(all_again_s, 1), not_classified=count(plc, "decision = 'error'"),
              wrongly_ejected=0, said=said)


def test_what_can_wait_waits_until_it_has_cooled_and_nothing_is_left_out(board):
    put_pictures(board, 0, 5)
    start(board, WATCHED.format(PICTURES))
    board.wait(lambda: board.items == 5)
    pid = board.pid
    warm(board, TOO_HOT_C)
    board.wait(lambda: board.status.startswith("degraded: temperature: above 90 C"), 20)
    said = board.status
    put_pictures(board, 5, 10)
    time.sleep(18)  # longer than the watchdog waits
    assert (board.items, board.pid) == (5, pid)
    cooled = warm(board, WARM_C)
    board.wait(lambda: board.items > 5, 60)
    recover_s = time.monotonic() - cooled
    board.wait(lambda: board.items == 15, 120)
    is_whole(board)
    assert board.rows("SELECT count(DISTINCT source_key), sum(decision = 'error') FROM items") == [(15, 0)]
    write_row("heat, of a watched folder", "96 C in a made /sys/class/thermal, limit 90 C", 5, board.items, 0,
              recover_s, said=said)

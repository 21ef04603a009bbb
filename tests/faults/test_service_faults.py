"""The units under a real systemd, in a bed: starts, stops, kills, hangs, settings, engines and a pulled plug."""

import json
import random
import time

import pytest
from service_bed import BELT, DOUBLES, DRAWN, back_again, is_whole, lanes, start
from table import write_row

PLC_PORT, SILENT_PORT = 5020, 5021
# Loaded by each Python of the service: while the file hang is there, a call of the network never comes back, whatever
# signals come; while slow is there, the first takes its time
HOOK = """
import ctypes, os, sys, time
if "run" in getattr(sys, "orig_argv", []):
    from edge.classifier import onnxruntime
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    before = onnxruntime.OnnxRuntimeClassifier._infer
    def infer(self, row):
        while os.path.exists("/run/hooks/hang"):
            libc.pthread_mutex_lock(mutex)
        if os.path.exists("/run/hooks/slow"):
            time.sleep(1.0)
        before(self, row)
    onnxruntime.OnnxRuntimeClassifier._infer = infer
"""
SILENT = """
import socket, time
one = socket.socket()
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
one.bind(("127.0.0.1", {}))
one.listen(50)
time.sleep(100000)
"""
COIL = """
import socket
one = socket.create_connection(("127.0.0.1", {}), 2)
one.sendall(bytes([0, 1, 0, 0, 0, 6, 1, 1, 0, 5, 0, 1]))
print(one.recv(100)[-1] & 1)
"""


def hooks(bed):
    """Give the service calls that hang."""
    bed.bed.write("/run/hooks/sitecustomize.py", HOOK)
    bed.environment(PYTHONPATH="/run/hooks:/opt/scrapsort/app:/opt/scrapsort/site")


# -------------------------------------------------------------------- start and status

def test_start_is_done_with_the_first_answer_and_the_status_line_says_how_it_goes(sorter):
    hooks(sorter)
    sorter.bed.write("/run/hooks/slow", "")
    slow_s, _ = start(sorter)
    assert slow_s > 3.0  # a warm-up of three slow answers: not ready before
    sorter.systemctl("stop", "scrapsort")
    sorter.bed.run("rm", "/run/hooks/slow")
    ready_s, item_s = start(sorter)
    sorter.wait(lambda: "0.0 items/s" not in sorter.status, 30)
    status = sorter.status
    assert status.startswith("sorting ")
    assert "onnxruntime int8" in status
    before = sorter.items
    write_row("start", "systemctl start", 0, before, 0, item_s, ready_s=round(ready_s, 2), status=status)
    own = [one for one in sorter.log() if one.get("SYSLOG_IDENTIFIER") == "scrapsort"]
    assert own
    assert all(one["_TRANSPORT"] == "journal" and "CODE_FUNC" in one for one in own), own[-1]


def test_a_camera_that_is_not_there_is_a_degraded_state_of_a_unit_that_is_started(sorter):
    sorter.settings("[source]\nuri = \"/dev/video7\"\n[model]\nbackend = \"onnxruntime\"\n")
    sorter.systemctl("start", "scrapsort")
    sorter.wait(lambda: sorter.status.startswith("degraded: camera: /dev/video7"), 30)
    pid = sorter.pid
    time.sleep(20)  # longer than the watchdog waits
    assert sorter.pid == pid
    conditions = [one for one in sorter.log() if one.get("SCRAPSORT_CONDITION") == "camera"]
    assert conditions
    assert conditions[0]["PRIORITY"] == "4"
    assert int(conditions[0]["SCRAPSORT_RUN"]) == 1
    assert len(sorter.lines()) < 20


# -------------------------------------------------------------------- hangs and kills

@pytest.mark.parametrize("fault", ["SIGSTOP", "a call of the network that never returns"])
def test_a_sorter_that_hangs_is_started_again_by_the_watchdog(sorter, fault):
    hooks(sorter)
    start(sorter)
    before, pid = sorter.items, sorter.pid
    if fault == "SIGSTOP":
        sorter.signal("STOP")
        at_once = None
    else:
        sorter.bed.write("/run/hooks/hang", "")
        at_once = sorter.wait(lambda: sorter.show("Result") == "watchdog" or sorter.pid not in (0, pid), 60, 0.05)
        sorter.bed.run("rm", "/run/hooks/hang")
    noticed_s, sorts_s = back_again(sorter, pid)
    is_whole(sorter)
    assert any("watchdog" in line for line in sorter.lines())
    assert sum(len(line) for line in sorter.lines()) < 50000
    total_s = sorts_s + (at_once or 0.0)
    assert total_s < 60
    write_row(fault, "systemctl kill -s STOP" if fault == "SIGSTOP" else "pthread_mutex_lock in the classifier", before,
              sorter.items, 0, total_s, noticed_s=round(noticed_s + (at_once or 0.0), 2))


def test_kill_9_again_and_again_under_load(sorter, request):
    kills = request.config.getoption("--kills")
    chance, times = random.Random(20261123), []
    start(sorter, DRAWN.format(0.0))
    first = seen = sorter.items
    for _ in range(kills):
        time.sleep(chance.uniform(0.0, 1.5))
        before, pid = sorter.items, sorter.pid
        seen = max(seen, before)
        sorter.signal("KILL")
        assert sorter.items >= before
        times.append(back_again(sorter, pid)[1])
        is_whole(sorter)
    assert sorter.items >= seen
    write_row("kill -9, {} times under load".format(kills), "systemctl kill -s KILL", first, sorter.items, 0,
              sorted(times)[len(times) // 2], longest_s=round(max(times), 2))


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_a_valve_that_is_open_is_closed_when_the_sorter_dies_or_hangs(sorter, signal):
    sorter.bed.run("systemd-run", "--unit=plc", "--collect", "-E", "PYTHONPATH=/opt/scrapsort/site", "python3",
                   "/opt/scrapsort/app/tests/edge/modbus_server.py", PLC_PORT)
    try:
        sorter.settings(BELT + lanes("modbus:127.0.0.1:{}/coil/5".format(PLC_PORT), 10000))
        sorter.systemctl("start", "scrapsort")
        sorter.wait(lambda: coil(sorter), 120, 0.05)
        before, pid = sorter.items, sorter.pid
        started = time.monotonic()
        sorter.signal(signal)
        sorter.wait(lambda: not coil(sorter), 9, 0.05)
        closed_s = time.monotonic() - started
        assert closed_s < 5  # it would have stayed open for ten
        _, sorts_s = back_again(sorter, pid)
        is_whole(sorter)
        write_row("SIG{} while a valve is open for 10 s".format(signal), "systemctl kill", before, sorter.items, 0,
                  sorts_s, valve_closed_s=round(closed_s, 2))
    finally:
        sorter.systemctl("stop", "plc", check=False)


def coil(bed):
    """Whether the PLC's coil 5 is on."""
    return bed.bed.run("python3", "-c", COIL.format(PLC_PORT), check=False)[1].strip() == "1"


# -------------------------------------------------------------------- settings

def test_sighup_takes_good_settings_and_refuses_bad_ones(sorter):
    start(sorter)
    pid, before = sorter.pid, sorter.items
    started = time.monotonic()
    sorter.settings(DRAWN.format(0.1) + "[decision]\nthreshold = 0.123\n")
    sorter.systemctl("reload", "scrapsort")
    taken_s = sorter.wait(lambda: sorter.rows("SELECT threshold FROM items ORDER BY id DESC LIMIT 1") == [(0.123,)])
    sorter.settings(DRAWN.format(0.1) + "[decision]\nthreshold = 12\n")
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: "from 0.0 to 1.0 is allowed" in sorter.status, 30)
    assert sorter.rows("SELECT threshold FROM items ORDER BY id DESC LIMIT 1") == [(0.123,)]
    sorter.items_come()
    sorter.settings(DRAWN.format(0.05))
    sorter.systemctl("reload", "scrapsort")
    sorter.wait(lambda: len(sorter.rows("SELECT DISTINCT run FROM items")) == 2, 60)
    sorter.wait(lambda: sorter.show("ActiveState") == "active" and sorter.status.startswith("sorting"), 30)
    time.sleep(18)  # the watchdog waits as before
    assert sorter.pid == pid
    is_whole(sorter)
    anew = [line for line in sorter.lines() if "sorted again after" in line]
    assert len(anew) == 1
    write_row("SIGHUP: good, bad and new source", "systemctl reload", before, sorter.items, 0,
              float(anew[0].partition("after ")[2].split()[0]), taken_s=round(taken_s, 2),
              total_s=round(time.monotonic() - started, 1))


def test_settings_that_cannot_be_used_are_tried_again_with_few_lines_until_they_are_mended(sorter):
    sorter.settings("[source]\nurl = 3\n")
    code, _, _ = sorter.systemctl("start", "scrapsort", check=False)
    assert code != 0
    sorter.wait(lambda: "tried again in 15 s" in sorter.status, 90)
    assert sorter.show("ExecMainStatus") in ("0", "2")
    mine = [one for one in sorter.log() if one.get("SYSLOG_IDENTIFIER") == "scrapsort"]
    assert len(mine) == 3  # one a start
    assert all("unknown key source.url" in one["MESSAGE"] and one["PRIORITY"] == "3" for one in mine)
    started = time.monotonic()
    sorter.settings(DRAWN.format(0.1))  # no reset-failed, no start
    sorter.wait(lambda: sorter.items > 0)
    write_row("settings that cannot be used, then mended", "scrapsort.toml", 0, sorter.items, 0,
              time.monotonic() - started)


# -------------------------------------------------------------------- stops

@pytest.mark.parametrize("case", ["sorting", "opening", "camera that answers nothing", "PLC that answers nothing",
                                  "network call that never returns"])
def test_a_stop_takes_less_than_five_seconds(sorter, case):
    sorter.bed.run("systemd-run", "--unit=silent", "--collect", "python3", "-c", SILENT.format(SILENT_PORT))
    try:
        hooks(sorter)
        before = 0
        if case == "opening":
            sorter.bed.write("/run/hooks/slow", "")
            sorter.systemctl("start", "--no-block", "scrapsort")
            time.sleep(3)
        elif case == "camera that answers nothing":
            sorter.settings("[source]\nuri = \"rtsp://127.0.0.1:{}/a\"\n[model]\nbackend = \"onnxruntime\"\n".format(
                SILENT_PORT))
            sorter.systemctl("start", "scrapsort")
            time.sleep(2)
        elif case == "PLC that answers nothing":
            start(sorter, BELT + lanes("modbus:127.0.0.1:{}/coil/5".format(SILENT_PORT), 60))
        else:
            start(sorter)
        if case.startswith("network"):
            sorter.bed.write("/run/hooks/hang", "")
            time.sleep(2)
        if case not in ("opening",):
            before = sorter.items
        started = time.monotonic()
        sorter.systemctl("stop", "scrapsort")
        seconds = time.monotonic() - started
        assert seconds < 5.0, sorter.lines()[-10:]
        assert sorter.items >= before
        if sorter.items:
            is_whole(sorter)
        if case == "sorting":
            assert sorter.show("Result") == "success"
            assert [row[0] for row in sorter.rows("SELECT ended_by FROM runs")] == ["stopped"]
        write_row("stop: " + case, "systemctl stop", before, sorter.items, 0, None, stopped_s=round(seconds, 2))
    finally:
        sorter.systemctl("stop", "silent", check=False)


def test_a_pulled_plug_loses_nothing_that_was_recorded(sorter):
    start(sorter, DRAWN.format(0.0))
    time.sleep(3)
    before = sorter.items
    sorter.bed.pull_the_plug()
    after = sorter.items
    assert after >= before > 0
    started = time.monotonic()
    sorter.power_on()
    sorter.settings(DRAWN.format(0.1))
    sorter.systemctl("start", "scrapsort")
    sorter.items_come()
    seconds = time.monotonic() - started
    is_whole(sorter)
    write_row("sudden death of the whole machine", "kill -9 of its process 1", before, sorter.items, 0, seconds)


# -------------------------------------------------------------------- engines

def test_engines_are_built_beside_the_belt_at_low_priority_and_taken_between_two_items(sorter):
    sorter.bed.write("/etc/nv_tegra_release", "# R32 (release), REVISION: 7.1\n")
    sorter.environment(PYTHONPATH="{0}/pycuda:{0}/tensorrt_8_2".format(DOUBLES))
    start(sorter, DRAWN.format(0.5).replace("onnxruntime", "auto"))
    pid, before = sorter.pid, sorter.items
    assert "no engine for" in sorter.status or sorter.wait(lambda: "no engine for" in sorter.status, 30)
    started = time.monotonic()
    sorter.systemctl("start", "--no-block", "scrapsort-engines")
    sorter.wait(lambda: sorter.show("MainPID", "scrapsort-engines") != "0", 30, 0.02)
    builder = sorter.show("MainPID", "scrapsort-engines")
    assert sorter.bed.run("ps", "-o", "ni=", "-p", builder)[1].strip() == "15"
    assert int(sorter.bed.run("ps", "-o", "ni=", "-p", pid)[1]) < 15
    sorter.wait(lambda: sorter.show("ActiveState", "scrapsort-engines") in ("inactive", "failed"), 1500)
    built_s, meanwhile = time.monotonic() - started, sorter.items - before
    assert sorter.show("Result", "scrapsort-engines") == "success", "\n".join(sorter.lines("scrapsort-engines"))
    assert meanwhile > 0
    sorter.wait(lambda: any("now tensorrt" in line for line in sorter.lines()), 60)
    taken_s = time.monotonic() - started
    sorter.wait(lambda: sorter.rows("SELECT count(*) FROM items WHERE backend = 'tensorrt'")[0][0] > 0, 60)
    assert sorter.pid == pid
    is_whole(sorter)
    assert len(sorter.rows("SELECT id FROM runs")) == 1
    write_row("an engine is built while the belt runs", "systemctl start scrapsort-engines (doubles of TensorRT 8.2)",
              before, sorter.items, 0, taken_s, built_s=round(built_s, 1), sorted_meanwhile=meanwhile)
    again = time.monotonic()
    sorter.systemctl("start", "scrapsort-engines")
    assert any("is there and fits" in line for line in sorter.lines("scrapsort-engines"))
    print(json.dumps({"second build_s": round(time.monotonic() - again, 1)}))
    spoil_the_engine(sorter)


def spoil_the_engine(sorter):
    """Its bytes change: what is open goes on; a start passes it over and says so, also when its sidecar is cut off."""
    before, pid = sorter.items, sorter.pid
    sorter.bed.run("sh", "-c", "for f in /var/lib/scrapsort/engines/*.plan; do printf XXXX | dd of=$f bs=1 seek=100 "
                               "conv=notrunc; done")
    time.sleep(4)  # it looks each second
    sorter.items_come()
    assert sorter.pid == pid
    assert sorter.rows("SELECT backend FROM items ORDER BY id DESC LIMIT 1") == [("tensorrt",)]
    started = time.monotonic()
    sorter.systemctl("restart", "scrapsort")
    sorter.items_come()
    recover_s = time.monotonic() - started
    assert sorter.rows("SELECT backend FROM items ORDER BY id DESC LIMIT 1") == [("onnxruntime",)]
    sorter.wait(lambda: sorter.status.startswith("degraded: backend: "), 30)
    said = sorter.status
    assert ".plan: is damaged: its sha256" in said
    sorter.systemctl("stop", "scrapsort")
    sorter.bed.run("sh", "-c", "for f in /var/lib/scrapsort/engines/*.json; do printf '{' >$f; done")
    start(sorter)
    sorter.wait(lambda: ".json: is damaged: " in sorter.status, 30)
    is_whole(sorter)
    write_row("plan: changed bytes, then its sidecar cut off", "dd while it sorts; then a start", before, sorter.items,
              0, recover_s, said=said)

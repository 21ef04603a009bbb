"""Cameras that hang, come late, freeze or come back in another size, through the real reader process."""

import os
import signal
import socket
import time

import pytest
from cameras import SIZE, Watching
from helpers import is_alive, until

from edge.errors import SourceError
from edge.frames import camera, probe


def test_a_read_that_hangs_is_noticed_killed_and_replaced(server, opened):
    source = opened(server(), SIZE._replace(stall_s=1.0))
    watching = Watching(source)
    watching.more()
    pid = source.reader_pid
    os.kill(pid, signal.SIGSTOP)  # answers nothing, not even to be asked to leave
    until(lambda: "no frame for 1 s" in source.state.trouble("camera"))
    watching.more()
    assert not is_alive(pid) and source.reader_pid != pid and not source.state.trouble("camera")
    watching.end()


@pytest.mark.long
def test_a_camera_that_takes_the_connection_and_never_answers(server, opened, monkeypatch):
    monkeypatch.setattr(camera, "OPEN_S", 1.0)
    uri = server(what="silent")
    ticks = []
    source = opened(uri.replace("http:", "rtsp:"), SIZE._replace(stall_s=1.0), tick=lambda: ticks.append(1))
    watching = Watching(source)
    until(lambda: source.state.trouble("camera"))
    assert "no frame for 1 s" in source.state.trouble("camera") or "opened" in source.state.trouble("camera")
    pid = source.reader_pid
    until(lambda: source.reader_pid != pid)
    assert len(ticks) > 3 and not watching.numbers
    watching.end()


def test_a_camera_that_comes_late_is_waited_for_and_a_long_pause_ends_when_it_is_there(server, opened):
    uri = server()
    server.kill()
    source = opened(uri, SIZE._replace(reopen_backoff_s=(30.0, 30.0)))
    watching = Watching(source)
    until(lambda: "refused" in source.state.trouble("camera"))
    time.sleep(1.2)
    server()
    started = time.monotonic()
    watching.more(1)
    assert time.monotonic() - started < 15  # and not 30
    until(lambda: not source.state.trouble("camera"))
    watching.end()


@pytest.mark.long
def test_a_frozen_camera_is_opened_anew_and_each_time_given_longer(server, opened, log_lines):
    source = opened(server(what="still"), SIZE._replace(stall_s=0.5, reopen_backoff_s=(0.05, 0.1)))
    watching = Watching(source)
    until(lambda: any(line.endswith("the same picture, to the last pixel, for 0.5 s") for line in log_lines()))
    until(lambda: any(line.endswith("the same picture, to the last pixel, for 1 s") for line in log_lines()))
    server(what="numbered")
    watching.more(20)
    frozen = source.counts["frozen"]
    time.sleep(1.0)
    assert source.counts["frozen"] == frozen
    watching.end()


@pytest.mark.long
def test_another_size_after_a_reconnect(server, opened, log_lines):
    source = opened(server(size=[480, 360]), SIZE._replace(reopen_backoff_s=(0.05, 0.2)))
    watching = Watching(source)
    watching.more()
    server(size=[960, 720])  # the same shape: it is resized
    watching.more()
    assert set(watching.shapes) == {(360, 480)}
    until(lambda: any("960 x 720 now, 480 x 360 before; processed at 480 x 360" in line for line in log_lines()))
    server(size=[480, 270])  # another one: settings in pixels would be wrong
    until(lambda: "480 x 270 pixels now, another shape than the 480 x 360" in source.state.trouble("camera"))
    server(size=[240, 180])
    watching.more()
    assert set(watching.shapes) == {(360, 480)} and not source.state.trouble("camera")
    watching.end()


@pytest.mark.parametrize("case", ["listens", "has gone", "was never there", "at a terminal"])
def test_a_service_ends_where_it_cannot_see_the_csi_daemon_s_new_socket(opened, monkeypatch, tmp_path, case):
    monkeypatch.setattr(camera, "check", lambda uri: None)  # this OpenCV has no GStreamer, so each opening fails
    monkeypatch.setattr(camera, "CUT_OFF_S", 0.3)
    monkeypatch.setattr(probe, "ARGUS", str(tmp_path / "argus"))
    with socket.socket(socket.AF_UNIX) as daemon:
        if case != "was never there":
            daemon.bind(probe.ARGUS)
            daemon.listen(5)
        if case != "listens":
            daemon.close()  # what it leaves is a file at which nobody listens
        source = opened("csi://0", SIZE._replace(reopen_backoff_s=(0.05, 0.1)), patient=case != "at a terminal")
        frames, tries = iter(source), []
        monkeypatch.setattr(source, "_pause", lambda: (time.sleep(0.2), tries.append(1), len(tries) == 4
                                                       and source.stop.set()))
        if case in ("listens", "at a terminal"):
            assert list(frames) == [] and len(tries) == 4
        else:
            with pytest.raises(SourceError) as caught:
                next(frames)
            assert "nvargus-daemon" in str(caught.value) and tries

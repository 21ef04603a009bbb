"""Cameras and videos on the command line, as users meet them."""

import json
import os
import signal
import sqlite3

import pytest
from helpers import scrapsort, start, until


def test_the_real_belt_end_to_end(tmp_path, real_clip):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nregion = [80, 222, 288, 104]\n[gate]\ndirection = \"left\"\n")
    code, out, err = scrapsort("run", "--source", real_clip, "--interval", "0", "--config", config, "--state",
                                tmp_path / "state", "--format", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and lines[-1]["items"] == 3 and lines[-1]["ended_by"] == "end of source", err
    assert all("real-belt-3-items.mp4#" in line["image_path"] for line in lines[:-1])


def test_a_region_outside_the_picture_is_one_line(tmp_path, video):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nregion = [400, 0, 300, 100]\n")
    code, _, err = scrapsort("run", "--source", video, "--interval", "0", "--config", config, "--state",
                              tmp_path / "state")
    assert code == 2
    assert "{}: [source] region [400, 0, 300, 100]: outside the picture of 480 x 360 pixels".format(config) in err
    assert "Traceback" not in err


def test_passwords_stay_out_of_log_status_and_journal_and_ctrl_c_ends_it_quietly(tmp_path, server):
    import base64
    uri = server(user="Basic " + base64.b64encode(b"me:secret").decode())
    uri = uri.replace("http://", "http://me:secret@")
    state = str(tmp_path / "state")
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nuri = \"{}\"\n[gate]\nmode = \"every\"\n".format(uri))
    process = start("run", "--config", config, "--state", state, start_new_session=True)
    status = os.path.join(state, "status.json")
    until(lambda: os.path.exists(status) and "\"taken\"" in open_text(status))
    other = start("run", "--config", config, "--state", str(tmp_path / "other"))
    _, err_other = other.communicate(timeout=60)
    until(lambda: sqlite3_items(state) > 3)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    texts = [out.decode(), err.decode(), open_text(status), err_other.decode()]
    with open(os.path.join(state, "journal.db"), "rb") as file:
        texts.append(file.read().decode("latin-1"))
    assert process.returncode == 0 and "Traceback" not in texts[1]
    assert not any("secret" in text for text in texts)
    assert "http://***@127.0.0.1" in texts[1] and "http://***@127.0.0.1" in texts[4]
    assert other.returncode == 1 and "in use by process {}".format(process.pid) in texts[3]


def open_text(path):
    with open(path) as file:
        return file.read()


def sqlite3_items(state):
    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    try:
        return connection.execute("SELECT count(*) FROM items").fetchone()[0]
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


@pytest.mark.parametrize("uri, words", [
    ("/dev/video987", ["no such device"]), ("rtsp://me:secret@127.0.0.1:1/x", ["does not answer now", "rtsp://***@"]),
    ("csi://0", ["GStreamer"])])
def test_doctor_on_the_camera_of_the_settings(tmp_path, uri, words):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[source]\nuri = \"{}\"\n".format(uri))
    _, out, _ = scrapsort("doctor", "--config", config, "--state", tmp_path)
    line = next(line for line in out.splitlines() if line.split()[1:2] == ["source"])
    assert all(word in line for word in words) and "secret" not in out

"""Errors of the command line: one line, the right exit code, and nothing lost."""

import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import pytest
from helpers import REPOSITORY, SHIPPED, json_lines, scrapsort, start


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_named_like_a_picture_is_a_bad_item_and_not_a_hang(belt, state):
    os.mkfifo(str(belt / "item99.jpg"))
    code, out, _ = scrapsort("run", "--source", belt, "--state", state, "--format", "json")
    assert code == 0 and json_lines(out)[-1]["errors"] == 1 and "not a regular file" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(belt, state):
    with open("/dev/full", "w") as full:
        process = start("run", "--source", belt, "--state", state, "--quiet", stdout=full)
        errors = process.communicate(timeout=60)[1].decode("utf-8")
    assert process.returncode == 1 and "No space left" in errors and "Traceback" not in errors


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="this system has no /dev/shm")
def test_a_full_disk_without_room_for_temporary_files_keeps_no_camera_from_being_opened(monkeypatch, tmp_path):
    """A card holds /tmp, too: Python then finds no folder for temporary files at all."""
    from edge import locks
    from edge.frames import capture, ring
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(OSError):
        tempfile.gettempdir()
    runpy.run_path(locks.__file__)["MachineLock"]("camera", "one", [str(tmp_path)]).close()
    made = ring.Ring(3 * 64)
    made.close()
    with capture.Said() as said:
        os.write(2, b"the reason\n")
        assert said.last() == "the reason"


def test_a_run_leaves_nothing_at_home(tmp_path):
    """Nor does ONNX Runtime, which would also send it away."""
    (tmp_path / "home").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    done = subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", "drawn:", "--limit", "1", "--quiet",
                             "--backend", "onnxruntime", "--state", str(tmp_path / "state")], cwd=REPOSITORY,
                            env=dict(environment, HOME=str(tmp_path / "home")), stdout=subprocess.PIPE)
    done.communicate(timeout=120)
    assert done.returncode == 0
    assert os.listdir(str(tmp_path / "home")) == []


def test_doctor_reports_a_damaged_journal(belt, state):
    scrapsort("run", "--source", belt, "--state", state, "--quiet")
    path = state / "journal.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"x" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    code, out, err = scrapsort("doctor", "--state", state)
    assert code == 1 and "Traceback" not in err and "wrong" in out and "journal.db" in out


def damaged(tmp_path, name, change):
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED, str(bundle))
    change(bundle / name)
    return bundle


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


ONE_LINERS = [
    # what, arguments, exit code, words that the one line on stderr must have
    ("no command", [], 2, ["a command is needed"]),
    ("unknown command", ["sort"], 2, ["invalid choice"]),
    ("threshold above 1", ["run", "--threshold", "1.5"], 2, ["--threshold", "to 1.0"]),
    ("threshold of nothing", ["run", "--threshold", "0"], 2, ["--threshold", "above 0.0"]),
    ("source that an unset variable left empty", ["run", "--source", ""], 2, ["source", "empty"]),
    ("seed beyond the last", ["run", "--source", "drawn:?seed=1000000"], 2, ["seed=NUMBER", "1000000"]),
    ("item number beyond SQLite's", ["review", "label", "99999999999999999999", "glass"], 2, ["999999"]),
    ("interval that is no number", ["run", "--interval", "soon"], 2, ["--interval", "soon"]),
    ("negative interval", ["run", "--interval=-1"], 2, ["source.interval_s", "-1"]),
    ("limit of nothing", ["run", "--limit", "0"], 2, ["--limit"]),
    ("missing settings file", ["run", "--config", "/nowhere.toml"], 2, ["/nowhere.toml", "No such file"]),
    ("missing source", ["run", "--source", "/nowhere"], 1, ["/nowhere", "no such file or folder"]),
    ("camera that is not there", ["run", "--source", "/dev/video987"], 1, ["/dev/video987", "no such device", "plug"]),
    ("video that is not there", ["run", "--source", "/nowhere.mp4"], 1, ["/nowhere.mp4", "no such video"]),
    ("watching a camera", ["run", "--source", "rtsp://a:secret@h/", "--watch"], 2, ["--watch", "rtsp://***@h/"]),
    ("watching a drawn belt", ["run", "--source", "drawn:", "--watch"], 2, ["--watch"]),
    ("missing bundle", ["run", "--bundle", "/nowhere"], 1, ["/nowhere", "no such bundle"]),
    ("precision that the bundle lacks", ["run", "--precision", "fp32"], 1, ["fp32", "fp16, int8_cpu"]),
    ("export without a journal", ["export", "results"], 1, ["journal.db", "--state"]),
    ("export since no time", ["export", "results", "--since", "yesterday"], 2, ["yesterday", "2026-11-22"]),
    ("label without a journal", ["review", "label", "1", "glass"], 1, ["journal.db"]),
]


@pytest.mark.parametrize("arguments, code, words", [row[1:] for row in ONE_LINERS], ids=[row[0] for row in ONE_LINERS])
def test_errors_are_one_line_with_the_right_exit_code(tmp_path, arguments, code, words):
    state = ["--state", tmp_path / "state"] if arguments[:1] not in ([], ["sort"]) else []
    got, out, err = scrapsort(*(arguments + state))
    assert (got, out) == (code, "")
    assert len(err.splitlines()) == 1 and err.startswith("scrapsort")
    for word in words:
        assert word in err


@pytest.mark.parametrize("word, text, source, words", [
    ("a gate that does not suit", "[gate]\nmode = 'belt'\n", "drawn:", ["[gate] mode belt", "no moving belt"]),
    ("a key without its fellow", "[gate]\ntrigger = 'gpio:4'\n", "sim:", ["[gate] trigger: goes with mode trigger"]),
    ("an encoder for nobody", "[gate]\nencoder = 'gpio:4'\n", "sim:", ["[gate] encoder", "[ejector] enabled"]),
    ("no lanes", "[ejector]\nenabled = true\n", "sim:", ["[ejector] enabled", "[[ejector.lane]]"]),
    ("a lane for no class", "[ejector]\nenabled = true\n[[ejector.lane]]\nclass = 'metall'\n", "sim:",
     ["[ejector] lane 1: class 'metall'", "did you mean metal"]),
    ("a class that the bundle lacks", "[decision.per_class]\nwood = 0.5\n", "sim:", ["decision.per_class.wood"]),
    ("a number of the file itself", "[gate]\nline = 2.0\n", "sim:", ["gate.line = 2.0"]),
])
def test_settings_that_do_not_suit_are_one_line_with_their_file(tmp_path, word, text, source, words):
    config = tmp_path / "scrapsort.toml"
    config.write_text(text)
    code, out, err = scrapsort("run", "--source", source, "--config", config, "--state", tmp_path / "state")
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert err.startswith("scrapsort run: {}: ".format(config)) and err.count(str(config)) == 1
    for one in words:
        assert one in err


def test_an_empty_folder_is_a_clear_error(tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = scrapsort("run", "--source", tmp_path / "empty", "--state", tmp_path / "state")
    assert code == 1 and len(err.splitlines()) == 1
    assert "no pictures" in err and ".jpg" in err and "--watch" in err


@pytest.mark.parametrize("name", ["model-int8_cpu.onnx", "golden.npz", "manifest.json"])
def test_a_flipped_byte_in_a_bundle_is_refused(belt, tmp_path, name):
    bundle = damaged(tmp_path, name, flip_a_byte)
    code, out, err = scrapsort("run", "--source", belt, "--state", tmp_path / "state", "--bundle", bundle,
                               "--precision", "int8")
    assert (code, out) == (1, "") and len(err.splitlines()) == 1 and str(bundle) in err


needs_mount = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("mount"),
                                 reason="needs root and mount to make a small or read-only file system")


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a tmpfs with options; unmounted at the end. Skips where mounting is not allowed."""
    mounted = []

    def mount(options):
        point = tmp_path / "disk{}".format(len(mounted))
        point.mkdir()
        if subprocess.call(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)], stderr=subprocess.DEVNULL):
            pytest.skip("mount of a tmpfs is not allowed here")
        mounted.append(str(point))
        return point
    yield mount
    for point in mounted:
        subprocess.call(["umount", point])


@pytest.mark.long
@needs_mount
def test_a_disk_that_stays_full_is_said_at_once_and_what_is_lost_at_the_end(small_disk, tmp_path):
    disk = small_disk("size=200k")
    code, out, err = scrapsort("run", "--source", "sim:?pace=fast&speed=2&width=320&height=180&gap=0.01", "--limit",
                               "150", "--state", disk, "--format", "json", "--precision", "int8")
    assert code == 1
    assert sum("wait in memory" in line for line in err.splitlines()) <= 3, err  # not one a commit
    assert "full" in err.splitlines()[-1] and str(disk) in err.splitlines()[-1] and "Traceback" not in err
    printed = [line["item"] for line in json_lines(out) if line["event"] == "item"]
    connection = sqlite3.connect("file:{}?mode=ro".format(disk / "journal.db"), uri=True)
    stored = [row[0] for row in connection.execute("SELECT id FROM items")]
    connection.close()
    assert printed and printed == stored
    assert json_lines(out)[-1]["items_not_kept"] == 150 - len(stored) > 0
    assert "{} decided items are not recorded".format(150 - len(stored)) in err.splitlines()[-1]


@needs_mount
def test_a_read_only_state_folder_is_a_clear_error(small_disk, belt):
    disk = small_disk("size=1m")
    subprocess.check_call(["mount", "-o", "remount,ro", str(disk)])
    code, _, err = scrapsort("run", "--source", belt, "--state", disk / "state")
    assert code == 1 and len(err.splitlines()) == 1 and "Read-only file system" in err and "--state" in err
    code, out, _ = scrapsort("doctor", "--state", disk / "state")
    assert code == 1 and "wrong" in out

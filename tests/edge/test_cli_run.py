"""The command line as users meet it: each test starts `scrapsort` as a process of its own."""

import csv
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import cv2
import pytest

from edge.frames.drawn import MATERIALS, draw_named

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUNDLE = os.path.join(ROOT, "models", "trashnet-resnet18")


def scrapsort(*arguments, **kwargs):
    """Run a command to its end: (exit code, stdout, stderr)."""
    environment = dict(dict(os.environ, PYTHONIOENCODING="utf-8"), **kwargs.pop("env", {}))
    environment.pop("SCRAPSORT_CONFIG", None)
    process = subprocess.Popen([sys.executable, "-m", "edge"] + [str(a) for a in arguments], cwd=ROOT,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=environment, **kwargs)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode("utf-8"), err.decode("utf-8")


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def belt(tmp_path):
    """Twelve drawn items, named so that natural and alphabetical order differ."""
    folder = tmp_path / "belt"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / "item{}.jpg".format(number + 1)), draw_named(MATERIALS[number % 6], number))
    return folder


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_a_folder_is_sorted_in_natural_order_and_every_item_is_journalled(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--format", "json")
    assert code == 0, err
    lines = json_lines(out)
    with open(os.path.join(BUNDLE, "manifest.json")) as file:
        manifest = json.load(file)
    names = [os.path.basename(line["image_path"]) for line in lines[:-1]]
    assert names == ["item{}.jpg".format(n) for n in range(1, 13)]
    assert lines[-1]["event"] == "summary" and lines[-1]["items"] == 12
    assert sum(lines[-1]["by_class"].values()) == 12
    for line in lines[:-1]:
        assert abs(sum(line["probabilities"].values()) - 1) < 1e-4
        assert line["predicted_class"] == max(line["probabilities"], key=line["probabilities"].get)
        threshold = manifest["thresholds"]["per_class"][line["predicted_class"]]
        doubtful = (threshold is None or line["confidence"] < threshold
                    or line["stranger_score"] > manifest["stranger"]["threshold"])
        assert line["low_confidence_flag"] == doubtful == (line["decision"] == "review")
    connection = sqlite3.connect(str(state / "journal.db"))
    stored = connection.execute("SELECT id, class, confidence FROM items ORDER BY id").fetchall()
    connection.close()
    assert [(row[0], row[1]) for row in stored] == [(line["item"], line["predicted_class"]) for line in lines[:-1]]
    assert "backend onnxruntime (CPUExecutionProvider), precision int8" in err


def test_bad_pictures_cost_an_item_each_and_never_the_run(belt, state):
    whole = (belt / "item2.jpg").read_bytes()
    (belt / "item2.jpg").write_bytes(whole[:len(whole) // 2])
    (belt / "item4.jpg").write_bytes(b"")
    (belt / "item6.jpg").write_text("not a picture")
    # a header that claims 30,000 x 30,000 pixels
    (belt / "item8.jpg").write_bytes(re.sub(b"\xff\xc0\x00\x11\x08....", b"\xff\xc0\x00\x11\x08\x75\x30\x75\x30", whole,
                                            flags=re.DOTALL))
    os.symlink("nowhere", str(belt / "item13.jpg"))
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--format", "json")
    assert code == 0, err
    lines = json_lines(out)
    errors = {os.path.basename(line["image_path"]): line["error"] for line in lines[:-1] if "error" in line}
    assert sorted(errors) == ["item13.jpg", "item2.jpg", "item4.jpg", "item6.jpg", "item8.jpg"]
    for name, word in (("item2.jpg", "truncated"), ("item4.jpg", "empty"), ("item6.jpg", "not a JPEG"),
                       ("item8.jpg", "30000 x 30000"), ("item13.jpg", "cannot be read")):
        assert word in errors[name]
    assert lines[-1]["items"] == 13 and lines[-1]["errors"] == 5
    code, out, _ = scrapsort("export", "results", "--state", state, "-o", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 13 and sum(row["decision"] == "error" for row in rows) == 5


def test_text_shows_class_bars_low_confidence_and_a_summary(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--threshold", "1.0")
    assert code == 0, err
    marks = re.findall(r"^#\d+ +item\d+\.jpg +\w+ +[\d.]+% +[\d.]+ ms  (LOW CONFIDENCE \(below 1\.00\)|STRANGER)", out,
                       re.MULTILINE)
    assert len(marks) == 12 and marks.count("STRANGER") < 6
    assert len(re.findall(r"^ +\w+ +[█·]{20} +[\d.]+%$", out, re.MULTILINE)) == 36
    assert "12 items in" in out and "items/s" in out and "low confidence 12" in out
    assert re.search(r"latency p50 [\d.]+ ms, p95 [\d.]+ ms, p99 [\d.]+ ms", out)


def test_quiet_prints_the_summary_alone(belt, state):
    _, out, _ = scrapsort("run", "--source", belt, "--state", state, "--quiet")
    assert out.splitlines()[0] == "end of source" and "#" not in out
    _, out, _ = scrapsort("run", "--source", belt, "--state", state, "--quiet", "--format", "json")
    assert [line["event"] for line in json_lines(out)] == ["summary"]


def test_limit_interval_and_a_single_picture(belt, state):
    started = time.monotonic()
    code, out, _ = scrapsort("run", "--source", belt, "--state", state, "--limit", "4", "--interval", "0.4",
                             "--format", "json")
    assert code == 0 and json_lines(out)[-1]["items"] == 4 and json_lines(out)[-1]["ended_by"] == "limit reached"
    assert time.monotonic() - started >= 3 * 0.4
    _, out, _ = scrapsort("run", "--source", belt / "item3.jpg", "--state", state, "--format", "json")
    assert json_lines(out)[-1]["items"] == 1


def test_the_drawn_belt_is_the_same_for_a_seed(state):
    runs = [json_lines(scrapsort("run", "--source", "drawn:?seed=5", "--limit", "5", "--state", state, "--format",
                                 "json")[1])[:-1] for _ in range(2)]
    assert [(r["image_path"], r["probabilities"]) for r in runs[0]] == [(r["image_path"], r["probabilities"])
                                                                        for r in runs[1]]


def test_active_learning_keeps_pictures_of_what_is_doubtful(belt, state):
    scrapsort("run", "--source", belt, "--state", state, "--threshold", "1.0", "--active-learning")
    code, out, _ = scrapsort("export", "queue", "--state", state, "-o", "-")
    queue = json.loads(out)
    assert code == 0 and len(queue) == 12
    for entry in queue:
        assert sorted(entry) == ["confidence", "correct_class", "frame_id", "image_path", "predicted_class",
                                 "timestamp"]
    kept = {open_bytes(entry["image_path"]) for entry in queue}
    assert kept == {open_bytes(str(belt / name)) for name in os.listdir(str(belt))}


def open_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def test_override_without_a_terminal_queues_instead_of_blocking(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--override", "--format", "json")
    assert code == 0 and json_lines(out)[-1]["queued"] == 12
    assert "without a terminal" in err
    listed = scrapsort("review", "list", "--state", state, "--format", "json")[1].splitlines()
    assert len(listed) == 12
    code, out, _ = scrapsort("review", "label", json.loads(listed[0])["item"], "gla", "--state", state, "--by", "me")
    assert code == 0 and out.rstrip().endswith("-> glass")
    assert len(scrapsort("review", "list", "--state", state, "--format", "json")[1].splitlines()) == 11


def converse(command, answers, timeout_s=60):
    """Run command on a pseudo-terminal, typing an answer at each prompt; returns (exit code, all output)."""
    process_id, terminal = pty.fork()
    if process_id == 0:
        os.chdir(ROOT)
        os.execv(command[0], command)
    text, typed, deadline = "", 0, time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if not ready:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux's way of saying that the other end has closed
            break
        if not data:
            break
        text += data.decode("utf-8", "replace")
        if typed < len(answers) and text.count(": ", text.rfind("\n") + 1) and text.endswith(": "):
            answer = answers[typed]
            os.write(terminal, answer if isinstance(answer, bytes) else answer.encode())
            typed += 1
    _, status = os.waitpid(process_id, 0)
    os.close(terminal)
    assert typed == len(answers), text
    return os.WEXITSTATUS(status), text


def test_override_at_a_terminal_takes_yes_no_abbreviations_and_asks_again_after_a_typo(belt, state):
    command = [sys.executable, "-m", "edge", "run", "--source", str(belt), "--state", str(state), "--override",
               "--limit", "5", "--active-learning"]
    code, text = converse(command, ["y\n", "n\n", "plast\n", "metall\n", "p\n", "pap\n", "s\n", "trash\n"])
    assert code == 0, text
    assert "no such class" in text and "could be paper or plastic" in text
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT class, override_class FROM items ORDER BY sequence").fetchall()
    connection.close()
    assert [row[1] for row in rows] == [rows[0][0], "plastic", "paper", None, "trash"]
    overrides = json.loads(scrapsort("export", "overrides", "--state", state, "-o", "-")[1])
    assert [(o["predicted_class"], o["correct_class"]) for o in overrides] == [r for r in rows if r[1]
                                                                               and r[0] != r[1]]


def test_bytes_that_are_no_text_are_asked_again_at_the_prompt(belt, state):
    command = [sys.executable, "-m", "edge", "run", "--source", str(belt), "--state", str(state), "--override",
               "--limit", "1"]
    code, text = converse(command, [b"gl\xe4ss\n", "glass\n"])
    assert code == 0 and "once more" in text and "1 items in" in text, text


def test_a_label_that_corrects_puts_the_item_in_the_retraining_queue(belt, state):
    _, out, _ = scrapsort("run", "--source", belt, "--state", state, "--format", "json", "--limit", "1")
    sorted_as = json_lines(out)[0]["predicted_class"]
    scrapsort("review", "label", "1", sorted_as, "--state", state)
    assert json.loads(scrapsort("export", "queue", "--state", state, "-o", "-")[1]) == []
    other = "paper" if sorted_as != "paper" else "glass"
    scrapsort("review", "label", "1", other, "--state", state)
    queue = json.loads(scrapsort("export", "queue", "--state", state, "-o", "-")[1])
    assert [entry["correct_class"] for entry in queue] == [other]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_named_like_a_picture_is_a_bad_item_and_not_a_hang(belt, state):
    os.mkfifo(str(belt / "item99.jpg"))
    code, out, _ = scrapsort("run", "--source", belt, "--state", state, "--format", "json")
    assert code == 0 and json_lines(out)[-1]["errors"] == 1 and "not a regular file" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line(belt, state):
    with open("/dev/full", "w") as full:
        process = subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", str(belt), "--state", str(state),
                                    "--quiet"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE)
        errors = process.communicate(timeout=60)[1].decode("utf-8")
    assert process.returncode == 1 and "No space left" in errors and "Traceback" not in errors


def test_doctor_reports_a_damaged_journal(belt, state):
    scrapsort("run", "--source", belt, "--state", state, "--quiet")
    path = state / "journal.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"x" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    code, out, err = scrapsort("doctor", "--state", state)
    assert code == 1 and "Traceback" not in err and "wrong" in out and "journal.db" in out


def test_ctrl_c_at_the_prompt_ends_the_run_with_a_summary(belt, state):
    command = [sys.executable, "-m", "edge", "run", "--source", str(belt), "--state", str(state), "--override"]
    code, text = converse(command, ["y\n", "\x03"])
    assert code == 0 and "stopped" in text and "2 items in" in text, text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_item_in_hand(belt, state, number):
    process = subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", "drawn:", "--state", str(state),
                                "--format", "json", "--interval", "0.05"], cwd=ROOT, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first = process.stdout.readline()
    process.send_signal(number)
    rest = process.stdout.read()  # not communicate, which would pass over what readline has buffered
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    lines = json_lines((first + rest).decode("utf-8"))
    assert lines[-1]["ended_by"] == "stopped" and lines[-1]["items"] == len(lines) - 1


def test_watch_takes_files_as_they_arrive_and_a_restart_goes_on(belt, state, tmp_path):
    def start():
        return subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", str(belt), "--watch", "--state",
                                 str(state), "--format", "json"], cwd=ROOT, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def names(process, count):
        return [os.path.basename(json.loads(process.stdout.readline().decode("utf-8"))["image_path"])
                for _ in range(count)]

    first = start()
    assert names(first, 12) == ["item{}.jpg".format(n) for n in range(1, 13)]
    data = (belt / "item1.jpg").read_bytes()
    with open(str(belt / "slow.jpg"), "wb") as file:  # arrives in two parts: only the whole is sorted
        file.write(data[:len(data) // 2])
        file.flush()
        time.sleep(1.5)
        file.write(data[len(data) // 2:])
    assert names(first, 1) == ["slow.jpg"]
    first.terminate()
    assert first.wait(timeout=30) == 0
    first.stdout.close()
    shutil.copy(str(belt / "item1.jpg"), str(belt / "later.jpg"))
    second = start()
    assert names(second, 1) == ["later.jpg"]
    second.terminate()
    rest = second.stdout.read()
    second.stdout.close()
    assert second.wait(timeout=30) == 0
    assert [json.loads(line)["event"] for line in rest.decode("utf-8").splitlines()] == ["summary"]


def test_a_limit_ends_a_watched_folder_too(belt, state):
    code, out, _ = scrapsort("run", "--source", belt, "--watch", "--limit", "12", "--state", state, "--format", "json")
    assert code == 0 and json_lines(out)[-1]["ended_by"] == "limit reached" and json_lines(out)[-1]["items"] == 12


def test_a_closed_pipe_ends_the_run_and_keeps_what_is_recorded(belt, state):
    command = "{} -m edge run --source drawn: --limit 200 --state {} --format json | head -n 1".format(
        sys.executable, state)
    subprocess.check_call(command, shell=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    connection = sqlite3.connect(str(state / "journal.db"))
    count, = connection.execute("SELECT count(*) FROM items").fetchone()
    ended, = connection.execute("SELECT ended_by FROM runs").fetchone()
    connection.close()
    assert 1 <= count < 200 and ended == "stopped"


def damaged(tmp_path, name, change):
    bundle = tmp_path / "bundle"
    shutil.copytree(BUNDLE, str(bundle))
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


def test_a_second_run_on_the_same_state_is_refused(belt, state):
    first = subprocess.Popen([sys.executable, "-m", "edge", "run", "--source", "drawn:", "--state", str(state),
                              "--format", "json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first.stdout.readline()
    code, _, err = scrapsort("run", "--source", belt, "--state", state)
    assert code == 1 and "in use by process {}".format(first.pid) in err
    first.kill()
    first.stdout.close()
    first.wait()
    assert scrapsort("run", "--source", belt, "--state", state)[0] == 0


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


def test_classify_answers_in_the_order_given_and_marks_bad_pictures(belt, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    images = [belt / "item3.jpg", tmp_path / "bad.png", belt / "item1.jpg"]
    code, out, _ = scrapsort("classify", "--format", "json", "--state", tmp_path / "state", *images)
    lines = json_lines(out)
    assert code == 1 and [line["image_path"] for line in lines] == [str(image) for image in images]
    assert sorted(lines[1]) == ["error", "image_path"]
    assert sorted(lines[0]) == sorted(["image_path", "predicted_class", "confidence", "low_confidence_flag",
                                       "probabilities", "decision", "latency_ms", "model_version", "backend",
                                       "precision", "stranger_score", "review_reason"])
    code, out, _ = scrapsort("classify", "--format", "csv", "--state", tmp_path / "state", images[0], images[2])
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["predicted_class"] for row in rows] == [lines[0]["predicted_class"],
                                                                      lines[2]["predicted_class"]]
    code, out, _ = scrapsort("classify", "--top", "5", "--state", tmp_path / "state", images[0])
    assert code == 0 and len(out.splitlines()) == 6
    assert not (tmp_path / "state").exists(), "classify writes no journal"


@pytest.fixture(scope="module")
def strict_bundle(tmp_path_factory):
    """The shipped bundle, to which everything is a stranger and whose metal is never accepted."""
    from edge.bundles import seal
    path = tmp_path_factory.mktemp("bundle") / "strict"
    shutil.copytree(BUNDLE, str(path))
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["stranger"] = {"score": "max_probability", "threshold": -1.5}
    manifest["thresholds"] = {"default": 0.0, "per_class": {"metal": None}, "policy": {
        "kind": "purity", "target": 0.98, "confidence": 0.9, "per_class_targets": {"glass": 0.995},
        "mix": "as in the data", "method": "m", "source": "answers of 5 fold models", "classes": {
            "glass": {"threshold": 0.0, "purity_lower_bound": 0.99612, "recovery": 0.875, "reached": True},
            "metal": {"threshold": None, "purity_lower_bound": None, "recovery": 0.0, "reached": False}}}}
    (path / "manifest.json").write_text(json.dumps(seal(manifest)), encoding="utf-8")
    return path


def test_strangers_from_bundle_to_export(belt, state, strict_bundle):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--bundle", strict_bundle, "--limit", 3)
    assert code == 0 and "strangers by max_probability above -1.5," in err
    assert len(re.findall(r"^#\d .* ms  STRANGER \(score -[01]\.\d{3}\) -> review$", out, re.MULTILINE)) == 3
    assert "low confidence 3 (strangers 3)," in out
    code, out, _ = scrapsort("export", "results", "--state", state, "-o", "-")
    for row in csv.DictReader(io.StringIO(out)):
        assert (row["decision"], row["low_confidence_flag"], row["review_reason"]) == ("review", "True", "stranger")
        assert -1.5 < float(row["stranger_score"]) <= 0
    code, out, _ = scrapsort("review", "list", "--state", state, "--format", "json")
    assert [line["reason"] for line in json_lines(out)] == ["stranger"] * 3


def test_strangers_may_be_switched_off(belt, state, strict_bundle, tmp_path):
    (tmp_path / "off.toml").write_text("[decision]\nstranger = false\n")
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--bundle", strict_bundle, "--config",
                               tmp_path / "off.toml", "--format", "json")
    lines = json_lines(out)
    assert code == 0 and "strangers not told ([decision] stranger = false)" in err
    metal = [line["predicted_class"] == "metal" for line in lines[:-1]]
    assert any(metal) and not all(metal)
    assert [line["decision"] == "review" for line in lines[:-1]] == metal  # never accepted; all else is, at 0
    assert {line["review_reason"] for line in lines[:-1]} == {None, "always_review"}
    assert {line["stranger_score"] for line in lines[:-1]} == {None} and lines[-1]["strangers"] == 0
    _, _, err = scrapsort("run", "--source", belt, "--state", state, "--limit", 1)
    with open(os.path.join(BUNDLE, "manifest.json"), encoding="utf-8") as file:
        has_score = json.load(file)["stranger"]
    assert ("strangers by " if has_score else "strangers not told (the bundle has no score)") in err


def test_classify_tells_strangers(belt, state, strict_bundle):
    options = ("--state", state, "--bundle", strict_bundle, belt / "item1.jpg")
    answer, = json_lines(scrapsort("classify", "--format", "json", *options)[1])
    assert (answer["decision"], answer["review_reason"]) == ("review", "stranger")
    assert answer["stranger_score"] == pytest.approx(-answer["confidence"], abs=2e-6)
    row, = csv.DictReader(io.StringIO(scrapsort("classify", "--format", "csv", *options)[1]))
    assert list(row)[-2:] == ["stranger_score", "review_reason"] and row["review_reason"] == "stranger"
    assert float(row["stranger_score"]) == answer["stranger_score"]


def test_model_show_says_how_thresholds_and_strangers_are_set(strict_bundle, state):
    out = scrapsort("model", "show", "--bundle", strict_bundle, "--state", state)[1]
    assert "thresholds: default 0.0, metal always review\n" in out
    assert "threshold policy: purity 0.98 at confidence 0.9, mix as in the data, from answers of 5 fold models\n" in out
    assert re.search(r"^ +glass +target 0\.995, bound 0\.9961, recovery 0\.875$", out, re.MULTILINE)
    assert re.search(r"^ +metal +target 0\.98, bound none, recovery 0, not reached$", out, re.MULTILINE)
    assert "strangers: max_probability above -1.5\n" in out


def test_text_survives_a_terminal_without_unicode(belt, state):
    code, out, err = scrapsort("run", "--source", belt, "--state", state, "--limit", "1",
                               env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert code == 0, err
    assert "####" in out and "█" not in out


def test_doctor_and_model_show_what_will_be_used(state):
    code, out, _ = scrapsort("doctor", "--state", state, "--format", "json")
    report = json.loads(out)
    assert code == 0 and report["wrong"] == 0
    found = {finding["what"]: finding for finding in report["findings"]}
    assert "onnxruntime (CPUExecutionProvider)" in found["will use"]["value"]
    manifest = json.loads(scrapsort("model", "show", "--format", "json", "--state", state)[1])
    assert manifest["version"] in found["model"]["value"]
    assert manifest["version"] in scrapsort("model", "show", "--state", state)[1]
    code, out, _ = scrapsort("model", "verify", "--state", state)
    assert code == 0 and out.rstrip().endswith("verified") and "fp16" in out and "int8_cpu" in out


def test_a_simulated_belt_from_frames_to_the_journal(state, tmp_path):
    truth_path = tmp_path / "truth.jsonl"
    code, out, err = scrapsort("run", "--source", "sim:?pace=fast&items=12&seed=3&width=960&height=540&truth={}".format(
        truth_path), "--state", state, "--format", "json")
    items = json_lines(out)[:-1]
    with open(str(truth_path)) as file:
        truth = [json.loads(line) for line in file]
    assert code == 0, err
    assert json_lines(out)[-1]["ended_by"] == "end of source" and len(truth) == 12
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT line_mono_s, belt_speed_mps, views, source FROM items ORDER BY id").fetchall()
    connection.close()
    assert len(rows) == len(items) and abs(len(items) - 12) <= 1  # drawn glass may fall apart into two
    for true in truth:
        assert min(abs(row[0] - true["line_mono_s"]) for row in rows) < 0.1
    assert all(row[2] >= 1 and row[3].startswith("sim:#") for row in rows)
    assert all(0.4 < row[1] < 0.6 for row in rows)  # estimated, of the first two from how they themselves move


def test_a_frame_every_so_often_of_a_belt(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text("[gate]\nmode = 'interval'\n")
    code, out, _ = scrapsort("run", "--source", "sim:?pace=fast&width=320&height=180", "--state", state, "--format",
                             "json", "--limit", "3", "--interval", "0.5", "--config", config)
    items = json_lines(out)[:-1]
    assert code == 0 and [item["image_path"] for item in items] == ["sim:#1", "sim:#16", "sim:#31"]


LANES = """
[ejector]
enabled = true
late_ms = 1000.0
[[ejector.lane]]
class = "review"
bin = 9
output = "log:review"
distance_m = 0.5
"""


def test_a_simulated_belt_with_an_ejector_to_its_last_item(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text(LANES)
    code, out, err = scrapsort("run", "--source", "sim:?items=5&seed=3&speed=1&width=640&height=360", "--state", state,
                               "--format", "json", "--threshold", "1.0", "--config", config)
    lines = json_lines(out)
    assert code == 0, err
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT decision, bin, ejection, line_mono_s, ejected_mono_s, belt_speed_mps FROM items "
                              "ORDER BY id").fetchall()
    connection.close()
    assert len(rows) == len(lines) - 1 >= 4 and {row[:3] for row in rows} == {("review", 9, "fired")}
    for _, _, _, line_s, ejected_s, speed in rows:
        assert ejected_s - line_s == pytest.approx(0.5, abs=0.15) and 0.8 < speed < 1.2
    assert [line["bin"] for line in lines[:-1]] == [9] * len(rows)
    assert lines[-1]["ejections"]["fired"] == len(rows)
    assert err.count("output log:review on") == err.count("output log:review off") == len(rows)
    with open(str(state / "status.json")) as file:
        status = json.load(file)
    assert status["ejector"]["fired"] == len(rows) and status["ended_by"] == "end of source"
    assert status["conditions"]["output log:review"]["ok"] and status["conditions"]["ejector"]["ok"]


def test_a_stop_drops_what_is_on_its_way_and_says_so(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text(LANES.replace("0.5", "50"))
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", "--source", "sim:?seed=3&speed=1&width=640&height=360", "--state",
         str(state), "--format", "json", "--threshold", "1.0", "--config", str(config)], cwd=ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert json.loads(process.stdout.readline().decode())["bin"] == 9  # the first is recorded, and on its way
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    connection = sqlite3.connect(str(state / "journal.db"))
    rows = connection.execute("SELECT ejection FROM items").fetchall()
    connection.close()
    assert rows and set(rows) == {("dropped",)}
    assert json.loads(out.decode().splitlines()[-1])["ejections"]["dropped"] == len(rows)
    assert b"output log:review on" not in err


def test_an_ejector_needs_real_time(state, tmp_path):
    config = tmp_path / "scrapsort.toml"
    config.write_text(LANES)
    code, _, err = scrapsort("run", "--source", "sim:?items=5&pace=fast", "--state", state, "--config", config)
    assert code == 2 and "[ejector]" in err and "real time" in err and len(err.splitlines()) == 1

"""Exports under the names that users of the first prototype know."""

import csv
import json
import os
import stat
import sys
import threading
import time

import pytest

from edge.errors import JournalError
from edge.journal import Journal
from edge.journal.exports import export
from edge.journal.record import Override

# From the design page; the further columns are ours and may grow at the end
FIRST_COLUMNS = ["timestamp", "frame_id", "image_path", "predicted_class", "confidence", "low_confidence_flag",
                 "manual_override", "corrected_class", "processing_time_ms"]
FURTHER = {"run", "sequence", "decision", "threshold", "probabilities", "model_version", "backend", "precision",
           "decode_ms", "preprocess_ms", "infer_ms", "decide_ms", "captured_mono_s", "clock_synchronised", "boot_id",
           "bin", "ejection_error_ms", "override_by", "override_utc", "kept_picture", "error", "stranger_score",
           "review_reason", "line_mono_s", "belt_speed_mps", "views", "ejection", "ejected_mono_s"}
LOG_KEYS = ["frame_id", "image_path", "predicted_class", "correct_class", "confidence", "timestamp"]
ODD_PATH = '/belt/größe, "zwölf"\nund 日本.jpg'


@pytest.fixture
def state(tmp_path, make_record, run_of, clock):
    """Six items: plain, low and queued, confirmed, corrected and queued with its picture, bad, of an odd name."""
    path = str(tmp_path / "state")
    journal = Journal(path, clock=clock)
    journal.begin("/belt", run_of)
    for record in (
            make_record(1),
            make_record(2, decision="review", confidence=0.4, queue_reason="low_confidence"),
            make_record(3, override=Override("metal", "ann", 1763803000.0)),
            make_record(4, override=Override("paper", "ann", 1763803000.0), queue_reason="override", picture=b"jpeg"),
            make_record(5, decision="error", class_name=None, confidence=None, probabilities=(), threshold=None,
                        error="truncated JPEG"),
            make_record(6, source=ODD_PATH, total_ms=6.54321)):
        journal.record(record)
    journal.close()
    return path


def exported(state, tmp_path, kind, form, since=""):
    path = str(tmp_path / "out")
    assert export(state, kind, form, since, path) == path
    with open(path, encoding="utf-8", newline="") as file:
        if form == "json":
            return json.load(file)
        table = list(csv.reader(file))
        return [dict(zip(table[0], row)) for row in table[1:]]


# ---------------------------------------------------------------- names, order, values

def test_columns_of_the_results(state, tmp_path):
    path = str(tmp_path / "out")
    export(state, "results", "csv", "", path)
    with open(path, encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split(",")
    assert header[:9] == FIRST_COLUMNS
    assert set(header[9:]) >= FURTHER and len(set(header)) == len(header)
    assert [list(row) for row in exported(state, tmp_path, "results", "json")] == [header] * 6


def test_later_columns_come_at_the_end(state, tmp_path):
    """Whoever reads columns by number keeps those that there were."""
    header = list(exported(state, tmp_path, "results", "csv")[0])
    assert header[-8:] == ["error", "stranger_score", "review_reason", "line_mono_s", "belt_speed_mps", "views",
                           "ejection", "ejected_mono_s"]


def test_a_stranger_in_the_results(tmp_path, make_record, run_of):
    path = str(tmp_path / "state")
    journal = Journal(path)
    journal.begin("/belt", run_of)
    journal.record(make_record(1, decision="review", confidence=0.99, stranger_score=-2.5, review_reason="stranger"))
    journal.record(make_record(2, stranger_score=-7.0))
    journal.close()
    found = [(row["low_confidence_flag"], row["decision"], row["stranger_score"], row["review_reason"])
             for row in exported(path, tmp_path, "results", "csv")]
    assert found == [("True", "review", "-2.5", "stranger"), ("False", "accept", "-7.0", "")]  # flag: goes to review


@pytest.mark.parametrize("kind", ["overrides", "queue"])
def test_keys_of_the_logs(state, tmp_path, kind):
    entries = exported(state, tmp_path, kind, "json")
    assert entries and all(list(entry) == LOG_KEYS for entry in entries)
    assert [list(row) for row in exported(state, tmp_path, kind, "csv")] == [LOG_KEYS] * len(entries)


def test_a_row_of_the_csv(state, tmp_path):
    rows = exported(state, tmp_path, "results", "csv")
    assert [row["frame_id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    first = rows[0]
    assert [first[name] for name in FIRST_COLUMNS] == [
        "2025-11-22T09:15:01.000Z", "1", "/belt/1.jpg", "metal", "0.75", "False", "False", "", "6.5"]
    assert json.loads(first["probabilities"]) == {"glass": 0.1, "metal": 0.75, "paper": 0.1, "plastic": 0.05}
    assert (first["run"], first["sequence"], first["decision"], first["threshold"]) == ("1", "1", "accept", "0.7")
    assert (first["model_version"], first["backend"], first["precision"]) == ("2026.11-a", "onnxruntime", "int8")
    assert (first["decode_ms"], first["preprocess_ms"], first["infer_ms"], first["decide_ms"]) == (
        "1.0", "2.0", "3.0", "0.5")
    assert (first["captured_mono_s"], first["clock_synchronised"], first["bin"], first["error"]) == ("6.0", "1", "", "")
    assert rows[5]["processing_time_ms"] == "6.543"


def test_a_row_of_the_json(state, tmp_path):
    rows = exported(state, tmp_path, "results", "json")
    first = rows[0]
    assert [first[name] for name in FIRST_COLUMNS] == [
        "2025-11-22T09:15:01.000Z", 1, "/belt/1.jpg", "metal", 0.75, False, False, None, 6.5]
    assert first["probabilities"] == {"glass": 0.1, "metal": 0.75, "paper": 0.1, "plastic": 0.05}
    bad = rows[4]
    assert (bad["predicted_class"], bad["confidence"], bad["probabilities"], bad["error"], bad["decision"]) == (
        None, None, None, "truncated JPEG", "error")
    assert bad["low_confidence_flag"] is False


@pytest.mark.parametrize("item, flag, manual, corrected, by", [
    (1, False, False, None, None),  # nobody was asked
    (2, True, False, None, None),  # low confidence
    (3, False, False, None, "ann"),  # a person confirmed: seen, but nothing overridden
    (4, False, True, "paper", "ann"),  # a person corrected
])
def test_what_counts_as_an_override(state, tmp_path, item, flag, manual, corrected, by):
    row = exported(state, tmp_path, "results", "json")[item - 1]
    assert (row["low_confidence_flag"], row["manual_override"], row["corrected_class"], row["override_by"]) == (
        flag, manual, corrected, by)


def test_the_override_log_has_corrections_only(state, tmp_path):
    kept = os.path.join(state, "queue", "1-4.jpg")
    assert exported(state, tmp_path, "overrides", "json") == [
        {"frame_id": 4, "image_path": kept, "predicted_class": "metal", "correct_class": "paper", "confidence": 0.75,
         "timestamp": "2025-11-22T09:15:04.000Z"}]


def test_the_retraining_queue_has_what_waits(state, tmp_path):
    entries = exported(state, tmp_path, "queue", "json")
    assert [(entry["frame_id"], entry["correct_class"]) for entry in entries] == [(2, None), (4, "paper")]
    assert entries[0]["image_path"] == "/belt/2.jpg"  # no copy was kept: the original
    with open(entries[1]["image_path"], "rb") as file:
        assert file.read() == b"jpeg"  # a copy was kept: that, the original may be gone


@pytest.mark.parametrize("form", ["csv", "json"])
def test_odd_paths_come_back_as_they_were(state, tmp_path, form):
    assert exported(state, tmp_path, "results", form)[5]["image_path"] == ODD_PATH


@pytest.mark.parametrize("since, items", [
    ("", [1, 2, 3, 4, 5, 6]),
    ("2025-11-22T09:15:04.000Z", [4, 5, 6]),  # its own moment is in
    ("2025-11-22T09:15:04.001Z", [5, 6]),
    ("2026-01-01T00:00:00.000Z", []),
])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_since(state, tmp_path, form, since, items):
    assert [int(row["frame_id"]) for row in exported(state, tmp_path, "results", form, since)] == items


@pytest.mark.parametrize("kind", ["results", "overrides", "queue"])
def test_an_empty_journal(tmp_path, kind):
    path = str(tmp_path / "state")
    Journal(path).close()
    assert exported(path, tmp_path, kind, "json") == []
    assert exported(path, tmp_path, kind, "csv") == []
    with open(str(tmp_path / "out"), encoding="utf-8") as file:
        assert file.readline().count(",") == (5 if kind != "results" else 8 + len(FURTHER))  # the header alone


# ---------------------------------------------------------------- where to

@pytest.mark.parametrize("kind, form, pattern", [
    ("results", "csv", "conveyor_results_%Y%m%d_%H%M%S.csv"),
    ("results", "json", "conveyor_results_%Y%m%d_%H%M%S.json"),
    ("overrides", "json", "override_log.json"), ("overrides", "csv", "override_log.csv"),
    ("queue", "json", "retraining_queue.json"), ("queue", "csv", "retraining_queue.csv"),
])
def test_customary_names_in_the_current_folder(state, tmp_path, monkeypatch, clock, kind, form, pattern):
    monkeypatch.chdir(str(tmp_path))
    expected = time.strftime(pattern, time.localtime(clock.wall_s()))
    assert export(state, kind, form, clock=clock) == expected
    assert os.path.getsize(expected) > 10


def test_standard_output(state, capsys):
    assert export(state, "overrides", "json", "", "-") == "-"
    assert [entry["frame_id"] for entry in json.loads(capsys.readouterr().out)] == [4]
    assert not sys.stdout.closed


def test_an_earlier_export_is_replaced_whole(state, tmp_path):
    (tmp_path / "out").write_bytes(b"x" * 100000)
    assert len(exported(state, tmp_path, "results", "json")) == 6
    assert sorted(os.listdir(str(tmp_path))) == ["out", "state"]  # no temporary file is left


@pytest.mark.parametrize("word, out", [
    ("a folder that is not there", "nowhere/out.csv"), ("a folder", "state"), ("below a file", "file/out.csv"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_place_that_cannot_be_written(state, tmp_path, word, out):
    (tmp_path / "file").write_text("x")
    before = sorted(os.listdir(str(tmp_path)))
    with pytest.raises(JournalError) as caught:
        export(state, "results", "csv", "", str(tmp_path / out))
    assert out in str(caught.value) and "cannot be written" in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(os.listdir(str(tmp_path))) == before


def test_a_read_only_place(state, small_disk):
    small_disk.read_only()
    with pytest.raises(JournalError, match="cannot be written: Read-only"):
        export(state, "results", "csv", "", os.path.join(small_disk.path, "out.csv"))
    assert os.listdir(small_disk.path) == []


def test_a_place_that_fills_up_leaves_the_earlier_export(state, small_disk, make_record, run_of):
    out = os.path.join(small_disk.path, "out.csv")
    journal = Journal(state)
    journal.begin("/belt", run_of)
    for sequence in range(1, 1200):
        journal.record(make_record(sequence, source="/belt/" + "x" * 900))
    journal.close()
    with open(out, "wb") as file:
        file.write(b"earlier")
    with pytest.raises(JournalError, match="No space left"):
        export(state, "results", "csv", "", out)
    with open(out, "rb") as file:
        assert file.read() == b"earlier"
    assert os.listdir(small_disk.path) == ["out.csv"]


def test_a_device_is_written_to_and_not_replaced(state, tmp_path):
    """export -o /dev/null as root must not put a file in its place; a pipe shows the same without /dev."""
    pipe, got = str(tmp_path / "pipe"), []
    os.mkfifo(pipe)

    def read():
        with open(pipe, encoding="utf-8") as file:
            got.append(file.read())
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert export(state, "overrides", "json", "", pipe) == pipe
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    reader.join(10)
    assert json.loads(got[0])[0]["frame_id"] == 4


def test_no_journal_touches_no_file(tmp_path):
    (tmp_path / "out").write_bytes(b"earlier")
    with pytest.raises(JournalError, match="scrapsort run"):
        export(str(tmp_path / "nowhere"), "results", "csv", "", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"earlier"


def test_a_damaged_journal_is_one_line(state, tmp_path):
    with open(os.path.join(state, "journal.db"), "r+b") as file:
        file.seek(4096)
        file.write(b"\x5a" * (os.path.getsize(os.path.join(state, "journal.db")) - 4096))
    with pytest.raises(JournalError) as caught:
        export(state, "results", "csv", "", str(tmp_path / "out"))
    assert "scrapsort journal repair" in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_export_while_a_run_is_writing(state, tmp_path, make_record, run_of):
    """A reader neither waits for the writer nor sees half a group."""
    go = threading.Event()
    journal = Journal(state, 60.0, 5, on_commit=lambda group: go.set())
    journal.begin("/belt", run_of)
    sequence = 0
    for _ in range(8):
        go.clear()
        for _ in range(5):
            sequence += 1
            journal.record(make_record(sequence))
        journal.record(make_record(sequence + 1))  # one that still waits
        sequence += 1
        assert go.wait(10)
        found = exported(state, tmp_path, "results", "json")
        assert (len(found) - 6) % 5 == 0
        assert [row["sequence"] for row in found[6:]] == list(range(1, len(found) - 5))
    journal.close()
    assert len(exported(state, tmp_path, "results", "json")) == 6 + sequence

"""The log as systemd's journal gets it: fields, several lines, a bound on their number."""

import logging
import os
import socket
import struct
import sys
import types

import pytest

from edge import logs
from edge.health import journald
from edge.health.state import State

pytestmark = pytest.mark.skipif(os.name == "nt", reason="systemd is Linux's")


def parsed(datagram):
    """The fields of one datagram, read as journald reads them."""
    fields, rest = {}, datagram
    while rest:
        line, _, rest = rest.partition(b"\n")
        if b"=" in line:
            name, _, value = line.partition(b"=")
        else:
            name, (length,) = line, struct.unpack("<Q", rest[:8])
            value, rest = rest[8:8 + length], rest[8 + length:]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        fields[name.decode("ascii")] = value.decode("utf-8")
    return fields


@pytest.fixture
def journal(tmp_path):
    """A socket like the journal's: journal.read() -> the fields of each line so far."""
    path = str(tmp_path / "socket")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(path)
    listening.setblocking(False)

    def read():
        found = []
        while True:
            try:
                found.append(parsed(listening.recv(200000)))
            except OSError:
                return found
    yield types.SimpleNamespace(path=path, read=read, gone=lambda: os.unlink(path))
    listening.close()


@pytest.fixture
def logger(journal):
    """A logger into it; logger.fallback has what did not get there."""
    made = logging.Logger("scrapsort")
    made.fallback = []
    fallback = logging.Handler()
    fallback.emit = made.fallback.append
    handler = journald.JournalHandler(fallback, path=journal.path)
    made.addHandler(handler)
    yield made
    handler.close()


def test_a_line_has_its_weight_its_place_and_its_fields(journal, logger):
    journald.set_context(logger, run=7)
    logger.warning("item %d missed", 12, extra=logs.fields(item=12, condition="ejector"))
    logger.info("well")
    logger.error("broken")
    first, second, third = journal.read()
    assert first["MESSAGE"] == "item 12 missed"
    assert (first["PRIORITY"], second["PRIORITY"], third["PRIORITY"]) == ("4", "6", "3")
    assert first["SYSLOG_IDENTIFIER"] == "scrapsort"
    assert first["CODE_FILE"] == __file__
    assert first["CODE_FUNC"] == "test_a_line_has_its_weight_its_place_and_its_fields"
    assert int(first["CODE_LINE"]) > 0
    assert (first["SCRAPSORT_RUN"], first["SCRAPSORT_ITEM"], first["SCRAPSORT_CONDITION"]) == ("7", "12", "ejector")
    assert second["SCRAPSORT_RUN"] == "7"
    assert "SCRAPSORT_ITEM" not in second


def test_lines_within_a_line_and_names_that_are_no_text_forge_no_field(journal, logger):
    logger.info("a\nPRIORITY=0\nb")
    logger.info("file \udcff=x", extra=logs.fields(condition="c\nMESSAGE=d"))
    first, second = journal.read()
    assert (first["MESSAGE"], first["PRIORITY"]) == ("a\nPRIORITY=0\nb", "6")
    assert second["MESSAGE"] == "file \\udcff=x"
    assert second["SCRAPSORT_CONDITION"] == "c\nMESSAGE=d"


def test_an_exception_keeps_its_lines(journal, logger):
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    message = journal.read()[0]["MESSAGE"]
    assert message.startswith("failed\nTraceback")
    assert message.endswith("ValueError: why")


def test_without_a_journal_and_with_a_full_one_lines_go_to_stderr(journal, logger):
    for number in range(2000):
        logger.info("%d", number)
    assert 0 < len(logger.fallback) < 2000
    assert len(journal.read()) == 2000 - len(logger.fallback)
    journal.gone()
    logger.info("alone")
    assert logger.fallback[-1].getMessage() == "alone"


def test_a_condition_says_which_it_is(journal, monkeypatch, tmp_path):
    handler = journald.JournalHandler(logging.NullHandler(), path=journal.path)
    monkeypatch.setattr(logs.log, "handlers", [handler])
    logs.log.setLevel(logging.INFO)
    state = State(str(tmp_path / "status.json"))
    state.condition("camera", "no frame")
    state.condition("camera")
    first, second = journal.read()
    handler.close()
    assert (first["SCRAPSORT_CONDITION"], first["PRIORITY"]) == ("camera", "4")
    assert (second["SCRAPSORT_CONDITION"], second["PRIORITY"]) == ("camera", "6")


def test_stderr_is_the_journal_only_when_its_numbers_say_so(tmp_path, monkeypatch):
    with open(str(tmp_path / "stderr"), "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        status = os.fstat(stderr.fileno())
        mine = "{}:{}".format(status.st_dev, status.st_ino)
        assert journald.is_stderr({"JOURNAL_STREAM": mine}, str(tmp_path))
        assert not journald.is_stderr({"JOURNAL_STREAM": mine}, str(tmp_path / "no-socket"))
        for other in ("{}:{}".format(status.st_dev, status.st_ino + 1), "", "x:y", "7"):
            assert not journald.is_stderr({"JOURNAL_STREAM": other}, str(tmp_path)), other
    assert not journald.is_stderr({}, str(tmp_path))


# -------------------------------------------------------------------- how many lines

@pytest.fixture
def bounded(clock):
    """bounded.log, bounded.texts(): what has passed."""
    passed = []
    inner = logging.Handler()
    inner.emit = lambda record: passed.append(record.getMessage())
    logger = logging.Logger("scrapsort")
    handler = journald.Bounded(inner, clock.mono_s)
    logger.addHandler(handler)
    return types.SimpleNamespace(log=logger, texts=lambda: passed, handler=handler)


def test_equal_lines_are_said_once_and_counted(bounded, clock):
    for _ in range(58):
        bounded.log.warning("camera: no frame")
        clock.move(1.0)
    bounded.log.warning("another")
    assert bounded.texts() == ["camera: no frame", "another"]
    clock.move(2.0)
    bounded.handler.flush()
    assert bounded.texts() == ["camera: no frame", "another", "camera: no frame (... 57 more times in 60 s)"]
    clock.move(60.0)
    bounded.handler.flush()
    bounded.log.warning("camera: no frame")  # is news again
    assert bounded.texts()[3:] == ["camera: no frame"]


def test_different_lines_are_bounded_too_and_the_rest_is_counted(bounded, clock):
    for number in range(10000):
        bounded.log.warning("item %d", number)
        clock.move(0.01)
    bounded.handler.flush()
    assert len(bounded.texts()) <= 2 * (journald.LINES + 1)
    assert any("more lines in 60 s were left out" in text for text in bounded.texts())
    assert len(bounded.handler._known) <= journald.KNOWN


def test_what_was_left_out_is_said_at_the_end(bounded):
    for _ in range(3):
        bounded.log.warning("camera: no frame")
    bounded.handler.close()
    assert bounded.texts() == ["camera: no frame", "camera: no frame (... 2 more times in 0 s)"]

"""A person is asked, a picture is kept, an item waits: what happens to an item beyond its decision."""

import os
import re
import shutil
import sqlite3
import tempfile

import cv2
import numpy as np
import pytest
from helpers import REPOSITORY, rows

from edge.errors import JournalError, UsageError
from edge.frames.base import Frame
from edge.frames.drawn import draw_named
from edge.gate import EveryFrame
from edge.journal import Journal, schema
from edge.journal.record import Override
from edge.journal.review import COUNT, count_waiting, label, resolve_class, waiting
from edge.review import Reviewer

CLASSES = ("glass", "metal", "paper", "plastic")
IMAGE = draw_named("metal", 1, 40, 32)


def item_of(data=b"\xff\xd8 the very bytes", source="/belt/1.JPG"):
    return EveryFrame().offer(Frame(source, "key", IMAGE, data, 1.0, 2.0, 3.0))[0]


class Person:
    """Types prepared lines; after the last one the terminal is gone."""

    def __init__(self, *lines):
        self.lines, self.prompts = list(lines), []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0) + "\n"


# ---------------------------------------------------------------- the question

@pytest.mark.parametrize("word, typed, class_name, asked", [
    # the item was sorted as metal; class_name None: nobody said anything
    ("y", ["y"], "metal", 1),
    ("yes", ["yes"], "metal", 1),
    ("whatever the case", ["  YES "], "metal", 1),
    ("part of yes", ["ye"], "metal", 1),
    ("the right class", ["paper"], "paper", 1),
    ("abbreviated", ["pl"], "plastic", 1),
    ("one letter that fits one", ["g"], "glass", 1),
    ("the same class by name", ["metal"], "metal", 1),
    ("n, then the class", ["n", "glass"], "glass", 2),
    ("no, then abbreviated", ["no", "pa"], "paper", 2),
    ("n, then a typo, then the class", ["n", "glasss", "glass"], "glass", 3),
    ("n, then yes after all", ["n", "y"], "metal", 2),
    ("skip", ["s"], None, 1),
    ("n, then skip", ["n", "skip"], None, 2),
    ("ambiguous", ["p", "pa"], "paper", 2),
    ("a typo is asked again", ["papr", "wood", "paper"], "paper", 3),
    ("an empty line is asked again", ["", "   ", "y"], "metal", 3),
    ("part of a word that is more", ["yesterday", "y"], "metal", 2),
])
def test_what_a_person_types(make_record, clock, word, typed, class_name, asked):
    person, shown = Person(*typed), []
    reviewer = Reviewer(CLASSES, True, False, person, shown.append, clock)
    record = make_record(7)
    reviewed = reviewer.review(record, item_of())
    if class_name is None:
        assert reviewed == record
    else:
        assert reviewed.override[0] == class_name and reviewed.override.wall_s == clock.wall_s()
        assert reviewed.override.by
        assert reviewed._replace(override=None) == record  # confirmed or corrected, nothing else changes
    assert len(person.prompts) == asked and person.lines == []
    assert shown == [record]  # before the question, once


def test_the_question_says_what_was_wrong(make_record):
    person = Person("p", "wood", "n", "y")
    Reviewer(CLASSES, True, False, person).review(make_record(1), item_of())
    assert "metal" in person.prompts[0] and "right?" in person.prompts[0]
    assert "could be paper or plastic" in person.prompts[1]
    assert "'wood'" in person.prompts[2] and "glass, metal, paper, plastic" in person.prompts[2]
    assert "glass, metal, paper, plastic" in person.prompts[3] and "skip" in person.prompts[3]
    assert all("\n" not in prompt for prompt in person.prompts)


def test_a_class_named_like_an_answer_is_that_class(make_record):
    person = Person("s")
    reviewed = Reviewer(("s", "no", "metal"), True, False, person).review(make_record(1), item_of())
    assert reviewed.override.class_name == "s"


def test_the_end_of_the_terminal_lets_this_and_all_later_items_wait(make_record):
    person = Person("y")
    reviewer = Reviewer(CLASSES, True, False, person)
    assert reviewer.review(make_record(1), item_of()).queue_reason == ""
    assert reviewer.review(make_record(2), item_of()).queue_reason == "asked"
    assert reviewer.review(make_record(3), item_of()).queue_reason == "asked"
    assert len(person.prompts) == 2  # who is gone is not asked again


def test_without_a_terminal_items_wait(make_record):
    reviewed = Reviewer(CLASSES, True, False, None).review(make_record(1), item_of())
    assert (reviewed.queue_reason, reviewed.override, reviewed.picture) == ("asked", None, None)


def test_with_neither_nothing_happens(make_record):
    person = Person("paper")
    for record in (make_record(1), make_record(2, decision="review")):
        assert Reviewer(CLASSES, False, False, person).review(record, item_of()) == record
    assert person.prompts == []


# ---------------------------------------------------------------- what is kept

@pytest.mark.parametrize("word, override, active, lines, decision, reason, kept", [
    ("sure, nobody asked", False, True, [], "accept", "", False),
    ("unsure", False, True, [], "review", "low_confidence", True),
    ("unsure, but nothing is kept", False, False, [], "review", "", False),
    ("corrected", True, True, ["paper"], "accept", "override", True),
    ("corrected, but nothing is kept", True, False, ["paper"], "accept", "", False),
    ("unsure and corrected", True, True, ["paper"], "review", "override", True),
    ("confirmed", True, True, ["y"], "accept", "", False),
    ("unsure and confirmed: the class is known, the network is not", True, True, ["y"], "review", "low_confidence",
     True),
    ("unsure and skipped", True, True, ["s"], "review", "low_confidence", True),
    ("nobody there, sure", True, True, None, "accept", "asked", True),  # the later label may prove it wrong
    ("nobody there, unsure", True, True, None, "review", "asked", True),
], ids=lambda value: value if isinstance(value, str) and len(value) > 9 else "")
def test_what_is_queued_and_kept(make_record, word, override, active, lines, decision, reason, kept):
    reviewer = Reviewer(CLASSES, override, active, None if lines is None else Person(*lines))
    reviewed = reviewer.review(make_record(1, decision=decision), item_of())
    assert reviewed.queue_reason == reason and (reviewed.picture is not None) == kept
    assert reviewed.decision == decision and reviewed.class_name == "metal"


@pytest.mark.parametrize("source, suffix", [("/belt/1.JPG", ".jpg"), ("/belt/a.b.webp", ".webp"), ("/belt/x", "")])
def test_a_file_is_kept_byte_for_byte(make_record, source, suffix):
    data = b"\xff\xd8" + bytes(bytearray(range(256)))
    reviewed = Reviewer(CLASSES, False, True).review(make_record(1, decision="review"), item_of(data, source))
    assert reviewed.picture == data and reviewed.picture_suffix == suffix


def test_a_drawn_item_is_kept_as_a_png_that_loses_nothing(make_record):
    reviewed = Reviewer(CLASSES, False, True).review(make_record(1, decision="review"), item_of(None, "drawn:glass/1"))
    assert reviewed.picture_suffix == ".png" and reviewed.picture[:4] == b"\x89PNG"
    assert np.array_equal(cv2.imdecode(np.frombuffer(reviewed.picture, np.uint8), cv2.IMREAD_COLOR), IMAGE)


# ---------------------------------------------------------------- names of classes

@pytest.mark.parametrize("text, expected", [
    ("glass", "glass"), ("GLASS", "glass"), (" glass\n", "glass"), ("gl", "glass"), ("pa", "paper"),
    ("paper", "paper"), ("PL", "plastic"), ("m", "metal"),
])
def test_resolve_class(text, expected):
    assert resolve_class(text, CLASSES) == expected


def test_a_name_that_begins_another_is_still_that_name():
    assert resolve_class("paper", ("paper", "papercup")) == "paper"
    assert resolve_class("Glass", ("GLASS", "glassware")) == "GLASS"


@pytest.mark.parametrize("text, names", [
    ("p", ["'p'", "paper or plastic"]), ("wood", ["'wood'", "no such class", "glass, metal, paper, plastic"]),
    ("", ["no such class"]), ("  ", ["no such class"]), ("glasses", ["no such class"]), ("lass", ["no such class"]),
])
def test_resolve_class_refuses(text, names):
    with pytest.raises(UsageError) as caught:
        resolve_class(text, CLASSES)
    for name in names:
        assert name in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


# ---------------------------------------------------------------- list and label

@pytest.fixture
def state(tmp_path, make_record, run_of):
    path = str(tmp_path / "state")
    journal = Journal(path)
    journal.begin("/belt", run_of)
    for record in (
            make_record(1),  # sure
            make_record(2, decision="review"),  # unsure
            make_record(3, decision="review", queue_reason="low_confidence"),
            make_record(4, queue_reason="asked"),
            make_record(5, decision="review", override=Override("metal", "ann", 1.0)),  # somebody has spoken
            make_record(6, queue_reason="override", override=Override("paper", "ann", 1.0)),
            make_record(7, decision="error", queue_reason="asked", class_name=None, confidence=None,
                        probabilities=(), threshold=None, error="truncated")):
        journal.record(record)
    journal.close()
    return path


def test_what_waits_for_a_person(state):
    assert [(row["id"], row["reason"]) for row in waiting(state)] == [
        (2, None), (3, "low_confidence"), (4, "asked")]
    assert count_waiting(state) == 3
    label(state, 2, "glass", "bob")
    label(state, 1, "paper", "bob")  # nobody asked; it waits for nobody now
    assert count_waiting(state) == 2 == len(list(waiting(state)))


def test_they_are_counted_without_reading_the_whole_journal(state):
    plan = rows(state, "EXPLAIN QUERY PLAN " + COUNT)
    assert any("items_to_review" in row["detail"] for row in plan)
    assert count_waiting(os.path.join(state, "none")) is None


def test_why_an_item_waits(tmp_path, make_record, run_of):
    path = str(tmp_path / "state")
    journal = Journal(path)
    journal.begin("/belt", run_of)
    for sequence, (reason, queued) in enumerate([
            ("stranger", ""), ("stranger", "low_confidence"), ("always_review", "stranger"), ("stranger", "asked"),
            ("", "asked")], 1):
        journal.record(make_record(sequence, decision="review" if reason else "accept", review_reason=reason,
                                   queue_reason=queued))
    journal.close()
    assert [row["reason"] for row in waiting(path)] == ["stranger", "stranger", "always_review", "asked", "asked"]


def test_a_label_is_noted_and_the_item_waits_no_more(state, clock):
    assert label(state, 3, "PLA", "bob", clock) == ("metal", "plastic")
    assert label(state, 4, "metal", None, clock) == ("metal", "metal")  # confirmed
    assert [row["id"] for row in waiting(state)] == [2]
    assert label(state, 3, "glass", "eve", clock) == ("metal", "glass")  # and may be changed
    assert label(state, 1, "paper", "eve", clock) == ("metal", "paper")  # also where nobody asked

    connection = sqlite3.connect(os.path.join(state, "journal.db"))
    noted = connection.execute("SELECT id, override_class, override_by, override_utc FROM items WHERE id IN (1, 3) "
                               "ORDER BY id").fetchall()
    by_default = connection.execute("SELECT override_by FROM items WHERE id = 4").fetchone()[0]
    connection.close()
    assert noted == [(1, "paper", "eve", "2025-11-22T09:15:00.000Z"), (3, "glass", "eve", "2025-11-22T09:15:00.000Z")]
    assert by_default  # the user's name


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be other users")
def test_members_of_the_group_list_and_label_while_the_service_holds_the_journal(make_record, run_of):
    """With the folder's mode and the umask of systemd/scrapsort.service."""
    service, member, stranger, group = 64001, 64002, 64003, 64000
    folder = tempfile.mkdtemp()
    state, held = os.path.join(folder, "state"), []

    def work():
        journal = Journal(state)
        journal.begin("/belt", run_of)
        journal.record(make_record(1, decision="review"))
        journal.close()
        held.append(schema.connect(state))  # as the service's, with its log

    def look():
        assert [row["id"] for row in waiting(state)] == [1]
        assert label(state, 1, "PLA", "bob") == ("metal", "plastic")

    try:
        os.chmod(folder, 0o755)
        os.mkdir(state)
        os.chown(state, service, group)
        os.chmod(state, int(of_unit("StateDirectoryMode"), 8))
        assert as_user(service, group, work) == ""
        assert as_user(member, group, look) == ""
        assert as_user(service, group, lambda: label(state, 1, "glass", "ann")) == ""  # and the service after them
        assert "JournalError" in as_user(stranger, 64009, look)
    finally:
        shutil.rmtree(folder)


def of_unit(key):
    with open(os.path.join(REPOSITORY, "systemd", "scrapsort.service")) as file:
        return re.search("^{}=(.*)$".format(key), file.read(), re.MULTILINE).group(1)


def as_user(user, group, what):
    """What another user gets when doing it: empty, or the error."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        text = ""
        try:
            os.umask(int(of_unit("UMask"), 8))
            os.setgroups([group])
            os.setgid(user)
            os.setuid(user)
            what()
        except BaseException as error:
            text = repr(error)
        os.write(writing, text.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        text = file.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.mark.parametrize("item, class_name, names", [
    (99, "glass", ["item 99", "not in the journal"]),
    (2, "wood", ["'wood'", "glass, metal, paper, plastic"]),
    (2, "p", ["paper or plastic"]),
    (7, "glass", ["item 7", "bad picture", "truncated"]),
])
def test_labels_that_are_refused(state, item, class_name, names):
    before = [dict(row) for row in waiting(state)]
    with pytest.raises(UsageError) as caught:
        label(state, item, class_name)
    for name in names:
        assert name in str(caught.value)
    assert [dict(row) for row in waiting(state)] == before


def test_no_journal_to_list_or_label(tmp_path):
    for use in (lambda: list(waiting(str(tmp_path))), lambda: label(str(tmp_path), 1, "glass")):
        with pytest.raises(JournalError, match="scrapsort run"):
            use()


def test_a_damaged_journal_is_one_line(state):
    path = os.path.join(state, "journal.db")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\x5a" * (os.path.getsize(path) - 4096))
    for use in (lambda: list(waiting(state)), lambda: label(state, 1, "glass")):
        with pytest.raises(JournalError) as caught:
            use()
        assert "scrapsort journal repair" in str(caught.value) and "\n" not in str(caught.value)

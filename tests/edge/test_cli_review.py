"""What people are asked, at a terminal and later: overrides and labels."""

import json
import os
import pty
import select
import sqlite3
import sys
import time

from helpers import REPOSITORY, json_lines, scrapsort


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
        os.chdir(REPOSITORY)
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


def test_ctrl_c_at_the_prompt_ends_the_run_with_a_summary(belt, state):
    command = [sys.executable, "-m", "edge", "run", "--source", str(belt), "--state", str(state), "--override"]
    code, text = converse(command, ["y\n", "\x03"])
    assert code == 0 and "stopped" in text and "2 items in" in text, text

"""Processes of our own: they run our code wherever they are started, and only their words come out of their stdout."""

import os
import subprocess
import sys

import pytest

from edge import children, reload

TALKER = """
import os
from edge import children, reload
import edge.clock

def main():
    words = children.words()
    os.write(1, b"a library prints\\n")
    os.write(words, "{} {}\\n".format(edge.clock.__file__, os.getsid(0) == os.getpid()).encode())
    return 3
"""


@pytest.mark.skipif(os.name != "posix", reason="sessions are of POSIX")
def test_another_edge_in_the_current_folder_and_a_library_that_prints_do_not_disturb(tmp_path, monkeypatch):
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "talker.py").write_text(TALKER)
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "__init__.py").write_text("raise SystemExit('another edge')")
    monkeypatch.syspath_prepend(str(tmp_path / "ours"))
    monkeypatch.chdir(str(tmp_path))
    with open(str(tmp_path / "errors"), "w+b") as errors:
        process = children.start("talker", stderr=errors)
        said, _ = process.communicate(timeout=60)
        errors.seek(0)
        assert errors.read() == b"a library prints\n"
    path, own_session = said.decode().split()
    assert os.path.samefile(path, os.path.join(os.path.dirname(children.__file__), "clock.py"))
    assert own_session == "True" and process.returncode == 3


def test_it_is_found_though_the_search_path_names_it_by_the_folder_of_then(tmp_path, monkeypatch):
    """As after `cd repository; python3`, with an empty entry for the current folder, and then another one."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(children.__file__)))
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry and os.path.abspath(entry) != folder])
    monkeypatch.chdir(str(tmp_path))
    process = children.start("edge.ejector.worker", stderr=subprocess.PIPE)
    said = process.communicate(b"", timeout=60)  # nothing is asked of it: it ends, by its own code and without a word
    assert (said, process.returncode) == ((b"", b""), 1)


def test_where_there_is_no_memory_for_a_thread_the_process_is_ended():
    class Thread:
        def start(self):
            raise RuntimeError("can't start new thread")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(OSError, match="memory"):
        children.start_threads(process, [Thread()])
    assert process.poll() is not None


def test_a_reload_for_which_there_is_no_memory_is_refused(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr("threading.Thread.start", start)
    one = reload.Reload(lambda: None)
    one.ask()
    assert "not enough memory" in str(one.look())
    assert not one.is_busy

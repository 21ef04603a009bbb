"""docs/models.md: the commands that put another model on a device while it sorts, and back; a bad one is refused."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from helpers import REPOSITORY, rows, start, until

pytestmark = [pytest.mark.long, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mv -T is GNU's")]
PATIENCE_S = 60


def block_below(heading):
    """The first indented block below a heading of the page."""
    with open(os.path.join(REPOSITORY, "docs", "models.md"), encoding="utf-8") as file:
        text = file.read().partition("\n## " + heading)[2]
    return re.search(r"(?<=\n\n)((?:    [^\n]*\n)+)", text).group(1)


class Device:
    """A state folder and the run that sorts there, as a service's."""

    def __init__(self, folder):
        self.state, self.log = str(folder / "state"), folder / "log"
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listening.bind(str(folder / "notify"))
        os.makedirs(os.path.join(self.state, "models"))
        self.folder, self.process = folder, None

    def sort(self):
        with open(str(self.log), "wb") as log:
            self.process = start("run", "--quiet", "--state", self.state, "--source", "drawn:", "--interval", "0.05",
                                 "--backend", "onnxruntime", stderr=log, stdout=subprocess.DEVNULL,
                                 env={"NOTIFY_SOCKET": str(self.folder / "notify")})

    def type(self, commands, **values):
        """Run a block of the page: here, without sudo, and with a signal where systemctl would send one."""
        scrapsort = "env PYTHONPATH='{}' '{}' -m edge".format(REPOSITORY, sys.executable)
        text = re.sub(r"\\\n *", "", commands)
        text = re.sub(r"sudo (-u scrapsort )?", "", text.replace("/var/lib/scrapsort", self.state))
        text = re.sub(r"^ *scrapsort ", scrapsort + " ", text, flags=re.MULTILINE)
        text = text.replace("systemctl reload scrapsort", "kill -HUP {}".format(self.process.pid))
        text = "\n".join(line for line in text.splitlines() if "scrapsort-engines" not in line)  # of a Jetson
        for name, value in values.items():
            text = re.sub(r"^( *{}=).*$".format(name), r"\g<1>'{}'".format(value), text, flags=re.MULTILINE)
        done = subprocess.Popen(["sh", "-e", "-c", text], cwd=str(self.folder), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        output = done.communicate(timeout=PATIENCE_S)[0].decode("utf-8")
        return done.returncode, output

    def versions(self):
        """Of the models that answered, in the order of the items, each once."""
        seen = [row["model_version"] for row in rows(self.state)]
        return [version for number, version in enumerate(seen) if not number or version != seen[number - 1]]

    def wait_for(self, *versions):
        until(lambda: self.versions() == list(versions) or self.process.poll() is not None, PATIENCE_S)
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")

    def says(self, text):
        until(lambda: text in self.log.read_text(encoding="utf-8") or self.process.poll() is not None, PATIENCE_S)
        assert text in self.log.read_text(encoding="utf-8"), self.log.read_text()


@pytest.fixture
def device(tmp_path, make_bundle):
    """A device that sorts with version 1; models/plant here is version 2."""
    def version_2(manifest):
        manifest["version"] = "2"
    one = Device(tmp_path)
    make_bundle("state/models/plant-1")
    os.symlink("plant-1", os.path.join(one.state, "models", "current"))
    make_bundle("models/plant", edit=version_2)
    one.sort()
    try:
        one.says("model tiny 1, ")  # by then the journal is open
        one.wait_for("1")
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.listening.close()


def test_the_page_s_commands_put_a_model_on_a_device_that_sorts_and_take_it_back(device):
    code, output = device.type(block_below("5. "), V="plant-2")
    assert code == 0 and "tiny 2: verified" in output, output
    device.wait_for("1", "2")
    assert os.readlink(os.path.join(device.state, "models", "current")) == "plant-2"
    code, output = device.type(block_below("6. "), V="plant-1")
    assert code == 0, output
    device.wait_for("1", "2", "1")
    device.process.send_signal(signal.SIGTERM)
    assert device.process.wait(PATIENCE_S) == 0
    assert [row["ended_by"] for row in rows(device.state, "SELECT ended_by FROM runs")] == [
        "new settings", "new settings", "stopped"]


def test_a_damaged_model_is_not_flipped_to(device):
    with open(str(device.folder / "models" / "plant" / "model-int8_cpu.onnx"), "ab") as file:
        file.write(b"x")
    code, output = device.type(block_below("5. "), V="plant-2")
    assert code == 1 and "is damaged: sha256" in output
    assert os.readlink(os.path.join(device.state, "models", "current")) == "plant-1"


@pytest.mark.parametrize("name", ["golden.npz", "manifest.json"])
def test_a_damaged_model_that_was_flipped_to_all_the_same_is_refused_and_the_old_one_sorts_on(device, name,
                                                                                             make_bundle):
    make_bundle("state/models/plant-2", edit=lambda manifest: manifest.update(version="2"))
    with open(os.path.join(device.state, "models", "plant-2", name), "ab") as file:
        file.write(b"x")
    device.type("    ln -sfn plant-2 /var/lib/scrapsort/models/next\n    mv -T /var/lib/scrapsort/models/next "
                "/var/lib/scrapsort/models/current\n    systemctl reload scrapsort\n")
    device.says("refused, those before stay in use: ")
    before = len(rows(device.state))
    until(lambda: len(rows(device.state)) > before + 3 or device.process.poll() is not None, PATIENCE_S)
    assert device.process.poll() is None, device.log.read_text(encoding="utf-8")
    assert device.versions() == ["1"]

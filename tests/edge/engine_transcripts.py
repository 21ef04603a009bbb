"""Writes docs/performance/engines_on_doubles.md: what building, falling back and changing over look like.

python3 tests/edge/engine_transcripts.py [-o FILE]     TensorRT, pycuda and nvcc are doubles, the rest is real
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]
import tensorrt_doubles  # noqa: E402  # after its folder is on the path

ROOT = tensorrt_doubles.ROOT
PAGE = os.path.join(ROOT, "docs", "performance", "engines_on_doubles.md")
XAVIER, NANO = "Xavier/7.2/1", "NVIDIA Tegra X1/5.3/1"
HEAD = """# Engines, on doubles

Written by `python3 tests/edge/engine_transcripts.py`. No Jetson and no TensorRT library were at hand: TensorRT, pycuda
and nvcc are the doubles of tests/edge/doubles, which compute real answers through ONNX Runtime. So words, order and
decisions are real; **times and sizes are not those of a GPU**. Nothing of this has been run on a board yet; there, run

    scrapsort doctor && python3 -m engines build && python3 -m engines verify && scripts/bench-jetson

and `scripts/gpu-check` on any machine with an NVIDIA GPU.
"""


class Shell:
    """Runs commands with the doubles and keeps what a terminal would show."""

    def __init__(self, folder, device):
        self.doubles = tensorrt_doubles.Doubles("8_2", Path(folder))
        self.state = os.path.join(folder, "state")
        self.environment = self.doubles.environment(PYCUDA_DOUBLE_DEVICE=device)
        self.text = []

    def show(self, words):
        self.text.append(words)

    def run(self, *arguments):
        """One command to its end."""
        done = subprocess.run([sys.executable, "-m"] + list(arguments) + ["--state", self.state], cwd=ROOT,
                              env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self._block(arguments, done.stdout, done.returncode)

    def sort(self, steps):
        """A run on drawn items; steps are done one after the other while it sorts."""
        arguments = ("edge", "run", "--source", "drawn:?seed=5", "--interval", "0.1", "--quiet")
        process = subprocess.Popen([sys.executable, "-m"] + list(arguments) + ["--state", self.state], cwd=ROOT,
                                   env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for step in steps:
            time.sleep(4)
            step()
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        self._block(arguments, output, process.returncode)

    def _block(self, arguments, output, code):
        name = "scrapsort" if arguments[0] == "edge" else "python3 -m {}".format(arguments[0])
        text = output.decode("utf-8").replace(self.state, "STATE").replace(ROOT + "/", "").replace(ROOT, ".")
        text = re.sub(r"(?m)^.*\r", "", text).rstrip()
        self.text.append("    $ {} {}\n{}{}".format(name, " ".join(arguments[1:]), _indented(text), "" if not code else
                                                  "\n    (exit code {})".format(code)))


def _indented(text):
    return "\n".join(("    " + line).rstrip() for line in text.splitlines())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", default=PAGE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as folder:
        shell = Shell(folder, XAVIER)
        shell.show("## A Xavier builds its engine\n")
        shell.run("engines", "build")
        shell.run("engines", "list")
        shell.show("## What a Nano refuses\n")
        shell.environment["PYCUDA_DOUBLE_DEVICE"] = NANO
        shell.run("engines", "build", "--precision", "int8")
        shell.run("engines", "list")
        shell.environment["PYCUDA_DOUBLE_DEVICE"] = XAVIER
        shell.show("## CUDA fails while the belt runs; later the engine is built anew\n\nAfter four seconds each copy "
                   "to the GPU fails; four seconds later it works again, and `engines build --force` is run.\n")

        def mend():
            shell.doubles.cuda_fault()
            subprocess.check_call([sys.executable, "-m", "engines", "build", "--force", "--state", shell.state],
                                  cwd=ROOT, env=shell.environment, stdout=subprocess.DEVNULL)

        shell.sort([lambda: shell.doubles.cuda_fault("htod"), mend, lambda: None])
        shell.show("## An engine with wrong answers\n")
        shell.doubles.tensorrt_fault("wrong")
        shell.run("engines", "verify")
        shell.doubles.tensorrt_fault()
        shell.run("engines", "build")
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.write(HEAD + "\n" + "\n\n".join(shell.text) + "\n")


if __name__ == "__main__":
    main()

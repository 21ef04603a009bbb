"""Puts the doubles of TensorRT and pycuda on the path: in this process, or in one that is started."""

import hashlib
import os
import subprocess
import sys

from edge import plans
from edge.bundles import Bundle

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(TESTS))
HERE = os.path.join(TESTS, "doubles")
GENERATIONS = ("8_2", "8_5", "10", "11")
MODULES = ("tensorrt", "tensorrt_core", "pycuda", "pycuda.driver")


class Doubles:
    """The doubles of one generation, and the faults that happen in them."""

    def __init__(self, generation, tmp_path):
        self.generation = generation
        self.paths = [os.path.join(HERE, "pycuda"), os.path.join(HERE, "tensorrt_" + generation)]
        self._files = {"TENSORRT_DOUBLE_FAULTS": str(tmp_path / "tensorrt.faults"),
                       "PYCUDA_DOUBLE_FAULTS": str(tmp_path / "pycuda.faults"),
                       "CUDA_ROOT": os.path.join(HERE, "cuda")}

    def environment(self, **more):
        """os.environ of a process that shall find the doubles."""
        python_path = os.pathsep.join(self.paths + [p for p in [os.environ.get("PYTHONPATH")] if p])
        return dict(os.environ, PYTHONPATH=python_path, **dict(self._files, **more))

    def run(self, *arguments, **environment):
        """`python3 -m …` with the doubles: its exit code, standard output and standard error."""
        done = subprocess.run([sys.executable, "-m"] + [str(argument) for argument in arguments], cwd=ROOT,  # noqa: UP022  # 3.6 has no capture_output
                              env=self.environment(**environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False)
        return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")

    def install(self, monkeypatch):
        """Make this process find them."""
        for name in MODULES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        for path in self.paths:
            monkeypatch.syspath_prepend(path)
        for name, value in self._files.items():
            monkeypatch.setenv(name, value)
        import pycuda.driver
        import tensorrt
        self.tensorrt, self.driver = tensorrt, pycuda.driver
        for name in self.driver.counters:
            self.driver.counters[name] = 0

    def tensorrt_fault(self, *words):
        """These happen from now on; none: all is well."""
        with open(self._files["TENSORRT_DOUBLE_FAULTS"], "w") as file:
            file.write(" ".join(words))

    def cuda_fault(self, *words):
        """These happen from now on; none: all is well."""
        with open(self._files["PYCUDA_DOUBLE_FAULTS"], "w") as file:
            file.write(" ".join(words))


def build(trt, bundle_path, folder, precision="fp16", **changes):
    """A plan as engines/ would have written it, by the double that is installed; changes are of the sidecar."""
    import tensorrt_core

    from edge.classifier.tensorrt import fingerprint
    bundle = Bundle(bundle_path)
    role = plans.ROLE_OF[precision]
    data = tensorrt_core.build(trt.__version__, print, bundle.read(role), {"precision": precision.upper()})
    made_for = changes.pop("fingerprint", None) or fingerprint(bundle, precision)
    sidecar = plans.Sidecar(made_for, hashlib.sha256(data).hexdigest(), bundle.name, role)._replace(**changes)
    return plans.write(str(folder), plans.name_of(made_for), data, sidecar)

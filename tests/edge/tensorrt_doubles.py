"""Puts the doubles of TensorRT and pycuda on the path: in this process, or in one that is started."""

import hashlib
import os
import sys

from edge import plans
from edge.bundles import Bundle

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "doubles")
GENERATIONS = ("8_2", "8_5", "10", "11")
MODULES = ("tensorrt", "tensorrt_core", "pycuda", "pycuda.driver")


class Doubles:
    """The doubles of one generation, and the faults that happen in them."""

    def __init__(self, generation, tmp_path):
        self.generation = generation
        self.paths = [os.path.join(HERE, "pycuda"), os.path.join(HERE, "tensorrt_" + generation)]
        self._files = {"TENSORRT_DOUBLE_FAULTS": str(tmp_path / "tensorrt.faults"),
                       "PYCUDA_DOUBLE_FAULTS": str(tmp_path / "pycuda.faults")}

    def environment(self, **more):
        """os.environ of a process that shall find the doubles."""
        python_path = os.pathsep.join(self.paths + [p for p in [os.environ.get("PYTHONPATH")] if p])
        return dict(os.environ, PYTHONPATH=python_path, **dict(self._files, **more))

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

"""ONNX Runtime: on a laptop's CPU, and on CUDA where onnxruntime-gpu is installed."""

import contextlib
import sys
import time
from typing import Any, List, Optional, Sequence

import numpy as np

from edge.bundles import Bundle
from edge.classifier.base import Classifier
from edge.errors import BackendError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def providers() -> List[str]:
    """The execution providers to ask for, best first, of those that the installed package was built with."""
    available = _module().get_available_providers()
    return [provider for provider in (CUDA, CPU) if provider in available]


class OnnxRuntimeClassifier(Classifier):
    """A session with I/O binding: input and outputs are buffers that exist before the first picture."""

    backend = "onnxruntime"

    def __init__(self, bundle: Bundle, role: str, wanted: Optional[Sequence[str]] = None):
        """wanted: the execution providers to ask for, best first; None: all there are."""
        super().__init__(bundle, role)
        self._wanted = wanted

    def _open(self) -> None:
        ort = _module()
        wanted, model = list(self._wanted or providers()), self.bundle.read(self.role)
        options = ort.SessionOptions()
        options.log_severity_level = 3  # its warnings are about graph clean-up; failures are raised
        # Its threads spin while they wait for each other within a picture, which is fast, but not between two
        # pictures: the decoder needs the cores then
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            with contextlib.redirect_stdout(sys.stderr):  # it prints its fall-backs, and stdout is for machines
                self._session = ort.InferenceSession(model, options, providers=wanted)
        except Exception as error:  # ONNX Runtime's exceptions share no public base
            raise BackendError("{}: ONNX Runtime {} cannot load the {} model: {}".format(
                self.bundle.path, ort.__version__, self.role, _first_line(error)))
        self.device = self._session.get_providers()[0]  # what is in use, not what was asked for
        if self.device != wanted[0]:
            self.notes.append("{} could not be used, fell back to {}: check driver, CUDA and cuDNN of "
                              "onnxruntime-gpu".format(wanted[0], self.device))
        self._check_shapes()
        self._bindings = [self._bind(row) for row in range(len(self._logits))]

    def _check_shapes(self) -> None:
        inputs = [(i.name, i.shape, i.type) for i in self._session.get_inputs()]
        outputs = [(o.name, o.shape, o.type) for o in self._session.get_outputs()]
        expected_in = [("image", list(self._image.shape), "tensor(float)")]
        expected_out = [("logits", [1, self._logits.shape[1]], "tensor(float)"),
                        ("features", [1, self._features.shape[1]], "tensor(float)")]
        if inputs != expected_in or outputs != expected_out:
            raise BackendError("{}: {} model has {} -> {}: {} -> {} is needed".format(
                self.bundle.path, self.role, inputs, outputs, expected_in, expected_out))

    def _bind(self, row: int) -> Any:
        """A binding that writes the outputs to one row of the buffers."""
        binding = self._session.io_binding()
        binding.bind_input("image", "cpu", 0, np.float32, self._image.shape, self._image.ctypes.data)
        for name, buffer in (("logits", self._logits), ("features", self._features)):
            view = buffer[row:row + 1]
            binding.bind_output(name, "cpu", 0, np.float32, view.shape, view.ctypes.data)
        return binding

    def _prepare(self, view: np.ndarray) -> None:
        started = time.perf_counter()
        super()._prepare(view)
        if self.timed:
            self.stages_ms["preprocess"] = (time.perf_counter() - started) * 1000

    def _infer(self, row: int) -> None:
        binding, started = self._bindings[row], time.perf_counter()
        try:
            if self.device != CPU:  # an input for another device is copied there when it is bound, not when it is run
                binding.bind_input("image", "cpu", 0, np.float32, self._image.shape, self._image.ctypes.data)
            self._session.run_with_iobinding(binding)
        except Exception as error:  # see _open
            raise BackendError("ONNX Runtime failed on {}: {}".format(self.device, _first_line(error)))
        if self.timed:
            self.stages_ms["infer"] = (time.perf_counter() - started) * 1000

    def _close(self) -> None:
        self._bindings = []  # before the session that they refer to
        self._session = None


def _module() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError("ONNX Runtime is not installed ({}); run: python3 -m pip install onnxruntime".format(error))
    return onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

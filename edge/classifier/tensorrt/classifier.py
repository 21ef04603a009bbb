"""A plan on the GPU, with buffers that exist from open to close."""

from typing import Any, Optional, Tuple

import numpy as np

from edge.bundles import Bundle
from edge.classifier.base import Classifier
from edge.classifier.cuda import OPEN_S, Cuda
from edge.classifier.tensorrt.api import Engine
from edge.classifier.tensorrt.device import fingerprint, module
from edge.errors import BackendError, PlanError
from edge.plans import Plan

ANSWER_S = 1.0  # a picture takes milliseconds; a GPU that takes so long hangs, and the next backend must be in time


class TensorRtClassifier(Classifier):
    """The thread that calls classify waits for the owner thread of CUDA, which does all the work.

    Raises BackendError when an answer is not there within ANSWER_S: then it must be closed, and says so if used.
    """

    backend = "tensorrt"

    def __init__(self, bundle: Bundle, plan: Plan, cuda_memory: str = "copy"):
        Classifier.__init__(self, bundle, plan.sidecar.role)
        self.precision = plan.sidecar.fingerprint.precision
        self.plan = plan
        self._mapped = cuda_memory == "mapped"
        self._cuda: Optional[Cuda] = None
        self._engine: Optional[Engine] = None
        self._events: Tuple[Any, ...] = ()
        self._timeout_s = OPEN_S  # until it is open: first inferences load kernels

    def _open(self) -> None:
        made_for, here = self.plan.sidecar.fingerprint, fingerprint(self.bundle, self.precision)
        if made_for != here:
            raise PlanError("{}: was built for {}; run: python3 -m engines build".format(
                self.plan.path, ", ".join(made_for.differences(here))))
        data, trt = self.plan.read(), module()
        self._cuda = Cuda(self._mapped)
        try:
            self._cuda.open()
            self._cuda.call(lambda: self._load(trt, data), OPEN_S, "loading {}".format(self.plan.name))
        except BackendError:
            self._close()
            raise
        self.device = here.gpu

    def open(self) -> "TensorRtClassifier":
        """As Classifier.open; from then on an answer must be there within ANSWER_S."""
        try:
            Classifier.open(self)
        except BackendError:
            self._is_open = False
            self._close()
            raise
        self._timeout_s = ANSWER_S
        return self

    def _load(self, trt: Any, data: bytes) -> None:
        """On the owner thread: engine, buffers, events."""
        cuda = self._cuda
        assert cuda is not None
        self._engine = Engine(trt, data, self.plan.sidecar.options.get("dla_core"))
        self._check_tensors()
        self._image_buffer = cuda.buffer(self._image.shape, np.float32)
        self._outputs = [cuda.buffer((1, array.shape[1]), np.float32) for array in (self._logits, self._features)]
        self._image = self._image_buffer.host  # preprocessing writes straight into pinned memory
        self._engine.bind({"image": self._image_buffer.address, "logits": self._outputs[0].address,
                           "features": self._outputs[1].address})
        self._events = tuple(cuda.driver.Event() for _ in range(4))

    def _check_tensors(self) -> None:
        assert self._engine is not None
        found = {tensor.name: tuple(tensor[1:]) for tensor in self._engine.tensors()}
        wanted = {"image": (True, self._image.shape, True), "logits": (False, (1, self._logits.shape[1]), True),
                  "features": (False, (1, self._features.shape[1]), True)}
        if found != wanted:
            raise BackendError("{}: has the tensors {} (input, shape, float32): {} are needed".format(
                self.plan.path, found, wanted))

    def _infer(self, row: int) -> None:
        cuda = self._cuda
        if cuda is None:
            raise BackendError("tensorrt: is closed")
        cuda.call(self._work_timed if self.timed else self._work, self._timeout_s, "inference")
        for output, array in zip(self._outputs, (self._logits, self._features)):
            np.copyto(array[row:row + 1], output.host)

    def _work(self) -> None:
        """On the owner thread: all of it is queued on one stream, which is then waited for."""
        cuda, engine = self._cuda, self._engine
        assert cuda is not None and engine is not None
        self._image_buffer.upload(cuda.stream)
        engine.enqueue(cuda.stream.handle)
        for output in self._outputs:
            output.download(cuda.stream)
        cuda.stream.synchronize()

    def _work_timed(self) -> None:
        """As _work, with an event between the stages."""
        cuda, engine, events = self._cuda, self._engine, self._events
        assert cuda is not None and engine is not None
        events[0].record(cuda.stream)
        self._image_buffer.upload(cuda.stream)
        events[1].record(cuda.stream)
        engine.enqueue(cuda.stream.handle)
        events[2].record(cuda.stream)
        for output in self._outputs:
            output.download(cuda.stream)
        events[3].record(cuda.stream)
        cuda.stream.synchronize()
        names = ("copy in", "infer", "copy out")
        self.stages_ms = {name: events[n].time_till(events[n + 1]) for n, name in enumerate(names)}

    def _close(self) -> None:
        cuda, self._cuda = self._cuda, None
        if cuda is not None:
            self._image = np.zeros(self._image.shape, np.float32)  # not the pinned memory, which goes now
            trouble = cuda.close(self._unload)
            if trouble:
                self.notes.append(trouble)

    def _unload(self) -> None:
        """On the owner thread: TensorRT's objects go before the buffers, and both before the context."""
        self._events = ()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

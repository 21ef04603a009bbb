"""A plan on the GPU, with buffers that exist from open to close.

A picture goes to the GPU as bytes, and a kernel makes the network's input of it there; where that kernel cannot be
had, or the picture is larger than the buffer, the CPU makes it, and the input goes to the GPU.
"""

import os
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from edge.bundles import Bundle
from edge.classifier import kernel
from edge.classifier.base import Classifier
from edge.classifier.cuda import OPEN_S, Cuda, first_line
from edge.classifier.tensorrt.api import Engine
from edge.classifier.tensorrt.device import fingerprint, module
from edge.errors import BackendError, PlanError
from edge.plans import Plan

FRAME_BYTES = 1280 * 720 * 3  # the largest picture that the GPU preprocesses; the gate's views are smaller
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
        self.answer_s = ANSWER_S  # from then on
        self._launch = kernel.Launch(bundle.input)
        self._function: Any = None  # the kernel; None: the CPU preprocesses
        self._frame: Any = None  # the buffer that pictures go through to the kernel
        self._part: Optional[np.ndarray] = None  # of it, what the next inference is of; None: the CPU has done it
        self._arguments: Sequence[Any] = ()

    def _open(self) -> None:
        made_for, here = self.plan.sidecar.fingerprint, fingerprint(self.bundle, self.precision)
        if made_for != here:
            raise PlanError("{}: was built for {}; run: python3 -m engines build".format(
                self.plan.path, ", ".join(made_for.differences(here))))
        data, trt = self.plan.read(), module()
        compiled = self._compiled(here.compute_capability)
        self._cuda = Cuda(self._mapped)
        try:
            self._cuda.open()
            self._cuda.call(lambda: self._load(trt, data, compiled), OPEN_S, "loading {}".format(self.plan.name))
        except BackendError:
            self._close()
            raise
        self.device = here.gpu

    def open(self) -> "TensorRtClassifier":
        """As Classifier.open; from then on an answer must be there within answer_s."""
        try:
            Classifier.open(self)
        except BackendError:
            self._is_open = False
            self._close()
            raise
        self._timeout_s = self.answer_s
        return self

    def _compiled(self, compute_capability: str) -> bytes:
        """The kernel's code, kept beside the plans; empty where it cannot be had, which is noted."""
        try:
            return kernel.compile_kernel(compute_capability, os.path.dirname(os.path.abspath(self.plan.path))).data
        except BackendError as error:
            self.notes.append("the CPU preprocesses: {}".format(error))
            return b""

    def _load(self, trt: Any, data: bytes, compiled: bytes) -> None:
        """On the owner thread: engine, kernel, buffers, events."""
        cuda = self._cuda
        assert cuda is not None
        self._engine = Engine(trt, data, self.plan.sidecar.options.get("dla_core"))
        self._check_tensors()
        if compiled:
            self._load_kernel(cuda, compiled)
        # What the kernel writes and the engine reads is the GPU's own matter, also where the rest is mapped
        self._image_buffer = cuda.buffer(self._image.shape, np.float32, cuda.mapped and self._function is None)
        self._outputs = [cuda.buffer((1, array.shape[1]), np.float32) for array in (self._logits, self._features)]
        self._image = self._image_buffer.host  # preprocessing writes straight into pinned memory
        self._engine.bind({"image": self._image_buffer.address, "logits": self._outputs[0].address,
                           "features": self._outputs[1].address})
        self._events = tuple(cuda.driver.Event() for _ in range(5))

    def _load_kernel(self, cuda: Cuda, compiled: bytes) -> None:
        try:
            module_ = cuda.driver.module_from_buffer(compiled)
            self._function = module_.get_function(kernel.ENTRY)
            self._function.prepare(kernel.TYPES)
        except cuda.driver.Error as error:
            self._function = None
            self.notes.append("the CPU preprocesses: the GPU does not take the kernel: {}".format(first_line(error)))
            return
        self._frame = cuda.buffer((FRAME_BYTES,), np.uint8)

    def _prepare(self, view: np.ndarray) -> None:
        if self._function is None or view.size > FRAME_BYTES:
            self._part = None
            self._preprocessor(view, self._image)
            return
        if view.ndim != 3 or view.shape[2] != 3 or view.dtype != np.uint8 or not view.size:
            raise ValueError("picture of shape {} and type {}: (h, w, 3) uint8 BGR is needed".format(
                view.shape, view.dtype))
        height, width = view.shape[:2]
        self._part = self._frame.host[:view.size]
        np.copyto(self._part.reshape(view.shape), view)
        self._arguments = self._launch.arguments(self._frame.address, width * 3, (0, 0, width, height),
                                                 self._image_buffer.address)

    def _prepare_resized(self, image_rgb: np.ndarray) -> None:
        """The golden pictures go the way of all pictures, so that they judge the kernel, too."""
        self._prepare(image_rgb[:, :, ::-1])

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

    def information(self) -> str:
        """What TensorRT's inspector says of the engine's layers, as JSON. Raises BackendError."""
        cuda, engine = self._cuda, self._engine
        if cuda is None or engine is None:
            raise BackendError("tensorrt: is closed")
        return str(cuda.call(engine.information, OPEN_S, "the inspector"))

    def _work(self) -> None:
        """On the owner thread: all of it is queued on one stream, which is then waited for."""
        cuda, engine = self._cuda, self._engine
        assert cuda is not None and engine is not None
        self._copy_in(cuda.stream)
        self._preprocess(cuda.stream)
        engine.enqueue(cuda.stream.handle)
        self._copy_out(cuda.stream)
        cuda.stream.synchronize()

    def _work_timed(self) -> None:
        """As _work, with an event between the stages."""
        cuda, engine, events = self._cuda, self._engine, self._events
        assert cuda is not None and engine is not None
        stages: List[Tuple[str, Any]] = [("copy in", self._copy_in), ("kernel", self._preprocess),
                                         ("infer", lambda stream: engine.enqueue(stream.handle)),
                                         ("copy out", self._copy_out)]
        events[0].record(cuda.stream)
        for (_, stage), event in zip(stages, events[1:]):
            stage(cuda.stream)
            event.record(cuda.stream)
        cuda.stream.synchronize()
        self.stages_ms = {name: events[n].time_till(events[n + 1]) for n, (name, _) in enumerate(stages)}

    def _copy_in(self, stream: Any) -> None:
        if self._part is None:
            self._image_buffer.upload(stream)
        else:
            self._frame.upload_first(self._part, stream)

    def _preprocess(self, stream: Any) -> None:
        if self._part is not None:
            self._function.prepared_async_call(self._launch.grid, self._launch.block, stream, *self._arguments)

    def _copy_out(self, stream: Any) -> None:
        for output in self._outputs:
            output.download(stream)

    def _close(self) -> None:
        cuda, self._cuda = self._cuda, None
        if cuda is not None:
            self._image = np.zeros(self._image.shape, np.float32)  # not the pinned memory, which goes now
            self._part = None
            trouble = cuda.close(self._unload)
            if trouble:
                self.notes.append(trouble)

    def _unload(self) -> None:
        """On the owner thread: TensorRT's objects go before the buffers, and both before the context."""
        self._events, self._function = (), None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

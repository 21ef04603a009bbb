"""One face for the three generations of TensorRT's Python API.

8.2 binds buffers by index (num_bindings, execute_async_v2); 8.5 and later by tensor name (num_io_tensors,
set_tensor_address, execute_async_v3). Which one is there is asked of the objects, never of the version.
"""

import logging
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from edge.errors import BackendError

log = logging.getLogger("scrapsort")


class Tensor(NamedTuple):
    """An input or output of an engine."""

    name: str
    is_input: bool
    shape: Tuple[int, ...]
    is_float32: bool


class Words:
    """What TensorRT said: the latest error is kept for our own message, the rest goes to the debug log."""

    def __init__(self, trt: Any):
        self.latest = ""
        words = self

        class Logger(trt.ILogger):  # type: ignore[misc,name-defined]  # a base known at run time alone
            """TensorRT hands its messages to it, from any thread."""

            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                """Called by TensorRT."""
                line = " ".join(msg.split())
                if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                    words.latest = line
                log.debug("tensorrt: %s", line)

        self.logger = Logger()

    def why(self, otherwise: str) -> str:
        """The latest error, once."""
        latest, self.latest = self.latest, ""
        return latest or otherwise


def make_builder(trt: Any, words: Words) -> Any:
    """TensorRT's builder. Raises BackendError where it makes none, as without a GPU."""
    try:
        return trt.Builder(words.logger)
    except TypeError:  # so pybind11 says that there is none
        raise BackendError("TensorRT makes no builder: {}".format(words.why("is there a GPU?")))


class Engine:
    """A deserialised plan with one execution context. Lives on the thread of its CUDA context."""

    def __init__(self, trt: Any, plan: bytes, dla_core: Optional[int] = None):
        """Raises BackendError when TensorRT does not take the plan."""
        self._words = Words(trt)
        self._trt = trt
        try:
            runtime = trt.Runtime(self._words.logger)
        except TypeError:  # so pybind11 says that there is none
            raise BackendError("TensorRT makes no runtime: {}".format(self._words.why("is there a GPU?")))
        if dla_core is not None:
            runtime.DLA_core = dla_core
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BackendError("TensorRT {} does not take the plan: {}".format(
                trt.__version__, self._words.why("it gives no reason")))
        context = engine.create_execution_context()
        if context is None:
            raise BackendError("TensorRT {} makes no execution context: {}".format(
                trt.__version__, self._words.why("out of memory?")))
        self._runtime, self._engine, self._context = runtime, engine, context
        self._by_name = hasattr(engine, "num_io_tensors")
        self._bindings: List[int] = []

    def tensors(self) -> List[Tensor]:
        """Its inputs and outputs."""
        engine, trt = self._engine, self._trt
        if self._by_name:
            names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
            return [Tensor(name, engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                           tuple(engine.get_tensor_shape(name)),
                           engine.get_tensor_dtype(name) == trt.DataType.FLOAT) for name in names]
        return [Tensor(engine.get_binding_name(index), engine.binding_is_input(index),
                       tuple(engine.get_binding_shape(index)),
                       engine.get_binding_dtype(index) == trt.DataType.FLOAT) for index in range(engine.num_bindings)]

    def bind(self, addresses: Dict[str, int]) -> None:
        """Tell where each tensor lies on the GPU, for all later calls of enqueue. Raises BackendError."""
        names = {tensor.name for tensor in self.tensors()}
        if names != set(addresses):
            raise BackendError("the engine has the tensors {}, not {}".format(
                ", ".join(sorted(names)), ", ".join(sorted(addresses))))
        if self._by_name:
            context = self._context
            for name, address in addresses.items():
                if context.set_tensor_address(name, address) is False:
                    raise BackendError("TensorRT refuses the address of {}: {}".format(name, self._words.why("")))
        else:
            self._bindings = [addresses[tensor.name] for tensor in self.tensors()]

    def enqueue(self, stream_handle: int) -> None:
        """Queue one inference on a stream that is not the default one. Raises BackendError."""
        context = self._context
        done = (context.execute_async_v3(stream_handle) if self._by_name
                else context.execute_async_v2(self._bindings, stream_handle))
        if not done:
            raise BackendError("TensorRT does not run the engine: {}".format(self._words.why("it gives no reason")))

    def information(self) -> str:
        """What the inspector says of the layers, as JSON: see edge.classifier.tensorrt.layers."""
        engine, trt = self._engine, self._trt
        inspector = engine.create_engine_inspector()
        return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Free the context before the engine, and the engine before the runtime."""
        self._context = self._engine = self._runtime = None

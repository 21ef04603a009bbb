"""A double of TensorRT 10.3.0, with the names and signatures that scrapsort uses. See tensorrt_core."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
import tensorrt_core as core  # noqa: E402  # after its folder is on the path

__version__ = "10.3.0"

IHostMemory = core.HostMemory


class ILogger:
    """What a user's logger derives from."""

    class Severity:
        """How bad a message is."""

        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self):
        pass

    def log(self, severity, msg):
        """Overridden by users."""
        raise NotImplementedError


class DataType:
    """Types of tensors."""

    FLOAT, HALF, INT8, INT32, BOOL = range(5)


class TacticSource:
    """Where kernels come from."""

    CUBLAS, CUBLAS_LT, CUDNN, EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS = range(5)


class ProfilingVerbosity:
    """How much an engine tells of itself."""

    LAYER_NAMES_ONLY, DETAILED, NONE = range(3)


class LayerInformationFormat:
    """How the inspector writes."""

    ONELINE, JSON = range(2)


class DeviceType:
    """Where layers run."""

    GPU, DLA = range(2)


class BuilderFlag:
    """What the builder may do."""

    FP16, INT8, DEBUG, GPU_FALLBACK, REFIT, DISABLE_TIMING_CACHE, TF32, SPARSE_WEIGHTS = range(8)


class NetworkDefinitionCreationFlag:
    """Kinds of networks."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class MemoryPoolType:
    """Memory that can be limited."""

    WORKSPACE, DLA_MANAGED_SRAM, DLA_LOCAL_DRAM, DLA_GLOBAL_DRAM = range(4)


class TensorIOMode:
    """Which way a tensor goes."""

    NONE, INPUT, OUTPUT = range(3)


class IProgressMonitor:
    """Is told how far a build is."""

    def __init__(self):
        pass


class ITimingCache:
    """What the builder has measured."""

    def __init__(self, data):
        self._data = bytes(data)

    def serialize(self):
        """Its bytes."""
        return core.HostMemory(self._data + b"timed;")

    def combine(self, input_cache, ignore_mismatch):
        """Add another."""
        return True


class IBuilderConfig:
    """How to build."""

    def __init__(self):
        self._flags = set()
        self._cache = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1
        self.builder_optimization_level = 3
        self.progress_monitor = None

    def set_flag(self, flag):
        """Allow something."""
        self._flags.add(flag)

    def get_flag(self, flag):
        """Whether it is allowed."""
        return flag in self._flags

    def clear_flag(self, flag):
        """Forbid something."""
        self._flags.discard(flag)

    def create_timing_cache(self, serialized_timing_cache):
        """A cache from bytes, which may be none."""
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        """Use it."""
        self._cache = cache
        return True

    def get_timing_cache(self):
        """What was measured."""
        return self._cache

    def set_memory_pool_limit(self, pool, pool_size):
        """Limit memory."""
        if not core.memory_left(pool_size):
            raise TypeError("pool_size")


class INetworkDefinition:
    """What is built."""

    def __init__(self):
        self._model = None

    @property
    def num_inputs(self):
        """How many inputs it has."""
        return 1 if self._model else 0


class Builder:
    """Builds plans."""

    def __init__(self, logger):
        self._logger = logger

    def create_builder_config(self):
        """How to build."""
        return IBuilderConfig()

    def create_network(self, flags=0):
        """An empty network."""
        return INetworkDefinition()

    @property
    def num_DLA_cores(self):  # noqa: N802  # as the real one is called
        """Deep learning accelerators."""
        return int(os.environ.get("TENSORRT_DOUBLE_DLA", "0"))

    @property
    def platform_has_fast_fp16(self):
        """As the compute capability says."""
        return _capability() >= (5, 3)

    @property
    def platform_has_fast_int8(self):
        """As the compute capability says."""
        return _capability() >= (6, 1) and _capability() != (6, 2)

    def build_serialized_network(self, network, config):
        """The plan, or None."""
        if network._model is None:
            self._logger.log(ILogger.Severity.ERROR, "Network must have at least one output")
            return None
        precision = "INT8" if config.get_flag(BuilderFlag.INT8) else (
            "FP16" if config.get_flag(BuilderFlag.FP16) else "FP32")
        if config.progress_monitor is not None:
            core.report(config.progress_monitor)
        plan = core.build(__version__, lambda msg: self._logger.log(ILogger.Severity.ERROR, msg), network._model,
                          {"precision": precision, "dla": config.DLA_core,
                           "detailed": config.profiling_verbosity == ProfilingVerbosity.DETAILED})
        return None if plan is None else core.HostMemory(plan)


def _capability():
    from pycuda import driver
    return driver.Device(0).compute_capability()


class ParserError:
    """What the parser did not take."""

    def __init__(self, text):
        self._text = text

    def desc(self):
        """In words."""
        return self._text

    def node(self):
        """Of which node."""
        return 7


class OnnxParser:
    """ONNX into a network."""

    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse(self, model, path=None):
        """Whether the model was taken."""
        model = bytes(model)
        try:
            if "network" in core.faults():
                raise ValueError("No importer registered for op: Wonder")
            core.session_of(model)
        except Exception as error:
            self._errors.append(ParserError(str(error).splitlines()[0]))
            return False
        self._network._model = model
        return True

    @property
    def num_errors(self):
        """How many things were not taken."""
        return len(self._errors)

    def get_error(self, index):
        """One of them."""
        return self._errors[index]


class EngineInspector:
    """Tells of an engine."""

    def __init__(self, room):
        self._room = room

    def get_engine_information(self, format):  # noqa: A002  # as the real one is called
        """All of it, as text."""
        return self._room.information(self._room.header.get("detailed", False))


class IExecutionContext:
    """Runs an engine."""

    def __init__(self, room):
        self._room, self._addresses = room, {}

    def set_tensor_address(self, name, memory):
        """Where a tensor lies."""
        if name not in [tensor[0] for tensor in self._room.tensors]:
            return False
        self._addresses[name] = memory
        return True

    def set_input_shape(self, name, shape):
        """Of an input that has no fixed shape."""
        return tuple(shape) == self._room.tensor(name)[2]

    def execute_async_v3(self, stream_handle):
        """Queue one inference."""
        if set(self._addresses) != {tensor[0] for tensor in self._room.tensors}:
            return False
        return self._room.enqueue(self._addresses, stream_handle)


class ICudaEngine:
    """A plan made ready."""

    def __init__(self, room):
        self._room = room

    def create_execution_context(self):
        """What runs it, or None."""
        return None if "context" in core.faults() else IExecutionContext(self._room)

    def create_engine_inspector(self):
        """What tells of it."""
        return EngineInspector(self._room)

    @property
    def num_layers(self):
        """How many layers."""
        return 2

    @property
    def num_io_tensors(self):
        """How many inputs and outputs."""
        return len(self._room.tensors)

    def get_tensor_name(self, index):
        """The name of one."""
        return self._room.tensors[index][0]

    def get_tensor_mode(self, name):
        """Which way it goes."""
        return TensorIOMode.INPUT if self._room.tensor(name)[1] else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        """Its shape."""
        return self._room.tensor(name)[2]

    def get_tensor_dtype(self, name):
        """Its type."""
        return getattr(DataType, self._room.tensor(name)[3])


class Runtime:
    """Loads plans."""

    def __init__(self, logger):
        self._logger = logger
        self.DLA_core = -1

    def deserialize_cuda_engine(self, serialized_engine):
        """The engine, or None."""
        found = core.unpack(__version__, lambda msg: self._logger.log(ILogger.Severity.ERROR, msg), serialized_engine)
        return None if found is None else ICudaEngine(core.EngineRoom(*found))

"""What the doubles of TensorRT's generations share: a plan is the ONNX model with a header, run by ONNX Runtime.

The modules tensorrt_*/tensorrt give it the names and signatures of their generation, and nothing else. Buffers are
those that it is handed by address, in the memory of pycuda's double; inferences wait in the stream until it is
synchronised. Environment: TENSORRT_DOUBLE_FAULTS names a file whose words are faults that happen from then on:

    build_null        build_serialized_network gives None (out of memory, an unsupported layer)
    build_killed      the process is killed while it builds, as by the kernel when memory is short
    build_slow        building takes a minute
    network           the parser does not take the model
    deserialize       deserialize_cuda_engine gives None
    context           create_execution_context gives None
    enqueue           execute_async gives False
    wrong             answers are wrong
    slow              an inference takes 8 ms longer
"""

import json
import os
import signal
import time

import numpy as np

MAGIC = b"TENSORRT-DOUBLE\0"
TYPES = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF"}


def faults():
    """The faults that are wanted now."""
    try:
        with open(os.environ.get("TENSORRT_DOUBLE_FAULTS", "")) as file:
            return file.read().split()
    except OSError:
        return []


def session_of(model):
    """ONNX Runtime's session of a model's bytes."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class HostMemory(bytearray):
    """IHostMemory: a buffer with a size. The real one has no other way to its bytes."""

    @property
    def nbytes(self):
        """Its size."""
        return len(self)


def report(monitor):
    """Progress, as TensorRT tells it."""
    monitor.phase_start("Building Engine", None, 2)
    monitor.phase_start("Timing Tactics", "Building Engine", 1)
    monitor.step_complete("Timing Tactics", 0)
    monitor.phase_finish("Timing Tactics")
    monitor.step_complete("Building Engine", 0)
    monitor.step_complete("Building Engine", 1)
    monitor.phase_finish("Building Engine")


def build(version, logger_error, model, notes):
    """The plan of a model, or None; notes stand in its header."""
    wanted = faults()
    if "build_killed" in wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    if "build_slow" in wanted:
        time.sleep(60)
    if "build_null" in wanted:
        logger_error("[builder.cpp::buildSerializedNetwork::751] Error Code 2: OutOfMemory (no further information)")
        return None
    header = json.dumps(dict(notes, version=version)).encode("utf-8")
    return MAGIC + len(header).to_bytes(4, "little") + header + model


def unpack(version, logger_error, plan):
    """(header, model) of a plan, or None with an error logged, as TensorRT does."""
    plan = bytes(plan)
    if "deserialize" in faults() or not plan.startswith(MAGIC):
        logger_error("[runtime.cpp::parsePlan::314] Error Code 1: Serialization (Serialization assertion plan->header."
                     "magicTag == rt::kPLAN_MAGIC_TAG failed.)")
        return None
    size = int.from_bytes(plan[len(MAGIC):len(MAGIC) + 4], "little")
    header = json.loads(plan[len(MAGIC) + 4:len(MAGIC) + 4 + size].decode("utf-8"))
    if header["version"] != version:
        logger_error("[stdArchiveReader.cpp::stdArchiveReader::40] Error Code 1: Serialization (Serialization "
                     "assertion stdVersionRead == serializationVersion failed.Version tag does not match.)")
        return None
    return header, plan[len(MAGIC) + 4 + size:]


class EngineRoom:
    """The engine: what the model has, and how it is run."""

    def __init__(self, header, model):
        self.header = header
        self.session = session_of(model)
        self.tensors = [(i.name, True, tuple(i.shape), TYPES[i.type]) for i in self.session.get_inputs()]
        self.tensors += [(o.name, False, tuple(o.shape), TYPES[o.type]) for o in self.session.get_outputs()]

    def tensor(self, name):
        """(name, is input, shape, type) by name."""
        return next(tensor for tensor in self.tensors if tensor[0] == name)

    def enqueue(self, addresses, stream_handle):
        """Put one inference into the stream; addresses by tensor name. False when it cannot be."""
        from pycuda import driver
        wanted = faults()
        if "enqueue" in wanted or not stream_handle or any(not address for address in addresses.values()):
            return False
        inputs = [(name, driver.memory_at(addresses[name], shape, np.float32))
                  for name, is_input, shape, _ in self.tensors if is_input]
        outputs = [(name, driver.memory_at(addresses[name], shape, np.float32))
                   for name, is_input, shape, _ in self.tensors if not is_input]

        def work():
            answers = self.session.run([name for name, _ in outputs], dict(inputs))
            for (_, array), answer in zip(outputs, answers):
                array[...] = np.roll(answer, 1, axis=-1) if "wrong" in faults() else answer
            if "slow" in faults():
                time.sleep(0.008)

        driver.queue(stream_handle, work)
        return True

    def information(self, detailed):
        """The inspector's JSON."""
        layers = [{"Name": "conv1 + relu", "LayerType": "CaskConvolution", "TacticName": "sm70_xmma_fprop",
                   "Inputs": [], "Outputs": [
            {"Name": "x", "Dimensions": [1, 64, 112, 112], "Format/Datatype": "Channel major {} format".format(
                self.header.get("precision", "FP32"))}]},
            {"Name": "fc", "LayerType": "CaskConvolution", "Inputs": [], "Outputs": [
                {"Name": "logits", "Dimensions": [1, 6], "Format/Datatype": "Row major linear FP32"}]}]
        return json.dumps({"Layers": layers if detailed else [layer["Name"] for layer in layers]})


def memory_left(pool_bytes):
    """Whether a workspace of so many bytes would fit the machine; the double has no limit."""
    return pool_bytes >= 0


def is_half(model):
    """Whether a model's inner types are float16: its input is cast at once."""
    return b"Cast" in model and model.count(b"QuantizeLinear") == 0

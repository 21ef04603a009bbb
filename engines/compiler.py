"""The process that compiles one ONNX model to a plan; run by build, never imported by the daemon.

Its standard input is one JSON object, a Request; its standard output is one JSON object a line: {"note": …},
{"phase": …, "done": n, "of": m} while it works, and last {"built": {…}} or {"error": …}.
"""

import json
import sys
from typing import Any, Callable, Dict, List, Optional

from edge.classifier.tensorrt.api import Words, make_builder
from edge.classifier.tensorrt.device import module
from edge.errors import BackendError, ScrapsortError
from edge.files import write_durably
from engines.children import be_modest

Say = Callable[[Dict[str, Any]], None]


def main() -> int:
    """Do what the request on standard input says."""
    be_modest()
    request = json.loads(sys.stdin.read())
    say = speaker()
    try:
        say({"built": build(request, say)})
    except ScrapsortError as error:
        say({"error": str(error)})
        return 1
    return 0


def speaker() -> Say:
    """What writes a line for the parent; whatever else prints to standard output goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr

    def say(words: Dict[str, Any]) -> None:
        out.write(json.dumps(words) + "\n")
        out.flush()

    return say


def build(request: Dict[str, Any], say: Say) -> Dict[str, Any]:
    """Compile request["model"] into request["plan"]. Raises BackendError.

    Further: precision, workspace_mb, and where given opt_level, dla_core, timing_cache (a file, read and renewed).
    """
    trt = module()
    words = Words(trt)
    builder = make_builder(trt, words)
    with open(request["model"], "rb") as file:
        network = _network(trt, builder, words, file.read())
    config = _config(trt, builder, request, say)
    cache = _TimingCache(config, request.get("timing_cache"), say)
    _monitor(trt, config, say)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise BackendError("TensorRT {} builds no engine: {}".format(trt.__version__, words.why(
            "it gives no reason; with little memory try --workspace {}".format(request["workspace_mb"] // 2))))
    try:
        write_durably(request["plan"], bytes(memoryview(serialized)))
    except OSError as error:
        raise BackendError("{}: cannot be written: {}".format(request["plan"], error.strerror or error))
    cache.save()
    return {"bytes": serialized.nbytes}


def _network(trt: Any, builder: Any, words: Words, model: bytes) -> Any:
    """The parsed model. Raises BackendError with the parser's own words."""
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, words.logger)
    if not parser.parse(model):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        said = "; ".join("node {}: {}".format(parse_error.node(), parse_error.desc()) for parse_error in errors[:3])
        raise BackendError("TensorRT {} does not take the model: {}".format(
            trt.__version__, " ".join(said.split()) or words.why("it gives no reason")))
    return network


def _network_flags(trt: Any) -> int:
    """Explicit batch: required up to TensorRT 8, without effect in 9 and 10, and gone with 11."""
    if hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 0


def _config(trt: Any, builder: Any, request: Dict[str, Any], say: Say) -> Any:
    config = builder.create_builder_config()
    workspace = request["workspace_mb"] << 20
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    else:
        config.max_workspace_size = workspace
    # Up to TensorRT 10 a flag allows a precision; on 11 the types of the model itself say it, and QDQ does for INT8
    if hasattr(trt.BuilderFlag, "FP16") and request["precision"] in ("fp16", "int8"):
        config.set_flag(trt.BuilderFlag.FP16)
    if hasattr(trt.BuilderFlag, "INT8") and request["precision"] == "int8":
        config.set_flag(trt.BuilderFlag.INT8)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that the inspector tells layer precisions
    if request.get("opt_level") is not None:
        if hasattr(config, "builder_optimization_level"):
            config.builder_optimization_level = request["opt_level"]
        else:
            say({"note": "--opt-level: TensorRT {} has none; left out".format(trt.__version__)})
    if request.get("dla_core") is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = request["dla_core"]
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    return config


class _TimingCache:
    """What earlier builds have measured, which makes the next one several times as fast."""

    def __init__(self, config: Any, path: Optional[str], say: Say):
        self._config, self._path, self._say = config, path, say
        if path is None:
            return
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            data = b""
        timing_cache = config.create_timing_cache(data)
        if not config.set_timing_cache(timing_cache, False):
            say({"note": "{}: is of another TensorRT or GPU; begun anew".format(path)})
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def save(self) -> None:
        """Keep it; a build that cannot keep its measurements is none the worse."""
        if self._path is None:
            return
        timing_cache = self._config.get_timing_cache()
        if timing_cache is None:
            return
        serialized = timing_cache.serialize()
        try:
            write_durably(self._path, bytes(memoryview(serialized)))
        except OSError as error:
            self._say({"note": "{}: cannot be written: {}".format(self._path, error.strerror or error)})


def _monitor(trt: Any, config: Any, say: Say) -> None:
    """Have TensorRT tell how far it is, where it can: from 8.6 on."""
    if not hasattr(config, "progress_monitor"):
        return

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]  # a base known at run time alone
        """TensorRT calls it, from any thread."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: Dict[str, int] = {}
            self._outer: List[str] = []

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            """Called by TensorRT."""
            if parent_phase is None:
                self._outer.append(phase_name)
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Called by TensorRT; True: go on."""
            if phase_name in self._outer:
                say({"phase": phase_name, "done": step + 1, "of": self._steps.get(phase_name, 0)})
            return True

        def phase_finish(self, phase_name: str) -> None:
            """Called by TensorRT."""
            self._steps.pop(phase_name, None)

    config.progress_monitor = Monitor()


if __name__ == "__main__":
    sys.exit(main())

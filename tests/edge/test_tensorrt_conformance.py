"""Our use of TensorRT, and the doubles that other tests use, are held against TensorRT's real bindings.

10.3, 10.16 and 11.4 are the real wheels, imported over empty libraries; of 8.2 and 8.5, which are on no package index,
the names and signatures stand in tensorrt_documented.json with the files of NVIDIA's that they are from.
"""

import json
import os
import subprocess
import sys

import pytest
import tensorrt_doubles
import tensorrt_page
import tensorrt_real
from api_compare import differences, is_enum, member_of, refuses
from api_uses import Scan
from tensorrt_real import GENERATIONS, UnavailableError

HERE = os.path.dirname(os.path.abspath(__file__))
OF_DOUBLE = {"8_2": ("8.2",), "8_5": ("8.5",), "10": ("10.3", "10.16"), "11": ("11.4",)}
# What changed from generation to generation: class, member, and where it is
CHANGES = (("ICudaEngine", "num_bindings", ("8.2", "8.5")), ("IExecutionContext", "execute_async_v2", ("8.2", "8.5")),
           ("ICudaEngine", "num_io_tensors", ("8.5", "10.3", "10.16", "11.4")),
           ("IExecutionContext", "execute_async_v3", ("8.5", "10.3", "10.16", "11.4")),
           ("IBuilderConfig", "max_workspace_size", ("8.2", "8.5")),
           ("IBuilderConfig", "set_memory_pool_limit", ("8.5", "10.3", "10.16", "11.4")),
           ("IBuilderConfig", "builder_optimization_level", ("10.3", "10.16", "11.4")),
           ("BuilderFlag", "FP16", ("8.2", "8.5", "10.3", "10.16")),
           ("BuilderFlag", "INT8", ("8.2", "8.5", "10.3", "10.16")), ("BuilderFlag", "GPU_FALLBACK", GENERATIONS),
           ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", ("8.2", "8.5", "10.3", "10.16")),
           ("Builder", "platform_has_fast_fp16", ("8.2", "8.5", "10.3", "10.16")),
           ("", "IProgressMonitor", ("10.3", "10.16", "11.4")))


def real(generation):
    try:
        return tensorrt_real.api(generation)
    except UnavailableError as error:
        return pytest.skip(str(error))


@pytest.fixture(scope="module")
def apis():
    """All generations; pycuda's names are the double's here, which test_pycuda_conformance holds against the real."""
    double = tensorrt_real.dump(os.path.join(HERE, "doubles", "pycuda"), "pycuda.driver")
    return {"tensorrt": {generation: real(generation) for generation in GENERATIONS}, "pycuda": {"double": double}}


@pytest.fixture(scope="module")
def scan(apis):
    """The uses in edge/ and engines/."""
    return Scan(apis)


# ---------------------------------------------------------------- what the code says

def troubles(scan):
    """A line for each use that cannot be, somewhere it can get to."""
    found = scan.problems + scan.missing()
    for use in scan.uses:
        for generation in sorted(use.generations):
            api = scan.apis[use.library][generation]
            member = member_of(api, use.owner, use.member)
            why = None
            if member and use.kind == "set" and not member.get("settable", member["kind"] == "value"):
                why = "cannot be set"
            elif member and use.kind == "call" and use.positional is not None and use.member != "__init__":
                signatures = (member_of(api, use.member, "__init__") or {"signatures": []})["signatures"] if (
                    member["kind"] == "class") else member.get("signatures", [])
                why = refuses(api, signatures, use.positional, use.keywords)
            if why:
                found.append("{}:{}: {} {}.{}: {}".format(use.file, use.line, generation, use.owner, use.member, why))
    return found


def test_every_name_and_call_in_the_code_exists_where_it_can_be_reached(scan):
    assert troubles(scan) == []
    used = {(use.owner, use.member) for use in scan.uses if use.library == "tensorrt"}
    print("{} uses of {} names of TensorRT in {}".format(len(scan.uses), len(used), len(scan.read)))
    assert {("IExecutionContext", "execute_async_v2"), ("IExecutionContext", "execute_async_v3"),
            ("Builder", "build_serialized_network"), ("BuilderFlag", "FP16")} <= used


SNIPPETS = (  # what is wrong, code, words of the complaint; empty: nothing is wrong
    ("a name that none has", "def f(trt: Any) -> Any:\n    return trt.Bilder", "tensorrt .Bilder: not in"),
    ("a name that some lack", "def f(engine: Any) -> Any:\n    return engine.num_bindings", "not in 10.16, 10.3, 11.4"),
    ("the other branch", "def f(engine: Any) -> Any:\n    if hasattr(engine, 'num_io_tensors'):\n"
     "        return engine.num_bindings\n    return 0", "num_bindings: not in 10.16, 10.3, 11.4"),
    ("after an early return", "def f(engine: Any) -> Any:\n    if hasattr(engine, 'num_io_tensors'):\n"
     "        return 1\n    return engine.num_bindings", ""),
    ("a conditional expression", "def f(c: Any, trt: Any) -> Any:\n    config = c\n    return trt.BuilderFlag.FP16 "
     "if hasattr(trt.BuilderFlag, 'FP16') else config.flags", ""),
    ("a test with a name", "class A:\n    def __init__(self, engine: Any):\n        self._old = not hasattr(engine, "
     "'num_io_tensors')\n        self._engine = engine\n    def f(self) -> Any:\n        if not self._old:\n"
     "            return self._engine.num_bindings\n        return 0", "num_bindings: not in 10.16, 10.3, 11.4"),
    ("a function named under a test", "def old(engine: Any) -> Any:\n    return engine.num_bindings\n"
     "def f(engine: Any) -> Any:\n    return 0 if hasattr(engine, 'num_io_tensors') else old(engine)", ""),
    ("a hasattr of what none has", "def f(engine: Any) -> Any:\n    return hasattr(engine, 'num_bindngs')",
     "is asked for, but no generation has it"),
    ("an argument too many", "def f(trt: Any, logger: Any) -> Any:\n    return trt.Builder(logger, 1)",
     "takes 1 arguments, not 2"),
    ("an argument missing", "def f(config: Any, trt: Any) -> Any:\n    config.set_flag()", "needs flag"),
    ("a keyword that is not there", "def f(trt: Any, builder: Any) -> Any:\n    builder.create_network(flag=1)",
     "takes no flag="),
    ("an object of another class", "def f(trt: Any, builder: Any, network: Any, parser: Any) -> Any:\n"
     "    builder.build_serialized_network(network, parser)", "OnnxParser is no IBuilderConfig"),
    ("set what cannot be", "def f(trt: Any, engine: Any) -> Any:\n    engine.num_layers = 3", "cannot be set"),
    ("a receiver that cannot be told", "def f(trt: Any, thing: Any) -> Any:\n    return thing.build()",
     "what thing is cannot be told"),
    ("what a method returns", "def f(trt: Any, builder: Any) -> Any:\n    made = builder.create_builder_config()\n"
     "    made.set_flags(1)", "IBuilderConfig.set_flags: not in"),
    ("another's attribute", "class A:\n    def __init__(self, trt: Any, x: Any):\n        self.room: Any = x\n"
     "def f(a: A) -> Any:\n    return a.room.go()", "what a.room is cannot be told"),
    ("an override of another shape", "def f(trt: Any) -> Any:\n    class L(trt.ILogger):\n"
     "        def log(self, severity: Any) -> None:\n            pass", "needs msg"),
)


@pytest.mark.parametrize("code, words", [snippet[1:] for snippet in SNIPPETS], ids=[s[0] for s in SNIPPETS])
def test_the_scan_sees(code, words, apis, tmp_path):
    (tmp_path / "module.py").write_text("from typing import Any\ntrt: Any = None\n" + code + "\n")
    found = troubles(Scan(apis, [str(tmp_path / "module.py")]))
    print("\n".join(found))
    assert any(words in line for line in found) if words else found == []


def test_names_in_modules_that_are_not_read_are_seen_by_their_look(apis, tmp_path):
    (tmp_path / "module.py").write_text("def f(thing):\n    return thing.num_io_tensors\n")
    assert ["num_io_tensors is TensorRT's" in line for line in Scan(apis, [str(tmp_path / "module.py")]).problems] == [
        True]


# ---------------------------------------------------------------- what the code does

CLASSIFY = """
import sys
import numpy as np
from edge import plans
from edge.bundles import Bundle
from edge.classifier.tensorrt import TensorRtClassifier
bundle = Bundle(sys.argv[1])
for plan in plans.find(sys.argv[2])[0]:
    for memory in ("copy", "mapped"):
        with TensorRtClassifier(bundle, plan, memory) as classifier:
            classifier.timed = True
            classifier.classify([np.zeros((30, 40, 3), np.uint8)])
            classifier.timed = False
            classifier.classify([np.zeros((30, 40, 3), np.uint8)])
            classifier.information()
"""


def recorded(generation, make_bundle, folder, monkeypatch):
    """The lines that doubles/recording writes while engines are built, checked, and used on the double."""
    record = str(folder / "record")
    monkeypatch.setenv("PYTHONPATH", os.path.join(HERE, "doubles", "recording"))
    monkeypatch.setenv("SCRAPSORT_RECORD", record)
    doubles = tensorrt_doubles.Doubles(generation, folder)
    bundle, state = make_bundle(roles=("fp16", "int8_trt")), str(folder / "state")

    def build(*arguments, **environment):
        return doubles.run("engines", "build", "--state", state, "--bundle", bundle, *arguments,
                           **dict({"PYCUDA_DOUBLE_DEVICE": "Xavier/7.2/1"}, **environment))
    built = build("--precision", "fp16", "int8", "--opt-level", "2", "--timing-cache", str(folder / "cache"))
    assert built[0] == 0, built
    used = subprocess.run([sys.executable, "-c", CLASSIFY, bundle, os.path.join(state, "engines")],  # noqa: UP022  # 3.6 has no capture_output
                          env=doubles.environment(PYCUDA_DOUBLE_DEVICE="Xavier/7.2/1"), cwd=tensorrt_doubles.ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert used.returncode == 0, used.stdout.decode("utf-8")
    build("--dla", "0", TENSORRT_DOUBLE_DLA="1")  # not with 11
    doubles.tensorrt_fault("network")
    assert build("--precision", "fp16", "--force")[0] == 1
    with open(record) as file:
        return [json.loads(line) for line in file]


@pytest.mark.long
@pytest.mark.parametrize("double", sorted(OF_DOUBLE))
def test_every_call_that_is_made_is_one_that_the_real_bindings_take(double, make_bundle, tmp_path, monkeypatch):
    lines = [line for line in recorded(double, make_bundle, tmp_path, monkeypatch) if line["module"] == "tensorrt"]
    made = {(line["owner"], line["member"]) for line in lines}
    assert {("Builder", "build_serialized_network"), ("OnnxParser", "parse"), ("ParserError", "desc"),
            ("ITimingCache", "serialize"), ("EngineInspector", "get_engine_information"),
            ("Runtime", "deserialize_cuda_engine"), ("IHostMemory", "nbytes")} <= made
    assert ("IExecutionContext", "execute_async_v2" if double == "8_2" else "execute_async_v3") in made
    for generation in OF_DOUBLE[double]:
        refused = [(line, why) for line in lines for why in [refused_by(real(generation), line)] if why]
        print("{}: {} kinds of calls of {} members".format(generation, len(lines), len(made)))
        assert refused == []


def refused_by(api, line):
    """Why the real bindings would not do what a recorded line says; None: they would."""
    member = member_of(api, line["owner"], line["member"])
    if member is None:
        return None if line["member"] == "__init__" else "has none"
    if line["kind"] == "call":
        return "is a " + member["kind"] if member["kind"] != "method" else refuses(
            api, member["signatures"], line["positional"], line["keywords"])
    if member["kind"] == "method":
        return "is a method"
    if line["kind"] == "set" and not member.get("settable"):
        return "cannot be set"
    return None


REFUSED = (("ICudaEngine", "num_bindings", "get", [], {}, "has none"),
           ("IExecutionContext", "execute_async_v3", "call", [["str"]], {}, "str is no int"),
           ("IExecutionContext", "execute_async_v3", "call", [["Stream"]], {}, "Stream is no int"),
           ("IExecutionContext", "execute_async_v3", "call", [["int"]], {}, None),
           ("IExecutionContext", "set_tensor_address", "call", [["str"], ["int64", "integer"]], {}, None),
           ("OnnxParser", "parse", "call", [["str"]], {}, "str is no buffer"),
           ("OnnxParser", "parse", "call", [["bytes"]], {"path": ["NoneType"]}, None),
           ("Builder", "num_DLA_cores", "set", [["int"]], {}, "cannot be set"))


@pytest.mark.parametrize("owner, member, kind, positional, keywords, words", REFUSED)
def test_what_the_real_bindings_refuse(owner, member, kind, positional, keywords, words):
    line = {"owner": owner, "member": member, "kind": kind, "positional": positional, "keywords": keywords}
    why = refused_by(real("10.3"), line)
    assert words in why if words else why is None


ON_THE_REAL = """
import sys
import tensorrt as trt
from edge.classifier.tensorrt.api import Engine, Words
from edge.errors import BackendError
from engines import compiler
words = Words(trt)
words.logger.log(trt.ILogger.Severity.ERROR, "first  line")
print(isinstance(words.logger, trt.ILogger), words.why(""))
for work in (lambda: compiler.build({"model": sys.argv[1], "precision": "fp16", "workspace_mb": 64}, print),
             lambda: Engine(trt, b"plan")):
    try:
        work()
    except BackendError as error:
        print(error)
"""


@pytest.mark.parametrize("generation", tensorrt_real.REAL)
def test_on_the_real_bindings_without_a_gpu_errors_are_ours(generation):
    """The empty libraries give no builder and no runtime, as the real ones do where there is no GPU."""
    real(generation)
    python, environment = tensorrt_real.real(generation)
    if python != sys.executable:
        pytest.skip("this Python is none that the bindings are made for")
    output = subprocess.check_output([python, "-c", ON_THE_REAL, os.devnull], cwd=tensorrt_doubles.ROOT,
                                     env=environment).decode("utf-8")
    assert output.splitlines() == ["True first line", "TensorRT makes no builder: is there a GPU?",
                                   "TensorRT makes no runtime: is there a GPU?"]


# ---------------------------------------------------------------- the doubles

@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_double_offers_nothing_that_the_real_bindings_lack(generation):
    assert differences(tensorrt_real.double_of(generation), real(generation)) == []


@pytest.mark.parametrize("owner, member, generations", CHANGES, ids=["{}.{}".format(*c[:2]) for c in CHANGES])
def test_what_a_generation_has_its_double_has_and_no_other(owner, member, generations, apis, scan):
    assert tuple(g for g in GENERATIONS if member_of(apis["tensorrt"][g], owner, member)) == generations
    used = {(use.owner, use.member) for use in scan.uses}
    doubles = {g for g in GENERATIONS if member_of(tensorrt_real.double_of(g), owner, member)}
    assert doubles <= set(generations)
    if (owner, member) in used:
        assert doubles == set(generations)


DRIFTS = (("execute_async_v3(self, stream_handle)", "execute_async_v3(self, handle)", "calls an argument handle"),
          ("def parse(self, model, path=None)", "def parse(self, model=None, path=None)", "can do without model"),
          ("def parse(self, model, path=None)", "def parse(self, model, path, strict)", "takes 3 arguments"),
          ("FP16, INT8, DEBUG", "FP16, INT16, DEBUG", "BuilderFlag.INT16: the real one has none"),
          ("def num_io_tensors", "def num_bindings", "ICudaEngine.num_bindings: the real one has none"),
          ("self.DLA_core =", "self.dla_core =", "dla_core: the real one has none"),
          ("class OnnxParser", "class Parser", "Parser: there is no such class"))


@pytest.mark.parametrize("old, new, words", DRIFTS, ids=[drift[2] for drift in DRIFTS])
def test_a_double_that_drifts_is_seen(old, new, words, tmp_path):
    with open(os.path.join(HERE, "doubles", "tensorrt_10", "tensorrt", "__init__.py")) as file:
        text = file.read()
    assert old in text
    os.makedirs(str(tmp_path / "tensorrt_10" / "tensorrt"))
    (tmp_path / "tensorrt_10" / "tensorrt" / "__init__.py").write_text(text.replace(old, new))
    with open(os.path.join(HERE, "doubles", "tensorrt_core.py")) as file:
        (tmp_path / "tensorrt_core.py").write_text(file.read())
    found = differences(tensorrt_real.dump(str(tmp_path / "tensorrt_10"), "tensorrt"), real("10.3"))
    print(found)
    assert any(words in line for line in found)


def test_enums_are_told_from_classes():
    api = real("10.3")
    assert is_enum(api, "BuilderFlag") and not is_enum(api, "Builder") and not is_enum(api, "Nothing")


# ---------------------------------------------------------------- the page

def test_the_page_is_what_the_command_writes(scan):
    with open(tensorrt_page.PATH, encoding="utf-8") as file:
        assert file.read() == tensorrt_page.page(scan), "run: python3 tests/edge/tensorrt_page.py"

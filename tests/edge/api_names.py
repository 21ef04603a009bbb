"""What names mean in the code of edge/ and engines/, for api_uses; and small things about syntax trees."""

import ast
import os
from collections import namedtuple

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRT, CUDA = "tensorrt", "pycuda"
NAMES = {"trt": (TRT, ""), "tensorrt": (TRT, ""), "logger": (TRT, "ILogger"), "builder": (TRT, "Builder"),
         "config": (TRT, "IBuilderConfig"), "network": (TRT, "INetworkDefinition"), "parser": (TRT, "OnnxParser"),
         "parse_error": (TRT, "ParserError"), "runtime": (TRT, "Runtime"), "engine": (TRT, "ICudaEngine"),
         "context": (TRT, "IExecutionContext"), "inspector": (TRT, "EngineInspector"), "tensor": (TRT, "ITensor"),
         "timing_cache": (TRT, "ITimingCache"), "serialized": (TRT, "IHostMemory"), "layer": (TRT, "ILayer"),
         "driver": (CUDA, ""), "device": (CUDA, "Device"), "driver_device": (CUDA, "Device"),
         "stream": (CUDA, "Stream"), "allocation": (CUDA, "DeviceAllocation"), "event": (CUDA, "Event"),
         "owner": (CUDA, "PagelockedHostAllocation"), "base": (CUDA, "PagelockedHostAllocation"),
         "primary": (CUDA, "Context"), "module": (CUDA, "Module"), "function": (CUDA, "Function"),
         "frame": ("other", "")}  # a Buffer of ours
OF_CUDA = {"context": (CUDA, "Context")}  # in modules that have to do with pycuda and not with TensorRT
MARKS = ("trt", "tensorrt", "pycuda", "driver")  # a module with one of these names in it is read
FUNCTIONS = {"module": (TRT, ""), "gpu": (CUDA, "Device")}  # of ours, which return them as Any
OTHER, UNKNOWN = ("other", ""), ("unknown", "")  # no object of either library; cannot be told
PLAIN = ("int", "str", "bool", "float", "bytes", "None", "tuple", "list", "dict", "object", "Tuple", "List")

# kind: get, set, call, or ask for hasattr and getattr; positional, keywords: of a call, None where they are not plain
Use = namedtuple("Use", "file line library owner member kind generations positional keywords")


def module_of(path):
    """edge.board of …/edge/board.py."""
    name = os.path.splitext(os.path.relpath(path, ROOT))[0].replace(os.sep, ".")
    return name[:-len(".__init__")] if name.endswith(".__init__") else name


def annotated(annotation, name, names=NAMES):
    """What an annotation says: where there is none, or Any, alone or in Optional, List or Tuple, the name decides."""
    if annotation is None:
        return by_name(name, names)
    if isinstance(annotation, ast.Name):
        return by_name(name, names) if annotation.id == "Any" else OTHER
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        inner = annotation.slice.value if type(annotation.slice).__name__ == "Index" else annotation.slice
        inner = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
        if annotation.value.id in ("Optional", "List", "Tuple", "Sequence"):
            return annotated(inner, name, names)
    return OTHER


def by_name(name, names):
    bare = name.strip("_")
    if bare in names:
        return names[bare]
    if bare.endswith("s") and bare[:-1] in names:
        return ("several",) + names[bare[:-1]]
    return UNKNOWN


def literal(node):
    """The text that a literal is; None: it is none."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def is_hasattr(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr"


def element(kind):
    return kind[1:] if kind[0] == "several" else OTHER if kind[0] in ("other", "ours", "empty") else UNKNOWN


def ends(body):
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


def cut(one, other):
    return {library: one.get(library, other.get(library)) & other.get(library, one.get(library))
            for library in set(one) | set(other)}


def join(one, other):
    return {library: one[library] | other[library] for library in set(one) & set(other)}


def text_of(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return text_of(node.value) + "." + node.attr
    return "…" if not isinstance(node, ast.Call) else text_of(node.func) + "(…)"

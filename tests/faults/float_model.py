"""A float16 model of ONNX with the same weights in float32, without the package onnx, which the device side lacks.

The file is protocol buffers: messages of (field number << 3 | kind, value); numbers and kinds are those of onnx.proto.
"""

import numpy as np
from tiny_bundles import varint

from benchmarks.onnx_graph import read_varint

VARINT, BYTES = 0, 2
FIXED = {1: 8, 5: 4}  # bytes of the other kinds
FLOAT, FLOAT16 = 1, 10  # of TensorProto.DataType
GRAPH, NODE, INITIALIZER, VALUES = 7, 1, 5, (11, 12, 13)  # values: inputs, outputs, what is between
NODE_KIND, NODE_ATTRIBUTE, ATTRIBUTE_NUMBER, ATTRIBUTE_TENSOR = 4, 5, 3, 5
TENSOR_TYPE, TENSOR_INTEGERS, TENSOR_RAW = 2, 5, 9


def widened(model):
    """The bytes of the model in float32, of its bytes in float16. Raises ValueError for what it does not know."""
    return _edited(model, lambda field, value: _edited(value, _of_graph) if field == GRAPH else value)


def _of_graph(field, value):
    if field == NODE:
        is_cast = (NODE_KIND, BYTES, b"Cast") in list(_fields(value))
        return _edited(value, lambda inner, one: _edited(one, lambda number, what: _of_attribute(
            number, what, is_cast)) if inner == NODE_ATTRIBUTE else one)
    if field == INITIALIZER:
        return _of_tensor(value)
    if field in VALUES:  # ValueInfoProto.type.tensor_type.elem_type
        return _nested(value, (2, 1, 1))
    return value


def _of_attribute(field, value, is_cast):
    if field == ATTRIBUTE_TENSOR:
        return _of_tensor(value)
    return FLOAT if is_cast and field == ATTRIBUTE_NUMBER and value == FLOAT16 else value


def _of_tensor(tensor):
    found = {field: value for field, _, value in _fields(tensor)}
    if found.get(TENSOR_TYPE) != FLOAT16:
        return tensor
    if TENSOR_RAW not in found or TENSOR_INTEGERS in found:
        raise ValueError("a float16 tensor without raw_data")
    raw = np.frombuffer(found[TENSOR_RAW], "<f2").astype("<f4").tobytes()
    return _edited(tensor, {TENSOR_TYPE: FLOAT, TENSOR_RAW: raw}.get)


def _nested(message, path):
    if len(path) == 1:
        return _edited(message, lambda field, value: FLOAT if field == path[0] and value == FLOAT16 else value)
    return _edited(message, lambda field, value: _nested(value, path[1:]) if field == path[0] else value)


def _edited(message, edit):
    parts = []
    for field, kind, old in _fields(message):
        value = edit(field, old) if kind in (VARINT, BYTES) else old
        parts.append(varint(field << 3 | kind))
        parts.append(varint(value) if kind == VARINT else
                     varint(len(value)) + value if kind == BYTES else value)
    return b"".join(parts)


def _fields(message):
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = read_varint(message, at)
        else:
            if kind == BYTES:
                size, at = read_varint(message, at)
            elif kind in FIXED:
                size = FIXED[kind]
            else:
                raise ValueError("kind {} of a field".format(kind))
            value, at = message[at:at + size], at + size
        yield field, kind, value

"""What an ONNX file's nodes are and which shapes pass between them, read without the onnx package.

Only as much of protobuf and of shapes as networks of convolutions need; field numbers are those of onnx.proto (ONNX 1).
"""

import struct
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from edge.errors import BundleError

Shape = Tuple[int, ...]


class Node(NamedTuple):
    """One operation; attributes are ints, or lists of ints."""

    operation: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Dict[str, Any]


class Graph(NamedTuple):
    """Nodes in their order, and the shape of every tensor, weights among them."""

    nodes: List[Node]
    shapes: Dict[str, Shape]
    weights: Sequence[str]


def read(model: bytes) -> Graph:
    """The graph of an ONNX file. Raises BundleError for what is none, or has operations that are not known here."""
    try:
        body = next(value for field, value in _fields(model) if field == 7)
        parts = list(_fields(body))
        nodes = [_node(value) for field, value in parts if field == 1]
        shapes = dict(_initializer(value) for field, value in parts if field == 5)
        weights = tuple(shapes)
        shapes.update((name, shape) for name, shape in (_value_info(value) for field, value in parts if field == 11)
                      if name not in shapes)
        for node in nodes:
            shapes[node.outputs[0]] = _shape(node, shapes)
    except (StopIteration, IndexError, KeyError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise BundleError("not an ONNX file that can be counted: {!r}".format(error))
    return Graph(nodes, shapes, weights)


def _fields(data: bytes) -> Iterator[Tuple[int, Any]]:
    """(number, value) of each field of a protobuf message; values are ints, or bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
            yield key >> 3, value
        else:
            size, at = read_varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + size > len(data):
                raise ValueError("it ends too early")
            yield key >> 3, data[at:at + size]
            at += size


def read_varint(data: bytes, at: int) -> Tuple[int, int]:
    """(number, where it ends) of a protobuf number at a place."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _ints(values: Sequence[Any]) -> List[int]:
    """Repeated ints, packed or not; those of 64 bits with their sign."""
    found: List[int] = []
    for value in values:
        at = 0
        if isinstance(value, int):
            found.append(value)
            continue
        while at < len(value):
            one, at = read_varint(value, at)
            found.append(one)
    return [one - (1 << 64) if one >> 63 else one for one in found]


def _node(data: bytes) -> Node:
    parts = list(_fields(data))
    attributes = {}
    for field, value in parts:
        if field == 5:
            inner = list(_fields(value))
            name = next(v for f, v in inner if f == 1).decode()
            several = [v for f, v in inner if f == 8]
            attributes[name] = _ints(several) if several else next(iter(_ints([v for f, v in inner if f == 3])), 0)
    return Node(next(v for f, v in parts if f == 4).decode(), [v.decode() for f, v in parts if f == 1],
                [v.decode() for f, v in parts if f == 2], attributes)


def _initializer(data: bytes) -> Tuple[str, Shape]:
    parts = list(_fields(data))
    return next(v for f, v in parts if f == 8).decode(), tuple(_ints([v for f, v in parts if f == 1]))


def _value_info(data: bytes) -> Tuple[str, Shape]:
    """Name and shape of an input: ValueInfo.type.tensor_type.shape.dim[].dim_value."""
    parts = dict(_fields(data))
    tensor = dict(_fields(dict(_fields(parts[2]))[1]))
    return parts[1].decode(), tuple(dict(_fields(dim))[1] for field, dim in _fields(tensor[2]) if field == 1)


def _shape(node: Node, shapes: Dict[str, Shape]) -> Shape:
    """Of the node's output."""
    first = shapes[node.inputs[0]]
    if node.operation in ("Conv", "MaxPool", "AveragePool"):
        kernel = node.attributes.get("kernel_shape") or shapes[node.inputs[1]][2:]
        many = len(kernel)
        strides, dilations, pads = (node.attributes.get(name, [default] * count) for name, default, count in (
            ("strides", 1, many), ("dilations", 1, many), ("pads", 0, 2 * many)))
        channels = shapes[node.inputs[1]][0] if node.operation == "Conv" else first[1]
        return (first[0], channels) + tuple(
            (first[2 + n] + pads[n] + pads[n + many] - dilations[n] * (kernel[n] - 1) - 1) // strides[n] + 1
            for n in range(many))
    if node.operation == "GlobalAveragePool":
        return first[:2] + (1,) * (len(first) - 2)
    if node.operation == "Flatten":
        return first[0], elements(first[1:])
    if node.operation in ("Gemm", "MatMul"):
        other = shapes[node.inputs[1]]
        return first[0], other[0] if node.attributes.get("transB") else other[-1]
    if node.operation in ("Relu", "Add", "Cast", "QuantizeLinear", "DequantizeLinear", "Clip", "Identity",
                          "BatchNormalization"):
        return first
    raise ValueError("its operation {}".format(node.operation))


def elements(shape: Sequence[int]) -> int:
    """How many numbers a tensor of this shape holds."""
    product = 1
    for size in shape:
        product *= size
    return product

"""Where a role rounds, and the ONNX graph that says so with QuantizeLinear and DequantizeLinear pairs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Mapping, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainer.errors import TrainerError

OPERATORS = ("Conv", "Relu", "MaxPool", "Add", "GlobalAveragePool", "Flatten", "Gemm")


@dataclass(frozen=True)
class Scheme:
    """What the runtime of a role wants. The last layer stays in float in both: 512 x C weights win no time."""

    signed: bool  # activations: int8 around zero point 0, or uint8 with a zero point
    weight_max: int  # weights are whole numbers from -weight_max to weight_max, times one scale a channel
    both_summands: bool  # round both inputs of an Add, or only the identity branch's
    for_tensorrt: bool  # float weights behind a Q/DQ pair, float bias, one pair a consumer; else stored INT8 and INT32

    @property
    def levels(self) -> tuple[int, int]:
        """The lowest and the highest whole number of an activation."""
        return (-128, 127) if self.signed else (0, 255)


SCHEMES = {
    # The convolution in front of an Add keeps a float output: TensorRT then fuses convolution, Add and ReLU into one
    # INT8 kernel (NVIDIA TensorRT developer guide, "Q/DQ layer-placement recommendations")
    "int8_trt": Scheme(signed=True, weight_max=127, both_summands=False, for_tensorrt=True),
    # ONNX Runtime adds in QLinearAdd, so both summands are INT8. 7-bit weights: AVX2 without VNNI adds two 8-bit
    # products in 16 bits, and 255 x 64 x 2 is the most that fits
    "int8_cpu": Scheme(signed=False, weight_max=64, both_summands=True, for_tensorrt=False)}


class Grid(NamedTuple):
    """The values that an activation can take: (n - zero_point) * scale."""

    scale: float
    zero_point: int


class Weight(NamedTuple):
    """A convolution's weights: whole numbers (O, I, H, W) int8 times a scale (O,) float32 for each output channel."""

    numbers: np.ndarray
    scale: np.ndarray


def places(model: onnx.ModelProto, scheme: Scheme) -> dict[tuple[int, int], str]:
    """Which inputs are rounded: (index of the node, index of the input) -> name of the tensor whose grid is used.

    What a MaxPool gives lies on the grid of what it gets. Raises TrainerError for a graph with other operators.
    """
    nodes = list(model.graph.node)
    unknown = sorted({node.op_type for node in nodes} - set(OPERATORS))
    if unknown:
        raise TrainerError(f"quantize: the network has {', '.join(unknown)}; only {', '.join(OPERATORS)} are known")
    made_by = {node.output[0]: node for node in nodes}

    def root(tensor: str) -> str:
        node = made_by.get(tensor)
        return root(node.input[0]) if node is not None and node.op_type == "MaxPool" else tensor

    depth = _depths(model)
    found = {}
    for i, node in enumerate(nodes):
        inputs: list[int] = []
        if node.op_type in ("Conv", "MaxPool", "GlobalAveragePool"):
            inputs = [0]
        elif node.op_type == "Add":
            # The identity branch is the one with fewer convolutions behind it, also when it has a 1 x 1 of its own
            identity = 0 if depth[node.input[0]] < depth[node.input[1]] else 1
            inputs = [0, 1] if scheme.both_summands else [identity]
        found.update({(i, k): root(node.input[k]) for k in inputs})
    return found


def _depths(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor -> the most convolutions on a way to it from the picture."""
    depth = {value.name: 0 for value in [*model.graph.input, *model.graph.initializer]}
    for node in model.graph.node:
        depth[node.output[0]] = max(depth[name] for name in node.input) + (node.op_type == "Conv")
    return depth


def with_pairs(model: onnx.ModelProto, scheme: Scheme, grids: Mapping[str, Grid], weights: Mapping[str, Weight],
               biases: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """A copy of the float model with Q/DQ pairs.

    Grids are by tensor, weights and biases, (O,) float32, by the name of the initializer that they replace.
    """
    out, writer, where = copy.deepcopy(model), _Writer(scheme), places(model, scheme)
    for i, node in enumerate(copy.deepcopy(list(model.graph.node))):
        if node.op_type == "Conv":
            weight, bias = weights[node.input[1]], biases[node.input[2]]
            node.input[2] = writer.bias(node.input[2], bias, grids[where[i, 0]].scale * weight.scale)
            node.input[1] = writer.weight(node.input[1], weight)
        for k in range(len(node.input)):
            if (i, k) in where:
                node.input[k] = writer.activation(node.input[k], where[i, k], grids)
        writer.nodes.append(node)
    used = {name for node in writer.nodes for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used and i.name not in writer.constants]
    del out.graph.node[:], out.graph.initializer[:]
    out.graph.node.extend(writer.nodes)
    out.graph.initializer.extend([*kept, *writer.constants.values()])
    return out


class _Writer:
    """Collects the nodes and constants of the new graph."""

    def __init__(self, scheme: Scheme):
        self.scheme, self.nodes, self.constants = scheme, [], {}
        self._pairs: dict[str, str] = {}

    def activation(self, tensor: str, root: str, grids: Mapping[str, Grid]) -> str:
        """The name of tensor behind a Q/DQ pair: one of its own for TensorRT, else one for all consumers."""
        if not self.scheme.for_tensorrt and tensor in self._pairs:
            return self._pairs[tensor]
        kind = np.int8 if self.scheme.signed else np.uint8
        scale = self._constant(f"{root}_scale", np.float32(grids[root].scale))
        zero = self._constant(f"{root}_zero_point", kind(grids[root].zero_point))
        self._pairs[tensor] = self._pair(tensor, [scale, zero])
        return self._pairs[tensor]

    def weight(self, name: str, weight: Weight) -> str:
        """The name of a weight behind DequantizeLinear, and for TensorRT behind QuantizeLinear as well."""
        scale = self._constant(f"{name}_scale", weight.scale.astype(np.float32))
        zero = self._constant(f"{name}_zero_point", np.zeros(len(weight.scale), np.int8))
        if self.scheme.for_tensorrt:
            # On the grid already, so that no runtime can round a weight another way
            values = weight.numbers.astype(np.float32) * weight.scale.astype(np.float32)[:, None, None, None]
            return self._pair(self._constant(name, values), [scale, zero], axis=0)
        numbers = self._constant(f"{name}_quantized", weight.numbers.astype(np.int8))
        return self._node("DequantizeLinear", [numbers, scale, zero], f"{name}_dequantized", axis=0)

    def bias(self, name: str, bias: np.ndarray, scale: np.ndarray) -> str:
        """The name of a bias: in float for TensorRT, else INT32 on the grid of input times weight, as ONNX wants."""
        if self.scheme.for_tensorrt:
            return self._constant(name, bias.astype(np.float32))
        scale = scale.astype(np.float32)
        limit = np.iinfo(np.int32).max
        numbers = np.clip(np.rint(bias / scale.astype(np.float64)), -limit, limit).astype(np.int32)
        inputs = [self._constant(f"{name}_quantized", numbers), self._constant(f"{name}_scale", scale),
                  self._constant(f"{name}_zero_point", np.zeros(len(scale), np.int32))]
        return self._node("DequantizeLinear", inputs, f"{name}_dequantized", axis=0)

    def _pair(self, tensor: str, grid: list[str], **attributes) -> str:
        number = len(self.nodes)  # makes the names of several pairs on one tensor differ
        quantized = self._node("QuantizeLinear", [tensor, *grid], f"{tensor}_quantized_{number}", **attributes)
        return self._node("DequantizeLinear", [quantized, *grid], f"{tensor}_dequantized_{number}", **attributes)

    def _node(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"{output}/{operator}", **attributes))
        return output

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

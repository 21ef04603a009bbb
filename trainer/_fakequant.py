"""The network in torch, node for node of its ONNX graph, rounding where the quantised one will."""

from __future__ import annotations

from typing import Callable

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional

from trainer._qdq import Grid, Scheme, Weight, places
from trainer._ranges import BINS, Histogram, weight_scale


class Network(nn.Module):
    """A float ONNX graph of the operators of _qdq.OPERATORS.

    Rounds nothing until grids are given; then activations and weights, whose scales are chosen here, are rounded with
    straight-through gradients (Bengio et al. 2013), so that what is left can be trained.
    """

    def __init__(self, model: onnx.ModelProto, scheme: Scheme):
        super().__init__()
        self.scheme, self.places = scheme, places(model, scheme)
        self.nodes = list(model.graph.node)
        self._attributes = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in self.nodes]
        self._outputs = [value.name for value in model.graph.output]
        self._key = {init.name: f"p{i}" for i, init in enumerate(model.graph.initializer)}
        self.values = nn.ParameterDict({self._key[init.name]: nn.Parameter(torch.from_numpy(
            numpy_helper.to_array(init).copy())) for init in model.graph.initializer})
        self.grids: dict[str, Grid] = {}
        self._scales = {node.input[1]: torch.from_numpy(weight_scale(self.value(node.input[1]).detach().numpy(),
                                                                     scheme.weight_max))
                        for node in self.nodes if node.op_type == "Conv"}

    def value(self, name: str) -> torch.Tensor:
        """The parameter that stands for an initializer."""
        return self.values[self._key[name]]

    def forward(self, image: torch.Tensor, seen: Callable | None = None, made: Callable | None = None) -> tuple:
        """Image (N, 3, 224, 224) float32 -> logits (N, C) and features (N, 512).

        seen(grid's name, tensor) is told each input that is, or would be, rounded; made(node, tensor) each
        convolution's output, and returns what goes on in its place.
        """
        tensors = {"image": image}
        left = {name: sum(name in node.input for node in self.nodes) for name in self._made()}
        for i, node in enumerate(self.nodes):
            inputs = [tensors[name] if name in tensors else self.value(name) for name in node.input]
            for k, tensor in enumerate(inputs):
                if (i, k) in self.places:
                    if seen:
                        seen(self.places[i, k], tensor)
                    inputs[k] = self._rounded(tensor, self.places[i, k])
            if node.op_type == "Conv" and self.grids:
                inputs[1] = self._rounded_weight(node.input[1])
            result = _run(node.op_type, inputs, self._attributes[i])
            tensors[node.output[0]] = made(node, result) if made and node.op_type == "Conv" else result
            for name in node.input:  # what nobody needs any more is let go
                if name in left:
                    left[name] -= 1
                    if not left[name] and name not in self._outputs:
                        tensors.pop(name, None)
        return tuple(tensors[name] for name in self._outputs)

    def _made(self) -> list[str]:
        return ["image", *(node.output[0] for node in self.nodes)]

    def _rounded(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        if name not in self.grids:
            return tensor
        return torch.fake_quantize_per_tensor_affine(tensor, *self.grids[name], *self.scheme.levels)

    def _rounded_weight(self, name: str) -> torch.Tensor:
        largest, scale = self.scheme.weight_max, self._scales[name]
        zero = torch.zeros(len(scale), dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(self.value(name), scale, zero, 0, -largest, largest)

    def weights(self) -> dict[str, Weight]:
        """The convolutions' weights as whole numbers, by name."""
        largest = self.scheme.weight_max
        return {name: Weight(np.clip(np.rint(self.value(name).detach().numpy() / scale.numpy()[:, None, None, None]),
                                     -largest, largest).astype(np.int8), scale.numpy())
                for name, scale in self._scales.items()}

    def biases(self) -> dict[str, np.ndarray]:
        """The convolutions' biases, (O,) float32, by name."""
        return {node.input[2]: self.value(node.input[2]).detach().numpy().copy()
                for node in self.nodes if node.op_type == "Conv"}


def _run(operator: str, inputs: list[torch.Tensor], attributes: dict) -> torch.Tensor:
    """One node, as ONNX defines it, for what _qdq.OPERATORS names and torch's exporter writes."""
    if operator == "Conv":
        return functional.conv2d(*inputs, stride=attributes["strides"], padding=attributes["pads"][:2],
                                 dilation=attributes["dilations"], groups=attributes["group"])
    if operator == "MaxPool":
        return functional.max_pool2d(inputs[0], attributes["kernel_shape"], attributes["strides"],
                                     attributes["pads"][:2])
    if operator == "Gemm":
        return functional.linear(*inputs)
    if operator == "Add":
        return inputs[0] + inputs[1]
    if operator == "GlobalAveragePool":
        return inputs[0].mean((2, 3), keepdim=True)
    return torch.relu(inputs[0]) if operator == "Relu" else torch.flatten(inputs[0], 1)


@torch.inference_mode()
def histograms(network: Network, batches) -> dict[str, Histogram]:
    """What each grid would have to cover, over batches (a sequence of (N, 3, 224, 224)) through the float network."""
    low, high, counts = {}, {}, {}

    def reach(name: str, tensor: torch.Tensor) -> None:
        least, most = (float(v) for v in torch.aminmax(tensor))
        low[name], high[name] = min(low.get(name, 0.0), least), max(high.get(name, 0.0), most)

    def count(name: str, tensor: torch.Tensor) -> None:
        more = torch.histc(tensor, BINS, low[name], high[name]).double().numpy()
        counts[name] = counts.get(name, 0) + more

    for seen in (reach, count):
        for batch in batches:
            network(batch, seen=seen)
    return {name: Histogram(counts[name], low[name], high[name]) for name in counts}


@torch.inference_mode()
def correct_biases(rounded: Network, exact: Network, batch: torch.Tensor) -> None:
    """Take the mean error of each channel out of each convolution, first to last (Nagel et al. 2019, section 4.2).

    Empirically: batch holds calibration pictures; a layer sees what the layers before it, already corrected, give.
    """
    means = {}

    def measure(node: onnx.NodeProto, made: torch.Tensor) -> torch.Tensor:
        means[node.output[0]] = made.mean((0, 2, 3))
        return made

    def mend(node: onnx.NodeProto, made: torch.Tensor) -> torch.Tensor:
        error = made.mean((0, 2, 3)) - means[node.output[0]]
        rounded.value(node.input[2]).sub_(error)
        return made - error[:, None, None]

    exact(batch, made=measure)
    rounded(batch, made=mend)

"""What the network asks of a device, counted from its ONNX file, and the most that a device can make of it."""

import argparse
import os
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from benchmarks import onnx_graph
from benchmarks.compare import PUBLISHED, read_json
from benchmarks.onnx_graph import Graph, Node, elements
from edge.commands import common
from edge.errors import UsageError
from edge.files import write_durably

BEGIN, END = "<!-- roofline: written by the command above -->", "<!-- roofline ends -->"
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
FUSED = ("Relu", "Clip", "Cast", "QuantizeLinear", "DequantizeLinear", "Identity", "Flatten", "BatchNormalization")


class Device(NamedTuple):
    """Peaks that follow from what the maker publishes: cores x operations a clock x clock, bus width x data rate."""

    name: str
    operations_per_s: Dict[str, float]  # by precision, dense; a multiplication and its addition are two
    bytes_per_s: float
    how: str


# Clocks are the highest of the maximum power mode. Sources: NVIDIA's module data sheets and technical briefs
DEVICES = (
    Device("Jetson Nano", {"fp32": 128 * 2 * 921.6e6, "fp16": 128 * 4 * 921.6e6}, 8 * 3200e6,
           "128 CUDA cores at 921.6 MHz, of FP16 two at a time: 472 GFLOPS; LPDDR4, 64 bit at 3200 MT/s. No fast INT8"),
    Device("Jetson Xavier NX", {"fp16": 48 * 128 * 1100e6, "int8": 48 * 256 * 1100e6}, 16 * 3732e6,
           "48 tensor cores at 1100 MHz, 64 multiply-adds a clock in FP16, twice that in INT8; LPDDR4x, 128 bit at "
           "3732 MT/s. Without its DLAs"),
    Device("Jetson AGX Xavier", {"fp16": 64 * 128 * 1377e6, "int8": 64 * 256 * 1377e6}, 32 * 4266e6,
           "64 tensor cores at 1377 MHz; LPDDR4x, 256 bit at 4266 MT/s. Without its DLAs"),
    Device("Jetson Orin Nano 8GB, MAXN_SUPER", {"fp16": 32 * 512 * 1020e6, "int8": 32 * 1024 * 1020e6}, 16 * 6400e6,
           "32 tensor cores at 1020 MHz, 256 dense multiply-adds a clock in FP16, twice that in INT8; LPDDR5, 128 bit "
           "at 6400 MT/s"),
    Device("Jetson AGX Orin 64GB", {"fp16": 64 * 512 * 1300e6, "int8": 64 * 1024 * 1300e6}, 32 * 6400e6,
           "64 tensor cores at 1300 MHz; LPDDR5, 256 bit at 6400 MT/s. Dense, without its DLAs"),
)


class Layer(NamedTuple):
    """What one kernel does: an operation with all that engines fuse into it."""

    name: str
    operations: int  # a multiplication and its addition are two
    weights: int  # elements
    activations: int  # elements read and written


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--write", metavar="PAGE.md", help="put the tables into this page, between its two marks")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Count, print and write."""
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    role = next((role for role in ("fp16", "fp32", "int8_cpu") if role in bundle.files), sorted(bundle.files)[0])
    layers = count(onnx_graph.read(bundle.read(role)))
    text = "\n".join(["`{} {}`, counted from its {} file:".format(bundle.name, bundle.version, role), ""]
                     + page(layers))
    print(text)
    if arguments.write:
        _insert(arguments.write, text)
    return {"bundle": "{} {}".format(bundle.name, bundle.version), "layers": [dict(one._asdict()) for one in layers],
            "bounds": [dict(zip(("device", "precision", "ms", "share_compute_bound"), row)) for row in bounds(layers)]}


def count(graph: Graph) -> List[Layer]:
    """The kernels of a network: what is fused into the one before is none of its own."""
    layers: List[Layer] = []
    weights = set(graph.weights)
    for node in graph.nodes:  # weights of QDQ networks pass a DequantizeLinear first
        if node.operation == "DequantizeLinear" and node.inputs[0] in weights:
            weights.add(node.outputs[0])
    for node in graph.nodes:
        written = elements(graph.shapes[node.outputs[0]])
        if node.operation in FUSED:
            continue
        if node.operation == "Add" and layers:  # the shortcut is read by the convolution before it
            layers[-1] = layers[-1]._replace(operations=layers[-1].operations + written,
                                             activations=layers[-1].activations + written)
            continue
        of_weights = sum(elements(graph.shapes[name]) for name in node.inputs if name in weights)
        layers.append(Layer("{} {}".format(node.operation, "x".join(map(str, graph.shapes[node.outputs[0]][1:]))),
                            _operations(node, graph), of_weights, elements(graph.shapes[node.inputs[0]]) + written))
    return layers


def _operations(node: Node, graph: Graph) -> int:
    written = elements(graph.shapes[node.outputs[0]])
    if node.operation == "Conv":
        return 2 * written * elements(graph.shapes[node.inputs[1]][1:])
    if node.operation in ("Gemm", "MatMul"):
        return 2 * written * graph.shapes[node.inputs[0]][-1]
    if node.operation == "GlobalAveragePool":
        return elements(graph.shapes[node.inputs[0]])
    return written * elements(node.attributes.get("kernel_shape", [1]))  # a pool's comparisons


def bounds(layers: Sequence[Layer]) -> List[Tuple[str, str, float, float]]:
    """(device, precision, fewest ms for an item, share of these in which arithmetic is the limit, not the memory).

    A layer takes as long as its arithmetic or its memory traffic, whichever is longer (Williams, Waterman and Patterson
    2009, "Roofline"); layers follow each other.
    """
    rows = []
    for device in DEVICES:
        for precision, peak in device.operations_per_s.items():
            times = [(layer.operations / peak, (layer.weights + layer.activations) * BYTES[precision]
                      / device.bytes_per_s) for layer in layers]
            whole = sum(map(max, times))
            rows.append((device.name, precision, whole * 1000, sum(a for a, m in times if a >= m) / whole))
    return rows


def page(layers: Sequence[Layer]) -> List[str]:
    """Lines of Markdown."""
    operations, weights = sum(one.operations for one in layers), sum(one.weights for one in layers)
    activations = sum(one.activations for one in layers)
    lines = ["{:.2f} billion multiplications and additions for a picture, {:.2f} million weights, {:.2f} million "
             "activations read and written, in {} kernels once additions and activations are fused.".format(
                 operations / 1e9, weights / 1e6, activations / 1e6, len(layers)), "",
             "| kernel | 10^6 operations | share | 10^3 weights | 10^3 activations | operations a byte, FP16 |",
             "|---|---:|---:|---:|---:|---:|"]
    for one in layers:
        lines.append("| {} | {:.1f} | {:.1%} | {:.1f} | {:.1f} | {:.0f} |".format(
            one.name, one.operations / 1e6, one.operations / operations, one.weights / 1e3, one.activations / 1e3,
            one.operations / (one.weights + one.activations) / 2))
    lines += ["", "The roofs, and what others reached below them:", "",
              "| device | precision | peak, 10^9 op/s | GB/s | at least ms | at most items/s | bound by arithmetic | "
              "published for ResNet18 | of the roof |", "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    devices = {device.name: device for device in DEVICES}
    published = {(one["device"], one["precision"]): one["items_per_s"] for one in read_json(PUBLISHED)["figures"]
                 if one["model"] == "ResNet18"}
    for name, precision, ms, share in bounds(layers):
        device, known = devices[name], published.get((name, precision))
        lines.append("| {} | {} | {:.0f} | {:.1f} | {:.2f} | {:.0f} | {:.0%} | {} | {} |".format(
            name, precision, device.operations_per_s[precision] / 1e9, device.bytes_per_s / 1e9, ms, 1000 / ms, share,
            known or "-", "{:.0%}".format(known * ms / 1000) if known else "-"))
    return lines + [""] + ["- {}: {}".format(device.name, device.how) for device in DEVICES]


def _insert(path: str, text: str) -> None:
    """Replace what stands between the marks. Raises UsageError when there are none."""
    try:
        with open(path, encoding="utf-8") as file:
            before = file.read()
        head, mark, rest = before.partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not mark or not end:
            raise UsageError("{}: has no marks {} and {} to write between".format(path, BEGIN, END))
        write_durably(path, "{}{}\n\n{}\n\n{}{}".format(head, mark, text, end, tail).encode("utf-8"))
    except OSError as error:
        raise UsageError("{}: {}".format(os.path.basename(path), error.strerror))

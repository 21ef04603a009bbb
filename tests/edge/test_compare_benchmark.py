"""benchmarks compare and roofline: tables of result files, and what a network asks of a device."""

import json
import os
from xml.etree import ElementTree

import pytest

from benchmarks import chart, onnx_graph, roofline
from edge.errors import BundleError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def result(device="NVIDIA Jetson Nano Developer Kit", **steady):
    """A result file as `benchmarks latency -o` writes it, as far as compare reads it."""
    usual = {"items_per_s": 88.5, "latency_ms": {"p50": 11.2, "p95": 11.5, "p99": 12.25, "max": 20.0}, "valid": True,
             "reasons": [], "items_per_joule": 12.04, "machine_under_load": {
                 "nvpmodel": "MAXN", "jetson_clocks": True, "total_mw": 7350.0,
                 "hottest_c": {"cpu": 51.0, "gpu": 53.5}}}
    return {"format": "scrapsort-latency-2", "machine": {"processor": device}, "backend": "tensorrt",
            "bundle": {"name": "tiny", "version": "1"}, "precisions": {"fp16": {
                "backend": "tensorrt", "precision": "fp16", "memory": "mapped", "steady": dict(usual, **steady)}}}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_several_devices_beside_what_others_published(tmp_path, benchmark):
    nano = write(tmp_path / "nano.json", result())
    xavier = write(tmp_path / "xavier.json", result(
        "Jetson | AGX Xavier", valid=False, reasons=["the clocks moved: gpu from 522 to 1377 MHz"]))
    laptop = write(tmp_path / "laptop.json", result(
        "A laptop", valid="unknown: clocks cannot be read here", machine_under_load={}, items_per_joule=None))
    table, plot = tmp_path / "out.md", tmp_path / "out.svg"
    code, output, errors = benchmark("compare", nano, xavier, laptop, "-o", table, "--plot", plot)
    assert code == 0, errors
    assert ("| NVIDIA Jetson Nano Developer Kit | MAXN, jetson_clocks | tiny 1 | tensorrt, mapped | fp16 | 11.20 "
            "| 11.50 | 12.25 | 88.5 | 7.3 | 12.0 | gpu 54 C | valid |") in output
    assert "| Jetson / AGX Xavier |" in output and "| INVALID: the clocks moved: gpu from 522 to 1377 MHz |" in output
    assert "| - | - | - | unknown: clocks cannot be read here |" in output
    assert ("| Jetson Nano | ResNet18 | TensorRT | fp16 | 90.2 | jetson_clocks on; 75 without | torch2trt, README and "
            "issue 188 |") in output
    assert table.read_text().strip() == output.strip()
    svg = ElementTree.parse(str(plot)).getroot()
    texts = ["".join(one.itertext()) for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "A laptop tensorrt, mapped fp16" in texts and "Jetson Nano ResNet18 fp16" in texts
    fills = [one.get("fill") for one in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert fills[1:4] == [chart.BAR, chart.DOUBTFUL, chart.DOUBTFUL]  # of the three files; the first is the background


@pytest.mark.parametrize("word, content, expected", [
    ("no JSON", "half a fi", "not JSON"),
    ("another file", {"a": 1}, "another file"),
    ("a list", [1], "another file"),
    ("an older one", {"precisions": {}, "items": 4}, "an older one, measure again"),
    ("a damaged one", dict(result(), precisions={"fp16": {"steady": {}}}), "damaged"),
    ("figures of the wrong kind", result(latency_ms=3), "damaged"),
])
def test_what_is_no_result_is_one_line(tmp_path, benchmark, word, content, expected):
    path = write(tmp_path / "bad.json", content)
    code, _, errors = benchmark("compare", path)
    assert code == 2 and len(errors.splitlines()) == 1, errors
    assert "bad.json" in errors and expected in errors


def test_a_missing_file_and_a_place_that_cannot_be_written(tmp_path, benchmark):
    code, _, errors = benchmark("compare", tmp_path / "none.json")
    assert code == 2 and errors.strip().endswith("none.json: cannot be read: No such file or directory")
    code, _, errors = benchmark("compare", write(tmp_path / "a.json", result()), "-o", tmp_path / "no" / "out.md")
    assert code == 2 and "cannot be written" in errors and len(errors.splitlines()) == 1


def test_bars_grow_with_their_value():
    svg = ElementTree.fromstring(chart.bars("a < b & c", [("one", 1.0, False), ("hundred", 100.0, False)],
                                            [("ten", 10.0)]))
    one, hundred, ten = [float(rect.get("width")) for rect in list(svg.iter("{http://www.w3.org/2000/svg}rect"))[1:4]]
    assert 0 < one < ten < hundred and hundred - ten == pytest.approx(ten - one, abs=0.2)
    chart.bars("nothing", [("none", 0.0, True)], [])


# ---------------------------------------------------------------- roofline

def test_resnet18_is_counted_as_the_world_knows_it(shipped):
    graph = onnx_graph.read(shipped.read("fp16"))
    layers = roofline.count(graph)
    # 1.814 billion multiply-adds and 11.18 million weights without the classifier of 1000 classes (He et al. 2015)
    convolutions = [layer for layer in layers if layer.name.startswith("Conv")]
    assert len(convolutions) == 20
    products = sum(layer.operations for layer in layers) / 2.0
    assert products == pytest.approx(1.814e9, rel=0.005)
    assert sum(layer.weights for layer in layers) == pytest.approx(11.18e6, rel=0.005)
    assert graph.shapes["/layer4/layer4.1/conv2/Conv_output_0"] == (1, 512, 7, 7)
    assert layers[0].name == "Conv 64x112x112" and layers[0].activations == 3 * 224 * 224 + 64 * 112 * 112


def test_int8_and_float_are_the_same_network(shipped):
    counted = [roofline.count(onnx_graph.read(shipped.read(role))) for role in ("fp16", "int8_cpu")]
    assert [layer._replace(weights=0) for layer in counted[0]] == [layer._replace(weights=0) for layer in counted[1]]


def test_a_layer_takes_as_long_as_the_slower_of_arithmetic_and_memory():
    nano = roofline.DEVICES[0]
    assert nano.operations_per_s["fp16"] == pytest.approx(472e9, rel=0.001) and nano.bytes_per_s == 25.6e9
    computing = roofline.Layer("computing", int(472e9), 0, 0)
    moving = roofline.Layer("moving", 0, int(25.6e9 / 2), 0)  # elements of two bytes
    rows = {row[:2]: row[2:] for row in roofline.bounds([computing, moving])}
    assert rows["Jetson Nano", "fp16"] == (pytest.approx(2000, rel=0.001), pytest.approx(0.5, abs=0.001))
    assert ("Jetson Nano", "int8") not in rows


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\x3a\x05\x0a", b"\x3a\xff\xff\xff\xff\x7f"])
def test_what_is_no_onnx_file_is_said(data):
    with pytest.raises(BundleError):
        onnx_graph.read(data)


def test_the_page_of_the_docs_is_of_the_bundle_that_ships(shipped):
    with open(os.path.join(ROOT, "docs", "benchmarks.md"), encoding="utf-8") as file:
        written = file.read().partition(roofline.BEGIN)[2].partition(roofline.END)[0]
    assert "\n".join(roofline.page(roofline.count(onnx_graph.read(shipped.read("fp16"))))) in written, (
        "run: python3 -m benchmarks roofline --write docs/benchmarks.md")
    assert "`{} {}`".format(shipped.name, shipped.version) in written


def test_the_page_is_written_by_the_command(make_bundle, tmp_path, benchmark):
    page = tmp_path / "page.md"
    page.write_text("before\n{}\nold\n{}\nafter\n".format(roofline.BEGIN, roofline.END))
    words = ["roofline", "--bundle", make_bundle(), "--state", tmp_path / "state", "--write", page]
    code, output, errors = benchmark(*words)
    assert code == 0, errors
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "`tiny 1`, counted from its fp16 file:" in text and "| Jetson Nano | fp16 | 472 | 25.6 |" in text
    assert benchmark(*words)[0] == 0 and page.read_text() == text
    page.write_text("no marks")
    code, _, errors = benchmark(*words)
    assert code == 2 and len(errors.splitlines()) == 1 and "has no marks" in errors

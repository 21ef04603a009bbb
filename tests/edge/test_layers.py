"""What is read from the JSON of TensorRT's inspector, detailed or not."""

import json

import pytest

from edge.classifier.tensorrt.layers import count, tactics


def layer(name, outputs, **more):
    return dict({"Name": name, "Outputs": [{"Format/Datatype": text} for text in outputs]}, **more)


CASES = [
    ("8.5 and later", [layer("a", ["Channel major FP16 format"], TacticName="k1"),
                       layer("b", ["Row major linear FP32"], TacticName="k2")],
     {"FP16": 1, "FP32": 1}, {"a": "k1", "b": "k2"}),
    ("8.2's number for a tactic", [layer("a", ["Row major linear FP32"], TacticValue="0x0ab")], {"FP32": 1},
     {"a": "0x0ab"}),
    ("INT8 in its two spellings", [layer("a", ["Thirty-two wide channel vectorized row major Int8 format"]),
                                   layer("b", ["Channel major INT8 format"])], {"INT8": 2}, {}),
    ("short names of types", [layer("a", ["Half"]), layer("b", ["Float"])], {"FP16": 1, "FP32": 1}, {}),
    ("the first output counts", [layer("a", ["Half", "Float"])], {"FP16": 1}, {}),
    ("a layer without outputs", [layer("a", [])], {}, {}),
    ("names alone, when it was not built with details", ["a", "b"], {}, {}),
]


@pytest.mark.parametrize("layers, precisions, chosen", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_precisions_and_tactics(layers, precisions, chosen):
    information = json.dumps({"Layers": layers, "Bindings": ["image"]})
    assert count(information) == precisions and tactics(information) == chosen


@pytest.mark.parametrize("information", ["", "no JSON", "[]", "null", "{}"])
def test_what_is_no_such_information_says_nothing(information):
    assert count(information) == {} and tactics(information) == {}

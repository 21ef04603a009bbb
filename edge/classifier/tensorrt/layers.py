"""What TensorRT's inspector says about an engine's layers."""

import json
import re
from collections import Counter
from typing import Any, Dict

PRECISION = re.compile(r"\b(FP32|FP16|BF16|INT8|Int8|Half|Float)\b")
NAMES = {"Int8": "INT8", "Half": "FP16", "Float": "FP32"}


def count(information: str) -> Dict[str, int]:
    """Layers by the precision of their first output; empty where the information is not detailed enough.

    information: the JSON of EngineInspector.get_engine_information, whose layers are objects where the engine was
    built with profiling_verbosity DETAILED, else plain names.
    """
    try:
        layers = json.loads(information).get("Layers", [])
    except (ValueError, AttributeError, TypeError):
        return {}
    return dict(Counter(precision for precision in map(_precision, layers) if precision))


def tactics(information: str) -> Dict[str, str]:
    """The kernel that was chosen for each layer, by the layer's name; empty as count is.

    Which it is TensorRT calls TacticName, or only TacticValue, a number, in older ones.
    """
    try:
        layers = [layer for layer in json.loads(information).get("Layers", []) if isinstance(layer, dict)]
    except (ValueError, AttributeError, TypeError):
        return {}
    named = ((str(layer.get("Name", "")), str(layer.get("TacticName") or layer.get("TacticValue") or ""))
             for layer in layers)
    return {name: tactic for name, tactic in named if name and tactic}


def _precision(layer: Any) -> str:
    outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
    text = str(outputs[0].get("Format/Datatype", "")) if outputs and isinstance(outputs[0], dict) else ""
    found = PRECISION.search(text)
    return NAMES.get(found.group(1), found.group(1)) if found else ""

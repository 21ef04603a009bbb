"""From frames to items: each frame, one every so often, or each thing that passes on a belt."""

from edge.gate.choose import open_gate
from edge.gate.every import EveryFrame, Gate, Interval
from edge.gate.item import Item

__all__ = ["EveryFrame", "Gate", "Interval", "Item", "open_gate"]

"""What the belt tells by wire: a photo-eye's edges, an encoder's pulses or a PLC's register."""

from edge.inputs.edges import Edges, check_edges, open_edges
from edge.inputs.encoder import Encoder, check_encoder, open_encoder

__all__ = ["Edges", "Encoder", "check_edges", "check_encoder", "open_edges", "open_encoder"]

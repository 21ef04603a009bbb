"""The TensorRT backend: plans that engines/ has built on this device."""

from edge.classifier.tensorrt.classifier import TensorRtClassifier
from edge.classifier.tensorrt.device import fingerprint

__all__ = ["TensorRtClassifier", "fingerprint"]

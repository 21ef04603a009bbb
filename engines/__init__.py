"""ONNX to TensorRT plans, on the device: python3 -m engines build|list|verify|prune."""

"""scrapsort's appliance: what runs on the device and on a laptop. Python 3.6 to 3.13, numpy and OpenCV."""

import os

__version__ = "0.1.0"

# Newer ONNX Runtimes (1.31) keep a database of their use below $HOME, on the SD card, and send it away. Said before one
# is loaded, and to the processes that this one starts
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

"""scrapsort's appliance: what runs on the device and on a laptop. Python 3.6 to 3.13, numpy and OpenCV."""

__version__ = "0.1.0"

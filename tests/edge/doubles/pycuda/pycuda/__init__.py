"""A double of pycuda for machines without a GPU: see driver."""

VERSION = (2022, 1)
VERSION_TEXT = "2022.1"

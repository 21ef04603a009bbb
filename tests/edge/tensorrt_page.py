"""Writes docs/tensorrt-conformance.md: `python3 tests/edge/tensorrt_page.py`."""

import glob
import json
import os
import sys

import tensorrt_real
from api_compare import member_of
from api_names import ROOT
from api_uses import Scan

HERE = os.path.dirname(os.path.abspath(__file__))
PATH = os.path.join(ROOT, "docs", "tensorrt-conformance.md")
HEAD = """# TensorRT and pycuda: the names that scrapsort uses

Written by `python3 tests/edge/tensorrt_page.py`; `tests/edge/test_tensorrt_conformance.py` fails when it is out of
date. Every use of TensorRT in `edge/` and `engines/` was found by reading the code. 10.3, 10.16 and 11.4 are the real
Python bindings ({versions}), imported over empty libraries; 8.2 and 8.5 are
what NVIDIA's public sources of their bindings say (`tests/edge/tensorrt_documented.json`). Nothing was built or run on
a GPU for this page.

A use that is not in every column stands where `hasattr` keeps it from the others.

| Name | {columns} | Used in |
|---|{lines}|---|
"""
NOT_RUN = """
`scripts/gpu-check` tries CUDA on a real GPU: buffers, streams, mapped memory, the preprocessing kernel, teardown,
200,000 frames, ONNX Runtime with CUDA I/O binding. It writes its results to
`docs/performance/gpu-check-*.json`. It has not been run on a GPU yet: no machine with one was at hand.
"""
RUN = """
`scripts/gpu-check` tries CUDA on a real GPU: buffers, streams, mapped memory, the preprocessing kernel, teardown,
200,000 frames, ONNX Runtime with CUDA I/O binding. It has been run on:

"""
CUDA = """
pycuda 2026.1, built from source, has every name below (`tests/edge/test_pycuda_conformance.py`):

"""


def page(scan):
    """The text of the page."""
    generations, real = tensorrt_real.GENERATIONS, scan.apis["tensorrt"]
    text = HEAD.format(versions=", ".join(real[g]["version"] for g in tensorrt_real.REAL),
                       columns=" | ".join(generations), lines="|".join([":-:"] * len(generations)))
    for name, uses in sorted(_by_name(scan, "tensorrt").items()):
        has = ["yes" if member_of(real[g], name[0], name[1]) else "-" for g in generations]
        text += "| `{}` | {} | {} |\n".format(_said(name), " | ".join(has), _files(uses))
    text += CUDA
    for name, uses in sorted(_by_name(scan, "pycuda").items()):
        text += "- `{}`: {}\n".format(_said(name), _files(uses))
    return text + _runs()


def _runs():
    """Where scripts/gpu-check has been run."""
    paths = sorted(glob.glob(os.path.join(ROOT, "docs", "performance", "gpu-check-*.json")))
    text = RUN if paths else NOT_RUN
    for path in paths:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        failed = sorted(name for name, check in result["checks"].items() if not check["passed"])
        text += "- {}, {}: {} checks, {} ([{}](performance/{}))\n".format(
            result["device"]["gpu"], result["date_utc"][:10], len(result["checks"]),
            "failed: " + ", ".join(failed) if failed else "all passed", os.path.basename(path), os.path.basename(path))
    return text


def _by_name(scan, library):
    found = {}
    for use in scan.uses:
        if use.library == library:
            found.setdefault((use.owner, use.member), []).append(use)
    return found


def _said(name):
    return ".".join(part for part in name if part)


def _files(uses):
    return ", ".join(sorted({use.file.replace(os.sep, "/") for use in uses}))


def main():
    """Write it."""
    try:
        apis = {"tensorrt": {g: tensorrt_real.api(g) for g in tensorrt_real.GENERATIONS},
                "pycuda": {"double": tensorrt_real.dump(os.path.join(HERE, "doubles", "pycuda"), "pycuda.driver")}}
    except tensorrt_real.UnavailableError as error:
        sys.exit("tensorrt_page: {}".format(error))
    text = page(Scan(apis))
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(text)
    print("{}: {} lines".format(os.path.relpath(PATH, ROOT), text.count("\n")))


if __name__ == "__main__":
    main()

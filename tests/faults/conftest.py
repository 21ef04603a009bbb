"""Faults that take too long for each run of the tests: `scripts/test --faults`."""

import os
import sys

for folder in ("edge", "beds"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), folder))
if not os.environ.get("SCRAPSORT_FAULTS"):
    collect_ignore_glob = ["*"]
else:
    from service_bed import bed, sorter  # noqa: F401  # fixtures


def pytest_addoption(parser):
    """scripts/test --faults --kills 200."""
    parser.addoption("--kills", type=int, default=20, help="how often test_service_faults.py kills the sorter")

"""Faults that take too long for each run of the tests: `scripts/test --faults`."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "edge"))
if not os.environ.get("SCRAPSORT_FAULTS"):
    collect_ignore_glob = ["*"]

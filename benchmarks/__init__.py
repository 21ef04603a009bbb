"""Measure this machine: `python3 -m benchmarks latency|pipeline|accuracy`. Ratios come from one run, taken in turn."""

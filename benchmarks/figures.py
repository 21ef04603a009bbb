"""Figures that several benchmarks make of lists."""

from typing import Any, Dict, Optional, Sequence


def share(flags: Any) -> Optional[float]:
    """Of those that are true; None of none."""
    values = [bool(flag) for flag in flags]
    return sum(values) / len(values) if values else None


def percentiles(values: Sequence[float]) -> Dict[str, float]:
    """p50, p99 and the largest; empty of none."""
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
            "max": ordered[-1]} if ordered else {}


def percent(value: Optional[float]) -> str:
    """A share for people; - where there is none."""
    return "-" if value is None else "{:.2%}".format(value)

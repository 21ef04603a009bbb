"""Result files of `benchmarks latency` side by side: a table, a plot, and what others published."""

import argparse
import json
import os
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from benchmarks import chart
from benchmarks.latency import FORMAT
from edge.errors import UsageError
from edge.files import write_durably

PUBLISHED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "published.json")
NONE = "-"
HEAD = ("device", "power mode", "model", "backend", "precision", "p50 ms", "p95 ms", "p99 ms", "items/s", "W",
        "items/J", "hottest", "to be believed")
PUBLISHED_HEAD = ("device", "model", "backend", "precision", "items/s", "note", "source")


class Row(NamedTuple):
    """One device and precision; what is not known is None or empty."""

    device: str
    mode: str  # of power
    model: str
    backend: str
    precision: str
    p50_ms: Optional[float] = None
    p95_ms: Optional[float] = None
    p99_ms: Optional[float] = None
    items_per_s: Optional[float] = None
    watts: Optional[float] = None
    items_per_joule: Optional[float] = None
    hottest: str = ""
    validity: str = ""

    @property
    def label(self) -> str:
        """For the plot."""
        return " ".join(filter(None, (self.device, self.mode, self.backend, self.precision)))


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE.json", help="what `benchmarks latency -o FILE.json` wrote")
    parser.add_argument("-o", "--out", dest="table", metavar="OUT.md", help="write the table there as well")
    parser.add_argument("--plot", metavar="OUT.svg", help="draw the items a second")


def run(arguments: argparse.Namespace) -> Dict[str, Any]:
    """Read, print, write."""
    measured = [row for path in arguments.files for row in rows_of(read(path), path)]
    published = read_json(PUBLISHED)["figures"]
    text = "\n".join(["## Measured", ""] + table(HEAD, measured) + [
        "", "One picture after another, from the picture in memory to the answer in memory. What is not valid says "
        "nothing about the", "device; docs/benchmarks.md tells why. W and items/J are of the whole board.", "",
        "## Published by others", ""] + table(PUBLISHED_HEAD, [[one[name] for name in (
            "device", "model", "backend", "precision", "items_per_s", "note", "source")] for one in published])) + "\n"
    print(text)
    _write(arguments.table, text)
    _write(arguments.plot, chart.bars(
        "Items a second",
        [(row.label, row.items_per_s or 0.0, not row.validity.startswith("valid")) for row in measured],
        [("{device} {model} {precision}".format(**one), one["items_per_s"]) for one in published]))
    return {}


def read(path: str) -> Dict[str, Any]:
    """A result file. Raises UsageError with one line when it is none, or too old."""
    result = read_json(path)
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        kind = "an older one, measure again" if isinstance(result, dict) and "precisions" in result else "another file"
        raise UsageError("{}: not a result of `benchmarks latency -o FILE` in format {}: {}".format(path, FORMAT, kind))
    return result


def rows_of(result: Dict[str, Any], path: str) -> List[Row]:
    """One for each precision that was measured. Raises UsageError when a figure is missing."""
    try:
        return [_row(result, one) for one in result["precisions"].values()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError("{}: damaged, {!r} is missing or wrong; measure again".format(path, error))


def _row(result: Dict[str, Any], one: Dict[str, Any]) -> Row:
    steady, bundle = one["steady"], result["bundle"]
    under, latency = steady["machine_under_load"], steady["latency_ms"]
    hottest = max(((celsius, zone) for zone, celsius in under.get("hottest_c", {}).items()), default=None)
    word = steady["valid"]
    if isinstance(word, bool):
        word = "valid" if word else "INVALID: " + "; ".join(steady["reasons"])
    mode = under.get("nvpmodel", "") + (", jetson_clocks" if under.get("jetson_clocks") else "")
    backend = one["backend"] + (", " + one["memory"] if one.get("memory") else "")
    return Row(result["machine"]["processor"], mode, "{} {}".format(bundle["name"], bundle["version"]), backend,
               one["precision"], float(latency["p50"]), float(latency["p95"]), float(latency["p99"]),
               float(steady["items_per_s"]), under["total_mw"] / 1000.0 if "total_mw" in under else None,
               steady.get("items_per_joule"), "{1} {0:.0f} C".format(*hottest) if hottest else "", word)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> List[str]:
    """Lines of Markdown; figures of milliseconds with two digits, others with one."""
    figures = [any(isinstance(row[column], (int, float)) for row in rows) for column in range(len(head))]
    lines = ["| " + " | ".join(head) + " |", "|" + "".join("---:|" if figure else "---|" for figure in figures)]
    for row in rows:
        cells = [NONE if value in (None, "") else ("{:.2f}" if name.endswith("ms") else "{:.1f}").format(value)
                 if isinstance(value, (int, float)) else str(value).replace("|", "/").replace("\n", " ")
                 for name, value in zip(head, row)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def read_json(path: str) -> Any:
    """What a JSON file holds. Raises UsageError with one line."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UsageError("{}: cannot be read: {}".format(path, error.strerror))
    except (ValueError, RecursionError) as error:
        raise UsageError("{}: not JSON ({}); give what `benchmarks latency -o FILE` wrote".format(path, error))


def _write(path: Optional[str], text: str) -> None:
    if path:
        try:
            write_durably(path, text.encode("utf-8"))
        except OSError as error:
            raise UsageError("{}: cannot be written: {}".format(path, error.strerror))

"""scrapsort classify: say what is in pictures."""

import argparse
import csv
import json
import logging
import sys
from typing import Any, Iterator, List, Sequence

from edge.classifier import open_classifier
from edge.clock import Clock
from edge.commands import common
from edge.decision import ERROR, Decider
from edge.frames.folder import read_frame
from edge.gate import EveryFrame
from edge.journal.record import Record
from edge.report import answer_fields, has_blocks, item_lines
from edge.sorter import decide_item

COLUMNS = ("image_path", "predicted_class", "confidence", "low_confidence_flag", "decision", "latency_ms",
           "model_version", "backend", "precision", "error")
FURTHER = ("stranger_score", "review_reason")  # behind the probabilities: the columns before them keep their places


def add(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    common.add_config(parser)
    common.add_model(parser)
    parser.add_argument("--top", type=common.count, default=3, metavar="N", help="classes to show (default: 3)")
    parser.add_argument("--threshold", type=common.fraction, metavar="T", help="confidence below which an item goes "
                                                                              "to review")
    parser.add_argument("--format", choices=("text", "json", "csv"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Classify; 1 if any picture was bad."""
    common.start_logging()
    common.log.setLevel(logging.WARNING)
    settings, state = common.load_settings(arguments)
    bundle = common.open_bundle(arguments, settings, state)
    threshold = settings.decision.threshold if arguments.threshold is None else arguments.threshold
    decider = Decider.from_settings(bundle, threshold, settings.decision.per_class,
                                    settings.decision.stranger)
    model = settings.model
    with open_classifier(bundle, model.backend, model.precision, state, model.cuda_memory) as classifier:
        for note in classifier.notes:
            common.log.warning("%s", note)
        if arguments.format == "text":  # the others say it of each picture
            common.log.setLevel(logging.INFO)
            common.log.info("model %s %s, backend %s (%s), precision %s", bundle.name, bundle.version,
                            classifier.backend, classifier.device, classifier.precision)
        show = _Csv(bundle.classes) if arguments.format == "csv" else \
            _show_json if arguments.format == "json" else _show_text
        any_bad = False
        for record in _records(arguments.images, classifier, decider):
            any_bad |= record.decision == ERROR
            show(record, bundle.classes, arguments.top)
    return 1 if any_bad else 0


def _records(paths: Sequence[str], classifier: Any, decider: Decider) -> Iterator[Record]:
    gate, clock = EveryFrame(), Clock()
    for sequence, path in enumerate(paths, 1):
        for item in gate.offer(read_frame(path, path, clock)):
            yield decide_item(sequence, item, classifier, decider)


def _show_text(record: Record, classes: Sequence[str], top: int) -> None:
    sys.stdout.write("\n".join(item_lines(record, classes, has_blocks(sys.stdout), top)) + "\n")


def _show_json(record: Record, classes: Sequence[str], top: int) -> None:
    sys.stdout.write(json.dumps(answer_fields(record, classes)) + "\n")


class _Csv:
    """A header, then a row a picture with a column for each class's probability, then those that came later."""

    def __init__(self, classes: Sequence[str]):
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow(COLUMNS + tuple("p_" + name for name in classes) + FURTHER)

    def __call__(self, record: Record, classes: Sequence[str], top: int) -> None:
        fields = answer_fields(record, classes)
        row: List[Any] = [fields.get(name) for name in COLUMNS]
        row += [fields.get("probabilities", {}).get(name) for name in classes]
        self._writer.writerow(row + [fields.get(name) for name in FURTHER])

"""The performance report of a bundle: performance_report.md and its plots, nothing in it typed by hand.

Read top to bottom it says what the bundle is, where it comes from, how right and how sure it is, what it promises, how
its precisions compare, how fast it is and where it fails. What has not been made yet stands in it as one line with the
command that makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer import _report_belt as belt
from trainer import _report_quality as quality
from trainer._report_provenance import provenance
from trainer._report_sources import PART, Given, Sources, gather
from trainer._report_text import bullets, exact_share, paragraph, score, share, share_with
from trainer.files import write_atomically

REPORT = "performance_report.md"
PLOTS = (quality.CURVES, quality.CONFUSION, quality.PER_CLASS, quality.RELIABILITY, quality.MISTAKES_SHEET, belt.PURITY,
         belt.AGAINST_FLOAT, belt.LATENCY)
SECTIONS = (quality.accuracy, quality.crossvalidation, quality.calibration, belt.purity, belt.strangers,
            belt.precisions, belt.elsewhere, belt.latency, quality.training, quality.tried, quality.mistakes,
            provenance)


def report(bundle: Path, data: Path, out: Path, *, crossvalidation: Path | None = None, random: Path | None = None,
           random_against: Path | None = None, checkpoint: Path | None = None, elsewhere: Path | None = None,
           experiments: Sequence[Path] = (), latency: Sequence[Path] = (), photographs: bool = False) -> Path:
    """Measure a bundle on the test pictures of data and write out/performance_report.md with its plots; returns it.

    crossvalidation and random: folders of `trainer crossvalidate`, without and with --random. random_against: one
    without --random that random is held against, where crossvalidation took other options. checkpoint: the best.pt that
    the bundle was made from. elsewhere: a folder of FOLDER/CLASS/*. experiments: folders of `trainer train`.
    latency: JSON files of `python3 -m benchmarks … -o`. photographs: also draw the sheet of mistakes, whose pictures
    belong to others. The same inputs give the same bytes on the same machine; the date is the bundle's. Raises
    TrainerError when things do not belong together, BundleError for a damaged bundle.
    """
    sources = gather(Given(bundle, data, out, crossvalidation, random, random_against, checkpoint, elsewhere,
                           tuple(experiments), tuple(latency), photographs))
    blocks = [block for section in (summary, *SECTIONS) for block in section(sources)]
    text = "\n\n".join(blocks) + "\n"
    for name in PLOTS:  # of an earlier report; pictures that belong to others must not stay behind, above all
        if f"]({name})" not in text:
            (out / name).unlink(missing_ok=True)
    write_atomically(out / REPORT, lambda file: file.write(text.encode()))
    return out / REPORT


def summary(sources: Sources) -> list[str]:
    """What this is, in a sentence of numbers."""
    bundle, scores = sources.bundle, sources.evaluation.scores[sources.main]
    accepted, right = sources.accepted
    text = (f"Shown {scores['pictures']} pictures that it was not trained on, {bundle.name} ({sources.main}) names the "
            f"right one of {len(bundle.classes)} classes for "
            f"{share_with(scores['accuracy'], scores['intervals']['accuracy'])} of them, macro-F1 "
            f"{score(scores['macro_f1'])}")
    if sources.folds:
        pooled = sources.folds.scores["pooled"]
        text += (f"; in cross-validation over {pooled['pictures']} other pictures it is "
                 f"{share_with(pooled['accuracy'], sources.folds.intervals['accuracy'])}")
    text += f"; with its thresholds it accepts {share(accepted / scores['pictures'])} of the {PART} pictures"
    text += f", {exact_share(right / accepted)} of them rightly." if accepted else "."
    return [f"# {bundle.name} {bundle.version}", paragraph(text), bullets([
        f"bundle {bundle.name} {bundle.version}, created {bundle.manifest['created']}, seal "
        f"`{bundle.manifest['seal'][:16]}`", f"classes: {', '.join(bundle.classes)}",
        f"roles: {', '.join(bundle.files)}; measured here: {', '.join(sources.evaluation.logits)}"]),
        "Written by `python3 -m trainer report`; do not edit it, run the command again."]

"""trainer audit: look for what is wrong in a prepared data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from trainer.commands import DATA, OOF

SHOWN = 60  # findings on a contact sheet


def add(commands) -> None:
    """Add `audit` to the trainer's commands."""
    p = commands.add_parser("audit", help="list duplicates, doubtful labels and odd pictures of a prepared data set")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--oof", type=Path, metavar="FILE",
                   help=f"out-of-fold answers, for doubtful labels; none: without (default: {OOF}, if it is there)")
    p.add_argument("--out", type=Path, default=Path("runs/audit"), help="default: %(default)s")
    p.add_argument("--top", type=int, default=20, metavar="N", help="findings to print (default: %(default)s)")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from trainer.audit import audit
    from trainer.oof import OutOfFold
    path = arguments.oof or (OOF if OOF.exists() else Path("none"))
    oof = None if str(path) == "none" else OutOfFold.load(path)
    findings = audit(arguments.data, oof)
    sheets = write(findings, arguments.out)
    print("\n".join(table(findings, arguments.top)))
    if not findings.looked_for_mislabels:
        print("likely mislabels and items photographed again were not looked for: that takes out-of-fold answers; run "
              "`python3 -m trainer crossvalidate` first")
    print(f"in {arguments.out}: audit.csv, {len(sheets)} contact sheet(s); nothing in {arguments.data} was changed")


def write(findings, out: Path) -> list[Path]:
    """Write out/audit.csv and a sheet out/audit-KIND.png for each kind found; returns the sheets."""
    from trainer.contact_sheet import contact_sheet
    from trainer.findings import KINDS
    findings.write_csv(out / "audit.csv")
    sheets = []
    for kind, meaning in KINDS.items():
        rows, path = findings.of(kind), out / f"audit-{kind}.png"
        if not rows:
            path.unlink(missing_ok=True)  # of an earlier audit
            continue
        hidden = f", {len(rows) - SHOWN} more not shown (all are in audit.csv)" if len(rows) > SHOWN else ""
        entries = [([findings.thumbnails.get(p) for p in (row.path, row.other_path) if p], _caption(row))
                   for row in rows[:SHOWN]]
        contact_sheet(entries, f"{kind}: {meaning}; {len(rows)} found{hidden}", path)
        sheets.append(path)
    return sheets


def _caption(row) -> list[str]:
    suggested = f" -> {row.suggested_label}?" if row.suggested_label else ""
    return [row.path + suggested, *([row.other_path] if row.other_path else []), row.reason]


def table(findings, top: int) -> list[str]:
    """Lines: how many of each kind and severity, label pairs of the likely mislabels, the first top findings."""
    from trainer.findings import KINDS, SEVERITIES
    lines = [f"{findings.pictures} pictures", f"{'':26s}" + "".join(f"{s:>8s}" for s in SEVERITIES)]
    for kind, meaning in KINDS.items():
        counts = Counter(row.severity for row in findings.of(kind))
        if counts:
            lines.append(f"{kind:26s}" + "".join(f"{counts[s] or '-':>8}" for s in SEVERITIES) + f"  {meaning}")
    pairs = sorted(findings.label_pairs().items(), key=lambda p: (-p[1], p[0]))
    lines += [f"labelled {label}, likely {other}: {count}" for (label, other), count in pairs]
    ranked = sorted(findings.rows, key=lambda r: SEVERITIES.index(r.severity))  # stable: by kind and rank within
    for row in ranked[:max(top, 0)]:
        other = f" {row.other_path}" if row.other_path else f" -> {row.suggested_label}" if row.suggested_label else ""
        lines.append(f"{row.severity:7s}{row.kind:26s}{row.path}{other}: {row.reason}")
    if len(ranked) > max(top, 0):
        lines.append(f"... and {len(ranked) - max(top, 0)} more, in audit.csv")
    return lines

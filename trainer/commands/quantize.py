"""`trainer quantize`."""

from __future__ import annotations

from pathlib import Path

from trainer.commands import DATA


def add(commands) -> None:
    """Add the command to the parser's."""
    p = commands.add_parser("quantize", help="add or replace a bundle's INT8 roles, held against float")
    p.add_argument("--checkpoint", type=Path, default=Path("runs/default/best.pt"), help="default: %(default)s")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--bundle", type=Path, required=True, help="folder of the bundle, which export made")
    p.add_argument("--roles", nargs="+", choices=("int8_cpu", "int8_trt"), default=["int8_cpu", "int8_trt"])
    p.add_argument("--method", default="auto", choices=("auto", "minmax", "percentile", "entropy", "mse", "distilled"),
                   help="how ranges are chosen, each with and without bias correction; distilled: mse, then training "
                        "towards float's answers; auto: all of them, the best is kept (default: %(default)s)")
    p.add_argument("--report", type=Path, metavar="FILE", help="write the figures there, too, as JSON")
    p.add_argument("--force", action="store_true", help="keep a role that falls short of float, too")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from trainer.files import write_json
    from trainer.quantize import add_roles, quantize
    work = quantize(arguments.checkpoint, arguments.data, arguments.bundle, tuple(dict.fromkeys(arguments.roles)),
                    arguments.method)
    print("\n".join(work.lines()))
    if arguments.report:
        write_json(arguments.report, work.report())
    if not arguments.force:
        work.check()
    manifest = add_roles(work)
    for role in work.candidates:
        test = manifest["quantisation"][role]["test"]
        print(f"{role} on {test['pictures']} pictures of test: agreement {test['agreement']:.4f}, accuracy drop "
              f"{test['accuracy_drop_points']:.2f} points, calibration error {test['calibration_error']:.4f} "
              f"(float {test['calibration_error_float']:.4f})")
    print(f"{', '.join(work.candidates)} in {arguments.bundle}")

"""`trainer export`."""

from __future__ import annotations

from pathlib import Path

from trainer.commands import DATA


def add(commands) -> None:
    """Add the command to the parser's."""
    p = commands.add_parser("export", help="make a model bundle from a checkpoint")
    p.add_argument("--checkpoint", type=Path, default=Path("runs/default/best.pt"), help="default: %(default)s")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    p.add_argument("--name", help="of the bundle (default: the folder's)")
    p.add_argument("--roles", nargs="+", choices=("fp32", "fp16", "int8_cpu", "int8_trt"), default=["fp16", "int8_cpu"])
    p.add_argument("--oof", type=Path, metavar="FILE",
                   help="out-of-fold answers of crossvalidate, to fit the temperature on (default: val)")
    p.add_argument("--license", default="not stated", help="of the weights, for the manifest")
    p.add_argument("--torchscript", type=Path, metavar="FILE", help="write TorchScript there, too")
    p.set_defaults(run=_run)


def _run(arguments) -> None:
    from trainer.evaluate import lines
    from trainer.export import export
    manifest = export(arguments.checkpoint, arguments.data, arguments.out,
                      name=arguments.name or arguments.out.resolve().name, roles=tuple(arguments.roles),
                      license_text=arguments.license,
                      torchscript=arguments.torchscript, oof=arguments.oof)
    size_mb = sum(p.stat().st_size for p in arguments.out.iterdir()) / 1e6
    print("\n".join(lines(manifest["metrics"])))
    print(f"{manifest['name']} {manifest['version']} in {arguments.out}, {size_mb:.1f} MB")

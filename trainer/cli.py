"""The trainer's command line; each command imports only what it needs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.errors import ScrapsortError
from trainer.errors import TrainerError

DATA = Path("data/materials")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage (argparse exits by itself)."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except (TrainerError, ScrapsortError, OSError) as error:
        print(f"trainer {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"trainer {arguments.command}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m trainer", description="From photographs to a model bundle.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_prepare(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    return parser


def _add_prepare(commands) -> None:
    p = commands.add_parser("prepare", help="split a zip or a folder of photographs into train, val and test")
    p.add_argument("source", nargs="?", type=Path, help="a zip or folder with one sub-folder a class inside")
    p.add_argument("--download", action="store_true", help="fetch the public TrashNet (43 MB) as the source")
    p.add_argument("--out", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=_prepare)


def _prepare(arguments) -> int:
    from trainer.download import download
    from trainer.prepare import prepare
    if bool(arguments.source) == arguments.download:
        print("trainer prepare: give either SOURCE (a zip or a folder) or --download", file=sys.stderr)
        return 2
    source = download(arguments.out.parent) if arguments.download else arguments.source
    split = prepare(source, arguments.out, seed=arguments.seed)
    for entry in split["left_out"]:
        print(f"left out: {entry['path']}: {entry['reason']}")
    for paths in split["groups_with_several_classes"]:
        print(f"look alike, but differ in class: {', '.join(paths)}")
    for part, counts in split["counts"].items():
        print(f"{part:5s} {sum(counts.values()):5d}  " + "  ".join(f"{c} {n}" for c, n in counts.items()))
    print(f"split {split['hash'][:16]} in {arguments.out}; {len(split['left_out'])} file(s) left out")
    return 0


def _add_train(commands) -> None:
    p = commands.add_parser("train", help="fit a ResNet18 to a prepared data set")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--out", type=Path, default=Path("runs/default"), help="default: %(default)s")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    p.add_argument("--epochs", type=_positive, default=20)
    p.add_argument("--batch-size", type=_positive, default=32)
    p.add_argument("--lr", type=float, default=0.001, help="peak learning rate of what starts from scratch")
    p.add_argument("--lr-loaded", type=float, default=0.3, help="times --lr, for stages whose weights were loaded")
    p.add_argument("--weight-decay", type=float, default=0.02)
    p.add_argument("--label-smoothing", type=float, default=0.1)
    p.add_argument("--mix", type=float, default=0.7, help="share of batches mixed by MixUp or CutMix")
    p.add_argument("--init", default="imagenet", help="imagenet, none, or a .pth or .npz file")
    p.add_argument("--freeze", type=int, choices=range(6), default=0,
                   help="0 nothing, 1 the stem, 2 to 5 also layer1 to layer4")
    p.add_argument("--drawn", type=int, default=0, metavar="N", help="mix N drawn pictures of each class in")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all")
    p.add_argument("--amp", choices=("auto", "on", "off"), default="auto", help="bfloat16 arithmetic")
    p.set_defaults(run=_train)


def _train(arguments) -> None:
    from trainer.train import Options, option_names, train
    chosen = {name: getattr(arguments, name) for name in option_names() if hasattr(arguments, name)}
    result = train(arguments.data, arguments.out, Options(**chosen))
    best = max(result["history"], key=lambda h: h["val_macro_f1"])
    print(f"best: epoch {best['epoch']}, val accuracy {best['val_accuracy']:.4f}, "
          f"macro-F1 {best['val_macro_f1']:.4f}; {arguments.out / 'best.pt'}")


def _add_evaluate(commands) -> None:
    p = commands.add_parser("evaluate", help="score a bundle with the appliance's own code")
    p.add_argument("--bundle", required=True, type=Path)
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--split", choices=("train", "val", "test"), default="test")
    p.add_argument("--checkpoint", type=Path, help="best.pt, to compare with torch and plot the training")
    p.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="default: %(default)s")
    p.set_defaults(run=_evaluate)


def _evaluate(arguments) -> None:
    from edge.bundles import Bundle
    from trainer.evaluate import evaluate, lines
    from trainer.prepare import read_split
    metrics = evaluate(Bundle(str(arguments.bundle)), arguments.data, read_split(arguments.data), arguments.split,
                       arguments.out, arguments.checkpoint)
    print("\n".join(lines(metrics)))
    print(f"in {arguments.out}: {', '.join(sorted(p.name for p in arguments.out.iterdir()))}")


def _add_export(commands) -> None:
    p = commands.add_parser("export", help="make a model bundle from a checkpoint")
    p.add_argument("--checkpoint", type=Path, default=Path("runs/default/best.pt"), help="default: %(default)s")
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    p.add_argument("--name", help="of the bundle (default: the folder's)")
    p.add_argument("--roles", nargs="+", choices=("fp32", "fp16", "int8_cpu"), default=["fp16", "int8_cpu"])
    p.add_argument("--license", default="not stated", help="of the weights, for the manifest")
    p.add_argument("--torchscript", type=Path, metavar="FILE", help="write TorchScript there, too")
    p.set_defaults(run=_export)


def _export(arguments) -> None:
    from trainer.evaluate import lines
    from trainer.export import export
    manifest = export(arguments.checkpoint, arguments.data, arguments.out,
                      name=arguments.name or arguments.out.resolve().name, roles=tuple(arguments.roles),
                      license_text=arguments.license,
                      torchscript=arguments.torchscript)
    size_mb = sum(p.stat().st_size for p in arguments.out.iterdir()) / 1e6
    print("\n".join(lines(manifest["metrics"])))
    print(f"{manifest['name']} {manifest['version']} in {arguments.out}, {size_mb:.1f} MB")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: at least 1")
    return value

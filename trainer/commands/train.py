"""`trainer train`, and the options that it shares with crossvalidate."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.commands import DATA


def add(commands) -> None:
    """Add the command to the parser's."""
    p = commands.add_parser("train", help="fit a ResNet18 to a prepared data set")
    p.add_argument("--out", type=Path, default=Path("runs/default"), help="default: %(default)s")
    p.add_argument("--part", default="train", help="train, all (of train and val), fold:K/N or random:K/N")
    add_options(p)
    p.set_defaults(run=_run)


def add_options(p) -> None:
    """The hyper-parameters; their names are those of trainer.train.Options."""
    p.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    p.add_argument("--epochs", type=positive, default=20)
    p.add_argument("--cycles", type=positive, default=1, help="of so many epochs, each with a rise and fall of the "
                   "learning rate; a finished run goes on when given more")
    p.add_argument("--batch-size", type=positive, default=32)
    p.add_argument("--lr", type=float, default=0.001, help="peak learning rate of what starts from scratch")
    p.add_argument("--lr-loaded", type=float, default=0.3, help="times --lr, for stages whose weights were loaded")
    p.add_argument("--weight-decay", type=float, default=0.02)
    p.add_argument("--label-smoothing", type=float, default=0.1)
    p.add_argument("--mix", type=float, default=0.7, help="share of batches mixed by MixUp or CutMix")
    p.add_argument("--init", default="imagenet", help="imagenet, none, or a .pt, .pth or .npz file; for "
                   "crossvalidate also the folder of an earlier one, whose folds go on")
    p.add_argument("--freeze", type=int, choices=range(6), default=0,
                   help="0 nothing, 1 the stem, 2 to 5 also layer1 to layer4")
    p.add_argument("--regrow", type=int, default=0, metavar="EPOCHS",
                   help="beforehand layer4 and the head alone learn, when weights for the rest were loaded")
    p.add_argument("--views", type=positive, default=16, help="augmented versions of each picture, made once")
    p.add_argument("--paste", type=float, default=0.0, help="share of views in which the item lies on a drawn ground")
    p.add_argument("--harsh", type=float, default=0.0, help="probability of strong light and camera changes")
    p.add_argument("--belt", type=float, default=0.0, help="share of views that show the photograph as a camera above "
                   "a moving belt would: blurred, coarse, cut out not quite right")
    p.add_argument("--drawn", type=int, default=0, metavar="N", help="mix N drawn pictures of each class in")
    p.add_argument("--teacher", default="", metavar="FILE", help=".npz of a MobileNetV2 to learn features from")
    p.add_argument("--teacher-weight", type=float, default=5.0, help="of that loss beside cross-entropy")
    p.add_argument("--small", type=float, default=0.0, help="share of epochs, the first ones, with small pictures")
    p.add_argument("--small-px", type=positive, default=160, help="their side")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all")
    p.add_argument("--amp", choices=("auto", "on", "off"), default="auto", help="bfloat16 arithmetic")


def options_of(arguments):
    """The Options that were given."""
    from trainer.train import Options, option_names
    return Options(**{name: getattr(arguments, name) for name in option_names() if hasattr(arguments, name)})


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: at least 1")
    return value


def _run(arguments) -> None:
    from trainer.train import train
    history = train(arguments.data, arguments.out, options_of(arguments), arguments.part)["history"]
    kept = max(history, key=lambda h: h["val_macro_f1"]) if arguments.part == "train" else history[-1]
    scores = (f"held-back accuracy {kept['val_accuracy']:.4f}, macro-F1 {kept['val_macro_f1']:.4f}; "
              if "val_accuracy" in kept else "")
    print(f"kept: epoch {kept['epoch']}, {scores}{arguments.out / 'best.pt'}")

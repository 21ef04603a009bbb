"""Training, top to bottom: data, network, optimiser, epochs, best checkpoint, resume."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import queue
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Callable, Iterator

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from edge.frames.drawn import MATERIALS, draw_named
from edge.preprocess import InputSpec, Preprocessor
from trainer.augment import Augmentation, augment, mix
from trainer.cache import TRAIN_PX, cached
from trainer.errors import TrainerError
from trainer.files import write_atomically, write_json
from trainer.metrics import summarise
from trainer.model import STAGES, Sorter, freeze, initialise
from trainer.prepare import read_split

CALIBRATION_PICTURES = 256  # an .npz's BatchNorm statistics come from these
DRAWN_SEED = 2_000_000_000  # of training's drawings, apart from the demo's, the tests' and the golden ones


@dataclass(frozen=True)
class Options:
    """Hyper-parameters; those that shape the result go into the checkpoint and the bundle's provenance."""

    epochs: int = 20
    batch_size: int = 32
    lr: float = 0.001  # peak, of whatever starts from scratch
    lr_loaded: float = 0.3  # times lr, for stages whose weights were loaded: they need less
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    mix: float = 0.7  # share of batches whose pictures are mixed in pairs, by MixUp and CutMix in turn
    warmup: float = 0.2  # share of all steps until the peak of the one-cycle schedule
    ema: float = 0.998  # average of the weights per step; what is validated and kept
    init: str = "imagenet"
    freeze: int = 0
    drawn: int = 0  # drawn pictures per class mixed into each epoch
    seed: int = 0
    threads: int = 0  # of the CPU; 0: all. Part of the result, as sums are split by it
    amp: str = "auto"  # bfloat16 where the device is fast at it: auto, on, off
    device: str = "auto"


def train(data: Path, out: Path, options: Options, stop_after: int | None = None) -> dict:
    """Train on a prepared data set; leaves best.pt, last.pt and history.json in out and returns the history.

    A run that was stopped goes on from last.pt, if its options and split are the same; on a CPU it then ends with the
    same weights as an unbroken one. stop_after ends after that many epochs of this call. Raises TrainerError.
    """
    split = read_split(data)
    ancestor = _ancestor(options.init, split)
    device = pick_device(options.device)
    _make_deterministic(options, device)
    spec = InputSpec()
    images, labels, _ = cached(data, split, "train", spec, TRAIN_PX)
    val_images, val_labels, _ = cached(data, split, "val", spec)
    if not len(val_labels):
        raise TrainerError(f"{data}: no picture in val; more than 5 a class are needed")
    images, labels = _with_drawings(images, labels, split["classes"], options)

    model = Sorter(len(split["classes"]))
    run = Run(model, options, device, split, steps=options.epochs * _steps(len(labels), options))
    history = run.resume(out)
    if history is None:
        fresh = initialise(model, options.init, _calibration(images, spec))
        run.start(fresh)
        history = []
    class_weights = _class_weights(labels, len(split["classes"])).to(device)
    loss_of = nn.CrossEntropyLoss(weight=class_weights, label_smoothing=options.label_smoothing)
    best = max((h["val_macro_f1"] for h in history), default=-1.0)

    for epoch in range(len(history), options.epochs):
        started, losses = time.monotonic(), []
        run.training_mode()
        batches = _batches(images, labels, epoch, spec, options)
        bar = tqdm(batches, total=_steps(len(labels), options), desc=f"epoch {epoch + 1}/{options.epochs}",
                   unit="batch", leave=False)
        for batch, target, other, share in bar:
            losses.append(run.step(batch, lambda logits, t=target, o=other, s=share:
                                   s * loss_of(logits, t.to(device)) + (1 - s) * loss_of(logits, o.to(device))))
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
        logits = predict(run.average, val_images, spec, device, run.autocast)
        scores = summarise(logits, val_labels, split["classes"])
        history.append({"epoch": epoch + 1, "train_loss": float(np.mean(losses)), "lr": run.learning_rate,
                        "val_loss": scores["loss"], "val_accuracy": scores["accuracy"],
                        "val_macro_f1": scores["macro_f1"], "seconds": round(time.monotonic() - started, 1)})
        if history[-1]["val_macro_f1"] > best:
            best = history[-1]["val_macro_f1"]
            run.save_best(out, history, ancestor)
        run.save_last(out, history)
        tqdm.write("epoch {epoch}: loss {train_loss:.3f}, val loss {val_loss:.3f}, val accuracy {val_accuracy:.4f}, "
                   "macro-F1 {val_macro_f1:.4f}, {seconds:.0f} s".format(**history[-1]))
        if stop_after and epoch + 1 >= stop_after:
            break
    return {"history": history, "best": best, "out": str(out)}


class Run:
    """The state of one training run: weights, their average, optimiser, schedule; saved and resumed as a whole."""

    def __init__(self, model: Sorter, options: Options, device: torch.device, split: dict, steps: int):
        self.model, self.options, self.device, self.split, self.steps = model, options, device, split, steps
        self.autocast = _autocast(options.amp, device)
        self.average = torch.optim.swa_utils.AveragedModel(model, avg_fn=None, use_buffers=True,
                                                           multi_avg_fn=_ema(options.ema))
        self.fresh: set[str] = set()
        self.optimiser = self.schedule = None

    def start(self, fresh: set[str]) -> None:
        """Move to the device and set up the optimiser; fresh names the parameters that start from scratch."""
        self.fresh = fresh
        options, scale = self.options, 1.0 if self.options.init == "none" else self.options.lr_loaded
        self.model.to(self.device, memory_format=torch.channels_last)
        self.average.to(self.device, memory_format=torch.channels_last)
        self.average.module.load_state_dict(self.model.state_dict())
        freeze(self.model, options.freeze)
        # A block with one fresh convolution is fresh as a whole: layer4's norms must follow its convolutions
        fresh_stages = {n.split(".")[0] for n in fresh}
        groups: dict[tuple[bool, bool], list] = {}
        for name, parameter in self.model.net.named_parameters():
            if parameter.requires_grad:
                groups.setdefault((name.split(".")[0] in fresh_stages, parameter.ndim > 1), []).append(parameter)
        peaks = [options.lr * (1.0 if is_fresh else scale) for is_fresh, _ in groups]
        self.optimiser = torch.optim.AdamW(
            [{"params": p, "lr": peak, "weight_decay": options.weight_decay if is_weight else 0.0}
             for ((_, is_weight), p), peak in zip(groups.items(), peaks, strict=True)])
        # OneCycleLR divides by the length of the rise less one: a run of a few steps needs a longer share for it
        rise = options.warmup if options.warmup * self.steps >= 2 else 0.75
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, peaks, total_steps=self.steps,
                                                            pct_start=rise)

    @property
    def learning_rate(self) -> float:
        """The largest one in use."""
        return max(group["lr"] for group in self.optimiser.param_groups)

    def training_mode(self) -> None:
        """Training mode, but for what is frozen."""
        self.model.train()
        for name in STAGES[:self.options.freeze]:
            for module in self.model.stage(name):
                module.eval()

    def step(self, batch: torch.Tensor, loss_of: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """One optimiser step on batch (N, 3, H, W), with the loss of its logits; returns the loss."""
        batch = batch.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with self.autocast():
            logits, _ = self.model(batch)
        loss = loss_of(logits.float())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return float(loss.detach())

    def _identity(self) -> str:
        """What must be the same for a resume to make sense."""
        shaping = asdict(self.options) | {"init": _init_sha256(self.options.init) or self.options.init}
        return json.dumps([shaping, self.split["hash"], self.steps], sort_keys=True)

    def save_last(self, out: Path, history: list) -> None:
        """Everything that a resume needs."""
        state = {"identity": self._identity(), "fresh": sorted(self.fresh), "model": self.model.state_dict(),
                 "average": self.average.state_dict(), "optimiser": self.optimiser.state_dict(),
                 "schedule": self.schedule.state_dict(), "history": history}
        write_atomically(out / "last.pt", lambda file: torch.save(state, file))
        write_json(out / "history.json", history)

    def save_best(self, out: Path, history: list, ancestor: dict | None) -> None:
        """The averaged weights and all that says where they come from."""
        options = asdict(self.options) | {"init": Path(self.options.init).name}
        state = {"model": {k: v.cpu() for k, v in self.average.module.state_dict().items()},
                 "classes": self.split["classes"], "split_hash": self.split["hash"], "source": self.split["source"],
                 "options": options, "init_sha256": _init_sha256(self.options.init), "started_from": ancestor,
                 "history": list(history),
                 "torch": str(torch.__version__), "device": str(self.device)}
        write_atomically(out / "best.pt", lambda file: torch.save(state, file))

    def resume(self, out: Path) -> list | None:
        """Load out/last.pt and return its history, or None where there is none. Raises TrainerError if it is alien."""
        path = out / "last.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != self._identity():
            raise TrainerError(f"{path}: from a run with other options or another split; give another --out, "
                               "or delete it to start anew")
        self.start(set(state["fresh"]))
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        tqdm.write(f"resumed from {path} after epoch {len(state['history'])}")
        return state["history"]


def pick_device(name: str) -> torch.device:
    """auto: CUDA, then Apple's MPS, then the CPU. Raises TrainerError for one that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        raise TrainerError(f"--device {name}: {str(error).splitlines()[0]}; allowed: auto, cpu, cuda, mps") from error


@torch.inference_mode()
def predict(model: nn.Module, images: np.ndarray, spec: InputSpec, device: torch.device, autocast) -> np.ndarray:
    """Logits (N, C) float32 for images (N, H, W, 3) uint8 BGR of the network's size."""
    model.eval()
    preprocessor, answers = Preprocessor(spec), []
    buffer = np.empty((64, *spec.shape[1:]), np.float32)
    for start in range(0, len(images), len(buffer)):
        chunk = images[start:start + len(buffer)]
        for i, image in enumerate(chunk):
            preprocessor.normalise(image, buffer[i:i + 1])
        with autocast():
            batch = torch.from_numpy(buffer[:len(chunk)]).to(device, memory_format=torch.channels_last)
            answers.append(model(batch)[0].float().cpu().numpy())
    return np.concatenate(answers)


def _batches(images, labels: np.ndarray, epoch: int, spec: InputSpec, options: Options) -> Iterator[tuple]:
    """Batches of one epoch, made one thread ahead of the network.

    Yields pictures (N, 3, H, W), their labels (N,), the labels (N,) of what is mixed in, and the share of the first.
    """
    order = np.random.default_rng([options.seed, epoch]).permutation(len(labels))
    how, ready, gone = Augmentation(), queue.Queue(maxsize=4), threading.Event()

    def work() -> None:
        preprocessor = Preprocessor(spec)
        try:
            for step in range(_steps(len(labels), options)):
                chosen = order[step * options.batch_size:(step + 1) * options.batch_size]
                batch = np.empty((len(chosen), *spec.shape[1:]), np.float32)
                for i, index in enumerate(chosen):
                    rng = np.random.default_rng([options.seed, epoch, int(index)])
                    picture = augment(np.asarray(images[index]), rng, spec.height_px, how)
                    preprocessor.normalise(picture, batch[i:i + 1])
                rng = np.random.default_rng([options.seed, epoch, len(labels) + step])
                other, share = mix(batch, rng) if rng.random() < options.mix else (np.arange(len(chosen)), 1.0)
                ready.put((torch.from_numpy(batch), torch.from_numpy(labels[chosen]),
                           torch.from_numpy(labels[chosen[other]]), share))
                if gone.is_set():
                    return
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    threading.Thread(target=work, name="augment", daemon=True).start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        gone.set()


def _steps(pictures: int, options: Options) -> int:
    """Batches an epoch; a last one of a single picture is dropped, as BatchNorm cannot train on it."""
    steps = -(-pictures // options.batch_size)
    return steps - 1 if pictures % options.batch_size == 1 and steps > 1 else steps


def _with_drawings(images, labels: np.ndarray, classes: list[str], options: Options):
    """Add options.drawn drawn pictures of each class, rendered once."""
    if not options.drawn:
        return images, labels
    undrawable = [name for name in classes if name not in MATERIALS]
    if undrawable:
        raise TrainerError(f"--drawn: {', '.join(undrawable)} cannot be drawn, only {', '.join(MATERIALS)}")
    preprocessor = Preprocessor(InputSpec(height_px=TRAIN_PX, width_px=TRAIN_PX))
    jobs = list(itertools.product(range(len(classes)), range(options.drawn)))
    drawn = np.empty((len(jobs), TRAIN_PX, TRAIN_PX, 3), np.uint8)
    for i, (label, number) in enumerate(tqdm(jobs, desc="draw", unit="picture", leave=False)):
        drawn[i] = preprocessor.resize(draw_named(classes[label], DRAWN_SEED + number))
    return _Joined(images, drawn), np.concatenate([labels, np.array([label for label, _ in jobs], np.int64)])


class _Joined:
    """Two arrays of pictures as one, without copying the memory-mapped first."""

    def __init__(self, first: np.ndarray, second: np.ndarray):
        self.first, self.second = first, second

    def __getitem__(self, index: int) -> np.ndarray:
        return self.first[index] if index < len(self.first) else self.second[index - len(self.first)]

    def __len__(self) -> int:
        return len(self.first) + len(self.second)


def _calibration(images, spec: InputSpec) -> Iterator[torch.Tensor]:
    """CALIBRATION_PICTURES training pictures, spread over all classes, as the network sees them."""
    preprocessor = Preprocessor(spec)
    for index in np.linspace(0, len(images) - 1, min(CALIBRATION_PICTURES, len(images))).astype(int):
        buffer = np.empty(spec.shape, np.float32)
        preprocessor(np.asarray(images[index]), buffer)
        yield torch.from_numpy(buffer)


def _class_weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """1 / sqrt(count), mean 1: rare classes weigh more, without letting a hundred pictures rule the rest."""
    weights = 1 / np.sqrt(np.maximum(np.bincount(labels, minlength=classes), 1))
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def _ema(decay: float):
    """Average with a warm-up, so that a short run is not held back by its start."""
    @torch.no_grad()
    def update(averaged, current, count) -> None:
        keep = min(decay, (1 + int(count)) / (10 + int(count)))
        for a, c in zip(averaged, current, strict=True):
            if a.is_floating_point():
                a.lerp_(c.to(a.dtype), 1 - keep)
            else:
                a.copy_(c)
    return update


def _autocast(amp: str, device: torch.device):
    if amp not in ("auto", "on", "off"):
        raise TrainerError(f"--amp {amp}: auto, on or off")
    fast = device.type == "cuda" or (device.type == "cpu" and bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()))
    use = amp == "on" or (amp == "auto" and fast)
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=use)


def _make_deterministic(options: Options, device: torch.device) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def _init_sha256(init: str) -> str | None:
    return hashlib.sha256(Path(init).read_bytes()).hexdigest() if Path(init).is_file() else None


def _ancestor(init: str, split: dict) -> dict | None:
    """How the checkpoint that a run starts from was made; None when it starts from plain weights or nothing.

    Raises TrainerError when it has seen another split: it may have been trained on what is the test here.
    """
    path = Path(init)
    if path.suffix not in (".pt", ".pth") or not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        return None  # initialise says what is wrong with it
    if "split_hash" not in state:
        return None
    if state["split_hash"] != split["hash"]:
        raise TrainerError(f"--init {init}: was trained on split {state['split_hash'][:12]}, the data are "
                           f"{split['hash'][:12]}; its test pictures may have been trained on")
    return {key: state[key] for key in ("options", "init_sha256", "started_from") if key in state} | {
        "epochs_done": len(state["history"])}


def option_names() -> list[str]:
    """The names of all options, as the command line uses them."""
    return [field.name for field in fields(Options)]

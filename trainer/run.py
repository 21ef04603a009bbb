"""The state of one training run: weights, their average, optimiser, schedule; saved and resumed as a whole."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from edge.preprocess import InputSpec, Preprocessor
from trainer.errors import TrainerError
from trainer.files import sha256_of, write_atomically, write_json
from trainer.model import STAGES, Sorter, freeze
from trainer.teacher import FEATURES

if TYPE_CHECKING:
    from trainer.train import Options


class Run:
    """One network on its way through its steps."""

    def __init__(self, model: Sorter, options: Options, part: str, device: torch.device, split: dict, steps: int):
        self.model, self.options, self.part, self.device, self.split, self.steps = (
            model, options, part, device, split, steps)
        self.autocast = autocast(options.amp, device)
        # From the student's features to the teacher's; it stays behind when training is over
        self.guess = nn.Linear(512, FEATURES) if options.teacher else None
        self.average = torch.optim.swa_utils.AveragedModel(model, avg_fn=None, use_buffers=True,
                                                           multi_avg_fn=ema(options.ema))
        self.fresh: set[str] = set()
        self.peaks: list[float] = []
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
        if self.guess is not None:
            self.guess.to(self.device)
            groups.setdefault((True, True), []).extend(self.guess.parameters())
        self.peaks = peaks = [options.lr * (1.0 if is_fresh else scale) for is_fresh, _ in groups]
        self.optimiser = torch.optim.AdamW(
            [{"params": p, "lr": peak, "weight_decay": options.weight_decay if is_weight else 0.0}
             for ((_, is_weight), p), peak in zip(groups.items(), peaks, strict=True)])
        self.begin_cycle()

    def begin_cycle(self) -> None:
        """The rate rises and falls once more, from here on."""
        self.schedule = one_cycle(self.optimiser, self.peaks, self.steps, self.options.warmup)

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

    def step(self, batch: torch.Tensor, loss_of: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]) -> float:
        """One optimiser step on batch (N, 3, H, W), with the loss of its logits (N, C) and of its guess at the
        teacher's features (N, 1280), if there is a teacher; returns the loss.
        """
        batch = batch.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        with self.autocast():
            logits, features = self.model(batch)
            guess = self.guess(features) if self.guess is not None else None
        loss = loss_of(logits.float(), guess.float() if guess is not None else None)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return float(loss.detach())

    def identity(self) -> str:
        """What must be the same for a resume to make sense; of cycles there may be more."""
        shaping = asdict(self.options) | {"init": hash_if_file(self.options.init) or self.options.init,
                                          "teacher": hash_if_file(self.options.teacher)}
        del shaping["cycles"]
        return json.dumps([shaping, self.part, self.split["hash"], self.steps], sort_keys=True)

    def save_last(self, out: Path, history: list) -> None:
        """Everything that a resume needs."""
        state = {"identity": self.identity(), "fresh": sorted(self.fresh), "model": self.model.state_dict(),
                 "average": self.average.state_dict(), "optimiser": self.optimiser.state_dict(),
                 "schedule": self.schedule.state_dict(), "history": history,
                 "guess": self.guess.state_dict() if self.guess is not None else None}
        write_atomically(out / "last.pt", lambda file: torch.save(state, file))
        write_json(out / "history.json", history)

    def save_best(self, out: Path, history: list, ancestor: dict | None) -> None:
        """The averaged weights and all that says where they come from, as best.pt."""
        options = asdict(self.options) | {"init": Path(self.options.init).name,
                                          "teacher": Path(self.options.teacher).name}
        state = {"model": {k: v.cpu() for k, v in self.average.module.state_dict().items()},
                 "classes": self.split["classes"], "split_hash": self.split["hash"], "source": self.split["source"],
                 "options": options, "part": self.part, "init_sha256": hash_if_file(self.options.init),
                 "teacher_sha256": hash_if_file(self.options.teacher), "started_from": ancestor,
                 "history": list(history),
                 "torch": str(torch.__version__), "device": str(self.device)}
        write_atomically(out / "best.pt", lambda file: torch.save(state, file))

    def resume(self, out: Path) -> list | None:
        """Load out/last.pt and return its history, or None where there is none. Raises TrainerError if it is alien."""
        path = out / "last.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != self.identity():
            raise TrainerError(f"{path}: from a run with other options or another split; give another --out, "
                               "or delete it to start anew")
        self.start(set(state["fresh"]))
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.guess is not None:
            self.guess.load_state_dict(state["guess"])
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
def predict(model: nn.Module, images: np.ndarray, spec: InputSpec, device: torch.device,
            cast) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, C) and features (N, 512), float32, for images (N, H, W, 3) uint8 BGR of the network's size."""
    model.eval()
    preprocessor, answers = Preprocessor(spec), []
    buffer = np.empty((64, *spec.shape[1:]), np.float32)
    for start in range(0, len(images), len(buffer)):
        chunk = images[start:start + len(buffer)]
        for i, image in enumerate(chunk):
            preprocessor.normalise(np.asarray(image), buffer[i:i + 1])
        with cast():
            batch = torch.from_numpy(buffer[:len(chunk)]).to(device, memory_format=torch.channels_last)
            answers.append([answer.float().cpu().numpy() for answer in model(batch)])
    logits, features = (np.concatenate(rows) for rows in zip(*answers, strict=True))
    return logits, features


def one_cycle(optimiser: torch.optim.Optimizer, peaks: float | list[float], steps: int, rise: float):
    """The schedule up to the peaks, in a share of the steps, and down to nothing (Smith and Topin 2019)."""
    # OneCycleLR divides by the length of the rise less one: a run of a few steps needs a longer share for it
    rise = rise if rise * steps >= 2 else 0.75
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=steps, pct_start=rise)


def ema(decay: float):
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


def autocast(amp: str, device: torch.device):
    """A function that gives the context in which the network computes. Raises TrainerError."""
    if amp not in ("auto", "on", "off"):
        raise TrainerError(f"--amp {amp}: auto, on or off")
    fast = device.type == "cuda" or (device.type == "cpu" and bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()))
    use = amp == "on" or (amp == "auto" and fast)
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=use)


def make_deterministic(options: Options, device: torch.device) -> None:
    """The same seed gives the same weights, on the same machine with the same number of threads."""
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def hash_if_file(path: str) -> str | None:
    """None where there is no such file."""
    return sha256_of(Path(path)) if Path(path).is_file() else None


def ancestor(init: str, split: dict, part: str) -> dict | None:
    """How the checkpoint that a run starts from was made; None when it starts from plain weights or nothing.

    Raises TrainerError when it has seen another split, for it may have been trained on what is the test here, or
    another part, for it may have been trained on what part holds back.
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
    seen = state.get("part", "train")  # the first checkpoints did not say: they knew no other part
    if part not in ("all", seen):
        raise TrainerError(f"--init {init}: was trained on part {seen} of the data, so it has seen pictures "
                           f"that --part {part} holds back; start from a checkpoint of --part {part}")
    return {key: state[key] for key in ("options", "part", "init_sha256", "started_from") if key in state} | {
        "epochs_done": len(state["history"])}

"""The first step of training when weights lack the last stage: layer4 and the head alone learn, from stored maps.

What the other stages make of a view does not change in this step, so it is computed once and kept; an epoch then takes
a quarter of the time of one through the whole network, and all folds share the maps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from edge.preprocess import InputSpec, Preprocessor
from trainer.ahead import ahead
from trainer.batches import Batches, Loss
from trainer.errors import TrainerError
from trainer.files import write_atomically
from trainer.model import Sorter
from trainer.run import Run, autocast, ema, hash_if_file, one_cycle
from trainer.views import Views, key_of

if TYPE_CHECKING:
    from trainer.train import Options

BATCH = 64  # maps are small: larger batches keep the cores busier
WARMUP = 0.15


def trunk(model: Sorter, image: torch.Tensor) -> torch.Tensor:
    """Everything before layer4: image (N, 3, H, W) -> maps (N, 256, H / 16, W / 16)."""
    net = model.net
    return net.layer3(net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(image)))))))


class Maps:
    """maps[v] is a memory-mapped array (N, 256, h, w) float16 of view v."""

    def __init__(self, views: Views, model: Sorter, options: Options, device: torch.device):
        """model has the weights of options.init. Folds calibrate BatchNorm on other pictures; in eval mode that changes
        nothing but the last bits, which all folds then share.
        """
        folder, spec = views.pool.data / ".cache", InputSpec()
        cast = autocast(options.amp, device)
        key = key_of([views.key, hash_if_file(options.init), options.amp, str(torch.__version__)])
        paths = [folder / f"maps-{key}-{v}.npy" for v in range(len(views.images))]
        for path, images in zip(tqdm(paths, desc="maps", unit="view", leave=False), views.images, strict=True):
            if not path.exists():
                made = np.concatenate(list(_maps_of(model, images, spec, device, cast)))
                write_atomically(path, lambda file, made=made: np.save(file, made))
        self.arrays = [np.load(path, mmap_mode="r") for path in paths]


@torch.inference_mode()
def _maps_of(model: Sorter, images: np.ndarray, spec: InputSpec, device: torch.device, cast) -> Iterator[np.ndarray]:
    model.eval().to(device, memory_format=torch.channels_last)
    preprocessor, buffer = Preprocessor(spec), np.empty((32, *spec.shape[1:]), np.float32)
    for start in tqdm(range(0, len(images), len(buffer)), desc="map", unit="batch", leave=False):
        chunk = images[start:start + len(buffer)]
        for row, image in enumerate(chunk):
            preprocessor.normalise(np.asarray(image), buffer[row:row + 1])
        with cast():
            batch = torch.from_numpy(buffer[:len(chunk)]).to(device, memory_format=torch.channels_last)
            yield trunk(model, batch).to(torch.float16).contiguous().cpu().numpy()


def regrow(run: Run, maps: list[np.ndarray], batches: Batches, loss_of: Loss, out: Path) -> None:
    """Train layer4, the head and the guess of run in place; kept in out/regrown.pt, so that it is done once.

    maps: as of Maps.arrays. Raises TrainerError when out/regrown.pt is of other options.
    """
    options, device, identity = run.options, run.device, run.identity()
    path = out / "regrown.pt"
    growing = nn.ModuleDict({"layer4": run.model.net.layer4, "fc": run.model.net.fc})
    if run.guess is not None:
        growing["guess"] = run.guess
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != identity:
            raise TrainerError(f"{path}: from a run with other options or another split; give another --out, or "
                               "delete it to start anew")
        growing.load_state_dict(state["grown"])
        return
    growing.to(device, memory_format=torch.channels_last).train()
    average = torch.optim.swa_utils.AveragedModel(growing, use_buffers=True, multi_avg_fn=ema(options.ema))
    parameters = list(growing.parameters())
    optimiser = torch.optim.AdamW([{"params": [p for p in parameters if p.ndim > 1]},
                                   {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}],
                                  lr=options.lr, weight_decay=options.weight_decay)
    schedule = one_cycle(optimiser, options.lr, options.regrow * batches.steps, WARMUP)
    for epoch in tqdm(range(options.regrow), desc="regrow layer4", unit="epoch"):
        for batch in ahead(batches.maps(maps, epoch)):
            with run.autocast():
                grown = growing["layer4"](batch.images.to(device, memory_format=torch.channels_last))
                features = torch.flatten(run.model.net.avgpool(grown), 1)
                logits = growing["fc"](features).float()
                seen = growing["guess"](features).float() if run.guess is not None else None
            loss = loss_of(batch, logits, seen)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(growing)
    growing.load_state_dict(average.module.state_dict())
    grown_state = {k: v.cpu() for k, v in growing.state_dict().items()}
    write_atomically(path, lambda file: torch.save({"identity": identity, "grown": grown_state}, file))

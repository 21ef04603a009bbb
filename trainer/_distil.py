"""The last step of quantisation: the rounded network learns to answer as the exact one does."""

from __future__ import annotations

from typing import Iterator

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from edge.preprocess import InputSpec, Preprocessor
from trainer._fakequant import Network
from trainer.run import autocast

PASSES = 2  # over the training pictures; a few CPU minutes for two thousand of them
BATCH = 16
LEARNING_RATE = 4e-6  # of Adam; five times as much first unlearns more than a hundred steps win back
WARMUP = 0.1  # share of the steps


def distil(rounded: Network, exact: Network, images: np.ndarray, spec: InputSpec, seed: int = 0) -> None:
    """Train rounded's weights and biases, in place, until it answers as exact does; the grids stay as they are.

    images: training pictures (N, H, W, 3) uint8 BGR of the network's size; labels are not used, so the network learns
    nothing but to be itself. Rounding has straight-through gradients (Bengio et al. 2013), the loss is the divergence
    of the answers (Hinton et al. 2015) and the squared error of the features.
    """
    steps = PASSES * -(-len(images) // BATCH)
    optimiser = torch.optim.Adam(rounded.parameters(), LEARNING_RATE)
    rise = max(1, round(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rise, 0.5 + 0.5 * np.cos(np.pi * step / steps)))
    cast = autocast("auto", torch.device("cpu"))
    for batch in tqdm(_batches(images, steps, spec, seed), total=steps, desc="distil", unit="step", leave=False):
        with cast():
            with torch.no_grad():
                wanted_logits, wanted_features = (answer.float() for answer in exact(batch))
            logits, features = (answer.float() for answer in rounded(batch))
        divergence = functional.kl_div(functional.log_softmax(logits, 1), functional.log_softmax(wanted_logits, 1),
                                       log_target=True, reduction="batchmean")
        distance = functional.mse_loss(features, wanted_features) / wanted_features.square().mean().clamp_min(1e-8)
        optimiser.zero_grad()
        (divergence + distance).backward()
        optimiser.step()
        schedule.step()


def _batches(images: np.ndarray, steps: int, spec: InputSpec, seed: int) -> Iterator[torch.Tensor]:
    """Pictures mirrored at random, half of them mixed with another: of those the exact network is less sure, and
    there it matters where its borders lie.
    """
    rng, preprocessor = np.random.default_rng(seed), Preprocessor(spec)
    order = np.concatenate([rng.permutation(len(images)) for _ in range(PASSES + 1)])
    for step in range(steps):
        chosen = order[step * BATCH:(step + 1) * BATCH]
        batch = np.empty((len(chosen), *spec.shape[1:]), np.float32)
        for row, index in enumerate(chosen):
            flip_y, flip_x = rng.choice([-1, 1], 2)
            preprocessor.normalise(np.asarray(images[index])[::flip_y, ::flip_x], batch[row:row + 1])
        share = rng.uniform(0.5, 1, (len(batch), 1, 1, 1)).astype(np.float32)
        share[len(batch) // 2:] = 1
        batch = share * batch + (1 - share) * batch[rng.permutation(len(batch))]
        yield torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)

"""What a step of training gets: pictures or stored maps, mixed in pairs, their labels, what the teacher sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

import cv2
import numpy as np
import torch
from torch import nn

from edge.preprocess import InputSpec, Preprocessor
from trainer.augment import mix
from trainer.views import Views


@dataclass(frozen=True)
class Batch:
    """Pictures (N, 3, H, W) or maps (N, 256, h, w), float32; their labels (N,), those (N,) of what is mixed in, and
    the share of the first; what the teacher sees (N, 1280), mixed likewise, or None.
    """

    images: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor
    share: float
    features: torch.Tensor | None


class Batches:
    """The batches of each epoch over some rows of the pool. Randomness hangs on (seed, epoch, step) alone."""

    def __init__(self, views: Views, rows: np.ndarray, size: int, mix_share: float, seed: int):
        self.views, self.rows, self.size, self.mix_share, self.seed = views, rows, size, mix_share, seed
        steps = -(-len(rows) // size)
        # A last batch of one picture is left out, as BatchNorm cannot learn from it
        self.steps = steps - 1 if len(rows) % size == 1 and steps > 1 else steps
        self._scale = None
        if views.features:  # mean and spread of the teacher's features over what is trained on, in the first view
            seen = views.features[0][rows].astype(np.float32)
            self._scale = seen.mean(0), seen.std(0) + 1e-3

    def pictures(self, epoch: int, side_px: int) -> Iterator[Batch]:
        """Views, some mirrored, shrunk to side_px."""
        spec = InputSpec(height_px=side_px, width_px=side_px)
        preprocessor = Preprocessor(spec)
        for chosen, which, rng in self._choose(epoch):
            images = np.empty((len(chosen), *spec.shape[1:]), np.float32)
            for i, (index, view) in enumerate(zip(chosen, which, strict=True)):
                picture = self.views.images[view][index]
                if rng.random() < 0.5:
                    picture = picture[:, ::-1]
                if picture.shape[0] != side_px:
                    picture = cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_AREA)
                preprocessor.normalise(np.ascontiguousarray(picture), images[i:i + 1])
            yield self._mixed(images, chosen, which, rng)

    def maps(self, arrays: list[np.ndarray], epoch: int) -> Iterator[Batch]:
        """Stored maps of the views, arrays[view] (pictures, 256, h, w)."""
        for chosen, which, rng in self._choose(epoch):
            images = np.stack([arrays[view][index] for index, view in zip(chosen, which, strict=True)])
            yield self._mixed(images.astype(np.float32), chosen, which, rng)

    def _choose(self, epoch: int) -> Iterator[tuple[np.ndarray, list[int], np.random.Generator]]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))
        for step in range(self.steps):
            chosen = self.rows[order[step * self.size:(step + 1) * self.size]]
            # Each picture goes through its views in turn, starting anywhere: an epoch has some of each view
            which = [(epoch + int(index) * 7) % len(self.views.images) for index in chosen]
            yield chosen, which, np.random.default_rng([self.seed, epoch, step])

    def _mixed(self, images: np.ndarray, chosen: np.ndarray, which: list[int], rng: np.random.Generator) -> Batch:
        other, share = np.arange(len(chosen)), 1.0
        if rng.random() < self.mix_share:
            other, share = mix(images, rng)
        labels, features = self.views.pool.labels[chosen], None
        if self._scale is not None:
            seen = np.stack([self.views.features[view][index] for index, view in zip(chosen, which, strict=True)])
            seen = (seen.astype(np.float32) - self._scale[0]) / self._scale[1]
            features = torch.from_numpy(share * seen + (1 - share) * seen[other])
        return Batch(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(labels[other]), share,
                     features)


class Loss:
    """Cross-entropy, rare classes weighted, beside the squared error of the guess at the teacher's features."""

    def __init__(self, labels: np.ndarray, classes: int, smoothing: float, teacher_weight: float,
                 device: torch.device):
        self._entropy = nn.CrossEntropyLoss(weight=_class_weights(labels, classes).to(device),
                                            label_smoothing=smoothing)
        self._teacher_weight, self._device = teacher_weight, device

    def __call__(self, batch: Batch, logits: torch.Tensor, guess: torch.Tensor | None) -> torch.Tensor:
        """Of logits (N, C) and the guess (N, 1280), float32."""
        loss = (batch.share * self._entropy(logits, batch.labels.to(self._device))
                + (1 - batch.share) * self._entropy(logits, batch.others.to(self._device)))
        if guess is not None and batch.features is not None:
            loss = loss + self._teacher_weight * (guess - batch.features.to(self._device)).square().mean()
        return loss


def _class_weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """1 / sqrt(count), mean 1: rare classes weigh more, without letting a hundred pictures rule the rest."""
    weights = 1 / np.sqrt(np.maximum(np.bincount(labels, minlength=classes), 1))
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)

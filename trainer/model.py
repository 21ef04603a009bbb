"""The network: torchvision's ResNet18 with two outputs, and the ways it can start."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Iterable, Iterator

import numpy as np
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, resnet18

from trainer.errors import TrainerError

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")  # what --freeze 1 to 5 freezes, in this order


class Sorter(nn.Module):
    """ResNet18 that answers (logits (N, C), features (N, 512)); features are the pooled ones before the last layer."""

    def __init__(self, classes: int):
        super().__init__()
        self.net = resnet18(weights=None, num_classes=classes)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (N, 3, H, W) float32, normalised RGB -> logits (N, C) and features (N, 512)."""
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(image))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        features = torch.flatten(net.avgpool(x), 1)
        return net.fc(features), features

    def stage(self, name: str) -> list[nn.Module]:
        """The modules of one of STAGES."""
        return [self.net.conv1, self.net.bn1] if name == "stem" else [getattr(self.net, name)]


def freeze(model: Sorter, stages: int) -> None:
    """Stop the first stages (0 to 5) from learning; their BatchNorm keeps its statistics too. Keeps model's mode."""
    for name in STAGES[:stages]:
        for module in model.stage(name):
            module.requires_grad_(False)
            module.eval()


def initialise(model: Sorter, init: str, pictures: Iterable[torch.Tensor]) -> set[str]:
    """Load weights: init is imagenet, none, or a file (.pth of a ResNet18, or .npz with BatchNorm folded in).

    pictures yields batches (N, 3, H, W) of normalised training pictures, which an .npz needs to set up BatchNorm.
    Returns the names of the parameters that still start from scratch. Raises TrainerError.
    """
    everything = {n for n, _ in model.net.named_parameters()}
    if init == "none":
        return everything
    if init == "imagenet":
        try:
            state = ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        except Exception as error:  # torchvision raises whatever urllib, ssl or the hash check raise
            raise TrainerError(f"--init imagenet: cannot fetch the weights ({error}); fetch "
                               f"{ResNet18_Weights.IMAGENET1K_V1.url} by hand and give --init FILE, "
                               "or start with --init none") from error
        return _load_state(model, state, init)
    path = Path(init)
    if not path.is_file():
        raise TrainerError(f"--init {init}: no such file; allowed: imagenet, none, a .pth or an .npz file")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                weights = {k: torch.from_numpy(arrays[k]) for k in arrays.files}
            return _load_folded(model, weights, pictures)
        return _load_state(model, torch.load(path, map_location="cpu", weights_only=True), init)
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise TrainerError(f"--init {init}: cannot be loaded: {str(error).splitlines()[0]}") from error


def _load_state(model: Sorter, state: dict, init: str) -> set[str]:
    state = state.get("model", state)
    state = {k.removeprefix("net."): v for k, v in state.items()}
    own = model.net.state_dict()
    fits = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if not any(k.startswith("layer1") for k in fits):
        raise TrainerError(f"--init {init}: holds no ResNet18 weights")
    model.net.load_state_dict(fits, strict=False)
    return {n for n, _ in model.net.named_parameters() if n not in fits}


def _load_folded(model: Sorter, weights: dict[str, torch.Tensor], pictures: Iterable[torch.Tensor]) -> set[str]:
    """Load convolutions whose BatchNorm is folded in, then give each BatchNorm the statistics of real pictures.

    With running mean m, variance v, weight sqrt(v + eps) and bias m + folded bias, BatchNorm in eval mode only adds the
    folded bias: the network starts as the folded one, and trains with normalisation.
    """
    modules = dict(model.net.named_modules())
    fresh = {n for n, _ in model.net.named_parameters()}
    hooks = []
    for conv, norm_name in _conv_norm_pairs(model):
        if conv + ".weight" in weights:
            modules[conv].weight.data.copy_(weights[conv + ".weight"])
            fresh -= {conv + ".weight", norm_name + ".weight", norm_name + ".bias"}
        # A convolution that starts from scratch starts with a plain BatchNorm: its folded bias means nothing
        bias = weights[conv + ".bias"] if conv + ".weight" in weights else None
        hooks.append(modules[norm_name].register_forward_pre_hook(_unfolder(bias)))
    model.eval()
    with torch.inference_mode():
        model(torch.cat(list(pictures)))
    for hook in hooks:
        hook.remove()
    return fresh


def _unfolder(bias: torch.Tensor | None):
    """A hook that sets a BatchNorm from its own input just before it is used, so that one pass sets them all."""
    def unfold(norm: nn.BatchNorm2d, inputs: tuple) -> None:
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3), unbiased=False)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        if bias is not None:
            norm.weight.data.copy_(torch.sqrt(variance + norm.eps))
            norm.bias.data.copy_(mean + bias)
    return unfold


def _conv_norm_pairs(model: Sorter) -> Iterator[tuple[str, str]]:
    """(convolution, BatchNorm behind it) in the order in which a picture passes them."""
    yield "conv1", "bn1"
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        for index, block in enumerate(getattr(model.net, layer)):
            name = f"{layer}.{index}"
            yield f"{name}.conv1", f"{name}.bn1"
            yield f"{name}.conv2", f"{name}.bn2"
            if block.downsample is not None:
                yield f"{name}.downsample.0", f"{name}.downsample.1"

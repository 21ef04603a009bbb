"""A teacher that knows ImageNet: MobileNetV2 (Sandler et al. 2018) from an .npz of TensorFlow weights.

The ResNet18 weights at hand may lack their last stage. What this network sees in a picture then stands in for it:
the student learns to predict the teacher's features beside the label (Romero et al. 2015, FitNets; feature
distillation as in Heo et al. 2019). The teacher needs no labels, so it does not know any fold.
"""

from __future__ import annotations

import io
import logging
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from edge.preprocess import InputSpec
from trainer.errors import TrainerError

FEATURES = 1280
# Blocks of (expansion or 1, stride); a block adds its input where stride is 1 and the channels are the same
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)


class MobileNetV2(nn.Module):
    """BatchNorm folded in, ReLU6, TensorFlow's SAME padding; answers pooled features, never trained."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        """arrays: NN_OP_w, (out, h, w, in) or depthwise (1, h, w, channels), and NN_OP_b. Raises TrainerError."""
        super().__init__()
        names = sorted(name[:-2] for name in arrays if name.endswith("_w"))
        if len(names) != 3 * len(STRIDES) + 2 or arrays[names[-2] + "_w"].shape[0] != FEATURES:
            raise TrainerError(f"{len(names)} layers: MobileNetV2 1.0 has {3 * len(STRIDES) + 2}, the last but one "
                               f"with {FEATURES} channels")
        for index, name in enumerate(names[:-1]):  # the last makes 1001 classes of the features
            weight = arrays[name + "_w"].astype(np.float32)
            order = (3, 0, 1, 2) if "DEPTHWISE" in name else (0, 3, 1, 2)
            weight = torch.from_numpy(np.ascontiguousarray(weight.transpose(order)))
            self.register_buffer(f"w{index}", weight)
            self.register_buffer(f"b{index}", torch.from_numpy(arrays[name + "_b"].astype(np.float32)))
        spec = InputSpec()
        # From our normalisation to the teacher's x / 127.5 - 1
        self.register_buffer("scale", torch.tensor(spec.std).reshape(1, 3, 1, 1) * 2)
        self.register_buffer("shift", torch.tensor(spec.mean).reshape(1, 3, 1, 1) * 2 - 1)

    @torch.no_grad()
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Image (N, 3, H, W) float32, normalised as for the student -> features (N, 1280) float32."""
        x = self._conv(image * self.scale + self.shift, 0, stride=2).clamp_(0, 6)
        index = 1
        for block, stride in enumerate(STRIDES):
            entry = x
            if block:  # the first block does not expand
                x = self._conv(x, index).clamp_(0, 6)
                index += 1
            x = self._conv(x, index, stride, groups=x.shape[1]).clamp_(0, 6)
            x = self._conv(x, index + 1)
            index += 2
            if stride == 1 and x.shape == entry.shape:
                x = x + entry
        return self._conv(x, index).clamp_(0, 6).mean((2, 3)).float()

    def _conv(self, x: torch.Tensor, index: int, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight, bias = getattr(self, f"w{index}"), getattr(self, f"b{index}")
        size, step = weight.shape[2], x.shape[2] % stride or stride
        before = max(size - step, 0)  # SAME: what is missing for ceil(H / stride) outputs, the odd one behind
        if stride == 1:
            return F.conv2d(x, weight, bias, padding=size // 2, groups=groups)
        x = F.pad(x, (before // 2, before - before // 2) * 2)
        return F.conv2d(x, weight, bias, stride, groups=groups)


class Teacher:
    """The network in ONNX Runtime, which on a CPU takes half of torch's time for it."""

    def __init__(self, network: MobileNetV2):
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(network, (torch.zeros(InputSpec().shape),), buffer, opset_version=13, dynamo=False,
                              input_names=["image"], dynamic_axes={"image": {0: "pictures"}})
        self._session = onnxruntime.InferenceSession(buffer.getvalue())

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images (N, 3, 224, 224) float32, normalised as for the student -> features (N, 1280) float32."""
        return self._session.run(None, {"image": images})[0]


def load_teacher(path: Path) -> MobileNetV2:
    """The teacher in an .npz file. Raises TrainerError."""
    try:
        with np.load(path) as arrays:
            return MobileNetV2({name: arrays[name] for name in arrays.files}).eval()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrainerError(f"--teacher {path}: cannot be read ({error}); an .npz of MobileNetV2 is needed") from error

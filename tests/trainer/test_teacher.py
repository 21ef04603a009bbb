"""The teacher: a MobileNetV2 as TensorFlow would run it."""

import numpy as np
import pytest
import torch

from trainer.errors import TrainerError
from trainer.teacher import FEATURES, STRIDES, MobileNetV2, Teacher, load_teacher


def random_weights(seed=0):
    """Arrays named and shaped like those of the real file."""
    rng, arrays, names = np.random.default_rng(seed), {}, []

    def add(kind, out, size, into):
        name = f"{len(names):02d}_{kind}"
        names.append(name)
        shape = (1, size, size, out) if kind == "DEPTHWISE_CONV_2D" else (out, size, size, into)
        fan_in = size * size * (1 if kind == "DEPTHWISE_CONV_2D" else into)
        arrays[name + "_w"] = (rng.normal(size=shape) * np.sqrt(2 / fan_in)).astype(np.float16)
        arrays[name + "_b"] = (rng.normal(size=shape[0] if kind == "CONV_2D" else out) * 0.1).astype(np.float16)

    add("CONV_2D", 32, 3, 3)
    channels = 32
    for block, width in enumerate([16] + [24] * 2 + [32] * 3 + [64] * 4 + [96] * 3 + [160] * 3 + [320]):
        wide = channels * (6 if block else 1)
        if block:
            add("CONV_2D", wide, 1, channels)
        add("DEPTHWISE_CONV_2D", wide, 3, wide)
        add("CONV_2D", width, 1, wide)
        channels = width
    add("CONV_2D", FEATURES, 1, channels)
    add("CONV_2D", 11, 1, FEATURES)
    return arrays


def reference(arrays, image):
    """The same network in NumPy, written from TensorFlow's rules: image (H, W, 3) in 0 to 1 -> features."""
    def conv(x, name, stride):
        weight, bias = (arrays[f"{name}_{k}"].astype(np.float64) for k in "wb")
        size, deep = weight.shape[1], "DEPTHWISE" in name
        out = [-(-n // stride) for n in x.shape[:2]]
        pad = [max((o - 1) * stride + size - n, 0) for o, n in zip(out, x.shape[:2], strict=True)]
        x = np.pad(x, [(p // 2, p - p // 2) for p in pad] + [(0, 0)])
        result = 0
        for i in range(size):
            for j in range(size):
                patch = x[i:i + (out[0] - 1) * stride + 1:stride, j:j + (out[1] - 1) * stride + 1:stride]
                result = result + (patch * weight[0, i, j] if deep else patch @ weight[:, i, j].T)
        return result + bias

    names = sorted({n[:-2] for n in arrays})
    x, at = np.clip(conv(image * 2 - 1, names[0], 2), 0, 6), 1
    for block, stride in enumerate(STRIDES):
        entry = x
        if block:
            x, at = np.clip(conv(x, names[at], 1), 0, 6), at + 1
        x = conv(np.clip(conv(x, names[at], stride), 0, 6), names[at + 1], 1)
        at += 2
        x = x + entry if stride == 1 and x.shape == entry.shape else x
    return np.clip(conv(x, names[at], 1), 0, 6).mean((0, 1))


def normalised(image_rgb):
    return ((image_rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.parametrize("side", [64, 70])  # even, and odd from the second stage on
def test_it_computes_what_tensorflow_would(side):
    arrays = random_weights()
    image = np.random.default_rng(1).random((side, side, 3))
    got = MobileNetV2(arrays)(torch.from_numpy(normalised(image)))
    assert got.shape == (1, FEATURES)
    assert np.allclose(got[0].numpy(), reference(arrays, image), atol=2e-3)


def test_onnx_runtime_gives_the_same_for_any_number_of_pictures():
    network = MobileNetV2(random_weights())
    images = np.random.default_rng(2).normal(size=(3, 3, 224, 224)).astype(np.float32)
    assert np.allclose(Teacher(network)(images), network(torch.from_numpy(images)).numpy(), atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_a_file_that_is_no_teacher_is_one_line(tmp_path, content):
    path = tmp_path / "teacher.npz"
    if content is None:
        np.savez(path, **{k: v for k, v in random_weights().items() if not k.startswith("05")})
    else:
        path.write_bytes(content)
    with pytest.raises(TrainerError) as error:
        load_teacher(path)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(TrainerError, match="none.npz"):
        load_teacher(tmp_path / "none.npz")

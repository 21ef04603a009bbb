"""The network: its outputs, its ways to start, what freezing freezes."""

import numpy as np
import pytest
import torch

from trainer.errors import TrainerError
from trainer.model import STAGES, Sorter, _conv_norm_pairs, freeze, initialise


def random_network(classes=1000, seed=0):
    """A ResNet18 whose BatchNorms have statistics and weights of their own."""
    torch.manual_seed(seed)
    model = Sorter(classes)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return model.eval()


def folded(model):
    """The network's weights with each BatchNorm folded into the convolution before it."""
    modules, weights = dict(model.net.named_modules()), {}
    for conv, norm_name in _conv_norm_pairs(model):
        norm = modules[norm_name]
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weights[conv + ".weight"] = (modules[conv].weight * scale[:, None, None, None]).detach()
        weights[conv + ".bias"] = (norm.bias - norm.running_mean * scale).detach()
    return weights


def pictures(count=8, seed=1):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_outputs_are_logits_and_the_features_behind_them():
    model = random_network(classes=6)
    with torch.inference_mode():
        logits, features = model(pictures())
        assert logits.shape == (8, 6) and features.shape == (8, 512)
        assert torch.allclose(model.net.fc(features), logits)
        assert torch.allclose(model.net(pictures()), logits, atol=1e-5), "the same network as torchvision's"


def test_a_folded_file_gives_the_folded_networks_features(tmp_path):
    source = random_network()
    np.savez(tmp_path / "w.npz", **{k: v.numpy() for k, v in folded(source).items()})
    model = Sorter(6)
    fresh = initialise(model, str(tmp_path / "w.npz"), [pictures()])
    assert fresh == {"fc.weight", "fc.bias"}
    model.eval()
    with torch.inference_mode():
        expected, got = source(pictures(seed=5))[1], model(pictures(seed=5))[1]
    assert torch.allclose(got, expected, atol=1e-3, rtol=1e-3)


def test_convolutions_that_a_partial_file_lacks_start_from_scratch(tmp_path):
    weights = {k: v.numpy() for k, v in folded(random_network()).items()
               if not (k.startswith("layer4") and k.endswith("weight") and "downsample" not in k)}
    np.savez(tmp_path / "w.npz", **weights)
    fresh = initialise(Sorter(6), str(tmp_path / "w.npz"), [pictures()])
    convolutions = {f"layer4.{i}.conv{j}.weight" for i in (0, 1) for j in (1, 2)}
    assert convolutions <= fresh and not any(n.startswith(("conv1", "layer1", "layer2", "layer3")) for n in fresh)


def test_the_real_partial_weights(shared_data):
    model = Sorter(6)
    fresh = initialise(model, str(shared_data / "resnet18_imagenet_partial.npz"), [pictures()])
    assert sorted(n for n in fresh if n.endswith("weight") and "conv" in n) == [
        f"layer4.{i}.conv{j}.weight" for i in (0, 1) for j in (1, 2)]
    assert model.net.conv1.weight.abs().sum() > 0 and model.net.bn1.running_var.min() > 0


@pytest.mark.parametrize("prefix", ["", "net."])
def test_a_pth_file_of_another_class_count_keeps_all_but_the_last_layer(tmp_path, prefix):
    source = random_network()
    torch.save({prefix + k: v for k, v in source.net.state_dict().items()}, tmp_path / "w.pth")
    model = Sorter(6)
    assert initialise(model, str(tmp_path / "w.pth"), []) == {"fc.weight", "fc.bias"}
    assert torch.equal(model.net.layer3[0].conv1.weight, source.net.layer3[0].conv1.weight)


@pytest.mark.parametrize("name, content, word", [
    ("missing.pth", None, "no such file"), ("text.pth", b"hello", "cannot be loaded"),
    ("text.npz", b"hello", "cannot be loaded"), ("vit", None, "no such file")])
def test_files_that_are_no_weights_are_one_line(tmp_path, name, content, word):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TrainerError, match=word) as caught:
        initialise(Sorter(6), str(tmp_path / name), [])
    assert len(str(caught.value).splitlines()) == 1


def test_imagenet_without_a_network_says_what_to_do(monkeypatch, tmp_path):
    def refuse(*arguments, **kwargs):
        raise OSError("no route to host")
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where no earlier download lies
    with pytest.raises(TrainerError, match=r"no route to host.*--init FILE"):
        initialise(Sorter(6), "imagenet", [])


@pytest.mark.parametrize("stages", range(6))
def test_freezing_stops_the_first_stages_and_nothing_else(stages):
    model = Sorter(6)
    model.train()
    freeze(model, stages)
    frozen = {n for n, p in model.net.named_parameters() if not p.requires_grad}
    names = {"stem": ("conv1.", "bn1.")}
    expected = tuple(prefix for stage in STAGES[:stages] for prefix in names.get(stage, (stage + ".",)))
    assert frozen == {n for n, _ in model.net.named_parameters() if n.startswith(expected)} if expected else not frozen

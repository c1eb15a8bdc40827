"""Frozen feature networks: VGG-19's layers, what its file must hold, and where gradients go."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.nets.blocks import perceptual
from tiepoint.nets.blocks.perceptual import SDGMNetFeatures, VGG19Features
from tiepoint.nets.towers.sdgmnet import SDGMNet

# Where the convolutions stand in torchvision's VGG-19, and the channels that they make.
CONVOLUTIONS = {
    0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512, 23: 512, 25: 512, 28: 512,
    30: 512, 32: 512, 34: 512,
}  # fmt: skip
POOLED_BEFORE = {5, 10, 19, 28}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights in torchvision's layout, spread so that features keep their scale, and a key of its dense part."""
    random = torch.Generator().manual_seed(0)
    state, inputs = {"classifier.6.bias": torch.zeros(1000)}, 3
    for place, channels in CONVOLUTIONS.items():
        spread = (2 / (9 * inputs)) ** 0.5
        state[f"features.{place}.weight"] = spread * torch.randn(channels, inputs, 3, 3, generator=random)
        state[f"features.{place}.bias"] = 0.1 * torch.randn(channels, generator=random)
        inputs = channels
    return state


@pytest.fixture(scope="module")
def path(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def vgg(path: Path) -> VGG19Features:
    return VGG19Features(path)


def by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    for place in CONVOLUTIONS:
        if place in POOLED_BEFORE:
            x = F.max_pool2d(x, 2, 2)
        x = F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1).clamp(min=0)
    return x


def test_vgg_is_vgg(vgg: VGG19Features, state: dict[str, Tensor]) -> None:
    assert sum(p.numel() for p in vgg.parameters()) == 20_024_384
    patches = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    maps = vgg(patches)
    assert maps.shape == (2, 512, 4, 4)
    assert maps.std() > 1e-2  # else there would be nothing to compare
    torch.testing.assert_close(maps, by_hand(state, patches.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-5)
    assert set(vgg.state_dict()) == set(state) - {"classifier.6.bias"}


def test_vgg_reads_safetensors(state: dict[str, Tensor], vgg: VGG19Features, tmp_path: Path) -> None:
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "vgg19.safetensors")
    net = VGG19Features(tmp_path / "vgg19.safetensors")
    patches = torch.rand(1, 1, 16, 16)
    assert net(patches).dtype == torch.float32
    torch.testing.assert_close(net(patches), vgg(patches), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (1, 64, 64), (1, 1, 8, 8)])
def test_vgg_names_other_shapes(vgg: VGG19Features, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"VGG-19 takes \(N, 1 or 3, S, S\)"):
        vgg(torch.zeros(shape))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.16.weight": None}, r"features\.16\.weight is missing"),  # VGG-16 has another layer there
        ({"features.2.weight": torch.zeros(64)}, r"features\.2\.weight is \(64,\), not \(64, 64, 3, 3\)"),
    ],
)
def test_another_network_is_named(
    state: dict[str, Tensor], tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    # One number stands for all: the file stays small, and the shape is what is looked at.
    small = {
        key: value[:1, :1, :1, :1].expand(value.shape) if value.ndim == 4 else value for key, value in state.items()
    }
    torch.save({key: value for key, value in (small | change).items() if value is not None}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=f"other.pth: no weights of VGG-19 .*{message}"):
        VGG19Features(tmp_path / "other.pth")


@pytest.mark.parametrize("name", ["vgg.pth", "vgg.safetensors"])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        VGG19Features(tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(InputError, match=name):
        VGG19Features(tmp_path / name)


@pytest.fixture(scope="module")
def describer() -> SDGMNet:
    torch.manual_seed(0)
    return SDGMNet().train()


def test_sdgmnet_gives_the_maps_before_its_last_layer(describer: SDGMNet) -> None:
    features = SDGMNetFeatures(describer)
    patches = torch.rand(3, 1, 32, 32)
    maps = features(patches)
    assert maps.shape == (3, 128, 8, 8)
    describer.eval()
    unit = F.normalize(describer.layer7(maps).flatten(1), dim=1)
    torch.testing.assert_close(unit, describer(patches))


def test_sdgmnet_reduces_patches(describer: SDGMNet) -> None:
    features = SDGMNetFeatures(describer)
    small = torch.rand(2, 1, 32, 32)
    assert features(small.repeat_interleave(2, 2).repeat_interleave(2, 3)).shape == (2, 128, 8, 8)
    constant = torch.full((1, 1, 64, 64), 0.3)
    torch.testing.assert_close(features(constant), features(constant[..., :32, :32]))
    with pytest.raises(InputError, match=r"SDGMNetFeatures takes \(N, 1, S, S\)"):
        features(torch.rand(2, 3, 64, 64))


def test_the_describer_stays_as_it_is(describer: SDGMNet) -> None:
    describer.train()
    features = SDGMNetFeatures(describer)
    assert describer.training
    assert all(p.requires_grad for p in describer.parameters())
    with torch.no_grad():
        before = features(torch.full((1, 1, 32, 32), 0.5)).clone()
        kept = describer.layer1[2].weight.clone()
        describer.layer1[2].weight.zero_()
        assert torch.equal(features(torch.full((1, 1, 32, 32), 0.5)), before)
        describer.layer1[2].weight.copy_(kept)


@pytest.mark.parametrize("kind", ["vgg", "sdgmnet"])
def test_frozen_but_for_the_patches(kind: str, vgg: VGG19Features, describer: SDGMNet) -> None:
    net: nn.Module = vgg if kind == "vgg" else SDGMNetFeatures(describer)
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    patches = torch.rand(1, 1, 64, 64)
    given = patches.clone()
    patches.requires_grad_()
    (gradient,) = torch.autograd.grad(net(patches).square().sum(), patches)
    assert (gradient != 0).float().mean() > 0.9
    assert torch.equal(patches.detach(), given)  # nothing works in place on what it was given


def test_the_channels_are_those_of_the_table() -> None:
    assert [channels for channels, count in perceptual.BLOCKS for _ in range(count)] == list(CONVOLUTIONS.values())

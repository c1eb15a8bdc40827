"""Our networks against kornia's, and against their formulas where kornia has none."""

from __future__ import annotations

from collections.abc import Callable

import kornia.feature
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.nets.checkpoints import load_checkpoint

pytestmark = pytest.mark.usefixtures("quick_weights")
KORNIA: dict[str, Callable[..., nn.Module]] = {
    "hardnet": kornia.feature.HardNet,
    "hardnet8": kornia.feature.HardNet8,
    "sosnet": kornia.feature.SOSNet,
    "tfeat": kornia.feature.TFeat,
    "sdgmnet": kornia.feature.HyNet,
}


@torch.no_grad()
def shake(net: nn.Module, size: int = 32) -> nn.Module:
    """Give running statistics, biases and projections values that matter, near those of patches."""
    for key, value in [*net.named_buffers(), *net.named_parameters()]:
        if key.endswith(("bias", "tau")):
            nn.init.normal_(value, std=0.1)
        elif key == "components":
            nn.init.orthogonal_(value)
        elif key == "mean":
            value.normal_(std=0.02)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    net.train()(torch.rand(64, 1, size, size))
    for norm in norms:
        norm.running_mean.add_(0.3 * torch.randn(len(norm.running_mean)) * norm.running_var.sqrt())
        norm.running_var.mul_(torch.empty(len(norm.running_var)).uniform_(0.5, 2))
    return net.eval()


@pytest.mark.parametrize("name", KORNIA)
def test_kornias_weights_give_kornias_descriptors(name: str) -> None:
    torch.manual_seed(0)
    oracle = shake(KORNIA[name](pretrained=False))
    network, net = load_checkpoint(oracle.state_dict())
    patches = torch.rand(9, 1, 32, 32)
    with torch.inference_mode():
        expected = oracle(patches)
        torch.testing.assert_close(net(patches), expected, rtol=0, atol=1e-5)
    assert network == name
    assert expected.shape == (9, 128)
    assert F.cosine_similarity(expected[:-1], expected[1:]).max() < 0.999, "the patches are told apart"
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in oracle.parameters())


def test_centre_surround_is_two_towers() -> None:
    torch.manual_seed(0)
    towers = [shake(kornia.feature.HardNet(pretrained=False)) for _ in range(2)]
    parts = zip(("whole", "centre"), towers, strict=True)
    network, net = load_checkpoint({f"{part}.{k}": v for part, tower in parts for k, v in tower.state_dict().items()})
    patches = torch.rand(4, 1, 64, 64)
    reduced = F.interpolate(patches, size=(32, 32), mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = torch.cat([towers[0](reduced), towers[1](patches[:, :, 16:48, 16:48])], dim=1) / 2**0.5
        torch.testing.assert_close(net(patches), expected, rtol=0, atol=1e-5)
    assert network == "l2net-cs"


def test_hardnet_ps_is_its_formula() -> None:
    torch.manual_seed(0)
    net = shake(nets.create("hardnet-ps"))
    state = net.state_dict()
    patches = torch.rand(4, 1, 32, 32)

    def layer(x: Tensor, index: int, stride: int) -> Tensor:
        c, n = f"features.{index}", f"features.{index + 1}"
        x = F.conv2d(x, state[f"{c}.weight"], state[f"{c}.bias"], stride=stride, padding=1)
        mean, var, weight, bias = (
            state[f"{n}.{k}"][:, None, None] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu((x - mean) / (var + 1e-5).sqrt() * weight + bias)

    x = (patches - patches.mean((1, 2, 3), keepdim=True)) / (patches.std((1, 2, 3), keepdim=True) + 1e-7)
    for index, stride in zip(range(0, 18, 3), (1, 1, 2, 1, 2, 1), strict=True):
        x = layer(x, index, stride)
    x = F.conv2d(x, state["features.18.weight"], state["features.18.bias"]).flatten(1)
    with torch.inference_mode():
        torch.testing.assert_close(net(patches), F.normalize(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bottleneck", [0, 256])
def test_matchnet_is_its_formula(bottleneck: int) -> None:
    torch.manual_seed(0)
    net = shake(nets.create("matchnet", bottleneck=bottleneck), 64)
    state = net.state_dict()
    x = torch.rand(3, 1, 64, 64)
    patches = x.clone()
    x = (x * 255 - 128) / 160
    for index, (padding, pooled) in enumerate([(3, True), (2, True), (1, False), (1, False), (1, True)]):
        x = F.relu(F.conv2d(x, state[f"conv{index}.weight"], state[f"conv{index}.bias"], padding=padding))
        if pooled:  # rounding up: the last window reaches one pixel over the edge
            x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, stride=2)
    x = x.flatten(1)
    assert x.shape[1] == 4096
    if bottleneck:
        x = x @ state["bottleneck.weight"].T + state["bottleneck.bias"]
    with torch.inference_mode():
        torch.testing.assert_close(net(patches), F.normalize(x), rtol=0, atol=1e-5)
    assert net.dimension == (bottleneck or 4096)

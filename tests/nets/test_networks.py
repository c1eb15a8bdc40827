"""What every describer of the registry promises, whatever its layers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tiepoint import nets
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("quick_weights")
TRUNK = 9 * (1 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128)
L2NET = TRUNK + 64 * 128 * 128
BIASES = 32 + 32 + 64 + 64 + 128 + 128
HYNET = L2NET + BIASES + 3 * (1 + BIASES)  # a bias, and FRN's weight and bias and TLU's tau, a channel
PARAMETERS = {
    "hardnet": L2NET,
    "hardnet-ps": L2NET + BIASES + 128 + 2 * BIASES,
    "hardnet8": TRUNK + 9 * 128 * 256 + 64 * 256 * 512,
    "hynet": HYNET,
    "l2net": L2NET,
    "l2net-cs": 2 * L2NET,
    "matchnet": 49 * 24 + 25 * 24 * 64 + 9 * (64 * 96 + 96 * 96 + 96 * 64) + 24 + 64 + 96 + 96 + 64,
    "sdgmnet": HYNET,
    "sosnet": L2NET,
    "tfeat": 49 * 32 + 32 + 36 * 32 * 64 + 64 + 64 * 64 * 128 + 128,
}
DIMENSIONS = {"hardnet8": 512, "l2net-cs": 256, "matchnet": 4096}
every_network = pytest.mark.parametrize("name", nets.describers())


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """One of each, with running statistics and biases that are not those of a fresh one."""
    torch.manual_seed(0)
    made = {name: nets.create(name).eval() for name in nets.describers()}
    for net in made.values():
        for key, buffer in net.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_(std=0.1)
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return made


def patches_for(net: nn.Module, count: int = 5) -> torch.Tensor:
    return torch.rand(count, 1, int(net.input_size), int(net.input_size), generator=torch.Generator().manual_seed(0))


def test_parameters_are_those_of_the_published_networks(networks: dict[str, nn.Module]) -> None:
    counts = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    assert counts == PARAMETERS
    written = [1_334_560, 1_336_032, 8_969_504, 1_336_355, 2_669_120, 233_456, 599_808]
    assert sorted(set(counts.values())) == sorted(written)


@every_network
def test_descriptors_have_their_shape_type_and_length(name: str, networks: dict[str, nn.Module]) -> None:
    net = networks[name]
    with torch.inference_mode():
        descriptors = net(patches_for(net))
        raw = net(patches_for(net), normalize=False)
    assert descriptors.shape == raw.shape == (5, DIMENSIONS.get(name, 128))
    assert descriptors.dtype == raw.dtype == torch.float32
    assert net.dimension == descriptors.shape[1]
    if net.normalized:
        torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(5))
        torch.testing.assert_close(F.normalize(raw), descriptors, rtol=0, atol=1e-6)
        assert (raw.norm(dim=1) - 1).abs().min() > 1e-3
    else:
        assert torch.equal(raw, descriptors)


@every_network
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_patches_give_finite_descriptors(
    name: str, dtype: torch.dtype, networks: dict[str, nn.Module]
) -> None:
    fresh = copy.deepcopy(networks[name])
    for module in fresh.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    for net in (networks[name], fresh):
        patches = torch.stack([torch.full((1, int(net.input_size), int(net.input_size)), v) for v in (0.0, 1.0)])
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            descriptors = net(patches)
        assert descriptors.dtype == torch.float32
        assert torch.isfinite(descriptors).all()
        assert descriptors.norm(dim=1).max() < (1.001 if net.normalized else 128**0.5)


@every_network
def test_half_precision_convolutions_change_little(name: str, networks: dict[str, nn.Module]) -> None:
    net = networks[name]
    with torch.inference_mode():
        exact = net(patches_for(net, 2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = net(patches_for(net, 2))
    assert rounded.dtype == torch.float32
    assert F.cosine_similarity(exact, rounded).min() > 0.999


@every_network
def test_training_reaches_every_weight_through_dropout(name: str) -> None:
    torch.manual_seed(0)
    net = nets.create(name, dropout=0.5).train()
    patches = patches_for(net, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = [net(patches, normalize=False) for _ in range(2)]
    assert not torch.equal(*outputs), "dropout acts"
    outputs[0].square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 0 or not key.endswith("weight"), key
    net.eval()
    assert torch.equal(net(patches), net(patches))


@every_network
def test_one_graph_holds_the_whole_network(name: str, networks: dict[str, nn.Module]) -> None:
    net = networks[name]
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(patches_for(net)), net(patches_for(net)), rtol=0, atol=1e-6)


def test_every_network_describes_or_relates() -> None:
    assert nets.names() == sorted({*nets.describers(), *nets.relaters()})
    assert not {*nets.describers()} & {*nets.relaters()}


def test_unknown_networks_and_options_are_refused() -> None:
    with pytest.raises(InputError, match="sdgmnet"):
        nets.create("nosuch")
    with pytest.raises(InputError, match="width"):
        nets.create("sdgmnet", width=3)

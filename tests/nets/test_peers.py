"""The relation networks that RRL-Net is compared with: what all of them promise, and what each of them computes."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from light_spimnet import LightSPIMNet
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.nets.relation import Codes, deploy
from tiepoint.nets.relational import afdnet, kglnet, mfdnet, scfdm, spimnet

pytestmark = pytest.mark.usefixtures("quick_weights")
# Published where the papers print them, otherwise counted in the graphs of the released code: statistics of batch norm
# included, but for KGL-Net; the second number is without what only training needs.
COUNTS = {
    "2channel": (913_377, 913_377),
    "afdnet": (8_255_628, 6_678_922),
    "efrnet": (9_166_915, 8_640_577),
    "filnet": (33_068_742, 30_232_897),
    "kglnet": (6_409_713, 3_203_175),
    "matchnet-metric": (9_674_738, 9_674_738),
    "mfdnet": (151_239_045, 104_723_329),
    "pnnet": (1_124_224, 1_124_224),
    "pseudo-siamese": (2_080_001, 2_080_001),
    "qnet": (1_124_224, 1_124_224),
    "scfdm": (6_471_554, 6_471_554),
    "siamese": (1_171_585, 1_171_585),
    "spimnet": (130_886_917, 130_886_917),
}
BRANCHES = {2: 34_709_761, 4: 81_305_475, 6: 116_272_260, 8: 151_239_045, 10: 186_205_830, 12: 221_172_615}
# Billions of multiply-accumulates a pair in the released graphs, with all heads: they tell where the pooling stands.
COSTS = {"scfdm": 0.764, "efrnet": 0.893, "mfdnet": 4.18, "filnet": 2.04}
HEADS = {
    "afdnet": ["aggregated", "difference5"],
    "efrnet": ["both", "difference", "product"],
    "filnet": ["stage5", "stage4", "stage3", "module5", "module4", "module3"],
    "kglnet": ["metric"],
    "mfdnet": ["fusion", "unit1", "unit2"],
    "pnnet": ["distance"],
    "qnet": ["distance"],
    "scfdm": ["difference", "cosine"],
}
UNSHARED = {"afdnet", "efrnet", "filnet", "kglnet", "mfdnet", "pseudo-siamese", "spimnet"}
SMALL = {"mfdnet": {"branches": 4}}  # to spare time and memory; eight differ in the number of units alone


@pytest.fixture(scope="module", params=COUNTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def net(name: str, quick_weights: None) -> nn.Module:
    """The network with statistics of batch norm that are not those of a fresh one, and that training leaves alone."""
    torch.manual_seed(0)
    net = LightSPIMNet() if name == "spimnet" else nets.create(name, **SMALL.get(name, {}))
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    for key, buffer in net.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(std=0.1)
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return net


class Seen(NamedTuple):
    """What a network in evaluation mode makes of two pairs of noise."""

    vis: Tensor
    nir: Tensor
    codes: tuple[Codes, Codes]
    logit: Tensor


@pytest.fixture(scope="module")
def seen(net: nn.Module) -> Seen:
    vis, nir = patches_for(net, 0), patches_for(net, 1)
    net.eval()
    with torch.no_grad():
        return Seen(vis, nir, (net.encode(vis, "first"), net.encode(nir, "second")), net(vis, nir))


@pytest.fixture(autouse=True)
def in_evaluation_mode(request: pytest.FixtureRequest) -> None:
    if "net" in request.fixturenames:
        request.getfixturevalue("net").eval()


def patches_for(net: nn.Module, seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 1, int(net.input_size), int(net.input_size), generator=torch.Generator().manual_seed(seed))


def count(net: nn.Module, statistics: bool = True) -> int:
    buffers = [buffer for _, buffer in net.named_buffers() if statistics and buffer.ndim]
    return sum(tensor.numel() for tensor in [*net.parameters(), *buffers])


def loss_of(output: tuple[object, ...]) -> Tensor:
    """Something that every tensor which the network returns in training mode has a part in."""
    terms = []
    for part in output:
        for item in part.values() if isinstance(part, dict) else part if isinstance(part, tuple) else (part,):
            terms += item if isinstance(item, tuple) else [item]
    assert all(torch.isfinite(term).all() for term in terms)
    return sum((F.softplus(term.float()).mean() for term in terms), torch.zeros(()))


def test_every_relater_is_tested() -> None:
    assert nets.relaters() == sorted([*COUNTS, "rrlnet"])


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_of_the_published_networks(name: str) -> None:
    with torch.device("meta"):
        net = nets.create(name)
        statistics = name != "kglnet"
        assert (count(net, statistics), count(deploy(net), statistics)) == COUNTS[name]


def test_mfd_net_has_the_published_parameters_with_any_number_of_branches() -> None:
    with torch.device("meta"):
        assert {branches: count(nets.create("mfdnet", branches=branches)) for branches in BRANCHES} == BRANCHES
    for branches in (0, 3, 14):
        with pytest.raises(InputError, match=f"branches {branches}"):
            nets.create("mfdnet", branches=branches)


@pytest.mark.parametrize("name", COSTS)
def test_cost_is_that_of_the_released_networks(name: str) -> None:
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = nets.create(name).eval()
        net.relate_all(net.encode(patches_for(net, 0, 1), "first"), net.encode(patches_for(net, 1, 1), "second"))
    assert float(f"{counter.get_total_flops() / 2e9:.3g}") == COSTS[name]


def test_every_head_gives_a_logit_a_pair_and_gradients_reach_every_weight(name: str, net: nn.Module) -> None:
    """Also where a patch of each spectrum is constant."""
    vis, nir = patches_for(net, 0), patches_for(net, 1)
    vis[0], nir[1] = 0, 0.7
    output = net.train()(vis, nir)
    assert list(output.logits) == HEADS.get(name, ["match"])
    assert output.main is next(iter(output.logits.values()))
    for logits in output.logits.values():
        assert logits.shape == (2,)
        assert logits.dtype == torch.float32
    loss_of(output).backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        dead = name == "spimnet" and (".down.5." in key or ".up.0." in key)  # as its docstring says
        if key.endswith("weight"):
            assert (parameter.grad.abs().max() == 0) == dead, key
    net.zero_grad()


def test_encoding_and_relating_is_the_whole_network(net: nn.Module, seen: Seen) -> None:
    assert seen.logit.shape == (2,)
    assert seen.logit.dtype == torch.float32
    assert seen.logit[0] != seen.logit[1]
    with torch.no_grad():
        assert torch.equal(net.relate(*seen.codes), seen.logit)


def test_a_pair_alone_and_of_picked_codes_is_judged_as_in_a_batch(net: nn.Module, seen: Seen) -> None:
    first, second = torch.tensor([0, 1, 0]), torch.tensor([1, 1, 0])
    with torch.no_grad():
        picked = net.relate(tuple(c[first] for c in seen.codes[0]), tuple(c[second] for c in seen.codes[1]))
        torch.testing.assert_close(picked[:1], net(seen.vis[:1], seen.nir[1:]))
    torch.testing.assert_close(picked[1:], seen.logit.flip(0))


def test_only_networks_that_treat_the_spectra_alike_allow_their_exchange(name: str, net: nn.Module, seen: Seen) -> None:
    with torch.no_grad():
        exchanged = net.encode(seen.nir, "first"), net.encode(seen.vis, "second")
        logit = net.relate(*exchanged)
    assert torch.allclose(logit, seen.logit) == (name in ("pnnet", "qnet"))
    same = all(torch.equal(a, b) for a, b in zip(seen.codes[0], exchanged[1], strict=True))
    assert same == (name not in UNSHARED)


def test_pruning_keeps_the_main_logit_bit_for_bit(name: str, net: nn.Module, seen: Seen) -> None:
    pruned = deploy(net)
    assert not pruned.training
    assert set(pruned.state_dict()) <= set(net.state_dict())
    with torch.no_grad():
        assert torch.equal(pruned(seen.vis, seen.nir), seen.logit)
        output = pruned.train()(seen.vis, seen.nir)
    assert list(output.logits) == HEADS.get(name, ["match"])[:1]


@pytest.mark.slow
def test_constant_patches_are_related_in_half_precision(net: nn.Module) -> None:
    vis, nir = (torch.full((1, 1, int(net.input_size), int(net.input_size)), value) for value in (0.0, 0.7))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        logit = net(vis, nir)
    assert logit.dtype == torch.float32
    assert torch.isfinite(logit).all()


def test_pn_net_is_minus_a_distance_and_half_as_wide_as_documented() -> None:
    net = nets.create("pnnet", dimension=128)
    assert count(net) == 599_808
    vis, nir = patches_for(net, 0), patches_for(net, 1)
    output = net(vis, nir)
    assert output.first.shape == (2, 128)
    torch.testing.assert_close(-output.main.square(), -(output.first - output.second).square().sum(dim=1))
    assert torch.allclose(net.encode(vis + 0.2, "first")[0], output.first, atol=1e-5), (
        "the mean of a patch tells nothing"
    )


@pytest.mark.parametrize(
    ("halving", "inputs"), [(afdnet.halving(3, 4), 3), (spimnet.halving(3, 4), 3)], ids=["afdnet", "spimnet"]
)
def test_convolutions_of_stride_two_stand_where_tensorflow_puts_them(halving: nn.Sequential, inputs: int) -> None:
    """SAME padding of an even size puts the odd pixel below and right, so that windows centre on odd positions."""
    convolution = halving[1]
    x = torch.rand(2, inputs, 8, 8)
    everywhere = F.conv2d(x, convolution.weight, convolution.bias, padding=convolution.kernel_size[0] // 2)
    torch.testing.assert_close(halving[:2](x), everywhere[:, :, 1::2, 1::2])


def test_norms_are_their_formulas() -> None:
    x = torch.randn(2, 3, 4, 5) * 3 + 1
    joint = afdnet.JointNorm()
    nn.init.constant_(joint.weight, 2.0)
    nn.init.constant_(joint.bias, 0.5)
    expected = [2 * (sample - sample.mean()) / (sample.std(correction=0) + 1e-3) + 0.5 for sample in x]
    torch.testing.assert_close(joint(x), torch.stack(expected))
    instance = spimnet.InstanceNorm(3)
    nn.init.normal_(instance.weight)
    nn.init.normal_(instance.bias)
    expected_instance = F.instance_norm(x, weight=instance.weight.flatten(), bias=instance.bias.flatten(), eps=1e-3)
    torch.testing.assert_close(instance(x), expected_instance)


def test_a_head_of_two_classes_gives_the_logit_of_its_softmax() -> None:
    net = nets.create("scfdm").eval()
    vis, nir = patches_for(net, 0), patches_for(net, 1)
    with torch.inference_mode():
        left, right = net.trunk(torch.cat([vis, nir], dim=3)).chunk(2, dim=3)
        probability = net.head((left - right).abs()).softmax(dim=1)[:, 1]
        torch.testing.assert_close(net(vis, nir).sigmoid(), probability)
        a, b = left.amax(dim=(2, 3)), right.amax(dim=(2, 3))
        cosine = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
        torch.testing.assert_close(scfdm.Cosine()(left, right).sigmoid(), (cosine + 1) / 2)
        assert scfdm.Cosine()(left, left).sigmoid().max() < 1


def test_mfd_net_compares_its_first_two_convolutions_before_their_norms() -> None:
    features = mfdnet.Features().eval()
    maps = features(torch.rand(1, 1, 64, 64))
    shapes = [(32, 64), (64, 64), (64, 32), (128, 16), (256, 8), (512, 4)]
    assert [tuple(tap.shape[1:]) for tap in maps] == [(width, size, size) for width, size in shapes]
    assert [bool(tap.min() < 0) for tap in maps] == [True, True, False, False, False, False]


def test_kgl_net_returns_what_its_losses_need() -> None:
    torch.manual_seed(0)
    net = nets.create("kglnet").train()
    vis, nir = patches_for(net, 0), patches_for(net, 1)
    output = net(vis, nir)
    assert isinstance(output, kglnet.Guided)
    assert [x.shape for x in output.common] == [(2, 256, 8, 8)] * 2
    assert [x.shape for x in output.descriptors] == [(2, 128)] * 2
    torch.testing.assert_close(net.relate(*output.codes), output.main)


def test_spimnet_takes_colour_and_translates_it() -> None:
    torch.manual_seed(0)
    translator = spimnet.Translator(3, 1)
    assert sum(p.numel() for p in translator.parameters()) == 10_368_257
    assert sum(p.numel() for p in spimnet.Translator(1, 3).parameters()) == 10_370_307
    grey = torch.rand(2, 1, 64, 64)
    assert torch.equal(spimnet.rgb(grey), grey.repeat(1, 3, 1, 1))
    colour = torch.rand(2, 3, 64, 64)
    assert spimnet.rgb(colour).shape == colour.shape
    translation = translator(2 * colour - 1)
    assert translation.shape == (2, 1, 64, 64)
    assert translation.abs().max() <= 1

"""Relaters as users hold them: precision, codes, calibration and files of every network, and what they refuse."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from light_spimnet import LightSPIMNet
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.models.engine import Precision
from tiepoint.models.load import load, load_describer, load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.models.weights import save_weights
from tiepoint.nets.relation import Codes, deploy

pytestmark = pytest.mark.usefixtures("quick_weights")
CARD = {"network": "kglnet", "spectra": ["opt", "sar"], "temperature": 2.0, "name": "kgl"}
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-5}


class Tiny(nn.Module):
    """A network of two layers that takes colour in its first place."""

    input_size = 8
    training_only = ()
    colour = ("first",)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"first": nn.Conv2d(3, 5, 3), "second": nn.Conv2d(1, 5, 3)})
        self.head = nn.Linear(5, 1)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        return (self.layers[slot](patches),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        logits: Tensor = self.head((first[0] - second[0]).abs().mean(dim=(2, 3)))
        return logits.flatten().float()


def trained(name: str, **options: Any) -> nn.Module:
    """A network in evaluation mode whose batch norms have statistics and scales of their own."""
    torch.manual_seed(0)
    net = (LightSPIMNet() if name == "spimnet" else nets.create(name, **options)).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                nn.init.uniform_(module.weight, 0.7, 1.3)
                nn.init.normal_(module.bias, 0, 0.1)
    return net


KINDS: tuple[Precision, ...] = ("fp32", "mixed", "bf16")


@cache
def small() -> LearnedRelater:
    """KGL-Net: the quickest whose codes are features."""
    return LearnedRelater(trained("kglnet"), "kgl", CARD, chunk=4)


def patches(count: int, channels: int = 1, size: int = 64) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(count + channels))


@pytest.mark.slow
@pytest.mark.parametrize("name", nets.relaters())
@torch.inference_mode()
def test_every_network_gives_its_own_probabilities(name: str) -> None:
    """Folding changes logits by less than 1e-4.

    bfloat16 rounds to a share of 2^-9, in each of some 30 layers the input, the weights and the output. The errors walk
    at random to sqrt(90) / 2^9 of a logit of at most 4, which changes a probability by a quarter of it.
    """
    net = trained(name, **({"branches": 2} if name == "mfdnet" else {}))  # more differ in their number alone
    first, second = patches(3, size=net.input_size), patches(4, size=net.input_size)[1:]
    plain = net(first, second)
    relater = LearnedRelater(net, name, chunk=2)
    logits = relater.logits(first, second)
    assert (logits.shape, logits.dtype) == ((3,), torch.float32)
    torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-4)
    probabilities = relater.probabilities(first, second)
    torch.testing.assert_close(probabilities, logits.sigmoid(), **CLOSE)
    codes = relater.encode(first, "vis"), relater.encode(second, "nir")
    torch.testing.assert_close(relater.relate(*codes), probabilities, **CLOSE)
    rounded = LearnedRelater(net, name, precision="bf16")
    half = rounded.probabilities(first[:1], second[:1])  # a processor without bfloat16 takes seconds for it
    assert half.dtype == torch.float32
    assert {code.dtype for code in rounded.encode(first[:1], "vis")} == {torch.bfloat16}
    # Some 90 roundings one after another, each by half a unit of bfloat16's 8 bits, add up like a random walk.
    torch.testing.assert_close(half, probabilities[:1], rtol=0, atol=90**0.5 / 2**9)
    assert relater.probabilities(first[:0], second[:0]).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rrlnet", "filnet"])
def test_mixed_precision_rounds_the_trunk_alone(name: str) -> None:
    net = trained(name)
    first, second = patches(3), patches(4)[1:]
    exact, mixed, rounded = (LearnedRelater(net, name, precision=kind).logits(first, second) for kind in KINDS)
    relater = LearnedRelater(net, name, precision="mixed")
    assert {code.dtype for code in relater.encode(first, "vis")} == {torch.float32}
    # Rounded both, each in its own way; which one errs more on a few patches depends on the processor.
    assert not any(torch.equal(one, other) for one, other in ((mixed, exact), (rounded, exact), (mixed, rounded)))
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_adaptive_precision_computes_open_pairs_in_float32() -> None:
    net = trained("kglnet")
    first, second = patches(3), patches(4)[1:]
    exact, rounded = (LearnedRelater(net, "kgl", precision=kind).logits(first, second) for kind in ("fp32", "bf16"))
    for temperature, expected in ((1e3, exact), (1e-6, rounded)):  # all pairs are open, all are sure
        card = {"temperature": temperature}
        found = LearnedRelater(net, "kgl", card, precision="adaptive").logits(first, second)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert (rounded - exact).abs().max() > 0
    assert LearnedRelater(net, "kgl", precision="adaptive").logits(first[:0], second[:0]).shape == (0,)


def test_mixed_precision_needs_a_trunk() -> None:
    for name in ("kglnet", "scfdm"):
        with pytest.raises(InputError, match=f"{name}: has no trunk to round: precision mixed is for"):
            LearnedRelater(trained(name), name, precision="mixed")


@pytest.mark.parametrize("name", ["rrlnet", "kglnet", "afdnet"])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_constant_patches_have_a_finite_probability(name: str, value: float, precision: Any) -> None:
    constant = torch.full((1, 1, 64, 64), value)
    probability = LearnedRelater(trained(name), name, precision=precision).probabilities(constant, constant)
    assert 0 <= float(probability) <= 1


def test_the_network_that_was_given_is_left_alone() -> None:
    net = trained("qnet")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    relater = LearnedRelater(net.train(), "q", precision="bf16")
    assert net.training
    assert not relater.net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_pairs_do_not_depend_on_their_batch() -> None:
    relater = small()
    first, second = patches(9), patches(10)[1:]
    whole = relater.probabilities(first, second)
    for row in (0, 4, 8):
        torch.testing.assert_close(
            relater.probabilities(first[row : row + 1], second[row : row + 1]), whole[row : row + 1], **CLOSE
        )


def test_each_patch_is_encoded_once_and_related_to_its_candidates() -> None:
    relater = small()
    first, second = patches(5), patches(6)
    codes = relater.encode(first, "opt"), relater.encode(second, "sar")
    assert [tuple(code.shape) for code in codes[0]] == [(5, 256, 8, 8)]
    rows, columns = torch.tensor([0, 0, 0, 1, 4, 4]), torch.tensor([0, 3, 5, 1, 2, 0])
    found = relater.relate(tuple(c[rows] for c in codes[0]), tuple(c[columns] for c in codes[1]))
    torch.testing.assert_close(found, relater.probabilities(first[rows], second[columns]), **CLOSE)
    nothing = tuple(c[:0] for c in codes[0]), tuple(c[:0] for c in codes[1])
    assert relater.relate(*nothing).shape == (0,)
    assert [tuple(code.shape) for code in relater.encode(first[:0], "opt")] == [(0, 256, 8, 8)]
    pairs = torch.stack([rows, columns], dim=1)
    torch.testing.assert_close(relater.relate(*codes, pairs), found, **CLOSE)
    assert relater.relate(*codes, pairs[:0]).shape == (0,)
    with pytest.raises(InputError, match="codes of 5 and 6 patches: give pairs"):
        relater.relate(*codes)
    for wrong in ([5, 0], [0, 6], [-1, 0]):
        with pytest.raises(InputError, match=rf"pair 1 is \[{wrong[0]}, {wrong[1]}\]: codes are of \[5, 6\] patches"):
            relater.relate(*codes, torch.tensor([[0, 0], wrong]))


def test_types_channels_and_sizes_of_the_two_may_differ() -> None:
    relater = small()
    first, second = (torch.round(255 * patches(3, size=96)) / 255, torch.round(65535 * patches(4)[1:]) / 65535)
    expected = relater.probabilities(first, second)
    bytes_, words = (first * 255).round().to(torch.uint8), (second * 65535).round().int().to(torch.uint16)
    torch.testing.assert_close(relater.probabilities(bytes_, words), expected, **CLOSE)
    torch.testing.assert_close(relater.probabilities(first.expand(-1, 3, -1, -1), second.double()), expected, **CLOSE)


def test_colour_becomes_luma_but_for_a_network_that_takes_it() -> None:
    colour, grey = patches(2, channels=3), patches(3)[1:]
    luma = (colour * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
    torch.testing.assert_close(small().probabilities(colour, grey), small().probabilities(luma, grey), **CLOSE)
    net = Tiny()
    with torch.inference_mode():
        plain = net.relate(net.encode(colour, "first"), net.encode(grey, "second"))
        swapped = net.relate(net.encode(colour, "first"), net.encode(luma, "second"))
    relater = LearnedRelater(net, "tiny")
    relater.input_size = 64
    torch.testing.assert_close(relater.logits(colour, grey), plain, **CLOSE)
    torch.testing.assert_close(relater.logits(colour, colour), swapped, **CLOSE)


def test_the_temperature_of_the_card_calibrates() -> None:
    relater = small()
    first, second = patches(3), patches(4)[1:]
    assert (relater.temperature, relater.spectra) == (2.0, ("opt", "sar"))
    torch.testing.assert_close(
        relater.probabilities(first, second), torch.sigmoid(relater.logits(first, second) / 2), **CLOSE
    )
    assert LearnedRelater(trained("kglnet"), "kgl").temperature == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, "temperature of its card is 0"),
        ({"temperature": float("nan")}, "temperature of its card is nan"),
        ({"temperature": "2"}, "temperature of its card is '2'"),
        ({"spectra": ["vis"]}, "two different names"),
        ({"spectra": ["vis", "vis"]}, "two different names"),
        ({"spectra": [0, 1]}, "two different names"),
    ],
)
def test_cards_without_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LearnedRelater(trained("qnet"), "q", {"network": "qnet"} | change)


def test_an_unknown_precision_or_spectrum_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match="no precision 'fp16': there are fp32, mixed, adaptive, bf16"):
        LearnedRelater(trained("qnet"), "q", precision="fp16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no spectrum 'thermal': it was trained for opt and sar"):
        small().encode(patches(1), "thermal")


SHAPES = [(2, 2, 64, 64), (2, 1, 64, 96), (2, 1, 32, 32), (2, 64, 64), (64, 64), (2, 1, 1, 64, 64), ()]


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    message = r"patches .*: kgl takes \(N, 1 or 3, S, S\) with S >= 64"
    with pytest.raises(InputError, match="opt " + message):
        small().probabilities(torch.zeros(shape), patches(2))
    with pytest.raises(InputError, match="sar " + message):
        small().probabilities(patches(2), torch.zeros(shape))
    with pytest.raises(InputError, match="sar " + message):
        small().encode(torch.zeros(shape), "sar")


def test_unequal_counts_are_refused() -> None:
    with pytest.raises(InputError, match="kgl: 2 opt and 3 sar patches"):
        small().probabilities(patches(2), patches(3))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64])
def test_other_types_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=f"patches are {dtype}"):
        small().probabilities(patches(2), torch.zeros(2, 1, 64, 64, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "NaN"), (-1.0, "values from -1 to"), (255.0, "to 255"), (float("inf"), "to inf")],
)
def test_values_that_are_no_grey_levels_name_their_row(dtype: torch.dtype, value: float, message: str) -> None:
    wrong = patches(7).to(dtype)
    wrong[5, 0, 3, 3] = value
    with pytest.raises(InputError, match=f"sar patches, row 5: .*{message}"):
        small().probabilities(patches(7), wrong)
    with pytest.raises(InputError, match=f"opt patches, row 5: .*{message}"):
        small().encode(wrong, "opt")


@pytest.mark.parametrize("deployed", [True, False])
def test_a_relater_survives_a_round_trip(tmp_path: Path, deployed: bool) -> None:
    net = trained("rrlnet", aux_stages=[5])
    card = CARD | {"network": "rrlnet", "options": {"aux_stages": [5]}, "name": "rrl", "deployed": deployed}
    save_weights(tmp_path / "model.safetensors", deploy(net) if deployed else net, card)
    relater = load(tmp_path)
    assert isinstance(relater, LearnedRelater)
    assert (relater.name, relater.spectra, relater.temperature) == ("rrl", ("opt", "sar"), 2.0)
    assert relater.card == card
    first, second = patches(2), patches(3)[1:]
    with torch.inference_mode():
        torch.testing.assert_close(relater.logits(first, second), net(first, second), rtol=1e-4, atol=1e-4)
    half = load(tmp_path, precision="bf16")
    assert isinstance(half, LearnedRelater)
    assert half.precision == "bf16"
    torch.testing.assert_close(
        half.probabilities(first, second), relater.probabilities(first, second), rtol=0, atol=1e-2
    )


def test_describers_and_relaters_are_not_taken_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, trained("qnet"), {"network": "qnet"})
    assert load_relater(small()) is small()
    assert isinstance(load_relater(path), LearnedRelater)
    sift = load_describer("sift")
    assert load_describer(sift) is sift
    with pytest.raises(InputError, match=r"w\.safetensors: is a relater of patch pairs: give a describer"):
        load_describer(path)
    with pytest.raises(InputError, match="kgl: is a relater of patch pairs"):
        load_describer(small())
    for given in ("rootsift", load("rootsift")):
        with pytest.raises(InputError, match="rootsift: is a describer of single patches: give a relater"):
            load_relater(given)
    for options in ({"precision": "bf16"}, {"compile": True}):
        with pytest.raises(InputError, match="sift: is a describer"):
            load("sift", **options)  # type: ignore[arg-type]


def test_compiled_it_gives_the_same_for_any_count_and_compiles_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph

    real = torch.compile  # the benchmark runs the CPU's own backend, which takes a minute
    monkeypatch.setattr(torch, "compile", lambda options: lambda function: real(function, backend=backend))
    relater, plain = LearnedRelater(tiny := Tiny(), "tiny", compile=True, chunk=4), LearnedRelater(tiny, "tiny")
    first, second = patches(6, channels=3, size=8), patches(7, size=8)[1:]
    whole = relater.logits(first, second)
    torch.testing.assert_close(whole, plain.logits(first, second), **CLOSE)
    torch.testing.assert_close(relater.logits(first[5:], second[5:]), whole[5:], **CLOSE)
    codes = relater.encode(first, "vis"), relater.encode(second, "nir")
    order = torch.tensor([5, 0, 3])
    first_codes, second_codes = (tuple(code[order] for code in side) for side in codes)
    torch.testing.assert_close(relater.relate(first_codes, second_codes), whole[order].sigmoid(), **CLOSE)
    assert relater.probabilities(first[:0], second[:0]).shape == (0,)
    assert len(graphs) == 3

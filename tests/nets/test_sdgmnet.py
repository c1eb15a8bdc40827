"""The network against kornia's HyNet, and the checkpoints that it loads."""

from __future__ import annotations

from pathlib import Path

import kornia.feature
import pytest
import torch
from torch import Tensor

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.models import LearnedDescriber, load, prepare, read_weights, save_weights
from tiepoint.nets.checkpoints import load_hynet_layout, unwrap
from tiepoint.nets.layers import FRN, TLU


@pytest.fixture
def hynet() -> kornia.feature.HyNet:
    torch.manual_seed(0)
    net = kornia.feature.HyNet(pretrained=False).eval()
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    for name, parameter in net.named_parameters():
        if name.endswith(("tau", "bias")):
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def released(state: dict[str, Tensor]) -> dict[str, object]:
    """The layout of the released SDGMNet file: every key twice, wrapped."""
    twice = {**state, **{f"features.{int(k[5]) - 1}{k[6:]}": v for k, v in state.items()}}
    assert len(twice) == 88
    return {"epoch": 1, "model_state_dict": twice, "FPR": 0.1, "opt": {}}


def test_parameters_are_those_of_the_published_network() -> None:
    net = nets.create("sdgmnet")
    assert sum(p.numel() for p in net.parameters()) == 1_336_355
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(m.weight.numel() for m in convolutions) == 1_334_560
    assert sum(m.bias.numel() for m in convolutions if m.bias is not None) == 448
    assert sum(p.numel() for m in net.modules() if isinstance(m, (FRN, TLU)) for p in m.parameters()) == 1_347


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_released_file_gives_kornias_descriptors(hynet: kornia.feature.HyNet, tmp_path: Path, suffix: str) -> None:
    torch.save(released(hynet.state_dict()), tmp_path / f"best{suffix}")
    patches = torch.rand(9, 1, 32, 32)
    with torch.inference_mode():
        expected = hynet(patches)
    torch.testing.assert_close(load(tmp_path / f"best{suffix}")(patches), expected, rtol=0, atol=1e-6)


def test_prefixed_half_precision_state_dicts_load(hynet: kornia.feature.HyNet) -> None:
    state = {f"module.{k}": v.half() if v.is_floating_point() else v for k, v in hynet.state_dict().items()}
    net = nets.create("sdgmnet").eval()
    load_hynet_layout(net, unwrap({"state_dict": state}, "x"))
    patches = torch.rand(4, 1, 32, 32)
    with torch.inference_mode():
        assert (net(patches) * hynet(patches)).sum(1).min() > 0.9999


def test_the_eps_of_a_checkpoint_is_taken_over(hynet: kornia.feature.HyNet) -> None:
    state = dict(hynet.state_dict())
    state["layer3.1.eps"] = torch.tensor([0.5])
    net = nets.create("sdgmnet")
    load_hynet_layout(net, state)
    assert net.get_submodule("layer3.1").eps == 0.5  # type: ignore[union-attr]
    assert net.get_submodule("layer2.1").eps == pytest.approx(1e-6)  # type: ignore[union-attr]


def test_a_wrong_checkpoint_names_the_key(hynet: kornia.feature.HyNet, tmp_path: Path) -> None:
    state = dict(hynet.state_dict())
    del state["layer4.0.weight"]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"layer4\.0\.weight"):
        load(tmp_path / "a.pt")


def test_a_file_that_holds_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path("x")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt"):
        load(tmp_path / "evil.pt")
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(InputError, match=r"text\.pth"):
        load(tmp_path / "text.pth")


def test_weights_survive_a_round_trip_in_half_precision(tmp_path: Path) -> None:
    net = nets.create("sdgmnet").eval()
    save_weights(tmp_path / "w.safetensors", net, {"network": "sdgmnet", "options": {"dropout": 0.1}}, half=True)
    back, card = read_weights(tmp_path / "w.safetensors")
    assert card["options"] == {"dropout": 0.1}
    for key, value in net.state_dict().items():
        torch.testing.assert_close(back.state_dict()[key], value.half().to(value.dtype), rtol=0, atol=0)


def test_damaged_weights_name_the_file(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", nets.create("sdgmnet"), {"network": "sdgmnet"})
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:1000])
    with pytest.raises(InputError, match=r"w\.safetensors"):
        load(tmp_path / "w.safetensors")
    (tmp_path / "w.json").unlink()
    with pytest.raises(InputError, match=r"w\.json is missing"):
        load(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="no such describer"):
        load("nosuch")


def test_frn_is_its_formula() -> None:
    layer = FRN(3)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 4, 5)
    expected = layer.weight * x / torch.sqrt((x**2).mean((2, 3), keepdim=True) + 1e-6) + layer.bias
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_patches_give_finite_unit_vectors(dtype: torch.dtype) -> None:
    net = nets.create("sdgmnet").eval()
    patches = torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32), torch.full((1, 32, 32), 0.5)])
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        descriptors = net(patches)
    assert descriptors.dtype == torch.float32
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))


def test_chunks_and_types_of_patches_do_not_change_descriptors() -> None:
    torch.manual_seed(0)
    describer = LearnedDescriber(nets.create("sdgmnet"), "fresh")
    patches = (torch.rand(70, 1, 64, 64) * 255).to(torch.uint8)
    whole = describer(patches)
    describer.chunk = 7
    torch.testing.assert_close(describer(patches), whole, rtol=0, atol=2e-6)
    torch.testing.assert_close(describer(patches.float() / 255), whole, rtol=0, atol=2e-6)
    torch.testing.assert_close(describer((patches.int() * 257).to(torch.uint16)), whole, rtol=0, atol=2e-6)
    assert describer(patches[:0]).shape == (0, 128)


def test_the_input_is_not_changed() -> None:
    describer = LearnedDescriber(nets.create("sdgmnet"), "fresh")
    patches = torch.rand(3, 1, 32, 32)
    before = patches.clone()
    describer(patches)
    assert torch.equal(patches, before)


def test_larger_patches_are_reduced_with_antialiasing() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    assert prepare(stripes, 32)[:, :, :, 1:-1].std() < 1e-3


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (2, 1, 64, 32), (2, 1, 16, 16), (64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="takes"):
        LearnedDescriber(nets.create("sdgmnet"), "fresh")(torch.zeros(shape))


def test_unknown_networks_and_options_are_refused() -> None:
    with pytest.raises(InputError, match="sdgmnet"):
        nets.create("nosuch")
    with pytest.raises(InputError, match="width"):
        nets.create("sdgmnet", width=3)
    assert "sdgmnet" in nets.names()

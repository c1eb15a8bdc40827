"""Describers and relaters as modules of PyTorch: gradients, modes, devices' types and state dicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.models.classical import SIFT
from tiepoint.models.describer import LearnedDescriber
from tiepoint.models.opencv import OpenCV
from tiepoint.models.relater import LearnedRelater
from tiepoint.nets.relation import deploy

pytestmark = pytest.mark.usefixtures("quick_weights")
CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-5}


def draw(count: int, size: int = 64) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(count))


def describer(name: str = "hardnet") -> LearnedDescriber:
    torch.manual_seed(0)
    return LearnedDescriber(nets.create(name), name, chunk=4)


def relater(**options: Any) -> LearnedRelater:
    torch.manual_seed(0)
    return LearnedRelater(nets.create("siamese"), "siamese", {"temperature": 2.0}, chunk=4, **options)


@pytest.mark.parametrize("name", ["hardnet", "sdgmnet", "tfeat"])
def test_gradients_of_descriptors_flow_and_describe_gives_the_same_without(name: str) -> None:
    model, patches = describer(name), draw(9).requires_grad_()
    descriptors = model(patches)
    descriptors.square().sum().backward()
    assert patches.grad is not None
    assert torch.isfinite(patches.grad).all()
    descriptors = model(draw(9))
    descriptors[:, 0].sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    plain = model.describe(draw(9))
    assert not plain.requires_grad
    assert torch.equal(plain, descriptors)


def test_gradients_of_probabilities_flow() -> None:
    model, first, second = relater(), draw(9).requires_grad_(), draw(10)[1:]
    probabilities = model(first, second)
    probabilities.sum().backward()
    assert first.grad is not None
    assert first.grad.any()
    assert all(p.grad is not None for p in model.parameters())
    plain = model.probabilities(first, second)
    assert not plain.requires_grad
    torch.testing.assert_close(plain, probabilities.detach(), **CLOSE)
    assert model(first[:0], second[:0]).shape == (0,)


def test_in_training_mode_the_batch_is_one_and_describe_still_evaluates() -> None:
    model, patches = describer(), draw(9)
    before = model.describe(patches)
    model.train()
    frozen = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    assert torch.equal(model.describe(patches), before)
    assert model.training
    assert not frozen.training
    seen: list[int] = []
    model.net.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    assert not torch.allclose(model(patches), before), "batch norm takes the batch's statistics"
    assert seen == [9]
    model.eval()(patches)
    assert seen[1:] == [4, 4, 1]
    assert not torch.equal(model.describe(patches), before), "the running statistics have moved"


def test_a_relater_runs_the_weights_that_it_has_now() -> None:
    model, (first, second) = relater(), (draw(5), draw(6)[1:])
    before = model.probabilities(first, second)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(first, second).sum().backward()
    optimizer.step()
    after = model.eval().probabilities(first, second)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, model(first, second).detach(), **CLOSE)
    model.load_state_dict(relater().state_dict())
    assert torch.equal(model.probabilities(first, second), before)


@pytest.mark.parametrize(
    ("model", "bare"), [(describer, lambda: nets.create("hardnet")), (relater, lambda: deploy(nets.create("siamese")))]
)
def test_state_dicts_are_those_of_the_network(model: Any, bare: Any) -> None:
    own, net = model(), bare()
    assert list(own.state_dict()) == list(net.state_dict())
    net.load_state_dict(own.state_dict(), strict=True)
    other = model()
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(net.state_dict(), strict=True)
    both, fresh = nn.ModuleDict({"a": own, "b": other}), nn.ModuleDict({"a": model(), "b": model()})
    fresh.load_state_dict(both.state_dict(), strict=True)
    for key, value in own.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)
        assert torch.equal(fresh.state_dict()[f"b.{key}"], value)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({}, strict=True)


def test_types_of_weights_change_and_descriptors_stay_float32() -> None:
    patches = draw(3)
    exact = describer().describe(patches)
    for kind, off in ((torch.float64, 1e-5), (torch.bfloat16, 0.05)):
        model = describer().to(kind)
        found = model.describe(patches)
        assert (found.dtype, next(model.parameters()).dtype) == (torch.float32, kind)
        torch.testing.assert_close(found, exact, rtol=0, atol=off)
    wide = relater().double()
    probabilities = relater().probabilities(patches, patches)
    torch.testing.assert_close(wide.probabilities(patches, patches), probabilities, **CLOSE)
    assert wide(patches, patches).dtype == torch.float32


@pytest.mark.parametrize("model", [SIFT(), OpenCV("opencv-orb")], ids=lambda m: m.name)
def test_classical_describers_are_modules_without_weights(model: SIFT | OpenCV) -> None:
    assert not list(model.parameters())
    assert model.to("cpu").eval() is model
    assert model.state_dict() == {}
    assert torch.equal(model(draw(2).requires_grad_()), model.describe(draw(2)))
    assert (model.upright_width, model.input_size, dict(model.card), model.graph()) == (None, None, {}, None)

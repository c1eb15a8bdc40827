"""The presets of published systems against the numbers of their released code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tiepoint import losses
from tiepoint.losses import regularizers

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "triplet_losses.npz")


def unit(raw: Tensor) -> Tensor:
    return raw / (raw.square().sum(dim=1, keepdim=True) + 1e-10).sqrt()


def leaves(name: str) -> tuple[Tensor, Tensor]:
    anchor, positive = (torch.tensor(GOLDEN[name.format(side)], requires_grad=True) for side in "ap")
    return anchor, positive


def assert_equals(name: str, value: Tensor, anchor: Tensor, positive: Tensor, step: str = "") -> None:
    np.testing.assert_allclose(value.item(), GOLDEN[f"{name}_loss{step}"], rtol=1e-5)
    value.backward()
    for side, tensor in (("ga", anchor), ("gp", positive)):
        expected = GOLDEN[f"{name}_{side}{step}"]
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def preset(name: str, **options: object) -> Callable[[Tensor, Tensor], Tensor]:
    loss = losses.create(name, **options)

    def on_raw(anchor: Tensor, positive: Tensor) -> Tensor:
        value: Tensor = loss(anchor, positive) if loss.takes_unnormalized else loss(unit(anchor), unit(positive))
        return value

    return on_raw


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("hardnet_swap_m1", preset("hardnet")),
        ("l2net_softmax", preset("l2net", correlation=0.0)),
        ("gor", lambda a, p: regularizers.spread_out(unit(a), unit(p))),
        ("hynet_m1.2_a2", preset("hynet")),
        ("hynet_sosr", preset("hynet", second_order=1.0)),
        ("sosnet_m1", preset("sosnet")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_value_and_gradients_equal_the_released_code(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    anchor, positive = leaves("raw_{}")
    assert_equals(name, loss(anchor, positive), anchor, positive)


@pytest.mark.parametrize("momentum", ["0.01", "0.3"])
def test_soft_margin_equals_the_released_code_over_steps(momentum: str) -> None:
    loss = losses.create("soft-margin", momentum=1 - float(momentum))
    for step in range(3):
        anchor, positive = leaves(f"dsm_{{}}{step}")
        assert_equals(f"dsm_mom{momentum}", loss(unit(anchor), unit(positive)), anchor, positive, str(step))


def test_gor_is_added_to_hardnet() -> None:
    raw = leaves("raw_{}")
    anchor, positive = (unit(side) for side in raw)
    both = losses.create("hardnet-gor")(anchor, positive)
    apart = losses.create("hardnet")(anchor, positive) + regularizers.spread_out(anchor, positive)
    assert both.item() == pytest.approx(apart.item(), rel=1e-6)


@pytest.mark.parametrize("name", losses.names())
def test_every_loss_by_name_has_options_that_build_it_again(name: str) -> None:
    given = {key: default for key, _, default in losses.options(name)}
    loss = losses.create(name, **given)
    assert isinstance(loss, nn.Module)
    assert isinstance(loss.takes_unnormalized, bool)
    with pytest.raises(TypeError, match="no_such_option"):
        losses.create(name, no_such_option=1)

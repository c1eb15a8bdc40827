"""What holds for every loss: defined results on degenerate batches, float32 inside, NaN never hidden."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint import losses
from tiepoint.errors import InputError


def pairs(n: int, dimension: int = 16, noise: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    anchor = torch.randn(n, dimension, generator=generator)
    positive = anchor + noise * torch.randn(n, dimension, generator=generator)
    return F.normalize(anchor, dim=1), F.normalize(positive, dim=1)


def gradients(name: str, anchor: Tensor, positive: Tensor, progress: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    anchor, positive = anchor.clone().requires_grad_(), positive.clone().requires_grad_()
    value = losses.create(name)(anchor, positive, progress)
    value.backward()
    assert anchor.grad is not None
    assert positive.grad is not None
    return value.detach(), anchor.grad, positive.grad


EVERY = pytest.mark.parametrize("name", losses.names())


@EVERY
@pytest.mark.parametrize("n", [2, 3, 65])
def test_value_and_gradients_are_finite_for_any_batch_size(name: str, n: int) -> None:
    assert all(torch.isfinite(x).all() for x in gradients(name, *pairs(n)))


@EVERY
def test_a_single_pair_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n >= 2"):
        losses.create(name)(torch.ones(1, 8), torch.ones(1, 8))


@EVERY
def test_identical_positives_give_finite_gradients(name: str) -> None:
    anchor, _ = pairs(12)
    assert all(torch.isfinite(x).all() for x in gradients(name, anchor, anchor))


@EVERY
def test_duplicate_points_give_finite_gradients(name: str) -> None:
    anchor, positive = pairs(12)
    anchor[1], positive[1] = anchor[0], positive[0]
    assert all(torch.isfinite(x).all() for x in gradients(name, anchor, positive))


@EVERY
def test_a_collapsed_network_gives_finite_gradients(name: str) -> None:
    same = F.normalize(torch.ones(9, 16), dim=1)
    assert all(torch.isfinite(x).all() for x in gradients(name, same, same))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    anchor, positive = (side.to(dtype) for side in pairs(32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = losses.create(name)(anchor, positive, 0.5)
    assert value.dtype == torch.float32
    assert value.item() == losses.create(name)(anchor.float(), positive.float(), 0.5).item()


@EVERY
def test_nan_is_not_hidden(name: str) -> None:
    anchor, positive = pairs(8)
    anchor[3] = float("nan")
    assert torch.isnan(losses.create(name)(anchor, positive, 0.5))


BY_PLACE = {"hardnet-gor", "tfeat-margin", "tfeat-margin-star", "tfeat-ratio-star"}  # negatives: by place in the batch


@pytest.mark.parametrize("name", sorted(set(losses.names()) - BY_PLACE))
def test_the_order_of_the_pairs_does_not_matter(name: str) -> None:
    anchor, positive = pairs(17)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    one = losses.create(name)(anchor, positive, 0.5)
    other = losses.create(name)(anchor[order], positive[order], 0.5)
    assert one.item() == pytest.approx(other.item(), rel=1e-5, abs=1e-6)


@EVERY
def test_a_step_against_the_gradient_helps(name: str) -> None:
    anchor, positive = pairs(24, noise=1.0)
    value, by_anchor, by_positive = gradients(name, anchor, positive)
    if losses.create(name).takes_unnormalized:
        moved = anchor - 1e-4 * by_anchor, positive - 1e-4 * by_positive
    else:
        moved = anchor - 1e-3 * by_anchor, positive - 1e-3 * by_positive
    assert losses.create(name)(*moved, 0.5).item() < value.item()


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(InputError, match="no loss 'hardnett': there are"):
        losses.create("hardnett")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("hardnet", "margin", -1.0),
        ("hardnet", "duplicate_threshold", 2.0),
        ("sosnet", "neighbours", 0),
        ("soft-margin", "bins", 1),
        ("soft-margin", "momentum", 1.0),
        ("sdgm", "warm_up", 1.5),
        ("l2net", "eps", float("nan")),
    ],
)
def test_options_out_of_range_are_named(name: str, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{option} is .*must lie in"):
        losses.create(name, **{option: value})


@pytest.mark.parametrize("option", ["measure", "form", "candidates", "reduction"])
def test_an_unknown_choice_is_named(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 'none of them'"):
        losses.create("triplet", **{option: "none of them"})

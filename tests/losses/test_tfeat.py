"""TFeat's losses against torch's own triplet loss and loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from oracle import assert_equal, value_and_gradients
from torch import Tensor

from tiepoint.losses.tfeat import TFeatLoss


def raw(n: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Descriptors of any length, two of the points nearer to each other than 0.1."""
    generator = torch.Generator().manual_seed(1)
    anchor = scale * torch.randn(n, 8, generator=generator)
    anchor[1] = anchor[0] + 0.02
    return anchor, anchor + 0.1 + 0.03 * torch.randn(n, 8, generator=generator)


def test_margin_star_equals_torch() -> None:
    def peer(a: Tensor, p: Tensor) -> Tensor:
        return F.triplet_margin_loss(a, p, p.roll(-1, dims=0), margin=2, swap=True, eps=0)

    assert_equal(TFeatLoss(), peer, *raw(20, scale=0.3))


@pytest.mark.parametrize("form", ["margin", "ratio"])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("negatives", ["shift", "hardest"])
@pytest.mark.parametrize("duplicate_threshold", [0.0, 0.4])
def test_equals_loops(form: str, swap: bool, negatives: str, duplicate_threshold: float) -> None:
    def formula(a: Tensor, p: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i in range(len(a)):
            near, found = (a[i] - p[i]).norm(), []
            for j in [(i + 1) % len(a)] if negatives == "shift" else range(len(a)):
                far = min((a[i] - p[j]).norm(), (p[i] - p[j]).norm()) if swap else (a[i] - p[j]).norm()
                found += [far] if j != i and far >= duplicate_threshold else []
            if not found:
                continue
            far = min(found)
            if form == "margin":
                total = total + torch.relu(1.5 + near - far)
            else:
                sum_ = near.exp() + far.exp()
                total = total + (near.exp() / sum_) ** 2 + (1 - far.exp() / sum_) ** 2
        return total / len(a)

    loss = TFeatLoss(form=form, margin=1.5, swap=swap, negatives=negatives, duplicate_threshold=duplicate_threshold)
    assert_equal(loss, formula, *raw(9, scale=0.4))


@pytest.mark.parametrize("negatives", ["shift", "hardest"])
def test_pairs_without_a_negative_count_for_nothing(negatives: str) -> None:
    value, *gradients = value_and_gradients(
        TFeatLoss(negatives=negatives, swap=False, duplicate_threshold=100.0), *raw(5)
    )
    assert value == 0
    assert not any(g.any() for g in gradients)

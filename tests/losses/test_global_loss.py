"""The global loss against loops."""

from __future__ import annotations

import pytest
import torch
from oracle import assert_equal, on_normalised, pairs
from torch import Tensor

from tiepoint.losses.global_loss import GlobalLoss


@pytest.mark.parametrize("negatives", ["shift", "all"])
@pytest.mark.parametrize("triplet", [0.0, 1.0])
@pytest.mark.parametrize("duplicate_threshold", [0.0, 1.05])
def test_equals_loops(negatives: str, triplet: float, duplicate_threshold: float) -> None:
    def formula(a: Tensor, p: Tensor) -> Tensor:
        n = len(a)
        near, far, ratios = [(a[i] - p[i]).square().sum() / 4 for i in range(n)], [], []
        for i in range(n):
            for j in [(i + 1) % n] if negatives == "shift" else range(n):
                distance = (a[i] - p[j]).square().sum() / 4
                if j != i and distance >= duplicate_threshold**2 / 4:
                    far.append(distance)
                    ratios.append(torch.relu(1 - distance / (near[i] + 0.1)))
        near_, far_ = torch.stack(near), torch.stack(far)
        hinge = torch.relu(near_.mean() - far_.mean() + 0.5)
        return near_.var(correction=0) + far_.var(correction=0) + 0.7 * hinge + triplet * torch.stack(ratios).mean()

    loss = GlobalLoss(
        weight=0.7,
        margin=0.5,
        triplet=triplet,
        offset=0.1,
        negatives=negatives,
        duplicate_threshold=duplicate_threshold,
    )
    assert_equal(on_normalised(loss), on_normalised(formula), *pairs(7, noise=2.0))


def test_is_zero_once_the_distances_are_apart_and_do_not_vary() -> None:
    descriptors = torch.eye(6)
    assert GlobalLoss(margin=0.5)(descriptors, descriptors).item() == 0
    assert GlobalLoss(margin=0.6)(descriptors, descriptors).item() == pytest.approx(0.8 * 0.1, rel=1e-5)

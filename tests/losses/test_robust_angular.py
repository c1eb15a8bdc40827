"""The robust angular loss against loops."""

from __future__ import annotations

import pytest
import torch
from oracle import assert_equal, negatives, pairs, value_and_gradients
from torch import Tensor

from tiepoint.losses.triplet import RobustAngular


@pytest.mark.parametrize("candidates", ["cross", "all"])
@pytest.mark.parametrize("duplicate_threshold", [0.008, 0.9, 1.3])
def test_equals_loops(candidates: str, duplicate_threshold: float) -> None:
    def formula(a: Tensor, p: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for i in range(len(a)):
            of_anchor, of_positive = negatives(a, p, i, candidates, duplicate_threshold)
            found = [a[i] @ x for x in of_anchor] + [p[i] @ x for x in of_positive]
            if found:
                total = total + 1 - torch.tanh(1.5 * (a[i] @ p[i] - max(found)))
        return total / len(a)

    assert_equal(
        RobustAngular(scale=1.5, candidates=candidates, duplicate_threshold=duplicate_threshold),
        formula,
        *pairs(7, noise=1.5),
    )


def test_a_false_correspondence_pulls_less_than_a_hard_pair() -> None:
    """The gradient fades as the negative becomes the more similar: what makes the loss robust."""
    cosine = torch.tensor([0.5, -0.9])
    anchor = torch.eye(2, 4)
    positive = torch.zeros(2, 4)
    positive[:, 2] = (1 - cosine**2).sqrt()
    positive[range(2), range(2)] = cosine
    _, gradient, _ = value_and_gradients(RobustAngular(), anchor, positive)
    assert gradient[1].norm() < 0.8 * gradient[0].norm()

"""Batches of pairs, and the comparison of a loss with its formula written as float64 loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Formula = Callable[[Tensor, Tensor], Tensor]


def pairs(n: int, seed: int = 0, dimension: int = 8, noise: float = 0.7) -> tuple[Tensor, Tensor]:
    """Two (n, dimension) float32 tensors of unit vectors, matching rows alike."""
    generator = torch.Generator().manual_seed(seed)
    anchor = torch.randn(n, dimension, generator=generator)
    positive = anchor + noise * torch.randn(n, dimension, generator=generator)
    return F.normalize(anchor, dim=1), F.normalize(positive, dim=1)


def planes(cosines: list[float], spread: float) -> tuple[Tensor, Tensor]:
    """Pairs with the given cosines in planes of their own: all patches of different points have one similarity."""
    count = len(cosines)
    anchor, positive = torch.zeros(2, count, 2 * count + 1)
    anchor[:, -1] = positive[:, -1] = math.sqrt(spread)
    for i, cosine in enumerate(cosines):
        anchor[i, 2 * i] = math.sqrt(1 - spread)
        angle = math.acos(cosine)
        positive[i, 2 * i], positive[i, 2 * i + 1] = (math.sqrt(1 - spread) * f(angle) for f in (math.cos, math.sin))
    return anchor, positive


def value_and_gradients(loss: Formula, anchor: Tensor, positive: Tensor) -> list[Tensor]:
    anchor, positive = anchor.clone().requires_grad_(), positive.clone().requires_grad_()
    value = loss(anchor, positive)
    return [value.detach(), *torch.autograd.grad(value, (anchor, positive))]


def assert_equal(loss: Formula, formula: Formula, anchor: Tensor, positive: Tensor) -> None:
    """Value and gradients of a loss in float32 against the formula in float64, to 1e-5 of the largest entry."""
    found = value_and_gradients(loss, anchor, positive)
    wanted = value_and_gradients(formula, anchor.double(), positive.double())
    assert found[0].dtype == torch.float32
    assert wanted[1].abs().max() > 1e-3  # else there would be nothing to compare
    for x, y in zip(found, wanted, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))


def on_normalised(loss: Formula) -> Formula:
    """As a peer that normalises by itself: the gradient is then tangent to the sphere."""
    return lambda anchor, positive: loss(F.normalize(anchor, dim=1), F.normalize(positive, dim=1))


def negatives(
    anchor: Tensor, positive: Tensor, i: int, candidates: str, duplicate_threshold: float
) -> list[list[Tensor]]:
    """Negatives of anchor i and of positive i, one list each."""
    others = [j for j in range(len(anchor)) if j != i]
    lists = []
    for query, rivals, own in ((anchor[i], positive, anchor), (positive[i], anchor, positive)):
        found = [rivals[j] for j in others] + ([own[j] for j in others] if candidates == "all" else [])
        lists.append([x for x in found if float((x - query).detach().norm()) >= duplicate_threshold])
    return lists


def queries(
    anchor: Tensor, positive: Tensor, candidates: str, duplicate_threshold: float = 0.0
) -> list[tuple[Tensor, list[Tensor]]]:
    """Similarity to the match and to each negative, for all 2n queries."""
    found = []
    for i in range(len(anchor)):
        lists = negatives(anchor, positive, i, candidates, duplicate_threshold)
        for query, rivals in zip((anchor[i], positive[i]), lists, strict=True):
            found.append((anchor[i] @ positive[i], [query @ x for x in rivals]))
    return found

"""Chunked mining and second-order terms against full matrices."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tiepoint.losses import mining, regularizers
from tiepoint.losses.mining import hardest


def pairs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    anchor = torch.randn(n, 6, generator=generator)
    positive = anchor + torch.randn(n, 6, generator=generator)
    return F.normalize(anchor, dim=1), F.normalize(positive, dim=1)


def by_loops(
    anchor: Tensor, positive: Tensor, candidates: str, duplicate_similarity: float, scope: str
) -> list[float | None]:
    sides = {0: anchor, 1: positive}
    found: list[float | None] = []
    for i in range(len(anchor)):
        values = []
        for j in range(len(anchor)):
            if i == j:
                continue
            kinds = [float(sides[own][i] @ sides[rival][j]) for own, rival in mining.SIDES[candidates]]
            if scope == "candidate":
                values += [s for s in kinds if s < duplicate_similarity]
            elif max(kinds) < duplicate_similarity:
                values += kinds
        found.append(max(values, default=None))
    return found


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(2, 12),
    seed=st.integers(0, 1000),
    candidates=st.sampled_from(["cross", "all"]),
    duplicate_similarity=st.sampled_from([0.3, 0.8, 2.0]),
    scope=st.sampled_from(["candidate", "point"]),
    elements=st.sampled_from([1, 20, 10_000]),
)
def test_hardest_equals_loops_whatever_the_chunk(
    n: int, seed: int, candidates: mining.Candidates, duplicate_similarity: float, scope: mining.Scope, elements: int
) -> None:
    anchor, positive = pairs(n, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining, "CHUNK_ELEMENTS", elements)
        similarity, valid = hardest(anchor, positive, candidates, duplicate_similarity, scope)
    for value, there, expected in zip(
        similarity, valid, by_loops(anchor, positive, candidates, duplicate_similarity, scope), strict=True
    ):
        assert bool(there) == (expected is not None)
        assert value.item() == pytest.approx(expected or 0.0, abs=1e-6)


@pytest.mark.parametrize("candidates", ["cross", "all"])
def test_gradient_equals_that_of_the_full_matrix(candidates: mining.Candidates) -> None:
    anchor, positive = (side.double().requires_grad_() for side in pairs(40, 0))
    hardest(anchor, positive, candidates)[0].square().sum().backward()
    full_anchor, full_positive = (side.detach().clone().requires_grad_() for side in (anchor, positive))
    sides = (full_anchor, full_positive)
    blocks = torch.stack([sides[own] @ sides[rival].T for own, rival in mining.SIDES[candidates]])
    blocks = blocks - 10 * torch.eye(40, dtype=torch.float64)
    blocks.amax(dim=(0, 2)).square().sum().backward()
    for one, other in ((anchor, full_anchor), (positive, full_positive)):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)


def test_second_order_equals_sorting() -> None:
    anchor, positive = pairs(30, 1)
    similar = {"aa": anchor @ anchor.T, "pp": positive @ positive.T, "ap": anchor @ positive.T}
    similar["pa"] = similar["ap"].T
    neighbour = torch.zeros(30, 30, dtype=torch.bool)
    for matrix in similar.values():
        for i in range(30):
            order = [j for j in matrix[i].argsort(descending=True).tolist() if j != i]
            neighbour[i, order[:4]] = True
    neighbour |= neighbour.T.clone()
    gap = (2 - 2 * similar["aa"]).clamp(min=0).sqrt() - (2 - 2 * similar["pp"]).clamp(min=0).sqrt()
    expected = (gap.square() * neighbour).sum(dim=1).sqrt().sum()
    assert regularizers.second_order(anchor, positive, 4).item() == pytest.approx(expected.item(), rel=1e-6)


def test_second_order_takes_all_where_there_are_fewer_neighbours() -> None:
    anchor, positive = pairs(5, 2)
    four, many = (regularizers.second_order(anchor, positive, k) for k in (4, 100))
    assert four.item() == many.item() > 0


def test_second_order_of_equal_sides_is_zero_with_zero_gradient() -> None:
    anchor, _ = pairs(9, 3)
    anchor.requires_grad_()
    value = regularizers.second_order(anchor, anchor.detach().clone(), 3)
    value.backward()
    assert value.item() == 0
    assert anchor.grad is not None
    assert torch.count_nonzero(anchor.grad) == 0


def test_correlation_equals_numpy_and_skips_constant_dimensions() -> None:
    values, _ = pairs(20, 4)
    values[:, 2] = 0.5
    kept = torch.cat([values[:, :2], values[:, 3:]], dim=1)
    matrix = torch.corrcoef(kept.T)
    expected = (matrix.square().sum() - len(matrix)) / 2
    assert regularizers.correlation(values).item() == pytest.approx(expected.item(), rel=1e-5)


def test_spread_out_of_an_odd_batch_never_meets_a_match() -> None:
    points = torch.eye(5)
    assert regularizers.spread_out(points, points).item() == 0

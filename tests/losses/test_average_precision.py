"""Histogram AP against loops, pytorch-metric-learning's FastAP and the exact AP."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from oracle import assert_equal, on_normalised, pairs, planes, queries, value_and_gradients
from pytorch_metric_learning import losses
from torch import Tensor

from tiepoint.losses.all_negatives.average_precision import AveragePrecision


def histogram(distances: list[Tensor], bins: int, width: float) -> list[Tensor]:
    """Sum of triangles of half-width `width` about each centre."""
    zero = torch.zeros((), dtype=torch.float64)
    return [sum((torch.relu(1 - abs(d / width - k)) for d in distances), zero) for k in range(bins + 1)]


@pytest.mark.parametrize("candidates", ["cross", "all"])
@pytest.mark.parametrize("duplicate_threshold", [0.0, 1.05])
@pytest.mark.parametrize(("form", "bins"), [("doap", 25), ("doap", 4), ("fastap", 10)])
def test_equals_loops(form: str, bins: int, duplicate_threshold: float, candidates: str) -> None:
    def formula(a: Tensor, p: Tensor) -> Tensor:
        terms = []
        for s, n in queries(a, p, candidates, duplicate_threshold):
            squared = [2 - 2 * x for x in (s, *n)]
            near, *far = squared if form == "fastap" else [x.sqrt() for x in squared]
            width = (4 if form == "fastap" else 2) / bins
            h_match, h_other = histogram([near], bins, width), histogram(far, bins, width)
            ap = torch.zeros((), dtype=torch.float64)
            for k in range(bins + 1):
                if h_match[k] == 0:
                    continue
                matches, ranked = sum(h_match[: k + 1]), sum(h_match[: k + 1]) + sum(h_other[: k + 1])
                if form == "doap":
                    before, ranked_before = sum(h_match[:k]), sum(h_match[:k]) + sum(h_other[:k])
                    ap = ap + h_match[k] * (matches + before + 1) / (ranked + ranked_before + 1)
                else:
                    ap = ap + h_match[k] * matches / ranked
            terms.append(1 - ap)
        return torch.stack(terms).mean()

    assert_equal(
        AveragePrecision(form=form, bins=bins, candidates=candidates, duplicate_threshold=duplicate_threshold),
        formula,
        *pairs(7, noise=1.5),
    )


@pytest.mark.parametrize("bins", [5, 10, 40])
def test_fastap_equals_pytorch_metric_learning(bins: int) -> None:
    def peer(a: Tensor, p: Tensor) -> Tensor:
        return losses.FastAPLoss(num_bins=bins)(torch.cat([a, p]), torch.arange(20).repeat(2))

    assert_equal(on_normalised(AveragePrecision(form="fastap", bins=bins)), peer, *pairs(20, seed=5, noise=1.0))


@pytest.mark.parametrize(("form", "power"), [("doap", 1), ("fastap", 2)])
@pytest.mark.parametrize("candidates", ["cross", "all"])
def test_is_the_exact_ap_where_matches_lie_on_centres_and_negatives_in_other_bins(
    form: str, power: int, candidates: str
) -> None:
    generator, bins, n = torch.Generator().manual_seed(2), 400, 5
    width = 2**power / bins
    near = (width * torch.randint(1, bins, (n,), generator=generator).double()) ** (1 / power)
    start = 2 * math.pi * torch.rand(n, generator=generator).double()
    anchor, positive = (torch.stack([x.cos(), x.sin()], dim=1) for x in (start, start + 2 * torch.asin(near / 2)))
    exact, gaps = [], []
    for s, far in queries(anchor, positive, candidates):
        exact.append(1 / (1 + sum(float(x > s) for x in far)))
        gaps += [abs(float((2 - 2 * s) ** (power / 2) - (2 - 2 * x) ** (power / 2))) for x in far]
    assert min(gaps) > width
    assert 0.2 < sum(exact) / len(exact) < 0.9
    value = AveragePrecision(form=form, bins=bins, candidates=candidates)(anchor, positive)
    assert value.item() == pytest.approx(1 - sum(exact) / len(exact), rel=1e-4)


@pytest.mark.parametrize(("form", "power"), [("doap", 1), ("fastap", 2)])
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.7])
def test_falls_as_the_matches_come_nearer_from_centre_to_centre(form: str, power: int, spread: float) -> None:
    loss, bins = AveragePrecision(form=form, bins=20), 20
    cosines = [1 - (2 * k / bins) ** 2 / 2 if power == 1 else 1 - 2 * k / bins for k in range(bins + 1)]
    reached = [(c - spread) / (1 - spread) for c in cosines]  # `planes` adds `spread` to every similarity
    values = [loss(*planes([c] * 6, spread)).item() for c in reached if c > -1]
    assert all(y > x - 1e-6 for x, y in itertools.pairwise(values))
    assert values[0] == pytest.approx(0, abs=1e-6)
    assert values[-1] > 0.7


def test_ties_count_half_in_doap() -> None:
    """All distances fall on one bin's centre: of n candidates the match comes at a random place."""
    anchor = positive = torch.nn.functional.normalize(torch.ones(9, 4), dim=1)
    value = AveragePrecision(candidates="cross", bins=1)(anchor, positive)
    assert value.item() == pytest.approx(1 - 2 / 10, rel=1e-4)


def test_opposite_and_overlong_descriptors_stay_in_the_last_bin() -> None:
    anchor = torch.tensor([[1.01, 0.0], [0.0, 1.01]])
    value, *gradients = value_and_gradients(AveragePrecision(), anchor, -anchor)
    assert 0 < value <= 1
    assert all(torch.isfinite(g).all() for g in gradients)

"""What holds for the deep-metric-learning losses whatever the batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import pairs, planes, value_and_gradients
from torch import nn

from tiepoint.losses.all_negatives.average_precision import AveragePrecision
from tiepoint.losses.all_negatives.log_sum_exp import Angular, Circle, GeneralizedLifted, InfoNCE, MultiSimilarity
from tiepoint.losses.global_loss import GlobalLoss
from tiepoint.losses.tfeat import TFeatLoss
from tiepoint.losses.triplet import RobustAngular

MAKE: dict[str, Callable[[], nn.Module]] = {
    "multi_similarity": MultiSimilarity,
    "multi_similarity_mining": lambda: MultiSimilarity(mining=True, candidates="cross"),
    "circle": Circle,
    "circle_tfmatch": lambda: Circle(margin=0.1, gamma=512, divide=True, candidates="cross"),
    "info_nce": InfoNCE,
    "n_pair": lambda: InfoNCE(temperature=1.0, duplicate_threshold=0.3),
    "generalized_lifted": GeneralizedLifted,
    "lifted": lambda: GeneralizedLifted(squared=True, duplicate_threshold=0.3),
    "angular": Angular,
    "angular_cross": lambda: Angular(candidates="cross", duplicate_threshold=0.3),
    "doap": AveragePrecision,
    "fastap": lambda: AveragePrecision(form="fastap", bins=10, candidates="cross"),
    "global": GlobalLoss,
    "global_triplet": lambda: GlobalLoss(triplet=1.0, negatives="shift", duplicate_threshold=0.3),
    "tfeat": TFeatLoss,
    "tfeat_hardest": lambda: TFeatLoss(negatives="hardest", duplicate_threshold=0.3),
    "tfeat_ratio": lambda: TFeatLoss(form="ratio", swap=False),
    "robust_angular": RobustAngular,
}
BY_PLACE = {"global_triplet", "tfeat", "tfeat_ratio"}  # negatives are drawn by the order of the batch
HISTOGRAMS = {"doap", "fastap"}  # between two centres they need not fall
EVERY = pytest.mark.parametrize("name", MAKE)
quick = settings(max_examples=15, deadline=None)


@pytest.mark.parametrize("name", sorted(MAKE.keys() - HISTOGRAMS))
@quick
@given(cosine=st.floats(-0.9, 0.8), step=st.floats(0.05, 0.15), count=st.integers(2, 6), spread=st.floats(0, 0.8))
def test_falls_as_the_positives_come_nearer(name: str, cosine: float, step: float, count: int, spread: float) -> None:
    far, near = (MAKE[name]()(*planes([c] * count, spread)).item() for c in (cosine, cosine + step))
    assert near <= far + 1e-6 * abs(far)


@EVERY
def test_falls_indeed_where_positives_are_no_nearer_than_negatives(name: str) -> None:
    far, near = (MAKE[name]()(*planes([c] * 5, spread=0.5)).item() for c in (-0.3, 0.3))
    assert near < far - 1e-3 * abs(far)


@pytest.mark.parametrize("name", sorted(MAKE.keys() - BY_PLACE))
@quick
@given(seed=st.integers(0, 999), n=st.integers(2, 20))
def test_the_order_of_the_pairs_does_not_matter(name: str, seed: int, n: int) -> None:
    anchor, positive = pairs(n, seed=seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    value, other = MAKE[name]()(anchor, positive), MAKE[name]()(anchor[order], positive[order])
    assert value.item() == pytest.approx(other.item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", sorted(MAKE.keys() - BY_PLACE - {"global", "tfeat_hardest"}))
@quick
@given(seed=st.integers(0, 999), n=st.integers(2, 20))
def test_both_sides_count_alike(name: str, seed: int, n: int) -> None:
    anchor, positive = pairs(n, seed=seed)
    value, other = MAKE[name]()(anchor, positive), MAKE[name]()(positive, anchor)
    # Absolutely: 1 - AP is the difference of numbers near 1, which float32 holds to 1e-7.
    assert value.item() == pytest.approx(other.item(), rel=1e-5, abs=1e-6)


@EVERY
@quick
@given(
    seed=st.integers(0, 999),
    n=st.integers(2, 40),
    twins=st.floats(0, 1),
    same=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_value_and_gradients_are_finite(
    name: str, seed: int, n: int, twins: float, same: float, dtype: torch.dtype
) -> None:
    """Some points show one thing (`twins`), some positives equal their anchors (`same`), from none to all."""
    anchor, positive = pairs(n, seed=seed)
    anchor[: int(twins * n)], positive[: int(twins * n)] = anchor[0], positive[0]
    positive[: int(same * n)] = anchor[: int(same * n)]
    found = value_and_gradients(MAKE[name](), anchor.to(dtype), positive.to(dtype))
    assert found[0].dtype == torch.float32
    assert all(torch.isfinite(x).all() for x in found)


@EVERY
@pytest.mark.parametrize("n", [2, 9])
def test_a_collapsed_network_gives_finite_gradients(name: str, n: int) -> None:
    same = F.normalize(torch.ones(n, 16), dim=1)
    assert all(torch.isfinite(x).all() for x in value_and_gradients(MAKE[name](), same, same))


@EVERY
def test_nan_is_not_hidden(name: str) -> None:
    anchor, positive = pairs(8)
    positive[3] = float("nan")
    assert torch.isnan(MAKE[name]()(anchor, positive))


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        (MultiSimilarity, "alpha", 0.0),
        (MultiSimilarity, "beta", -1.0),
        (MultiSimilarity, "base", 2.0),
        (MultiSimilarity, "epsilon", -0.1),
        (Circle, "gamma", 0.0),
        (Circle, "margin", -0.1),
        (InfoNCE, "temperature", float("nan")),
        (InfoNCE, "candidates", "both"),
        (GeneralizedLifted, "margin", -1.0),
        (Angular, "degrees", 90.0),
        (Angular, "duplicate_threshold", 2.0),
        (AveragePrecision, "bins", 0),
        (AveragePrecision, "form", "map"),
        (GlobalLoss, "weight", -1.0),
        (GlobalLoss, "offset", 0.0),
        (GlobalLoss, "negatives", "hardest"),
        (TFeatLoss, "form", "hinge"),
        (TFeatLoss, "negatives", "all"),
        (TFeatLoss, "duplicate_threshold", -1.0),
        (RobustAngular, "scale", 0.0),
    ],
)
def test_options_out_of_range_are_named(kind: type[nn.Module], option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{option} is .*must"):
        kind(**{option: value})

from __future__ import annotations

import numpy as np
import pytest
from hpatches_oracle import curve_ap
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from tiepoint.errors import InputError
from tiepoint.evaluation.hpatches.measures import AP_RULES, ap, negatives_before

lists = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60).filter(
    lambda items: any(label for label, _ in items)
)


@pytest.mark.parametrize("rule", AP_RULES)
@settings(max_examples=200, deadline=None)
@given(items=lists, lost=st.integers(0, 5))
def test_counts_give_the_area_under_the_curve(rule: str, items: list[tuple[bool, int]], lost: int) -> None:
    labels, distances = np.array([i[0] for i in items]), np.array([i[1] for i in items])
    total = int(labels.sum()) + lost
    found = ap(negatives_before(labels, distances), total, rule)
    assert float(found) == pytest.approx(curve_ap(-distances, labels, total, rule), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 80))
def test_without_ties_the_rank_rule_is_scikit_learns_and_never_below_the_trapezoid(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    labels, distances = np.append(True, rng.random(size) < 0.4), rng.random(size + 1)
    before = negatives_before(labels, distances)
    assert float(ap(before, len(before), "rank")) == pytest.approx(
        average_precision_score(labels, -distances), abs=1e-12
    )
    assert ap(before, len(before)) <= ap(before, len(before), "rank") + 1e-12


def test_a_ranking_made_by_hand() -> None:
    before = np.array([0, 1, 1])  # + - + +
    assert float(ap(before, 3, "rank")) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert float(ap(before, 3)) == pytest.approx((1 + (1 / 2 + 2 / 3) / 2 + (2 / 3 + 3 / 4) / 2) / 3)
    assert float(ap(np.array([2]), 1)) == pytest.approx(1 / 6)  # - - +: from precision 0 to 1/3
    assert float(ap(np.zeros(5, dtype=int), 5)) == 1.0
    assert float(ap(np.zeros(0, dtype=int), 4)) == 0.0  # nothing found


def test_equal_distances_keep_the_order_of_the_list() -> None:
    first, last = np.array([True, False, False]), np.array([False, False, True])
    assert negatives_before(first, np.ones(3)).tolist() == [0]
    assert negatives_before(last, np.ones(3)).tolist() == [2]


def test_other_rules_are_refused() -> None:
    with pytest.raises(InputError, match="average precision 'mean': there are trapezoid, rank"):
        ap(np.zeros(3, dtype=int), 3, "mean")  # type: ignore[arg-type]


def test_leading_axes_are_kept() -> None:
    before = np.sort(np.random.default_rng(0).integers(0, 9, (4, 3, 5)), axis=-1)
    table = ap(before, 5)
    assert table.shape == (4, 3)
    assert table[2, 1] == pytest.approx(float(ap(before[2, 1], 5)))

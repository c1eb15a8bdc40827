"""Shortlists against all distances, their batches, and the choice among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiepoint.errors import InputError
from tiepoint.matching.neighbours import RowMatches, mutual_nearest
from tiepoint.matching.shortlist import batches, keep_most_probable, shortlist

Pairs = set[tuple[int, int]]


def drawn(count: int, seed: int, unit: bool = True) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0.3, 1, (count, 4))
    return (values / np.linalg.norm(values, axis=1, keepdims=True) if unit else values).astype(np.float32)


def as_set(pairs: np.ndarray) -> Pairs:
    return {(int(i), int(j)) for i, j in pairs}


def brute_force(a: np.ndarray, b: np.ndarray, candidates: int, ratio: float) -> Pairs:
    distances = np.linalg.norm(a[:, None].astype(np.float64) - b, axis=2)
    found = set()
    for i, j in np.ndindex(distances.shape):
        row, column, own = distances[i], distances[:, j], distances[i, j]
        among = (row < own).sum() < candidates and (column < own).sum() < candidates
        if among and own * ratio <= min(row.min(), column.min()):
            found.add((i, j))
    return found


SIZES = (st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.floats(0.3, 1.0), st.integers(0, 9999))


@settings(deadline=None, max_examples=60)
@given(*SIZES, st.booleans())
def test_a_shortlist_is_that_of_all_distances(
    n: int, m: int, candidates: int, ratio: float, seed: int, unit: bool
) -> None:
    a, b = drawn(n, seed, unit), drawn(m, seed + 1, unit)
    found = shortlist(a, b, candidates, ratio, chunk=7)
    slack = 1e-4 if n and m else 0.0
    closest, widest = (brute_force(a, b, candidates, ratio + by) if n and m else set() for by in (slack, -slack))
    assert closest <= as_set(found.indices) <= widest
    assert found.indices.tolist() == sorted(found.indices.tolist())
    assert found.similarity.dtype == found.ratio.dtype == np.float32
    back = shortlist(b, a, candidates, ratio, chunk=7)
    assert as_set(back.indices[:, ::-1]) == as_set(found.indices)
    order = np.lexsort((back.indices[:, 0], back.indices[:, 1]))
    np.testing.assert_array_equal(back.ratio[order], found.ratio)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.5, 0.99), st.integers(0, 9999))
def test_what_passes_the_ratio_test_stands_alone(n: int, m: int, ratio: float, seed: int) -> None:
    a, b = drawn(n, seed), drawn(m, seed + 1)
    found, matches = shortlist(a, b, 10, ratio), mutual_nearest(a, b, ratio)
    assert as_set(matches.indices) <= as_set(found.indices)
    for (i, j), value in zip(matches.indices.tolist(), matches.ratio, strict=True):
        sharing = (found.indices[:, 0] == i) | (found.indices[:, 1] == j)
        assert sharing.sum() == 1
        assert found.ratio[sharing] == pytest.approx(value, abs=1e-6)
    assert as_set(shortlist(a, b, 1, ratio).indices) == as_set(mutual_nearest(a, b, 1.0).indices)


def test_equal_descriptors_are_all_left_open() -> None:
    one = np.repeat(drawn(1, 0), 3, axis=0)
    found = shortlist(one, one, 3)
    assert as_set(found.indices) == {(i, j) for i in range(3) for j in range(3)}
    assert (found.ratio == 1).all()


def test_a_wrong_number_is_refused() -> None:
    with pytest.raises(InputError, match="candidates is 0"):
        shortlist(drawn(3, 0), drawn(3, 1), 0)
    with pytest.raises(InputError, match="ratio is 2"):
        shortlist(drawn(3, 0), drawn(3, 1), ratio=2.0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), unique=True, max_size=60),
    st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]),
    st.integers(0, 9999),
)
def test_the_choice_is_the_most_probable_of_both_sides(pairs: list[tuple[int, int]], least: float, seed: int) -> None:
    """Probabilities of few values, so that many are equal."""
    random = np.random.default_rng(seed)
    similarity = random.permutation(len(pairs)).astype(np.float32)
    probability = random.integers(0, 5, len(pairs)).astype(np.float32) / 4
    listed = RowMatches(np.array(pairs, dtype=np.int64).reshape(-1, 2), similarity, similarity)
    found = keep_most_probable(listed, probability, least)
    worth = {pair: (float(p), float(s)) for pair, p, s in zip(pairs, probability, similarity, strict=True)}
    expected = {
        (i, j)
        for (i, j), own in worth.items()
        if own[0] >= least and all(own >= other for (k, m), other in worth.items() if k == i or m == j)
    }
    assert as_set(found.indices) == expected
    assert found.probability is not None
    assert found.probability.tolist() == [worth[i, j][0] for i, j in found.indices.tolist()]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), unique=True, max_size=80), st.integers(2, 30))
def test_batches_hold_every_pair_once_and_few_members(pairs: list[tuple[int, int]], limit: int) -> None:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    parts = list(batches(table, limit))
    assert sorted(row for part in parts for row in part.tolist()) == list(range(len(pairs)))
    sizes = [sum(len(np.unique(table[part, side])) for side in (0, 1)) for part in parts]
    assert all(0 < size <= limit for size in sizes)
    if len(pairs) and sum(len(np.unique(table[:, side])) for side in (0, 1)) <= limit:
        assert len(parts) == 1


def test_batches_keep_together_what_shares_a_member() -> None:
    """Groups of four keypoints, shuffled: no group is cut where groups fit."""
    groups = np.array([(4 * g + i, 4 * g + j) for g in range(25) for i in range(4) for j in range(4)])
    shuffled = groups[np.random.default_rng(0).permutation(len(groups))]
    parts = list(batches(shuffled, 8))
    assert len(parts) == 25
    assert all(len(np.unique(shuffled[part] // 4)) == 1 for part in parts)

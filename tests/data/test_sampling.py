from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from tiepoint.data.sampling import PairSampler, split_points
from tiepoint.errors import InputError

Ids = NDArray[np.int64]


@st.composite
def ids(draw: st.DrawFn) -> Ids:
    """Point ids in any order; some occur once, two occur at least twice."""
    loose = draw(st.lists(st.integers(-20, 20), max_size=60))
    return np.array(draw(st.permutations([*loose, 100, 100, 101, 101, 101])), dtype=np.int64)


def paired(points: Ids) -> Ids:
    values, counts = np.unique(points, return_counts=True)
    return values[counts >= 2]


@settings(max_examples=100, deadline=None)
@given(points=ids(), seed=st.integers(0, 2**32), step=st.integers(0, 10**6), share=st.floats(0, 1))
def test_a_batch_has_two_patches_of_each_of_its_points(points: Ids, seed: int, step: int, share: float) -> None:
    able = paired(points)
    batch = 1 + round(share * (len(able) - 1))
    sampler = PairSampler(points, batch, seed)
    pairs = sampler(step)
    assert len(sampler) == len(able)
    assert pairs.shape == (batch, 2)
    first, second = points[pairs[:, 0]], points[pairs[:, 1]]
    np.testing.assert_array_equal(first, second)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len(np.unique(first)) == batch
    assert np.isin(first, able).all()


@settings(max_examples=50, deadline=None)
@given(points=ids(), seed=st.integers(0, 2**32), step=st.integers(0, 10**6), before=st.lists(st.integers(0, 99)))
def test_a_batch_depends_on_seed_and_step_alone(points: Ids, seed: int, step: int, before: list[int]) -> None:
    fresh, used = PairSampler(points, 2, seed), PairSampler(points, 2, seed)
    for other in before:
        used(other)
        np.random.default_rng(other).random()
    np.testing.assert_array_equal(fresh(step), used(step))
    np.testing.assert_array_equal(used(step), used(step))


def test_steps_and_seeds_differ() -> None:
    points = np.repeat(np.arange(200), 3)
    batches = [PairSampler(points, 50, seed)(step) for seed in range(5) for step in range(20)]
    assert len({batch.tobytes() for batch in batches}) == 100


@settings(max_examples=100, deadline=None)
@given(points=ids(), mask=st.integers(0, 2**65 - 1), seed=st.integers(0, 100))
def test_only_the_given_rows_are_drawn(points: Ids, mask: int, seed: int) -> None:
    rows = np.array([k for k in range(len(points)) if mask >> k & 1], dtype=np.int64)
    able = paired(points[rows])
    if not len(able):
        with pytest.raises(InputError, match="0 points occur at least twice, fewer than a batch of 1 pairs"):
            PairSampler(points, 1, seed, rows)
        return
    pairs = PairSampler(points, len(able), seed, rows)(0)
    assert np.isin(pairs, rows).all()
    np.testing.assert_array_equal(np.sort(points[pairs[:, 0]]), able)
    np.testing.assert_array_equal(points[pairs[:, 0]], points[pairs[:, 1]])


def test_too_few_points_say_what_to_do() -> None:
    points = np.array([1, 1, 2, 2, 3, 4, 5])
    assert len(PairSampler(points, 2, 0)) == 2
    with pytest.raises(
        InputError, match=r"2 points occur .* fewer than a batch of 3 pairs: lower `batch` or give more"
    ):
        PairSampler(points, 3, 0)
    with pytest.raises(InputError, match="0 points"):
        PairSampler(np.empty(0, dtype=np.int64), 1, 0)


def test_points_are_drawn_evenly_whatever_their_number_of_patches() -> None:
    points = np.repeat(np.arange(40), np.arange(40) % 7 + 1)
    sampler = PairSampler(points, 5, 0)
    drawn = np.concatenate([points[sampler(step)[:, 0]] for step in range(2000)])
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(values, paired(points))
    assert chisquare(counts).pvalue > 1e-3


def test_ordered_pairs_of_a_point_are_drawn_evenly() -> None:
    points = np.array([9, 5, 9, 5, 9, 9])
    sampler = PairSampler(points, 1, 0)
    pairs = np.concatenate([sampler(step) for step in range(6000)])
    for point, kinds in ((9, 12), (5, 2)):
        _, counts = np.unique(pairs[points[pairs[:, 0]] == point], axis=0, return_counts=True)
        assert len(counts) == kinds
        assert chisquare(counts).pvalue > 1e-3


@settings(max_examples=100, deadline=None)
@given(points=ids(), fraction=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_split_shares_no_point_and_loses_no_row(points: Ids, fraction: float, seed: int) -> None:
    training, validation = split_points(points, fraction, seed)
    assert not np.isin(points[training], points[validation]).any()
    np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(len(points)))
    assert len(np.unique(points[validation])) == round(fraction * len(np.unique(points)))
    for rows, again in zip((training, validation), split_points(points, fraction, seed), strict=True):
        np.testing.assert_array_equal(rows, again)


def test_splits_depend_on_the_seed_and_on_the_points_not_on_their_order() -> None:
    points = np.repeat(np.arange(100), 2)
    held = [set(points[split_points(points, 0.2, seed)[1]]) for seed in range(10)]
    assert all(len(one) == 20 for one in held)
    assert len({frozenset(one) for one in held}) == 10
    shuffled = np.random.default_rng(0).permutation(points)
    assert set(shuffled[split_points(shuffled, 0.2, 3)[1]]) == held[3]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cross_set import cross_set
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare

from tiepoint.data.sampling import CrossSampler, PairSampler, split_points
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet

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
    pairs, labels = sampler(step)
    assert len(sampler) == len(able)
    assert pairs.shape == (batch, 2)
    assert labels.tolist() == [1.0] * batch
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
    np.testing.assert_array_equal(fresh(step).rows, used(step).rows)
    np.testing.assert_array_equal(used(step).rows, used(step).rows)


def test_steps_and_seeds_differ() -> None:
    points = np.repeat(np.arange(200), 3)
    batches = [PairSampler(points, 50, seed)(step) for seed in range(5) for step in range(20)]
    assert len({batch.rows.tobytes() for batch in batches}) == 100


@settings(max_examples=100, deadline=None)
@given(points=ids(), mask=st.integers(0, 2**65 - 1), seed=st.integers(0, 100))
def test_only_the_given_rows_are_drawn(points: Ids, mask: int, seed: int) -> None:
    rows = np.array([k for k in range(len(points)) if mask >> k & 1], dtype=np.int64)
    able = paired(points[rows])
    if not len(able):
        with pytest.raises(InputError, match="0 points occur at least twice, fewer than a batch of 1 pairs"):
            PairSampler(points, 1, seed, rows)
        return
    pairs = PairSampler(points, len(able), seed, rows)(0).rows
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
    drawn = np.concatenate([points[sampler(step).rows[:, 0]] for step in range(2000)])
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(values, paired(points))
    assert chisquare(counts).pvalue > 1e-3


def test_ordered_pairs_of_a_point_are_drawn_evenly() -> None:
    points = np.array([9, 5, 9, 5, 9, 9])
    sampler = PairSampler(points, 1, 0)
    pairs = np.concatenate([sampler(step).rows for step in range(6000)])
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


Across = tuple[PatchSet, int]  # a set of two spectra, and its number of points


@st.composite
def across(draw: st.DrawFn, own: bool = False) -> Across:
    """Points in both spectra, some in one alone, rows shuffled, at places in two scenes or more; with `own` pairs."""
    count, loose, scenes = draw(st.integers(4, 30)), draw(st.integers(0, 5)), draw(st.integers(2, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids = random.permutation(1000)[: count + loose]
    points = np.concatenate([ids, ids[:count]])
    order = random.permutation(len(points))
    of_point = np.arange(count + loose) % scenes  # no scene is empty: another one is always to be had
    spectra = np.repeat([0, 1], [count + loose, count])
    rows = np.concatenate([np.arange(count + loose), np.arange(count)])[order]
    places = random.integers(0, 200, (count + loose, 2)).astype(np.float32)
    arrays = {
        "patches": np.empty(len(rows)), "points": points[order], "spectra": spectra[order], "images": of_point[rows],
        "positions": places[rows],
    }  # fmt: skip
    data = PatchSet(Path("set"), {"spectra": ["vis", "nir"]}, arrays)
    data.image_names = [f"c/{k}" for k in range(scenes)]
    if own:
        first, second = (np.flatnonzero(data.spectra == side) for side in (0, 1))
        pairs = np.stack([random.choice(first, 20), random.choice(second, 20), np.arange(20) % 2], axis=1)
        data.pairs = np.unique(pairs, axis=0)
    return data, count


@given(
    made=across(), seed=st.integers(0, 2**32), step=st.integers(0, 10**6), share=st.floats(0, 1), mixed=st.booleans()
)
def test_a_batch_across_spectra_is_half_matches_and_half_others_far_from_them(
    made: Across, seed: int, step: int, share: float, mixed: bool
) -> None:
    data, count = made
    batch = 2 + round(share * (count - 2))
    sampler = CrossSampler(data, batch, seed, nonmatches=mixed)
    rows, labels = sampler(step)
    assert (len(sampler), rows.shape, labels.dtype) == (count, (batch, 2), np.float32)
    assert labels.sum() == (batch - batch // 2 if mixed else batch)
    assert set(labels.tolist()) <= {0.0, 1.0}
    assert (data.spectra[rows] == [0, 1]).all()
    first, second = data.points[rows].T
    assert len(np.unique(first)) == batch
    np.testing.assert_array_equal(first == second, labels == 1)
    gaps = np.linalg.norm(data.positions[rows[:, 0]] - data.positions[rows[:, 1]], axis=1)
    same_scene = data.images[rows[:, 0]] == data.images[rows[:, 1]]
    assert (gaps[same_scene & (labels == 0)] > 64).all()


@given(
    made=across(), seed=st.integers(0, 99), step=st.integers(0, 10**6), before=st.lists(st.integers(0, 99), max_size=3)
)
def test_a_batch_across_spectra_depends_on_seed_and_step_alone(
    made: Across, seed: int, step: int, before: list[int]
) -> None:
    fresh, used = (CrossSampler(made[0], 4, seed, nonmatches=True) for _ in range(2))
    for other in before:
        used(other)
    for one, again in zip(fresh(step), used(step), strict=True):
        np.testing.assert_array_equal(one, again)


def test_batches_across_spectra_differ_by_step_and_seed(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set")
    batches = [CrossSampler(data, 10, seed, nonmatches=True)(step) for seed in range(3) for step in range(10)]
    assert len({batch.rows.tobytes() for batch in batches}) == 30


@given(made=across(own=True), seed=st.integers(0, 99), step=st.integers(0, 99), mixed=st.booleans())
def test_a_sets_own_pairs_are_drawn_where_it_has_any(made: Across, seed: int, step: int, mixed: bool) -> None:
    data, _ = made
    assert data.pairs is not None
    usable = data.pairs if mixed else data.pairs[data.pairs[:, 2] == 1]
    rows, labels = CrossSampler(data, len(usable), seed, nonmatches=mixed)(step)
    drawn = np.column_stack([rows, labels.astype(np.int64)])
    np.testing.assert_array_equal(np.unique(drawn, axis=0), usable)  # each once
    few = CrossSampler(data, 2, seed, nonmatches=mixed)(step)
    assert {(*row, label) for row, label in zip(few.rows.tolist(), few.labels.tolist(), strict=True)} <= set(
        map(tuple, usable.tolist())
    )


@given(made=across() | across(own=True), seed=st.integers(0, 99), mixed=st.booleans())
def test_across_spectra_only_the_given_rows_are_drawn(made: Across, seed: int, mixed: bool) -> None:
    data, _ = made
    scenes = np.unique(data.images)[:2]
    rows = np.flatnonzero(np.isin(data.images, scenes))
    try:
        sampler = CrossSampler(data, 2, seed, rows, mixed)
    except InputError:
        pairs = data.pairs  # of own pairs, few or none may have both rows among them, or all the same label
        assert pairs is not None
        left = pairs[np.isin(pairs[:, :2], rows).all(axis=1)]
        assert (left[:, 2] == 1).sum() < 2 or len(np.unique(left[:, 2])) < 2 or len(left) < 2
        return
    for step in range(5):
        assert np.isin(sampler(step).rows, rows).all()


def test_nonmatches_come_from_all_other_points_evenly(tmp_path: Path) -> None:
    sampler = CrossSampler(cross_set(tmp_path / "set", ["a/0", "b/0"], points=3), 2, 0, nonmatches=True)
    drawn = np.concatenate([batch.rows[batch.labels == 0] for batch in map(sampler, range(6000))])
    kinds, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(kinds) == 6 * 5  # 100 px lie between the points of a scene
    assert chisquare(counts).pvalue > 1e-3


def test_what_makes_no_batch_across_spectra_is_named(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", points=3)
    with pytest.raises(InputError, match=r"set: 12 pairs across spectra, fewer than a batch of 13: lower `batch`"):
        CrossSampler(data, 13, 0)
    alone = cross_set(tmp_path / "alone", ["a/0"], points=1)
    with pytest.raises(InputError, match="1 of 1 points have no other far enough"):
        CrossSampler(alone, 1, 0, nonmatches=True)
    assert CrossSampler(alone, 1, 0)(0).rows.tolist() == [[0, 1]]
    matches = cross_set(tmp_path / "matches", points=3, pairs=[(0, 1, 1), (2, 3, 1)])
    with pytest.raises(InputError, match="the pairs that the set defines are matches alone"):
        CrossSampler(matches, 2, 0, nonmatches=True)
    others = cross_set(tmp_path / "others", points=3, pairs=[(0, 3, 0), (2, 1, 0)])
    with pytest.raises(InputError, match="are non-matches alone"):
        CrossSampler(others, 2, 0, nonmatches=True)
    with pytest.raises(InputError, match="0 pairs across spectra"):
        CrossSampler(others, 2, 0)

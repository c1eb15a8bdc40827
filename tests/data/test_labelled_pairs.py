"""Points that two spectra show, non-matches that are none, labelled pairs, and splits by scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cross_set import cross_set
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.data.labelled_pairs import (
    CrossPoints,
    category,
    cross_points,
    draw_nonmatches,
    is_cross,
    labelled_pairs,
    split_scenes,
)
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet

SCENES = ("field/0", "field/1", "urban/0", "urban/1", "urban/2")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    """Five scenes of six points, 100 px apart."""
    return cross_set(tmp_path_factory.mktemp("cross") / "set", SCENES, points=6)


def write(directory: Path, points: list[int], spectra: list[int], images: list[int], names: list[str]) -> PatchSet:
    with PatchSet.create(directory, len(points), spectra=("vis", "nir")) as writer:
        writer.points[:], writer.spectra[:], writer.images[:] = points, spectra, images
        writer.image_names += names
    return PatchSet.open(directory)


@pytest.mark.parametrize(
    ("name", "expected"), [("field/0012", "field"), ("a/b/c", "a"), ("0012", "all"), ("/0012", ""), ("field/", "field")]
)
def test_category(name: str, expected: str) -> None:
    assert category(name) == expected


def test_points_are_found_in_any_order_and_lonely_patches_left_out(tmp_path: Path) -> None:
    points, spectra = [7, 3, 7, 9, 3, 5, 7, 9, 3], [1, 0, 0, 0, 1, 1, 0, 0, 1]
    images = [1, 0, 1, 0, 0, 1, 1, 0, 0]
    index = cross_points(write(tmp_path / "set", points, spectra, images, ["urban/a", "field/b"]))
    assert index.first.tolist() == [1, 2]  # of several patches the first one
    assert index.second.tolist() == [4, 0]
    assert index.scenes.tolist() == [0, 1]
    assert (index.names, index.categories.tolist()) == (["field", "urban"], [1, 0])
    assert index.positions is None
    assert len(index) == 2


def test_only_the_given_rows_count(data: PatchSet) -> None:
    every = cross_points(data)
    assert (len(every), every.names) == (30, ["field", "urban"])
    np.testing.assert_array_equal(every.positions, data.positions[::2])  # type: ignore[index]
    rows = np.flatnonzero(data.images == 3)[::-1][:-1]  # without the last point's first patch
    some = cross_points(data, rows)
    assert (len(some), some.names, set(some.scenes.tolist())) == (5, ["urban"], {3})
    assert set(some.first.tolist()) | set(some.second.tolist()) <= set(rows.tolist())
    np.testing.assert_array_equal(data.points[some.first], data.points[some.second])


def test_sets_without_points_in_two_spectra(tmp_path: Path) -> None:
    one = cross_set(tmp_path / "one", ("a/0",), points=2, spectra=("vis", "nir", "ir"))
    assert not is_cross(one)
    with pytest.raises(InputError, match="has the spectra vis, nir, ir: pairs across spectra need exactly two"):
        cross_points(one)
    two = write(tmp_path / "two", [0, 1], [0, 1], [0, 0], ["a"])
    assert is_cross(two)
    with pytest.raises(InputError, match="no point has a patch in both vis and nir"):
        cross_points(two)
    with pytest.raises(InputError, match="no point has a patch in both"):
        labelled_pairs(two)


@st.composite
def indices(draw: st.DrawFn) -> CrossPoints:
    """Points of a few scenes and categories, with positions or without."""
    count = draw(st.integers(1, 40))
    scenes = np.array(draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=np.int64)
    of_scene = np.array(draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)), dtype=np.int64)
    places = st.tuples(st.integers(0, 150), st.integers(0, 150))
    positions = draw(st.none() | st.lists(places, min_size=count, max_size=count))
    rows = np.arange(count)
    where = None if positions is None else np.array(positions, dtype=np.float32)
    return CrossPoints(2 * rows, 2 * rows + 1, scenes, of_scene[scenes], ["a", "b"], where)


@given(index=indices(), same=st.booleans(), seed=st.integers(0, 99), distance=st.sampled_from([0.0, 64.0, 100.0]))
def test_nonmatches_are_far_enough_and_found_wherever_there_are_any(
    index: CrossPoints, same: bool, seed: int, distance: float
) -> None:
    chosen = np.random.default_rng(seed).permutation(len(index)).repeat(2)
    drawn, again = (
        draw_nonmatches(index, chosen, np.random.default_rng(seed), same_category=same, distance=distance)
        for _ in range(2)
    )
    np.testing.assert_array_equal(drawn, again)
    for point, other in zip(chosen.tolist(), drawn.tolist(), strict=True):
        allowed = []
        for k in range(len(index)):
            if same and index.categories[k] != index.categories[point]:
                continue
            if index.positions is not None:
                gap = np.hypot(*(index.positions[k] - index.positions[point]).tolist())
                right = index.scenes[k] != index.scenes[point] or gap > distance
            elif len(set(index.scenes.tolist())) == 1:
                right = k != point
            else:
                right = index.scenes[k] != index.scenes[point]
            if right:
                allowed.append(k)
        assert other in allowed or (other == -1 and not allowed)


def test_a_single_other_point_among_many_near_ones_is_found() -> None:
    count = 2000
    places = np.zeros((count, 2), dtype=np.float32)
    places[-1] = 65
    rows, zeros = np.arange(count), np.zeros(count, dtype=np.int64)
    index = CrossPoints(rows, rows, zeros, zeros, ["all"], places)
    random = np.random.default_rng(0)
    drawn = draw_nonmatches(index, np.array([0, 1, count - 1]), random, same_category=True)
    assert drawn[:2].tolist() == [count - 1] * 2
    assert 0 <= drawn[2] < count - 1
    assert draw_nonmatches(index, rows[:3], random, same_category=True, distance=92).tolist() == [-1] * 3
    assert draw_nonmatches(index, rows[:0], random, same_category=True).tolist() == []


def test_nonmatches_are_drawn_evenly(data: PatchSet) -> None:
    index = cross_points(data)
    chosen = np.zeros(12_000, dtype=np.int64)
    drawn = draw_nonmatches(index, chosen, np.random.default_rng(0), same_category=False)
    counts = np.bincount(drawn, minlength=len(index))
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 12_000 / 29) < 5 * (12_000 / 29) ** 0.5).all()


@pytest.mark.parametrize("count", [4, 2500])
def test_drawn_pairs_are_balanced_seeded_and_of_one_category(data: PatchSet, count: int) -> None:
    pairs = labelled_pairs(data, count, seed=1)
    expected = {"field": min(count, 12), "urban": min(count, 18)}
    assert (pairs.names, len(pairs)) == (["field", "urban"], 2 * sum(expected.values()))
    for number, name in enumerate(pairs.names):
        of_it = pairs.categories == number
        assert pairs.labels[of_it].sum() == (~pairs.labels[of_it]).sum() == expected[name]
        own = pairs.first[of_it & pairs.labels]
        np.testing.assert_array_equal(own, pairs.first[of_it & ~pairs.labels])
        assert len(set(own.tolist())) == len(own)
    for side, rows in enumerate((pairs.first, pairs.second)):
        assert (data.spectra[rows] == side).all()
        names = [category(data.image_names[image]) for image in data.images[rows]]
        assert names == [pairs.names[number] for number in pairs.categories]
    np.testing.assert_array_equal(data.points[pairs.first] == data.points[pairs.second], pairs.labels)
    same, other = (labelled_pairs(data, count, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(pairs.second, same.second)
    assert (pairs.second != other.second).any()


def test_pairs_of_some_rows_use_no_others(data: PatchSet) -> None:
    rows = np.flatnonzero(np.isin(data.images, (0, 2, 3)))
    pairs = labelled_pairs(data, rows=rows)
    assert np.isin(pairs.first, rows).all()
    assert np.isin(pairs.second, rows).all()
    assert len(pairs) == 2 * 18


OWN = [(0, 1, 1), (0, 3, 0), (12, 13, 1), (24, 37, 0), (24, 25, 1)]


def test_pairs_of_the_set_come_first(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", SCENES, points=6, pairs=OWN)
    pairs = labelled_pairs(data, count=1, seed=9)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), pairs.labels.tolist(), strict=True)) == OWN
    assert [pairs.names[number] for number in pairs.categories] == ["field"] * 3 + ["urban"] * 2
    some = labelled_pairs(data, rows=np.r_[0:2, 24:36])
    assert some.first.tolist() == [0, 24]  # both patches of a pair must be among the rows
    with pytest.raises(InputError, match="none of the set's pairs lies among the patches to be used"):
        labelled_pairs(data, rows=np.arange(4, 8))


@pytest.mark.parametrize(("options", "message"), [({"count": 0}, "count is 0"), ({"seed": -1}, "seed is -1")])
def test_numbers_out_of_range(data: PatchSet, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        labelled_pairs(data, **options)


def test_a_category_without_nonmatches_is_named(tmp_path: Path) -> None:
    data = write(tmp_path / "set", [0, 0, 1, 1, 2, 2], [0, 1] * 3, [0, 0, 1, 1, 2, 2], ["a/0", "a/1", "b/0"])
    with pytest.raises(InputError, match="category b has no point far enough from another"):
        labelled_pairs(data)
    assert labelled_pairs(data, rows=np.arange(4)).labels.tolist() == [True, True, False, False]


def test_a_point_without_nonmatches_is_left_out(tmp_path: Path) -> None:
    with PatchSet.create(tmp_path / "set", 6, spectra=("vis", "nir"), positions=True) as writer:
        assert writer.positions is not None
        writer.points[:], writer.spectra[:] = np.arange(6) // 2, np.arange(6) % 2
        writer.positions[:] = np.repeat([[0, 0], [50, 0], [100, 0]], 2, axis=0)
        writer.image_names.append("a")
    pairs = labelled_pairs(PatchSet.open(tmp_path / "set"))
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0, 4, 0, 4], [1, 5, 5, 1])


@given(fraction=st.floats(0.11, 0.89), seed=st.integers(0, 99))
def test_splits_keep_scenes_whole(data: PatchSet, fraction: float, seed: int) -> None:
    training, validation = split_scenes(data, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(len(data)))
    one, two = set(data.images[training].tolist()), set(data.images[validation].tolist())
    assert not one & two
    assert len(two) == round(5 * fraction)
    again = split_scenes(data, fraction, seed)
    np.testing.assert_array_equal(again[1], validation)


def test_splits_depend_on_the_seed_and_need_scenes_for_both_parts(data: PatchSet) -> None:
    held = {tuple(np.unique(data.images[split_scenes(data, 0.2, seed)[1]])) for seed in range(20)}
    assert len(held) > 2
    for fraction in (0.0, 0.05, 0.95, 1.0):
        with pytest.raises(InputError, match="of 5 scenes leaves none for training or for validation"):
            split_scenes(data, fraction, 0)

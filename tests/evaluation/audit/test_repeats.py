"""Repeats and near locations against brute force; blocks and chunks change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic import smooth_texture

from tiepoint.evaluation.audit import repeats
from tiepoint.evaluation.audit.between import nearest_locations
from tiepoint.evaluation.audit.reading import look
from tiepoint.evaluation.audit.repeats import _reduce, _units, first_equal, first_equal_of_other_point, near_repeats

POOL = np.stack([smooth_texture(64, seed) for seed in range(4)])[:, None]
numbers = st.lists(st.integers(0, 3), max_size=25)


def correlations(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.float64]:
    flat = [patches.mean(axis=1).reshape(len(patches), -1) for patches in (ours, theirs)]
    return np.corrcoef(np.concatenate(flat))[len(ours) :, : len(ours)]


def variants(seed: int, count: int, dtype: str = "uint8") -> NDArray[Any]:
    """Patches of a few textures: brighter, fainter, noisy from hardly to beyond recognition, and shifted."""
    random = np.random.default_rng(seed)
    patches = np.empty((count, 1, 64, 64))
    for k in range(count):
        x, y = random.integers(0, 3, 2)
        texture = smooth_texture(66, int(random.integers(6)))[y : y + 64, x : x + 64] / 255.0
        noisy = texture + random.choice([0, 0.01, 0.03, 0.1]) * random.standard_normal((64, 64))
        patches[k, 0] = random.uniform(0, 0.2) + random.uniform(0.4, 0.8) * noisy
    return (np.clip(patches, 0, 1) * np.iinfo(dtype).max).astype(dtype)


@given(numbers, numbers)
def test_first_equal_is_a_dict(ours: list[int], theirs: list[int]) -> None:
    digests = [look(POOL[np.array(ids, dtype=int)], lambda _: None)[0] for ids in (ours, theirs)]
    first: dict[bytes, int] = {}
    for row, number in enumerate(ours):
        first.setdefault(POOL[number].tobytes(), row)
    assert first_equal(*digests).tolist() == [first.get(POOL[number].tobytes(), -1) for number in theirs]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=25))
def test_first_equal_of_other_point_is_a_scan(rows: list[tuple[int, int]]) -> None:
    pictures, points = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    expected = [
        next((k for k in range(row) if pictures[k] == pictures[row] and points[k] != points[row]), -1)
        for row in range(len(rows))
    ]
    assert first_equal_of_other_point(pictures.astype(np.uint64), points).tolist() == expected


def test_look_gives_the_deviation_of_the_strongest_channel() -> None:
    patches = np.random.default_rng(0).integers(0, 60000, (1000, 3, 64, 64)).astype(np.uint16)
    patches[:, 0] //= 100
    patches[7] = 60000
    seen: list[int] = []
    digests, deviations = look(patches, seen.append)
    assert deviations[7] == 0
    expected = patches[:20].reshape(20, 3, -1).std(axis=2).max(axis=1)
    np.testing.assert_allclose(deviations[:20], expected, rtol=1e-5)
    assert len(np.unique(digests)) == 1000
    assert len(seen) > 1
    assert sum(seen) == 1000


@pytest.mark.parametrize("near", [0.9, 0.98])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_near_repeats_are_those_of_brute_force(near: float, dtype: str) -> None:
    ours, theirs = variants(1, 120), variants(2, 90, dtype)
    table = correlations(ours, theirs) >= near
    expected = np.where(table.any(axis=1), table.argmax(axis=1), -1)
    assert 0 < (expected >= 0).sum() < 90
    found = near_repeats(ours, np.arange(120), theirs, np.arange(90), near)
    np.testing.assert_array_equal(found, expected)
    rows, sought = np.arange(5, 120, 2), np.arange(0, 90, 3)
    part = table[np.ix_(sought, rows)]
    expected = np.where(part.any(axis=1), rows[part.argmax(axis=1)], -1)
    np.testing.assert_array_equal(near_repeats(ours, rows, theirs, sought, near), expected)


@pytest.mark.parametrize(("block", "chunk"), [(1, 1), (7, 13), (64, 5), (1000, 64)])
def test_blocks_and_chunks_change_nothing(block: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = variants(3, 100), variants(4, 60)
    points = np.random.default_rng(0).integers(0, 30, 100)
    every = np.arange(100)
    whole = near_repeats(ours, every, theirs, np.arange(60), 0.95)
    within = near_repeats(ours, every, ours, every, 0.95, points=points)
    assert 0 < (whole >= 0).sum() < 60
    monkeypatch.setattr(repeats, "BLOCK", block)
    monkeypatch.setattr(repeats, "CHUNK", chunk)
    np.testing.assert_array_equal(near_repeats(ours, every, theirs, np.arange(60), 0.95), whole)
    np.testing.assert_array_equal(near_repeats(ours, every, ours, every, 0.95, points=points), within)


def test_near_repeats_within_one_set() -> None:
    patches, points = variants(5, 100), np.random.default_rng(1).integers(0, 20, 100)
    table = correlations(patches, patches) >= 0.95
    table &= np.tri(100, k=-1, dtype=bool) & (points[:, None] != points)
    expected = np.where(table.any(axis=1), table.argmax(axis=1), -1)
    found = near_repeats(patches, np.arange(100), patches, np.arange(100), 0.95, points=points)
    np.testing.assert_array_equal(found, expected)
    assert 0 < (expected >= 0).sum() < 100


def test_nothing_to_search() -> None:
    patches, none = variants(0, 3), np.empty(0, dtype=np.int64)
    assert near_repeats(patches, none, patches, np.arange(3), 0.9).tolist() == [-1, -1, -1]
    assert near_repeats(patches, np.arange(3), patches, none, 0.9).tolist() == []


@given(st.integers(0, 2**32 - 1), st.floats(0, 30))
@settings(max_examples=30, deadline=None)
def test_the_short_vectors_bound_the_correlation(seed: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    base = random.uniform(0, 255) + random.uniform(0, 3) * POOL[random.integers(4, size=12)]
    units = _units(base + noise * random.standard_normal(base.shape), np.arange(12))
    short = _reduce(units)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    assert (short @ short.T >= units @ units.T - 1e-5).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.floats(0.5, 60))
@settings(max_examples=60, deadline=None)
def test_nearest_is_that_of_brute_force(seed: int, count: int, sought: int, closer_than: float) -> None:
    random = np.random.default_rng(seed)
    scenes, other_scenes = random.integers(0, 3, count), random.integers(1, 4, sought)
    ours, theirs = random.integers(0, 60, (count, 2)) / 2.0, random.integers(0, 60, (sought, 2)) / 2.0
    distances, indices = nearest_locations(scenes, ours, other_scenes, theirs, closer_than)
    for k in range(sought):
        gaps = np.where(scenes == other_scenes[k], np.linalg.norm(ours - theirs[k], axis=1), np.inf)
        least = gaps.min(initial=np.inf)
        assert distances[k] == (least if least < closer_than else np.inf)
        assert (indices[k] >= 0) == (least < closer_than)
        if indices[k] >= 0:
            assert gaps[indices[k]] == least

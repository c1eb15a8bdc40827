from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hpatches_oracle import METRICS as SCIPY
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from tiepoint.errors import InputError
from tiepoint.evaluation import distances
from tiepoint.evaluation.distances import (
    CHUNK_PAIRS,
    METRICS,
    count_closer,
    is_constant,
    nearest_neighbours,
    pair_distances,
)


def unit(rng: np.random.Generator, count: int, dimension: int = 32) -> NDArray[np.float32]:
    vectors = rng.standard_normal((count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sets(kind: str, rows: int = 300, columns: int = 280) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two sets of descriptors that are hard in one way each."""
    rng = np.random.default_rng(7)
    if kind == "unit":
        return unit(rng, rows), unit(rng, columns)
    if kind == "bytes":  # many exact ties between different vectors
        return tuple(rng.integers(0, 3, (n, 4)).astype(np.float32) * 64 for n in (rows, columns))  # type: ignore[return-value]
    if kind == "duplicates":
        base = unit(rng, 20)
        return base[rng.integers(20, size=rows)], base[rng.integers(20, size=columns)]
    if kind == "near":  # differences far below what |a|^2 + |b|^2 - 2ab resolves in float32
        base = unit(rng, 1) * 30
        return tuple((base + 1e-4 * rng.standard_normal((n, 32))).astype(np.float32) for n in (rows, columns))  # type: ignore[return-value]
    if kind == "tiny":
        return unit(rng, rows) * np.float32(1e-21), unit(rng, columns) * np.float32(1e-21)
    first, second = unit(rng, rows), unit(rng, columns)
    first[::3], second[::4] = 0, 0
    return first, second


KINDS = ("unit", "bytes", "duplicates", "near", "tiny", "zeros")


@pytest.fixture(params=["highest", "medium"])
def precision(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_scipys_distances_and_duplicates_are_at_zero(kind: str, metric: str) -> None:
    first, second = sets(kind)
    rows, columns = np.indices((len(first), len(second))).reshape(2, -1)
    table = cdist(first.astype(float), second.astype(float), SCIPY[metric])
    found = pair_distances(first, rows, second, columns, metric)
    np.testing.assert_allclose(found, table.ravel(), rtol=1e-12)
    every = np.arange(len(first))
    assert (pair_distances(first, every, first.copy(), every, metric) == 0).all()


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_is_that_of_exact_distances_and_the_first_of_equals(kind: str, metric: str) -> None:
    first, second = sets(kind)
    table = cdist(first.astype(float), second.astype(float), SCIPY[metric])
    found, distances = nearest_neighbours(first, second, metric)
    np.testing.assert_array_equal(found, table.argmin(axis=1))
    np.testing.assert_allclose(distances, table.min(axis=1), rtol=1e-12)


def test_the_near_set_would_break_plain_float32() -> None:
    first, second = sets("near")
    naive = (second**2).sum(axis=1) - 2 * first @ second.T
    assert (naive.argmin(axis=1) != nearest_neighbours(first, second)[0]).mean() > 0.5


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_closer_entries_are_counted_exactly_and_equal_ones_are_not(kind: str, metric: str) -> None:
    queries, pool = sets(kind)
    rng = np.random.default_rng(1)
    views = rng.integers(len(pool), size=(len(queries), 4))  # limits that some of the pool are exactly at
    rows = np.repeat(np.arange(len(queries)), 4)
    limits = pair_distances(queries, rows, pool, views.ravel(), metric).reshape(-1, 4)
    ends = [0, 40, 41, 200, 280]
    rows, columns = np.indices((len(queries), len(pool))).reshape(2, -1)
    table = pair_distances(queries, rows, pool, columns, metric).reshape(len(queries), -1)
    closer = table[:, None, :] < limits[:, :, None]
    expected = np.stack([closer[:, :, :end].sum(axis=2) for end in ends], axis=2)
    np.testing.assert_array_equal(count_closer(queries, pool, limits, ends, metric), expected)
    assert 0 < expected[:, :, -1].mean() < len(pool)


def test_limits_far_outside_the_pool_count_all_or_nothing() -> None:
    queries, pool = sets("unit")
    limits = np.tile([0.0, 1e6], (len(queries), 1))
    counts = count_closer(queries, pool, limits, [100, len(pool)])
    assert (counts == [[0, 0], [100, len(pool)]]).all()


def test_pairs_of_one_set_across_chunks() -> None:
    vectors, _ = sets("unit")
    first, second = np.random.default_rng(2).integers(0, len(vectors), (2, CHUNK_PAIRS + 7))
    expected = cdist(vectors, vectors)[first, second]
    np.testing.assert_allclose(pair_distances(vectors, first, vectors, second), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("call", [nearest_neighbours, lambda a, b, m: count_closer(a, b, np.ones((300, 1)), [280], m)])
def test_other_metrics_are_refused(call: Callable[..., object]) -> None:
    with pytest.raises(InputError, match="metric 'l2': there are L2, L1"):
        call(*sets("duplicates"), "l2")


def test_one_descriptor_for_all_is_told_from_a_single_other() -> None:
    vectors = np.ones((2, 5, 4), dtype=np.float32)
    assert is_constant(vectors)
    vectors[1, 4, 3] = 2
    assert not is_constant(vectors)


@pytest.mark.parametrize("rows", [1, 7, 256])
def test_rows_of_one_id_are_not_compared(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(distances, "BLOCK_ROWS", rows)
    rng = np.random.default_rng(0)
    vectors, points = rng.standard_normal((40, 5)).astype(np.float32), rng.integers(0, 9, 40)
    found = distances.nearest_neighbours(vectors, vectors, apart=(points, points))[0]
    for a, row in enumerate(found):
        gaps = np.where(points == points[a], np.inf, np.linalg.norm(vectors - vectors[a], axis=1))
        assert row == gaps.argmin()

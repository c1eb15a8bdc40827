"""Distances of descriptors: matrix products find what can matter, differences in float64 decide.

|a|^2 + |b|^2 - 2ab in float32 is fast but wrong by more than the distance of near-duplicates. So each answer here is
screened with it, allowing for its worst rounding error, and what lies within that error is computed exactly.
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.evaluation.options import Metric

# Of a unit vector's norm: half-precision weights stay well inside, an unnormalised output far outside.
NORM_TOLERANCE = 1e-3
METRICS: tuple[Metric, ...] = get_args(Metric)
CHUNK_PAIRS = 1 << 13  # pairs whose differences are held at once: 8 MiB of float64 at 128 dimensions
BLOCK_ROWS = 256  # rows of a distance matrix held at once
ROUNDING, UNDERFLOW = 2.0**-24, 2.0**-126  # of float32: rounding error, and what may be lost where values get small
Descriptor = NDArray[np.float32]


def similarity_matrix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Similarity (N, M) of every descriptor of `first` (N, D) to every one of `second` (M, D).

    The inner products, in -1..1, if all norms are within NORM_TOLERANCE of 1, otherwise minus half the squared L2
    distances, computed in float64. Compare only scores of one call: the two differ by an offset of 1.
    """
    if _are_unit(first) and _are_unit(second):
        return np.asarray(first @ second.T)
    a, b = first.astype(np.float64), second.astype(np.float64)
    product = a @ b.T
    product -= np.einsum("nd,nd->n", a, a)[:, None] / 2
    product -= np.einsum("nd,nd->n", b, b) / 2
    return np.asarray(product, dtype=np.float32)


def similarity_rows(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Similarity (N,) of each row of `first` (N, D) to the same row of `second` (N, D); otherwise as the matrix."""
    if _are_unit(first) and _are_unit(second):
        return np.asarray(np.einsum("nd,nd->n", first, second))
    difference = first.astype(np.float64) - second
    return np.asarray(-np.einsum("nd,nd->n", difference, difference) / 2, dtype=np.float32)


def _are_unit(vectors: NDArray[np.float32]) -> bool:
    return bool((np.abs(np.linalg.norm(vectors, axis=1) - 1) <= NORM_TOLERANCE).all())


def pair_distances(
    first: Descriptor, rows: NDArray[Any], second: Descriptor, columns: NDArray[Any], metric: Metric = "L2"
) -> NDArray[np.float64]:
    """Distance of `first[rows[k]]` (N, D) and `second[columns[k]]` (M, D) for each k (K,).

    Computed from the differences in float64, so it is 0 for duplicates and equal for equal pairs. Raises InputError for
    an unknown metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r}: there are {', '.join(METRICS)}")
    distances = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK_PAIRS):
        part = slice(start, start + CHUNK_PAIRS)
        difference = first[rows[part]].astype(np.float64)
        difference -= second[columns[part]]
        if metric == "L1":
            distances[part] = np.abs(difference, out=difference).sum(axis=1)
        else:
            distances[part] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
    return distances


def is_constant(vectors: Descriptor) -> bool:
    """Whether all descriptors (..., D) are one, as those of a network that collapsed in training."""
    return bool((vectors == vectors.reshape(-1, vectors.shape[-1])[0]).all())


def constant_error(name: str) -> InputError:
    """What to raise for a describer whose descriptors are all equal: a protocol would measure its own rule for ties."""
    return InputError(f"{name}: gives all patches one descriptor, so nothing can be told apart: check its weights")


def nearest_neighbours(
    first: Descriptor,
    second: Descriptor,
    metric: Metric = "L2",
    *,
    apart: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each row of `first` (N, D) its nearest row of `second` (M, D), M >= 1; of equally near ones the first.

    With `apart`, ids (N,) and (M,), rows of equal ids are not compared; each row of `first` needs a row of another id.
    Returns (N,) rows of `second`, and (N,) their distances as `pair_distances` gives them.
    """
    neighbours, distances = np.empty(len(first), dtype=np.int64), np.empty(len(first))
    for start in range(0, len(first), BLOCK_ROWS):
        block = first[start : start + BLOCK_ROWS]
        screen, error = _screen(block, second, metric)
        if apart is not None:
            screen[apart[0][start : start + BLOCK_ROWS, None] == apart[1]] = np.inf
        bound = screen.min(axis=1) + (2 * error).astype(np.float32)
        rows, columns = np.nonzero(screen <= bound[:, None])
        exact = pair_distances(block, rows, second, columns, metric)
        order = np.lexsort((columns, exact, rows))
        best = order[np.searchsorted(rows, np.arange(len(block)))]
        neighbours[start : start + BLOCK_ROWS], distances[start : start + BLOCK_ROWS] = columns[best], exact[best]
    return neighbours, distances


def count_closer(
    queries: Descriptor, pool: Descriptor, limits: NDArray[np.float64], ends: Sequence[int], metric: Metric = "L2"
) -> NDArray[np.int64]:
    """Count for each query (Q, D) the pool's entries (M, D) that are strictly closer than each of its limits (Q, L).

    Of the pool the first `ends[k]` entries count: K sizes in 0..M, not falling. Returns (Q, L, K) counts.
    """
    counts = np.zeros((*limits.shape, len(ends)), dtype=np.int64)
    pool = pool[: ends[-1]]
    starts = (0, *ends[:-1])
    for start in range(0, len(queries), BLOCK_ROWS):
        block, goals = queries[start : start + BLOCK_ROWS], limits[start : start + BLOCK_ROWS]
        screen, error = _screen(block, pool, metric)
        aims = goals if metric == "L1" else goals**2 - _squares(block)[:, None]
        surely = (aims - 2 * error[:, None]).astype(np.float32)
        maybe = (aims + 2 * error[:, None]).astype(np.float32)
        doubtful = np.zeros(screen.shape, dtype=bool)
        for i in range(goals.shape[1]):
            doubtful |= (screen < surely[:, i, None]) ^ (screen <= maybe[:, i, None])
        rows, columns = np.nonzero(doubtful)
        exact = pair_distances(block, rows, pool, columns, metric)
        for i in range(goals.shape[1]):
            closer = screen < surely[:, i, None]
            closer[rows, columns] = exact < goals[rows, i]
            for k, (begin, end) in enumerate(zip(starts, ends, strict=True)):
                counts[start : start + BLOCK_ROWS, i, k] = np.count_nonzero(closer[:, begin:end], axis=1)
    return np.asarray(counts.cumsum(axis=2))


def _screen(first: Descriptor, second: Descriptor, metric: Metric) -> tuple[Descriptor, NDArray[np.float64]]:
    """Distances (N, M) in float32, L2 as d^2 - |first|^2, and a bound (N,) on the error of each row's."""
    dimension = first.shape[1]
    if metric == "L1":
        matrix = torch.cdist(torch.from_numpy(first), torch.from_numpy(second), p=1).numpy()
        largest = matrix.max(axis=1, initial=0).astype(np.float64)
        return np.asarray(matrix), (dimension + 4) * (ROUNDING * largest + UNDERFLOW)
    squares = _squares(second)
    longest = float(np.sqrt(squares.max(initial=0)))
    matrix = _products(first * np.float32(-2), second)
    matrix += squares.astype(np.float32)
    return matrix, (2 * dimension + 8) * (ROUNDING * longest * (np.sqrt(_squares(first)) + longest) + UNDERFLOW)


def _products(first: Descriptor, second: Descriptor) -> Descriptor:
    """Inner products (N, M). By torch, since numpy's threads spin while they wait and choke on a busy machine."""
    exact = torch.get_float32_matmul_precision() == "highest"  # else a CPU may round float32 to bfloat16 first
    dtype = torch.float32 if exact else torch.float64
    products = torch.from_numpy(first).to(dtype) @ torch.from_numpy(second).to(dtype).T
    return np.asarray(products.float().numpy())


def _squares(vectors: Descriptor) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))

"""How alike descriptors are, so that a higher number always means a smaller L2 distance.

For unit vectors the inner product says so. TFeat's output, for one, is not normalised; there the score is
a.b - |a|^2 / 2 - |b|^2 / 2, which is minus half the squared L2 distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-3  # of a unit vector's norm: half-precision weights stay well inside, an unnormalised output far outside


def similarity_matrix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Similarity of every descriptor of `first` (N, D) to every one of `second` (M, D).

    Returns:
        (N, M): the inner products, in -1..1, if all norms are within TOLERANCE of 1, otherwise minus half the squared
        L2 distances, computed in float64. Compare only scores of one call, since the two differ by an offset of 1.
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
    return bool((np.abs(np.linalg.norm(vectors, axis=1) - 1) <= TOLERANCE).all())

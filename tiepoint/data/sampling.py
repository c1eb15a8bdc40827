"""Batches of pairs: one pair a point, chosen by (seed, step) alone, so that a run resumes at any step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError

VALIDATION_STREAM = 0x7E57


class PairSampler:
    """Draws `batch` points uniformly without repetition and two distinct patches of each.

    Points that occur once cannot make a pair and are left out.

    Args:
        points: (N,) point ids of a PatchSet.
        batch: pairs a batch.
        seed: of all draws.
        rows: rows of `points` that may be used; all if None.

    Raises:
        InputError: fewer points with two patches than `batch`.
    """

    def __init__(self, points: NDArray[np.int64], batch: int, seed: int, rows: NDArray[np.int64] | None = None) -> None:
        rows = np.arange(len(points)) if rows is None else rows
        ids = np.asarray(points)[rows]
        order = np.argsort(ids, kind="stable")
        _, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
        paired = counts >= 2
        self.rows, self.starts, self.counts = rows[order], starts[paired], counts[paired]
        self.batch, self.seed = batch, seed
        if len(self.starts) < batch:
            raise InputError(
                f"{len(self.starts)} points occur at least twice, fewer than a batch of {batch} pairs: "
                "lower `batch` or give more data"
            )

    def __len__(self) -> int:
        return len(self.starts)

    def __call__(self, step: int) -> NDArray[np.int64]:
        """Rows (batch, 2) of the pairs of batch number `step`."""
        random = np.random.default_rng([self.seed, step])
        chosen = random.choice(len(self.starts), self.batch, replace=False)
        counts = self.counts[chosen]
        first = random.integers(counts)
        second = (first + 1 + random.integers(counts - 1)) % counts
        pairs: NDArray[np.int64] = self.rows[self.starts[chosen, None] + np.stack([first, second], axis=1)]
        return pairs


def split_points(points: NDArray[np.int64], fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows for training and rows for validation; `fraction` of the points are for validation."""
    ids = np.unique(points)
    held = np.random.default_rng([seed, VALIDATION_STREAM]).permutation(ids)[: round(fraction * len(ids))]
    validation = np.isin(points, held)
    return np.flatnonzero(~validation), np.flatnonzero(validation)

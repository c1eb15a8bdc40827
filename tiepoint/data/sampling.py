"""Batches of pairs: one pair a point, chosen by (seed, step) alone, so that a run resumes at any step."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.labelled_pairs import cross_points, draw_nonmatches, own_pairs, split_by
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet
from tiepoint.types import Rows

VALIDATION_STREAM = 0x7E57


class Batch(NamedTuple):
    """Pairs of a step: rows (batch, 2) of the PatchSet, and labels (batch,), 1 for a match, 0 for a non-match."""

    rows: Rows
    labels: NDArray[np.float32]


Sampler = Callable[[int], Batch]  # number of a step -> its pairs


class PairSampler:
    """Draws `batch` points uniformly without repetition and two distinct patches of each.

    Points that occur once cannot make a pair and are left out. `points` (N,) are the ids of a PatchSet, `rows` those of
    them that may be used, all if None. Raises InputError for fewer points with two patches than `batch`.
    """

    def __init__(self, points: Rows, batch: int, seed: int, rows: Rows | None = None) -> None:
        rows = np.arange(len(points)) if rows is None else rows
        ids = np.asarray(points)[rows]
        order = np.argsort(ids, kind="stable")
        _, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
        paired = counts >= 2
        self.rows, self.starts, self.counts = rows[order], starts[paired], counts[paired]
        self.batch, self.seed = batch, seed
        if len(self.starts) < batch:
            fault = f"{len(self.starts)} points occur at least twice, fewer than a batch of {batch} pairs"
            raise InputError(f"{fault}: lower `batch` or give more data")

    def __len__(self) -> int:
        return len(self.starts)

    def __call__(self, step: int) -> Batch:
        """The pairs of batch number `step`, all of them matches."""
        random = np.random.default_rng([self.seed, step])
        chosen = random.choice(len(self.starts), self.batch, replace=False)
        counts = self.counts[chosen]
        first = random.integers(counts)
        second = (first + 1 + random.integers(counts - 1)) % counts
        pairs: Rows = self.rows[self.starts[chosen, None] + np.stack([first, second], axis=1)]
        return Batch(pairs, np.ones(len(pairs), dtype=np.float32))


class CrossSampler:
    """Draws pairs of a patch of the first spectrum and one of the second.

    Matches are points drawn uniformly without repetition. With `nonmatches` they are half of a batch (the larger half),
    and the other half are first patches of further points with second patches of any other, more than 64 px away where
    both lie in one scene. Where the set defines its pairs, these are drawn instead, uniformly without repetition;
    without `nonmatches` the matches among them. `rows` of the set may be used, all if None.

    Raises InputError for fewer points or pairs than a batch takes, a point that no other is far enough from, or
    non-matches asked of a set whose pairs are of one kind.
    """

    def __init__(
        self, data: PatchSet, batch: int, seed: int, rows: Rows | None = None, nonmatches: bool = False
    ) -> None:
        self.batch, self.seed, self.nonmatches, self.directory = batch, seed, nonmatches, data.directory
        self.own = own_pairs(data, rows)
        if self.own is not None:
            self.own = self.own[nonmatches | (self.own[:, 2] == 1)]
        else:
            self.index = cross_points(data, rows)
        if len(self) < batch:
            fault = f"{len(self)} pairs across spectra, fewer than a batch of {batch}"
            raise InputError(f"{data.directory}: {fault}: lower `batch` or give more data")
        if nonmatches:
            self._check()

    def __len__(self) -> int:
        return len(self.index) if self.own is None else len(self.own)

    def __call__(self, step: int) -> Batch:
        """The pairs of batch number `step`."""
        random = np.random.default_rng([self.seed, step])
        chosen = random.choice(len(self), self.batch, replace=False)
        if self.own is not None:
            pairs = self.own[chosen]
            return Batch(pairs[:, :2], pairs[:, 2].astype(np.float32))
        matches = self.batch - self.batch // 2 if self.nonmatches else self.batch
        others = chosen.copy()
        if self.nonmatches:
            others[matches:] = draw_nonmatches(self.index, chosen[matches:], random, same_category=False)
        labels = (np.arange(self.batch) < matches).astype(np.float32)
        return Batch(np.stack([self.index.first[chosen], self.index.second[others]], axis=1), labels)

    def _check(self) -> None:
        """Raise InputError unless there will be non-matches at every step."""
        if self.own is not None:
            matches = int(self.own[:, 2].sum())
            if not 0 < matches < len(self.own):
                kind = "matches" if matches else "non-matches"
                raise InputError(f"{self.directory}: the pairs that the set defines are {kind} alone: both are needed")
            return
        points, random = np.arange(len(self.index)), np.random.default_rng(self.seed)
        alone = int((draw_nonmatches(self.index, points, random, same_category=False) < 0).sum())
        if alone:
            fault = f"{alone} of {len(points)} points have no other far enough from them to make a non-match"
            raise InputError(f"{self.directory}: {fault}: give more points or scenes")


def split_points(points: Rows, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Rows for training and rows for validation; `fraction` of the points are for validation."""
    return split_by(points, np.unique(points), fraction, [seed, VALIDATION_STREAM])

"""Patches that occur twice: to the byte, or up to brightness, contrast and light noise.

Near repeats are found without comparing all pixels of all pairs. Let u and v be two patches, zero-mean and of unit
length, and p and q their means over 8x8 cells, scaled so that p is an orthogonal projection of u. Then

    u.v <= p.q + sqrt(1 - |p|^2) sqrt(1 - |q|^2),

by Cauchy and Schwarz on what the projection leaves out. The right-hand side is the product of two unit vectors of 65
numbers. Pairs where it stays below the threshold are no repeats, with certainty; only the others are compared in full.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiepoint.evaluation.audit.reading import Floats, Patches, Read
from tiepoint.evaluation.options import AuditOptions
from tiepoint.patches import SIZE
from tiepoint.types import Rows

CELLS = 8
BLOCK, CHUNK, BATCH = 1024, 8192, 256  # rows of the one side, of the other, and pairs compared in full: 32 MB, 4 MB
BOUND_SLACK, CORRELATION_SLACK = 1e-4, 1e-6  # for the rounding of products in float32
NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Near:
    """The search for near repeats as an audit runs it: by spectrum, on a sample where asked for."""

    options: AuditOptions
    more: Callable[[int], None]  # called with how many more rows are done

    def find(self, ours: Read, our_rows: Rows, theirs: Read, their_rows: Rows) -> tuple[Rows, Rows, int]:
        """Rows among `their_rows` that repeat one of `our_rows` in the spectrum of the same name, these, how many.

        Where both sides are one set, those that repeat an earlier row of another point.
        """
        how, points = self.options, ours.points if ours is theirs else None
        parts = []
        for spectrum, members in theirs.spectra.items():
            mine = np.intersect1d(ours.spectra.get(spectrum, NONE), our_rows)
            his = np.intersect1d(members, their_rows)
            if how.sample is not None and len(his) > how.sample:
                his = np.sort(np.random.default_rng(how.seed).choice(his, how.sample, replace=False))
            of = near_repeats(ours.patches, mine, theirs.patches, his, how.near, points=points, more=self.more)
            parts.append((his, of))
        searched, of = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        order = np.argsort(searched)
        searched, of = searched[order], of[order]
        return searched[of >= 0], of[of >= 0], len(searched)


def first_equal(ours: NDArray[np.uint64], theirs: NDArray[np.uint64]) -> Rows:
    """For each of `theirs` (M,) the first index of `ours` (N,) that is equal, or -1; by sorting, O((N + M) log N)."""
    if not len(ours):
        return np.full(len(theirs), -1, dtype=np.int64)
    order = np.argsort(ours, kind="stable")
    at = np.minimum(np.searchsorted(ours[order], theirs), len(ours) - 1)
    return np.where(ours[order][at] == theirs, order[at], -1)


def first_equal_of_other_point(digests: NDArray[np.uint64], points: Rows) -> Rows:
    """For each row (N,) the first earlier row of the same digest and another point id, or -1."""
    repeats_of = np.full(len(digests), -1, dtype=np.int64)
    if not len(digests):
        return repeats_of
    order = np.argsort(digests, kind="stable")  # within a digest the rows rise
    begins = np.append(True, digests[order][1:] != digests[order][:-1])
    starts, group = np.flatnonzero(begins), np.cumsum(begins) - 1
    ranks = np.arange(len(order))
    head = starts[group]
    other = points[order] != points[order][head]
    # A row of another point than the group's first repeats that one; one of the same point, the first of another.
    another = np.minimum.reduceat(np.where(other, ranks, len(order)), starts)[group]
    source = np.where(other, head, another)
    earlier = source < ranks
    repeats_of[order[earlier]] = order[source[earlier]]
    return repeats_of


def near_repeats(
    ours: Patches,
    our_rows: Rows,
    theirs: Patches,
    their_rows: Rows,
    near: float,
    *,
    points: Rows | None = None,
    more: Callable[[int], None] = lambda _: None,
) -> Rows:
    """For each patch of the one side the first patch of the other with a normalised correlation of `near` or more.

    The correlation is that of the grey patches, channels averaged, so patches of other depth or channels compare too.
    Time is O(NM) for the products of 65 numbers and O(64^2) for each pair that they leave over; memory is 260 bytes a
    patch of `our_rows` and about 60 MB, whatever their number.

    `ours` (N, C, 64, 64) is looked in at `our_rows` (n,), rising, none of them constant, for `their_rows` (m,) of
    `theirs` (M, C', 64, 64); `near` is above 0, at most 1. With `points` (N,), where both sides are one set, only
    earlier rows of another point count. `more` is called with how many more of `their_rows` are done. Returns (m,) rows
    of `ours`, or -1.
    """
    blocks = (our_rows[at : at + BLOCK] for at in range(0, len(our_rows), BLOCK))
    nothing = np.empty((0, CELLS * CELLS + 1), dtype=np.float32)
    ours_reduced = np.concatenate([nothing, *(_reduce(_units(ours, block)) for block in blocks)])
    repeats_of = np.full(len(their_rows), -1, dtype=np.int64)
    for start in range(0, len(their_rows), BLOCK):
        sought = their_rows[start : start + BLOCK]
        units = _units(theirs, sought)
        reduced = _reduce(units)
        answer = np.full(len(sought), -1, dtype=np.int64)
        end = len(our_rows) if points is None else int(np.searchsorted(our_rows, sought.max()))
        for low in range(0, end, CHUNK):
            open_ = np.flatnonzero(answer < 0)
            if not len(open_):
                break
            product = reduced[open_] @ ours_reduced[low : min(low + CHUNK, end)].T
            query, other = np.nonzero(product >= near - BOUND_SLACK)  # by rising query, then by rising row of ours
            query, row = open_[query], our_rows[low + other]
            if points is not None:
                kept = (row < sought[query]) & (points[row] != points[sought[query]])
                query, row = query[kept], row[kept]
            while len(query):  # the first candidate of each patch that is still open
                first = np.append(True, query[1:] != query[:-1])
                good = _correlations(units, query[first], ours, row[first]) >= near - CORRELATION_SLACK
                answer[query[first][good]] = row[first][good]
                left = ~first & (answer[query] < 0)
                query, row = query[left], row[left]
        repeats_of[start : start + len(sought)] = answer
        more(len(sought))
    return repeats_of


def _units(patches: Patches, chosen: Rows) -> Floats:
    """Grey patches, zero-mean and of unit length: (n, 4096)."""
    grey = patches[chosen].mean(axis=1, dtype=np.float32).reshape(len(chosen), -1)
    grey -= grey.mean(axis=1, keepdims=True)
    grey /= np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), np.float32(1e-12))
    return np.asarray(grey, dtype=np.float32)


def _reduce(units: Floats) -> Floats:
    """Unit vectors (n, 65) whose products bound those of `units` (n, 4096) from above."""
    side = SIZE // CELLS
    means = units.reshape(-1, CELLS, side, CELLS, side).mean(axis=(2, 4)).reshape(-1, CELLS * CELLS) * np.float32(side)
    rest = np.sqrt(np.maximum(0, 1 - (means**2).sum(axis=1, keepdims=True)))
    return np.concatenate([means, rest], axis=1)


def _correlations(units: Floats, queries: Rows, patches: Patches, chosen: Rows) -> Floats:
    """Correlations (n,) of `units[queries]` with the patches `chosen`."""
    parts = [
        (units[queries[at : at + BATCH]] * _units(patches, chosen[at : at + BATCH])).sum(axis=1)
        for at in range(0, len(queries), BATCH)
    ]
    return np.concatenate(parts)

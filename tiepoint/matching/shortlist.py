"""The pairs of keypoints worth relating, chosen by their descriptors, and the matches among them.

Relating costs some thousand times as much as comparing descriptors, so a relater is asked about few pairs: those that
the descriptors alone leave open. All rules are the same from a to b and from b to a.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.matching.neighbours import CHUNK, RowMatches, are_unit, check_ratio, nearest, similarities, vectors
from tiepoint.options import Matching
from tiepoint.types import Rows

PAIRS_PER_BLOCK = 8192  # pairs of descriptors compared


@torch.inference_mode()
def shortlist(
    a: ArrayLike | Tensor, b: ArrayLike | Tensor, candidates: int = 5, ratio: float = Matching.ratio, chunk: int = CHUNK
) -> RowMatches:
    """Pairs of rows that are among each other's `candidates` nearest, and nearly as near as either row's nearest.

    Nearly: the nearest distance over theirs is at least `ratio`. So the ratio test decides what needs no relater: a row
    whose nearest passes it keeps that one alone, one for which it calls several too much alike keeps those. With one
    candidate these are the mutual nearest neighbours, of which then none is dropped by the ratio test.

    Args:
        a, b, chunk: see `mutual_nearest`.
        candidates: of each row of both, at most.
        ratio: of L2 distances, in (0, 1]; at 1 only ties are left open.

    Returns the pairs by row of a, then of b. Raises InputError as `mutual_nearest`, and for fewer than one candidate.
    """
    if candidates < 1:
        raise InputError(f"candidates is {candidates}: give a positive number")
    check_ratio(ratio)
    left, right = vectors(a, b)
    depth = max(2, candidates)  # the second tells the ratio of the first
    there, back = nearest(left, right, depth, chunk)[0], nearest(right, left, depth, chunk)[0]
    width = max(1, len(right))
    forth = np.arange(len(left))[:, None] * width + there[:, :candidates]
    mutual = np.intersect1d(forth, back[:, :candidates] * width + np.arange(len(right))[:, None], assume_unique=True)
    pairs = np.stack([mutual // width, mutual % width], axis=1)
    distance = _distances(left, right, pairs)
    sides = _around(left, right, there, pairs), _around(right, left, back, pairs[:, ::-1])
    least, other = np.stack(sides, axis=1)
    near = distance * np.float32(ratio) <= least.min(axis=0)
    pairs, distance, other = pairs[near], distance[near], other[:, near]
    ratios = np.divide(distance, other, out=np.ones_like(other), where=other > 0).max(axis=0)
    unit = are_unit(left, right)
    parts = torch.split(torch.from_numpy(pairs), PAIRS_PER_BLOCK)
    similarity = torch.cat([similarities(left[part[:, 0]], right[part[:, 1]], unit=unit) for part in parts])
    return RowMatches(pairs, similarity.cpu().numpy(), ratios)


def keep_most_probable(found: RowMatches, probability: NDArray[np.float32], least: float) -> RowMatches:
    """Of a shortlist with its probabilities (M,), the pairs that are each other's most probable, from `least` on.

    Of pairs equally probable, as 1 - 1e-9 and 1 are in float32, the more similar one counts as the more probable.
    """
    order = np.lexsort((-found.similarity, -probability))
    first = [np.zeros(len(order), dtype=np.bool_) for _ in range(2)]
    for side, seen in enumerate(first):
        seen[order[np.unique(found.indices[order, side], return_index=True)[1]]] = True
    kept = first[0] & first[1] & (probability >= least)
    return RowMatches(found.indices[kept], found.similarity[kept], found.ratio[kept], probability[kept])


def batches(pairs: Rows, limit: int) -> Iterator[Rows]:
    """Rows of pairs (M, 2) in batches of at most `limit` different members, counted over both sides; `limit` >= 2.

    Pairs that share a member follow each other where they can, so that few are in two batches.
    """
    members: list[dict[int, list[int]]] = [{}, {}]
    table = pairs.tolist()
    for row, pair in enumerate(table):
        for side, member in zip(members, pair, strict=True):
            side.setdefault(member, []).append(row)
    left = set(range(len(table)))
    batch: list[int] = []
    inside: set[tuple[int, int]] = set()
    for start in range(len(table)):
        queue = deque([start] if start in left else [])
        left.discard(start)
        while queue:
            row = queue.popleft()
            new = set(enumerate(table[row])) - inside
            if len(inside) + len(new) > limit:
                yield np.array(batch, dtype=np.int64)
                batch, inside, new = [], set(), set(enumerate(table[row]))
            batch.append(row)
            inside |= new
            for side, member in zip(members, table[row], strict=True):
                for other in side.pop(member, ()):
                    if other in left:
                        left.remove(other)
                        queue.append(other)
    if batch:
        yield np.array(batch, dtype=np.int64)


def _around(a: Tensor, b: Tensor, found: Rows, pairs: Rows) -> NDArray[np.float32]:
    """Of each pair (2, M) the distance of its row of a to its nearest, and to the nearest of others than the pair's.

    `found` are the neighbours (N, depth) of each row of a in b. Infinite where there is no other.
    """
    first, second = np.full((2, len(a)), np.inf, dtype=np.float32)
    for distances, column in zip((first, second), found.T, strict=False):
        distances[:] = _distances(a, b, np.column_stack([np.arange(len(a)), column]))
    own, partner = pairs.T
    if not len(own):
        return np.empty((2, 0), np.float32)
    return np.stack([first[own], np.where(found[own, 0] == partner, second[own], first[own])])


def _distances(a: Tensor, b: Tensor, pairs: Rows) -> NDArray[np.float32]:
    """L2 distances (M,) of pairs, from differences: sqrt(2 - 2s) in float32 is noise below 0.001."""
    parts = [
        torch.linalg.vector_norm(a[part[:, 0]] - b[part[:, 1]], dim=1)
        for part in torch.split(torch.from_numpy(np.ascontiguousarray(pairs)), PAIRS_PER_BLOCK)
    ]
    return torch.cat(parts).cpu().numpy()

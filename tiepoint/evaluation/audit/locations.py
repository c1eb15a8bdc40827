"""Locations of one split that lie close to locations of another, in the same scene."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ENTRIES, WIDTH = 2_000_000, 256  # of a block of distances, and rows of it: bounds memory
Ids = NDArray[np.int64]
Places = NDArray[np.float64]


def nearest(our_scenes: Ids, ours: Places, their_scenes: Ids, theirs: Places, closer_than: float) -> tuple[Places, Ids]:
    """For each of their locations the nearest of ours in its scene.

    In each scene both are sorted by x, and only a strip `closer_than` wide around a block is compared.

    Args:
        our_scenes: (N,) ids of scenes, with `ours` (N, 2) their locations in px.
        their_scenes: (M,) ids of the same scenes, with `theirs` (M, 2).
        closer_than: px; farther ones do not count.

    Returns:
        (M,) distances in px, infinite where none is closer than `closer_than`; (M,) its index, or -1.
    """
    distances = np.full(len(theirs), np.inf)
    indices = np.full(len(theirs), -1, dtype=np.int64)
    our_order, their_order = np.lexsort((ours[:, 0], our_scenes)), np.lexsort((theirs[:, 0], their_scenes))
    sorted_ours, sorted_theirs = our_scenes[our_order], their_scenes[their_order]
    for scene in np.intersect1d(our_scenes, their_scenes).tolist():
        mine = our_order[slice(*np.searchsorted(sorted_ours, [scene, scene + 1]))]
        his = their_order[slice(*np.searchsorted(sorted_theirs, [scene, scene + 1]))]
        x = ours[mine, 0]
        step = min(WIDTH, max(1, ENTRIES // len(mine)))
        for start in range(0, len(his), step):
            block = his[start : start + step]
            low, high = theirs[block[0], 0] - closer_than, theirs[block[-1], 0] + closer_than
            strip = mine[np.searchsorted(x, low, side="left") : np.searchsorted(x, high, side="right")]
            if not len(strip):
                continue
            gaps = np.linalg.norm(theirs[block, None] - ours[None, strip], axis=2)
            best = gaps.argmin(axis=1)
            least = gaps[np.arange(len(block)), best]
            close = least < closer_than
            distances[block[close]], indices[block[close]] = least[close], strip[best[close]]
    return distances, indices

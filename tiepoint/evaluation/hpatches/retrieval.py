"""The retrieval task: are a patch's five other views found among distractors?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import NOISES, TARGETS
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import count_closer, pair_distances
from tiepoint.evaluation.hpatches.descriptors import Descriptors, strip_index
from tiepoint.evaluation.hpatches.ranking import ap
from tiepoint.evaluation.hpatches.tasks import RetrievalTask, Table
from tiepoint.evaluation.options import ApRule, Metric

POOLS = (100, 500, 1000, 5000, 10000, 15000, 20000)
VIEWS = len(TARGETS)


def retrieve(
    descriptors: Descriptors,
    task: RetrievalTask,
    *,
    pools: Sequence[int] = POOLS,
    metric: Metric = "L2",
    rule: ApRule = "trapezoid",
) -> NDArray[np.float64]:
    """Mean AP over queries at each noise and pool size; the mean of this table is the published mAP.

    A query's list holds its five other views and then the distractors in their order, without those of the query's own
    sequence. A pool of size k is the first k entries of that list, the five views included. Only how many distractors
    are closer than each view matters, so nothing is sorted; a distractor as near as a view comes after it, as in the
    benchmark's lists.

    Args:
        descriptors: of the test list's sequences, in its order.
        task: queries and distractors.
        pools: sizes, rising; the MATLAB code has a single one.
        metric: of the descriptors.
        rule: of the average precision.

    Returns:
        (3, len(pools)): easy, hard, tough.

    Raises:
        InputError: pool sizes that do not rise or leave no room for a distractor.
    """
    if not pools or pools[0] <= VIEWS or any(np.diff(pools) <= 0):
        raise InputError(f"pools {tuple(pools)}: must be rising sizes above {VIEWS}")
    names = list(descriptors)
    pool = _reference(descriptors, task.distractors)
    total = np.zeros((len(NOISES), len(pools)))
    for sequence in np.unique(task.queries[:, 0]).tolist():
        patches = task.queries[task.queries[:, 0] == sequence, 1]
        strips = descriptors[names[sequence]]
        others = pool[task.distractors[:, 0] != sequence]
        ends = [min(size - VIEWS, len(others)) for size in pools]
        limits = _view_distances(strips, patches, metric)
        closer = count_closer(strips[0, patches], others, limits.reshape(len(patches), -1), ends, metric)
        before = np.moveaxis(closer.reshape(len(patches), len(NOISES), VIEWS, len(pools)), 2, 3)
        total += ap(np.sort(before, axis=-1), VIEWS, rule).sum(axis=0)
    return total / len(task.queries)


def _view_distances(strips: NDArray[np.float32], patches: NDArray[np.int64], metric: Metric) -> NDArray[np.float64]:
    """Distances (Q, 3, 5) of reference patches and their other views, at each noise."""
    columns = [
        [pair_distances(strips[0], patches, strips[strip_index(noise, view)], patches, metric) for view in TARGETS]
        for noise in NOISES
    ]
    return np.moveaxis(np.array(columns), 2, 0)


def _reference(descriptors: Descriptors, patches: Table) -> NDArray[np.float32]:
    """Descriptors (K, D) of reference patches (K, 2)."""
    arrays = list(descriptors.values())
    gathered = np.empty((len(patches), arrays[0].shape[2]), dtype=np.float32)
    for sequence, array in enumerate(arrays):
        (rows,) = np.nonzero(patches[:, 0] == sequence)
        gathered[rows] = array[0, patches[rows, 1]]
    return gathered

"""HPatches' definitions read aloud: whole lists are sorted, whole curves are summed, one pair at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from tiepoint.data.readers.hpatches import STRIPS
from tiepoint.evaluation.hpatches.tasks import RetrievalTask, VerificationTask

METRICS = {"L2": "euclidean", "L1": "cityblock"}


def curve_ap(scores: NDArray[Any], labels: NDArray[Any], total: int | None = None, rule: str = "trapezoid") -> float:
    """Sort by falling score, equal ones in the list's order; follow precision over recall from the point (0, 1)."""
    total = int(np.sum(labels)) if total is None else total
    area, hits, last = 0.0, 0, (0.0, 1.0)
    for rank, index in enumerate(np.argsort(-np.asarray(scores), kind="stable"), 1):
        hits += int(labels[index])
        recall, precision = hits / total, hits / rank
        height = precision if rule == "rank" else (precision + last[1]) / 2
        area += (recall - last[0]) * height
        last = recall, precision
    return area


def step_auc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Area under the ROC curve of the same ranking, one step an item."""
    area, hits = 0.0, 0
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        hits += int(labels[index])
        area += 0 if labels[index] else hits
    return area / (np.sum(labels) * (len(labels) - np.sum(labels)))


def distance(a: NDArray[np.float32], b: NDArray[np.float32], metric: str) -> float:
    return float(cdist(a[None].astype(float), b[None].astype(float), METRICS[metric])[0, 0])


def at(strips: NDArray[np.float32], noise: str, image: int) -> NDArray[np.float32]:
    return strips[STRIPS.index(f"{noise}{image}" if image else "ref")]


def verification(
    descriptors: dict[str, NDArray[np.float32]], task: VerificationTask, metric: str, rule: str
) -> dict[tuple[str, str], tuple[float, float]]:
    arrays = list(descriptors.values())
    found = {}
    for noise in "eht":
        for kind in ("inter", "intra"):
            rows = [*getattr(task, kind).tolist(), *task.positive.tolist()]
            scores = np.array(
                [-distance(at(arrays[s], noise, t)[i], at(arrays[r], noise, u)[j], metric) for s, t, i, r, u, j in rows]
            )
            count = len(task.positive)
            labels = np.repeat([0, 1], count)
            kept = count + count // 5
            found[noise, kind] = curve_ap(scores[:kept], labels[:kept], rule=rule), step_auc(scores, labels)
    return found


def matching(descriptors: dict[str, NDArray[np.float32]], metric: str, rule: str) -> dict[tuple[str, str, int], float]:
    found = {}
    for name, strips in descriptors.items():
        for noise in "eht":
            for image in range(1, 6):
                table = cdist(strips[0].astype(float), at(strips, noise, image).astype(float), METRICS[metric])
                nearest = table.argmin(axis=1)
                right = nearest == np.arange(len(table))
                scores = -table[np.arange(len(table)), nearest]
                found[name, noise, image] = curve_ap(scores, right, len(table), rule)
    return found


def retrieval(
    descriptors: dict[str, NDArray[np.float32]], task: RetrievalTask, pools: tuple[int, ...], metric: str, rule: str
) -> NDArray[np.float64]:
    arrays = list(descriptors.values())
    means = np.zeros((3, len(pools)))
    for sequence, patch in task.queries.tolist():
        query = arrays[sequence][0, patch]
        others = [distance(query, arrays[s][0, i], metric) for s, i in task.distractors.tolist() if s != sequence]
        for row, noise in enumerate("eht"):
            views = [distance(query, at(arrays[sequence], noise, v)[patch], metric) for v in range(1, 6)]
            scores, labels = -np.array(views + others), np.array([1] * 5 + [0] * len(others))
            for column, size in enumerate(pools):
                means[row, column] += curve_ap(scores[:size], labels[:size], rule=rule)
    return means / len(task.queries)

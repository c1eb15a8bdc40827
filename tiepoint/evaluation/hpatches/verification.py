"""The verification task: does a distance tell pairs of one patch from pairs of two?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import NOISES
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import pair_distances
from tiepoint.evaluation.hpatches.descriptors import Descriptors, strip_index
from tiepoint.evaluation.hpatches.ranking import ap
from tiepoint.evaluation.hpatches.tasks import Table, VerificationTask
from tiepoint.evaluation.options import ApRule, Metric

IMAGES = 6
MATCHES_PER_KEPT = 5  # the imbalanced list keeps one match in five


@dataclass(frozen=True)
class VerificationScore:
    """Matches against one kind of non-matches at one noise, in 0..1."""

    noise: str  # "e", "h", "t"
    negatives: str  # "inter", "intra"
    ap: float  # imbalanced: all non-matches, the first fifth of the matches; the published figure
    auc: float  # balanced: ROC AUC of all


def verify(
    descriptors: Descriptors, task: VerificationTask, *, metric: Metric = "L2", rule: ApRule = "trapezoid"
) -> list[VerificationScore]:
    """Measure the six cases {easy, hard, tough} x {inter, intra}; their mean AP is the published mAP.

    Both patches of a pair are taken at the noise. Non-matches precede matches at the same distance, as they do in the
    benchmark's lists, so ties count as errors in both measures.

    Args:
        descriptors: of the test list's sequences, in its order.
        task: the pairs.
        metric: of the descriptors.
        rule: of the average precision.

    Raises:
        InputError: fewer than five matches.
    """
    kept = len(task.positive) // MATCHES_PER_KEPT
    if not kept:
        raise InputError(f"verification: {len(task.positive)} matches, needs at least {MATCHES_PER_KEPT}")
    positive = _distances(descriptors, task.positive, metric)
    kinds = {"inter": _distances(descriptors, task.inter, metric), "intra": _distances(descriptors, task.intra, metric)}
    scores = []
    for row, noise in enumerate(NOISES):
        first, everyone = np.sort(positive[row, :kept]), positive[row]
        for kind, distances in kinds.items():
            negatives = np.sort(distances[row])
            before = np.searchsorted(negatives, first, side="right")
            auc = 1 - np.searchsorted(negatives, everyone, side="right").mean() / len(negatives)
            scores.append(VerificationScore(noise, kind, float(ap(before, kept, rule)), float(auc)))
    return scores


def _distances(descriptors: Descriptors, pairs: Table, metric: Metric) -> NDArray[np.float64]:
    """Distances (3, K) of pairs at each noise. Taken by sequences, whose descriptors then stay in the cache."""
    flat = [array.reshape(-1, array.shape[2]) for array in descriptors.values()]
    counts = np.array([array.shape[1] for array in descriptors.values()])
    strips = np.array([[strip_index(noise, image) for image in range(IMAGES)] for noise in NOISES])
    first = strips[:, pairs[:, 1]] * counts[pairs[:, 0]] + pairs[:, 2]
    second = strips[:, pairs[:, 4]] * counts[pairs[:, 3]] + pairs[:, 5]
    group = pairs[:, 0] * len(flat) + pairs[:, 3]
    order = np.argsort(group, kind="stable")
    distances = np.empty(first.shape)
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        one, two = divmod(int(group[rows[0]]), len(flat))
        for noise in range(len(NOISES)):
            distances[noise, rows] = pair_distances(
                flat[one], first[noise, rows], flat[two], second[noise, rows], metric
            )
    return distances

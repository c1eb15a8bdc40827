"""The three tasks of HPatches on one describer's descriptors: verification, matching and retrieval.

All end in an average precision, and all that it depends on is how many negatives are ranked before each positive.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import NOISES, TARGETS
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import count_closer, nearest_neighbours, pair_distances
from tiepoint.evaluation.hpatches.descriptors import Descriptors, strip_index
from tiepoint.evaluation.hpatches.tasks import IMAGES, RetrievalTask, Table, VerificationTask
from tiepoint.evaluation.options import ApRule, Averaging, Metric

AP_RULES: tuple[ApRule, ...] = get_args(ApRule)
AVERAGINGS: tuple[Averaging, ...] = get_args(Averaging)
MATCHES_PER_KEPT = 5  # the imbalanced list keeps one match in five
POOLS = (100, 500, 1000, 5000, 10000, 15000, 20000)
VIEWS = len(TARGETS)
Scores = Mapping[str, NDArray[np.float64]]  # of matching, see `match`


def ap(before: NDArray[np.integer], total: int, rule: ApRule = "trapezoid") -> NDArray[np.float64]:
    """Average precision (...), in 0..1, from the negatives ranked before each retrieved positive (..., M).

    The positives are in their order, so `before` never falls; P = `total` is their number in all, at least M and 1.
    With n_i negatives before the positive of rank i, "trapezoid" is the area under the precision-recall curve from the
    point (recall 0, precision 1) on, 1/P sum_i (i/(i + n_i) + (i-1)/(i-1 + n_i)) / 2, where 0/0, the curve's first
    point, is 1; positives that are never retrieved end the curve below recall 1. "rank" averages the precision at the
    ranks of the positives, as VLFeat's vl_pr, 1/P sum_i i/(i + n_i): never below the trapezoid, which also counts the
    lower precision just before each positive. Raises InputError for another rule.
    """
    if rule not in AP_RULES:
        raise InputError(f"average precision {rule!r}: there are {', '.join(AP_RULES)}")
    ranks = np.arange(1, before.shape[-1] + 1)
    precision = ranks / (ranks + before)
    if rule == "rank":
        return np.asarray(precision.sum(axis=-1) / total)
    earlier = ranks - 1 + before
    previous = np.where(earlier > 0, (ranks - 1) / np.maximum(earlier, 1), 1.0)
    return np.asarray((precision + previous).sum(axis=-1) / (2 * total))


def negatives_before(positive: NDArray[np.bool_], distances: NDArray[Any]) -> NDArray[np.int64]:
    """Negatives (M,) before each positive, in rank order, of a list (N,) ranked by rising distance, none of them NaN.

    Equal distances keep the list's order.
    """
    ranked = positive[np.argsort(distances, kind="stable")]
    return np.asarray(np.cumsum(~ranked, dtype=np.int64)[ranked])


def verify(
    descriptors: Descriptors, task: VerificationTask, *, metric: Metric = "L2", rule: ApRule = "trapezoid"
) -> dict[str, Any]:
    """Does a distance tell pairs of one patch from pairs of two?

    Both patches of a pair are taken at the noise. Non-matches precede matches at the same distance, as they do in the
    benchmark's lists, so ties count as errors in both measures.

    Returns for each noise {"inter": {"ap", "auc"}, "intra": ...}, in 0..1, and the means over these six cases,
    "mean_ap", the published mAP, and "mean_auc". The AP is imbalanced: all non-matches, the first fifth of the matches.
    The ROC AUC is balanced: of all. Raises InputError for fewer than five matches.
    """
    kept = len(task.positive) // MATCHES_PER_KEPT
    if not kept:
        raise InputError(f"verification: {len(task.positive)} matches, needs at least {MATCHES_PER_KEPT}")
    positive = _distances(descriptors, task.positive, metric)
    kinds = {"inter": _distances(descriptors, task.inter, metric), "intra": _distances(descriptors, task.intra, metric)}
    cases: dict[str, dict[str, dict[str, float]]] = {noise: {} for noise in NOISES}
    for row, noise in enumerate(NOISES):
        first, everyone = np.sort(positive[row, :kept]), positive[row]
        for kind, distances in kinds.items():
            negatives = np.sort(distances[row])
            before = np.searchsorted(negatives, first, side="right")
            auc = 1 - np.searchsorted(negatives, everyone, side="right").mean() / len(negatives)
            cases[noise][kind] = {"ap": float(ap(before, kept, rule)), "auc": float(auc)}
    every = [figures for of_noise in cases.values() for figures in of_noise.values()]
    return {**cases, **{f"mean_{name}": float(np.mean([f[name] for f in every])) for name in ("ap", "auc")}}


def match(descriptors: Descriptors, *, metric: Metric = "L2", rule: ApRule = "trapezoid") -> Scores:
    """Is a patch's nearest neighbour in another image of its sequence the same patch?

    The reference patches of each sequence are matched to each of its 15 other strips: one direction, no ratio, no
    mutual check; of equally near patches the first counts. Matches are ranked by distance; a patch whose neighbour is
    wrong counts as a match never found, so recall ends at the success rate.

    Returns sequence -> (3, 5, 2): for each noise and image 1..5 the AP and the share of patches with the right
    neighbour.
    """
    scores = {}
    for sequence, strips in descriptors.items():
        truth = np.arange(strips.shape[1])
        rows = []
        for strip in strips[1:]:
            neighbours, distances = nearest_neighbours(strips[0], strip, metric)
            right = neighbours == truth
            rows.append((ap(negatives_before(right, distances), len(truth), rule), right.mean()))
        scores[sequence] = np.reshape(rows, (len(NOISES), len(TARGETS), 2))
    return scores


def summarize(scores: Scores, averaging: Averaging = "python") -> dict[str, Any]:
    """For each noise the mean "ap" and "success" rate, and the mean AP of each type of sequence, "i" and "v".

    "python" takes "ap" over all pairs of images. "article", also the MATLAB code's way, takes the mean of "i" and "v",
    so that they weigh the same where their numbers of sequences differ; of a split with one type alone it is that
    type's. The task's "mean_ap" is the mean over the noises. Raises InputError for "article" where a name tells no
    type, and for an unknown averaging.
    """
    if averaging not in AVERAGINGS:
        raise InputError(f"averaging {averaging!r}: there are {', '.join(AVERAGINGS)}")
    kinds = {kind: [name for name in scores if name.startswith(f"{kind}_")] for kind in ("i", "v")}
    if averaging == "article" and sum(map(len, kinds.values())) < len(scores):
        raise InputError("article averaging: every sequence must be named i_... or v_...")

    def mean(row: int, figure: int, names: Iterable[str]) -> float:
        return float(np.mean(np.concatenate([scores[name][row, :, figure] for name in names])))

    table = {}
    for row, noise in enumerate(NOISES):
        by_type = {kind: mean(row, 0, names) for kind, names in kinds.items() if names}
        overall = mean(row, 0, scores) if averaging == "python" else float(np.mean(list(by_type.values())))
        table[noise] = {"ap": overall, "success": mean(row, 1, scores), **by_type}
    return {**table, "mean_ap": float(np.mean([figures["ap"] for figures in table.values()]))}


def retrieve(
    descriptors: Descriptors,
    task: RetrievalTask,
    *,
    pools: Sequence[int] = POOLS,
    metric: Metric = "L2",
    rule: ApRule = "trapezoid",
) -> NDArray[np.float64]:
    """Are a patch's five other views found among distractors?

    A query's list holds its five other views and then the distractors in their order, without those of the query's own
    sequence. A pool of size k is the first k entries of that list, the five views included. Only how many distractors
    are closer than each view matters, so nothing is sorted; a distractor as near as a view comes after it, as in the
    benchmark's lists.

    Returns (3, len(pools)) mean AP over queries at each noise and pool size, whose mean is the published mAP. Raises
    InputError for pool sizes that do not rise or leave no room for a distractor.
    """
    if not pools or pools[0] <= VIEWS or any(np.diff(pools) <= 0):
        raise InputError(f"pools {tuple(pools)}: must be rising sizes above {VIEWS}")
    arrays = list(descriptors.values())
    pool = np.empty((len(task.distractors), arrays[0].shape[2]), dtype=np.float32)
    for sequence, array in enumerate(arrays):
        (rows,) = np.nonzero(task.distractors[:, 0] == sequence)
        pool[rows] = array[0, task.distractors[rows, 1]]
    total = np.zeros((len(NOISES), len(pools)))
    for sequence in np.unique(task.queries[:, 0]).tolist():
        patches = task.queries[task.queries[:, 0] == sequence, 1]
        strips = arrays[sequence]
        others = pool[task.distractors[:, 0] != sequence]
        ends = [min(size - VIEWS, len(others)) for size in pools]
        limits = np.stack([pair_distances(strips[0], patches, strip, patches, metric) for strip in strips[1:]], axis=1)
        closer = count_closer(strips[0, patches], others, limits, ends, metric)
        before = np.moveaxis(closer.reshape(len(patches), len(NOISES), VIEWS, len(pools)), 2, 3)
        total += ap(np.sort(before, axis=-1), VIEWS, rule).sum(axis=0)
    return total / len(task.queries)


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
        for k in range(len(NOISES)):
            distances[k, rows] = pair_distances(flat[one], first[k, rows], flat[two], second[k, rows], metric)
    return distances

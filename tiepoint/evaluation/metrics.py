"""Metrics of patch verification on scores: the error at 95 % recall under each rule in use, ROC, average precision.

Everywhere a higher score means more alike and label 1 means a match. Rates are fractions, never percent. Comparisons of
true positives with 95 % are exact (20 TP against 19 P), so no rule hangs on how 0.95 P was rounded.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError

Rule = Literal["interpolate", "hardnet", "hynet", "nearest"]
RULES: tuple[Rule, ...] = get_args(Rule)


def fpr95(labels: ArrayLike, scores: ArrayLike, rule: Rule = "interpolate") -> float:
    """False positive rate at 95 % recall, in 0..1, of `labels` (N,), 0 or 1, and `scores` (N,), real numbers.

    Rules (P matches; equal scores are never told apart by their order):
        interpolate: the ROC curve, ties merged, linearly interpolated at TPR 0.95; its least FPR where it is flat.
        hardnet: share of non-matches ranked before the match at which TPR reaches 0.95; one tied with it ranks before.
        hynet: share of non-matches that score at least as high as the match of 0-based rank ceil(0.95 P); with fewer
            than 20 matches that is the last one.
        nearest: FPR of the ROC point whose TPR is nearest to 0.95; of several the one of least TPR, then of least FPR.

    Raises InputError for NaN among the scores, other labels, one class missing, unequal lengths, an unknown rule.

    Source: Brown, Hua, Winder (PAMI 2011) for the measure; the rules are those of the released code of HardNet, HyNet,
    RRL-Net (interpolate) and DeepCompare (nearest).
    """
    known, values = _checked(labels, scores)
    return error_at_95(values[known], values[~known], rule)


def fdr95(labels: ArrayLike, scores: ArrayLike) -> float:
    """False discovery rate FP / (TP + FP) at the first threshold of TPR >= 0.95. No FPR: never compare the two.

    MatchNet's and TFeat's papers print it as an error at 95 % recall. Arguments and errors as `fpr95`.
    """
    known, values = _checked(labels, scores)
    threshold = _reaching(np.sort(values[known]))
    selected = values >= threshold
    return float((selected & ~known).sum() / selected.sum())


def error_at_95(positives: NDArray[Any], negatives: NDArray[Any], rule: Rule = "interpolate") -> float:
    """`fpr95` of the scores of matches (P,) and of non-matches (N,), neither empty nor holding NaN.

    Only the matches are sorted: a non-match counts on which side of a threshold it lies, no more.
    """
    ordered, count = np.sort(positives), len(positives)
    if rule == "interpolate":
        threshold = _reaching(ordered)
        below, reached = (int((positives > threshold).sum()), int((positives >= threshold).sum()))
        least, most = (int((negatives > threshold).sum()), int((negatives >= threshold).sum()))
        share = (19 * count - 20 * below) / (20 * (reached - below))
        return (least + share * (most - least)) / len(negatives)
    if rule == "hardnet":
        threshold = _reaching(ordered)
    elif rule == "hynet":
        threshold = ordered[::-1][min(_rank(count), count - 1)]
    elif rule == "nearest":
        hits = count - np.searchsorted(ordered, ordered[::-1], side="left")
        threshold = ordered[::-1][np.argmin(np.abs(20 * hits - 19 * count))]
    else:
        raise InputError(f"rule {rule!r}: there are {', '.join(RULES)}")
    return float((negatives >= threshold).mean())


def fpr_at(positives: NDArray[Any], negatives: NDArray[Any], tpr: NDArray[np.floating]) -> NDArray[np.float64]:
    """FPR at the first threshold that reaches each TPR (K,) in (0, 1], of the scores of matches and non-matches."""
    ranks = np.ceil(np.round(tpr * len(positives), 9)).astype(int)
    thresholds = np.sort(positives)[::-1][ranks - 1]
    below = np.searchsorted(np.sort(negatives), thresholds, side="left")
    rates: NDArray[np.float64] = 1 - below / len(negatives)
    return rates


def matrix_scores(similarity: NDArray[Any], groups: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores of matches and of non-matches in a matrix of first patches (rows) by second patches (columns).

    The diagonal of `similarity` (N, N) holds the matches. With `groups` (N,) only second patches of one group with the
    row's own are non-matches. Returns (N,) and (M,) of the matrix's dtype, as `error_at_95` and `fpr_at` take them.
    Raises InputError for no square matrix, NaN in it, or no non-match.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or not len(similarity):
        raise InputError(f"similarity is {similarity.shape}, must be (N, N) with matches on the diagonal")
    if np.isnan(similarity).any():
        raise InputError("similarity holds NaN: the describer's output is not a unit vector")
    mask = np.ones(similarity.shape, dtype=bool) if groups is None else groups[:, None] == groups[None, :]
    np.fill_diagonal(mask, False)
    negatives = similarity[mask]
    if not len(negatives):
        raise InputError("no non-match: FPR95 needs at least two patches to choose from")
    return similarity.diagonal(), negatives


def fpr95_matrix(similarity: NDArray[Any], groups: NDArray[Any] | None = None, rule: Rule = "interpolate") -> float:
    """`fpr95` of a similarity matrix; arguments and errors as `matrix_scores`."""
    return error_at_95(*matrix_scores(similarity, groups), rule)


def top1(similarity: NDArray[Any]) -> float:
    """Share of rows (N, N) whose largest entry is on the diagonal and nowhere else."""
    return float(((similarity >= similarity.diagonal()[:, None]).sum(axis=1) == 1).mean())


def roc(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """ROC curve: FPR, TPR and threshold (K,) of every distinct score, falling, after the point (0, 0) at infinity.

    Equal scores make one point. Arguments and errors as `fpr95`.
    """
    hits, false, thresholds = _counts(labels, scores)
    return false / false[-1], hits / hits[-1], thresholds


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve. Arguments and errors as `fpr95`."""
    fpr, tpr, _ = roc(labels, scores)
    return float((np.diff(fpr) * (tpr[1:] + tpr[:-1])).sum() / 2)


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Rank average precision: sum over thresholds of (rise in recall) x precision, not interpolated, ties merged.

    The same as scikit-learn's `average_precision_score`. Arguments and errors as `fpr95`.
    """
    hits, false, _ = _counts(labels, scores)
    return float((np.diff(hits) * (hits[1:] / (hits[1:] + false[1:]))).sum() / hits[-1])


def _counts(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """True and false positives at each distinct threshold, after (0, 0)."""
    known, values = _checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    ranked = values[order].astype(np.float64)
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(known[order], dtype=np.int64)[last]
    padded = np.concatenate([[0], hits]), np.concatenate([[0], last + 1 - hits])
    return *padded, np.concatenate([[np.inf], ranked[last]])


def _rank(count: int) -> int:
    """Ceil(0.95 count)."""
    return -(-19 * count // 20)


def _reaching(ordered: NDArray[Any]) -> Any:
    """Largest threshold at which TPR is at least 0.95; `ordered` rises."""
    return ordered[::-1][_rank(len(ordered)) - 1]


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    known, values = np.asarray(labels), np.asarray(scores)
    if known.ndim != 1 or known.shape != values.shape:
        raise InputError(f"labels {known.shape} and scores {values.shape}: must be two lists of one length")
    if not np.isin(known, (0, 1)).all():
        raise InputError("labels must be 0 or 1")
    if values.dtype.kind not in "fiu":
        raise InputError(f"scores are {values.dtype}: must be real numbers")
    if np.isnan(values).any():
        raise InputError(f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN")
    matches = known.astype(bool)
    if matches.all() or not matches.any():
        raise InputError("labels hold one class alone: give matches (1) and non-matches (0)")
    return matches, values if values.dtype.kind == "f" else values.astype(np.float64)

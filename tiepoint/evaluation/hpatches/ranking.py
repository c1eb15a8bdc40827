"""Average precision from counts: all that it depends on is how many negatives are ranked before each positive."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.evaluation.options import ApRule

AP_RULES: tuple[ApRule, ...] = get_args(ApRule)


def trapezoid_ap(before: NDArray[np.integer], total: int) -> NDArray[np.float64]:
    """Area under the precision-recall curve by the trapezoidal rule, from the point (recall 0, precision 1) on.

    With n_i negatives before the positive of rank i among P: AP = 1/P sum_i (i/(i + n_i) + (i-1)/(i-1 + n_i)) / 2,
    where 0/0, the curve's first point, is 1. Positives that are never retrieved end the curve below recall 1.

    Args:
        before: (..., M) negatives ranked before each retrieved positive; positives in their order, so it never falls.
        total: P, positives in all, at least M and 1.

    Returns:
        (...), in 0..1.
    """
    ranks = np.arange(1, before.shape[-1] + 1)
    earlier = ranks - 1 + before
    previous = np.where(earlier > 0, (ranks - 1) / np.maximum(earlier, 1), 1.0)
    return np.asarray((ranks / (ranks + before) + previous).sum(axis=-1) / (2 * total))


def rank_ap(before: NDArray[np.integer], total: int) -> NDArray[np.float64]:
    """Precision averaged at the ranks of the positives, as VLFeat's vl_pr: 1/P sum_i i/(i + n_i). As `trapezoid_ap`.

    Never below it: the trapezoid also counts the lower precision just before each positive.
    """
    ranks = np.arange(1, before.shape[-1] + 1)
    return np.asarray((ranks / (ranks + before)).sum(axis=-1) / total)


def ap(before: NDArray[np.integer], total: int, rule: ApRule = "trapezoid") -> NDArray[np.float64]:
    """Average precision by a rule of AP_RULES; arguments as `trapezoid_ap`. Raises InputError for an unknown rule."""
    if rule not in AP_RULES:
        raise InputError(f"average precision {rule!r}: there are {', '.join(AP_RULES)}")
    return trapezoid_ap(before, total) if rule == "trapezoid" else rank_ap(before, total)


def negatives_before(positive: NDArray[np.bool_], distances: NDArray[Any]) -> NDArray[np.int64]:
    """Negatives before each positive of a list ranked by rising distance; equal ones keep the list's order.

    Args:
        positive: (N,).
        distances: (N,), no NaN.

    Returns:
        (M,) one for each positive, in rank order.
    """
    ranked = positive[np.argsort(distances, kind="stable")]
    return np.asarray(np.cumsum(~ranked, dtype=np.int64)[ranked])

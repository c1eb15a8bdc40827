"""All candidates of all patches of a batch, for losses that weigh every negative and not only the hardest."""

from typing import NamedTuple

import torch
from torch import Tensor

from tiepoint.losses.mining import Candidates, similarity_at

EXCLUDED = -1e30  # finite, so that a query without any negative gets a zero gradient and not NaN


class Comparison(NamedTuple):
    """2n queries, the anchors first, and m candidates each.

    match (2n,): similarity to the query's match. similarity (2n, m): to each candidate. negative (2n, m), bool: the
    candidates that belong to other points and are no duplicates.
    """

    match: Tensor
    similarity: Tensor
    negative: Tensor


def compare_to_candidates(
    anchor: Tensor, positive: Tensor, candidates: Candidates, duplicate_threshold: float
) -> Comparison:
    """Compare each patch of the batch, unit vectors (n, D) of which rows match, with its match and its candidates.

    Candidates are the other side's patches ("cross", m = n) or all patches, anchors first ("all", m = 2n). Those closer
    than the L2 distance `duplicate_threshold` count as the same point and are ignored; 0: off.
    """
    point = torch.arange(len(anchor), device=anchor.device)
    if candidates == "cross":
        cross = anchor @ positive.T
        similarity, owner = torch.cat([cross, cross.T]), point
    else:
        patches = torch.cat([anchor, positive])
        similarity, owner = patches @ patches.T, point.repeat(2)
    negative = (point.repeat(2)[:, None] != owner) & ~(similarity > similarity_at(duplicate_threshold))
    return Comparison((anchor * positive).sum(dim=1).repeat(2), similarity, negative)


def log_sum_exp(values: Tensor, negative: Tensor) -> Tensor:
    """log sum_j exp(values_ij) over the negatives of each row (rows,); EXCLUDED for a row that has none."""
    return values.masked_fill(~negative, EXCLUDED).logsumexp(dim=1)

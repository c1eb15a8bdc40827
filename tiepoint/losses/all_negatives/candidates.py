"""All candidates of all patches of a batch, for losses that weigh every negative and not only the hardest."""

import torch
from torch import Tensor

from tiepoint.losses.mining import Candidates, similarity_at

EXCLUDED = -1e30  # finite, so that a query without any negative gets a zero gradient and not NaN


def compare_to_candidates(
    anchor: Tensor, positive: Tensor, candidates: Candidates, duplicate_threshold: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare each patch of the batch, unit vectors (n, D) of which rows match, with its match and its candidates.

    Candidates are the other side's patches ("cross", m = n) or all patches, anchors first ("all", m = 2n). Those closer
    than the L2 distance `duplicate_threshold` count as the same point and are ignored; 0: off.

    Returns for the 2n queries, anchors first, the similarity to the match (2n,), that to each candidate (2n, m), and
    which candidates are negatives (2n, m): those of other points that are no duplicates.
    """
    point = torch.arange(len(anchor), device=anchor.device)
    if candidates == "cross":
        cross = anchor @ positive.T
        similarity, owner = torch.cat([cross, cross.T]), point
    else:
        patches = torch.cat([anchor, positive])
        similarity, owner = patches @ patches.T, point.repeat(2)
    negative = (point.repeat(2)[:, None] != owner) & ~(similarity > similarity_at(duplicate_threshold))
    return (anchor * positive).sum(dim=1).repeat(2), similarity, negative


def log_sum_exp(values: Tensor, negative: Tensor) -> Tensor:
    """log sum_j exp(values_ij) over the negatives of each row (rows,); EXCLUDED for a row that has none."""
    return values.masked_fill(~negative, EXCLUDED).logsumexp(dim=1)

"""Lifted structure losses: all negatives at once, a soft form of the hardest."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates
from tiepoint.losses.regularizers import l2


class GeneralizedLifted(nn.Module):
    """L = mean of max(0, d+ + log sum_n exp(margin - d-_n)), over all 2n patches as queries; d is the L2 distance.

    With `squared` each pair has one term, max(0, ...)^2 / 2 over the negatives of both its patches: the original
    lifted structure loss.

    Options:
        margin: 0 or more.
        squared: see above.
        candidates: negatives of a query: the other side's patches (cross) or all patches (four).
        guard: L2 distance under which a negative is a duplicate of the point and passed over; 0 switches it off.

    Source: Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017; the original is Oh Song
    et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
    """

    raw = False

    def __init__(
        self, *, margin: float = 1.0, squared: bool = False, candidates: Candidates = "four", guard: float = 0.0
    ) -> None:
        super().__init__()
        within("margin", margin, 0, math.inf, "[)")
        check_candidates(candidates, guard)
        self.margin, self.squared = margin, squared
        self.candidates, self.guard = candidates, guard

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare(anchor, positive, self.candidates, self.guard)
        rivals = log_sum_exp(self.margin - l2(similarity), negative)
        if not self.squared:
            return F.relu(l2(match) + rivals).mean()
        of_pair = torch.logaddexp(*rivals.chunk(2))
        return (F.relu(l2(match[: len(anchor)]) + of_pair) ** 2).mean() / 2

"""Lifted structure losses: all negatives at once, a soft form of the hardest."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare_to_candidates, log_sum_exp
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
        candidates: negatives of a query: the other side's patches (cross) or all patches (all).
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Source: Hermans et al., In Defense of the Triplet Loss for Person Re-Identification, 2017; the original is Oh Song
    et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
    """

    takes_unnormalized = False

    def __init__(
        self,
        *,
        margin: float = 1.0,
        squared: bool = False,
        candidates: Candidates = "all",
        duplicate_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        within("margin", margin, 0, math.inf, "[)")
        check_candidates(candidates, duplicate_threshold)
        self.margin, self.squared = margin, squared
        self.candidates, self.duplicate_threshold = candidates, duplicate_threshold

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        rivals = log_sum_exp(self.margin - l2(similarity), negative)
        if not self.squared:
            return F.relu(l2(match) + rivals).mean()
        of_pair = torch.logaddexp(*rivals.chunk(2))
        return (F.relu(l2(match[: len(anchor)]) + of_pair) ** 2).mean() / 2

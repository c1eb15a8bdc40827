"""Cross-entropy over similarities: N-pair, InfoNCE, NT-Xent."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates


class InfoNCE(nn.Module):
    """L = mean of -log(exp(s+ / t) / (exp(s+ / t) + sum_n exp(s-_n / t))), over all 2n patches as queries.

    Temperature 1 with cross is the N-pair loss in both directions, without its penalty on norms; four is NT-Xent.

    Options:
        temperature: t, above 0.
        candidates: negatives of a query: the other side's patches (cross) or all patches (four).
        guard: L2 distance under which a negative is a duplicate of the point and passed over; 0 switches it off.

    Source: Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016; van den Oord et al.,
    Representation Learning with Contrastive Predictive Coding, 2018; Chen et al., SimCLR, ICML 2020.
    """

    raw = False

    def __init__(self, *, temperature: float = 0.07, candidates: Candidates = "cross", guard: float = 0.0) -> None:
        super().__init__()
        within("temperature", temperature, 0, math.inf, "()")
        check_candidates(candidates, guard)
        self.temperature, self.candidates, self.guard = temperature, candidates, guard

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare(anchor, positive, self.candidates, self.guard)
        rivals = log_sum_exp(similarity / self.temperature, negative)
        return F.softplus(rivals - match / self.temperature).mean()

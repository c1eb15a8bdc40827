"""Cross-entropy over similarities: N-pair, InfoNCE, NT-Xent."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare_to_candidates, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates


class InfoNCE(nn.Module):
    """L = mean of -log(exp(s+ / t) / (exp(s+ / t) + sum_n exp(s-_n / t))), over all 2n patches as queries.

    Temperature 1 with cross is the N-pair loss in both directions, without its penalty on norms; all is NT-Xent.

    Options:
        temperature: t, above 0.
        candidates: negatives of a query: the other side's patches (cross) or all patches (all).
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Source: Sohn, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016; van den Oord et al.,
    Representation Learning with Contrastive Predictive Coding, 2018; Chen et al., SimCLR, ICML 2020.
    """

    takes_unnormalized = False

    def __init__(
        self, *, temperature: float = 0.07, candidates: Candidates = "cross", duplicate_threshold: float = 0.0
    ) -> None:
        super().__init__()
        within("temperature", temperature, 0, math.inf, "()")
        check_candidates(candidates, duplicate_threshold)
        self.temperature, self.candidates, self.duplicate_threshold = temperature, candidates, duplicate_threshold

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        rivals = log_sum_exp(similarity / self.temperature, negative)
        return F.softplus(rivals - match / self.temperature).mean()

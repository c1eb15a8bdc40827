"""Multi-similarity loss."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare_to_candidates, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates


class MultiSimilarity(nn.Module):
    """L = mean of log(1 + exp(-alpha (s+ - base))) / alpha + log(1 + sum_n exp(beta (s-_n - base))) / beta.

    The mean goes over all 2n patches as queries. With `mining`, only negatives with s- > s+ - epsilon count, and only
    queries that have one.

    Options:
        alpha: steepness of the positives, above 0.
        beta: steepness of the negatives, above 0.
        base: cosine about which both turn.
        mining: choose the pairs first, as published.
        epsilon: of the mining, 0 or more.
        candidates: negatives of a query: the other side's patches (cross) or all patches (all).
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Source: Wang et al., Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019.
    """

    takes_unnormalized = False

    def __init__(
        self,
        *,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        mining: bool = False,
        epsilon: float = 0.1,
        candidates: Candidates = "all",
        duplicate_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        within("alpha", alpha, 0, math.inf, "()")
        within("beta", beta, 0, math.inf, "()")
        within("base", base, -1, 1)
        within("epsilon", epsilon, 0, 2)
        check_candidates(candidates, duplicate_threshold)
        self.alpha, self.beta, self.base = alpha, beta, base
        self.mining, self.epsilon = mining, epsilon
        self.candidates, self.duplicate_threshold = candidates, duplicate_threshold

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        pull = F.softplus(-self.alpha * (match - self.base)) / self.alpha
        if self.mining:
            negative = negative & (similarity > match[:, None] - self.epsilon)
            pull = pull * negative.any(dim=1)
        push = F.softplus(log_sum_exp(self.beta * (similarity - self.base), negative)) / self.beta
        return (pull + push).mean()

"""Circle loss."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare_to_candidates, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates


class Circle(nn.Module):
    """L = mean of log(1 + sum_n exp(gamma (w-_n (s-_n - margin) - w+ (s+ - 1 + margin)))).

    The weights w- = max(0, s- + margin) and w+ = max(0, 1 + margin - s+) carry no gradient: a similarity is pulled the
    harder the farther it is from where it should be. The mean goes over all 2n patches as queries.

    Options:
        margin: relaxation, 0..1.
        gamma: scale of the similarities, above 0.
        divide: divide by gamma, so that the gradient's size does not depend on it.
        candidates: negatives of a query: the other side's patches (cross) or all patches (all).
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Source: Sun et al., Circle Loss: A Unified Perspective of Pair Similarity Optimization, CVPR 2020. TFMatch trains
    descriptors with gamma 512, margin 0.1 and division by gamma.
    """

    takes_unnormalized = False

    def __init__(
        self,
        *,
        margin: float = 0.4,
        gamma: float = 80.0,
        divide: bool = False,
        candidates: Candidates = "all",
        duplicate_threshold: float = 0.0,
    ) -> None:
        super().__init__()
        within("margin", margin, 0, 1)
        within("gamma", gamma, 0, math.inf, "()")
        check_candidates(candidates, duplicate_threshold)
        self.margin, self.gamma, self.divide = margin, gamma, divide
        self.candidates, self.duplicate_threshold = candidates, duplicate_threshold

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        weight_p = F.relu(1 + self.margin - match.detach())
        weight_n = F.relu(similarity.detach() + self.margin)
        pull = -self.gamma * weight_p * (match - 1 + self.margin)
        push = log_sum_exp(self.gamma * weight_n * (similarity - self.margin), negative)
        loss = F.softplus(pull + push).mean()
        return loss / self.gamma if self.divide else loss

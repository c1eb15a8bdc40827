"""Angular loss."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare_to_candidates, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates


class Angular(nn.Module):
    """L = mean of log(1 + sum_n exp(4 t (a + p)^T n - 2 (1 + t) a^T p)), t = tan^2 of the bound.

    It bounds the angle at the negative n of the triangle that n makes with the pair.

    Options:
        degrees: bound of the angle, between 0 and 90.
        candidates: all: n runs over both patches of all other points, and the mean over the pairs; cross: each pair
            counts twice, once against the other positives and once against the other anchors.
        duplicate_threshold: negatives closer than this L2 distance to either patch count as the same point and are
            ignored; 0: off.

    Source: Wang et al., Deep Metric Learning with Angular Loss, ICCV 2017.
    """

    takes_unnormalized = False

    def __init__(
        self, *, degrees: float = 40.0, candidates: Candidates = "all", duplicate_threshold: float = 0.0
    ) -> None:
        super().__init__()
        within("degrees", degrees, 0, 90, "()")
        check_candidates(candidates, duplicate_threshold)
        self.bound = math.tan(math.radians(degrees)) ** 2
        self.candidates, self.duplicate_threshold = candidates, duplicate_threshold

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        count = len(anchor)
        match, similarity, negative = compare_to_candidates(anchor, positive, "all", self.duplicate_threshold)
        centre = similarity[:count] + similarity[count:]  # (a + p)^T x of each patch x
        negative = negative[:count] & negative[count:]
        exponent = 4 * self.bound * centre - 2 * (1 + self.bound) * match[:count, None]
        if self.candidates == "cross":
            exponent, negative = exponent.view(2 * count, count), negative.view(2 * count, count)
        return F.softplus(log_sum_exp(exponent, negative)).mean()

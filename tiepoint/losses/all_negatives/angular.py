"""Angular loss."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates, compare, log_sum_exp
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates


class Angular(nn.Module):
    """L = mean of log(1 + sum_n exp(4 t (a + p)^T n - 2 (1 + t) a^T p)), t = tan^2 of the bound.

    It bounds the angle at the negative n of the triangle that n makes with the pair.

    Options:
        degrees: bound of the angle, between 0 and 90.
        candidates: four: n goes over both patches of all other points, the mean over the n pairs; cross: each pair
            counts twice, once against the other positives and once against the other anchors.
        guard: L2 distance to either patch under which a negative is a duplicate of the point and passed over; 0
            switches it off.

    Source: Wang et al., Deep Metric Learning with Angular Loss, ICCV 2017.
    """

    raw = False

    def __init__(self, *, degrees: float = 40.0, candidates: Candidates = "four", guard: float = 0.0) -> None:
        super().__init__()
        within("degrees", degrees, 0, 90, "()")
        check_candidates(candidates, guard)
        self.bound = math.tan(math.radians(degrees)) ** 2
        self.candidates, self.guard = candidates, guard

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        count = len(anchor)
        match, similarity, negative = compare(anchor, positive, "four", self.guard)
        centre = similarity[:count] + similarity[count:]  # (a + p)^T x of each patch x
        negative = negative[:count] & negative[count:]
        exponent = 4 * self.bound * centre - 2 * (1 + self.bound) * match[:count, None]
        if self.candidates == "cross":
            exponent, negative = exponent.view(2 * count, count), negative.view(2 * count, count)
        return F.softplus(log_sum_exp(exponent, negative)).mean()

"""Global loss: the distributions of matching and non-matching distances drawn apart."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses.batch import LossModule, on_pairs, option
from tiepoint.losses.mining import similarity_at


@dataclass(kw_only=True, eq=False, repr=False)
class GlobalLoss(LossModule):
    """L = var(d+) + var(d-) + weight max(0, mean(d+) - mean(d-) + margin) + triplet T.

    d is a quarter of the squared L2 distance, 0..1; the variances divide by the count. T is a triplet term, the mean of
    max(0, 1 - d- / (d+ + offset)).

    Assumed, as the published values could not be established: the quarter, T, and the defaults of `weight`, `margin`
    and `offset`.

    Options:
        weight: of the hinge on the means, 0 or more.
        margin: by which the means should differ, 0..1.
        triplet: weight of T, 0 or more; 1 makes it the loss of TNet-TGLoss.
        offset: keeps T's denominator off zero, above 0.
        negatives: all: rows of `anchor` against all other rows of `positive`; shift: row i against row i + 1, as
            random as the batch's order.
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Source: Kumar et al., Learning Local Image Descriptors with Deep Siamese and Triplet Convolutional Networks by
    Minimising Global Loss Functions, CVPR 2016.
    """

    weight: float = option(0.8, "[0, inf)")
    margin: float = option(0.4, "[0, 1]")
    triplet: float = option(0.0, "[0, inf)")
    offset: float = option(0.01, "(0, inf)")
    negatives: Literal["shift", "all"] = "all"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        similarity = anchor @ positive.T
        match = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
        duplicate = similarity > similarity_at(self.duplicate_threshold)
        negative = (match.roll(1, dims=1) if self.negatives == "shift" else ~match) & ~duplicate
        distance = ((1 - similarity) / 2).clamp(min=0)  # not below by rounding
        mean_p, variance_p = _moments(distance, match)
        mean_n, variance_n = _moments(distance, negative)
        loss = variance_p + variance_n + self.weight * F.relu(mean_p - mean_n + self.margin)
        ratio = distance / (distance.diagonal()[:, None] + self.offset)
        return loss + self.triplet * _mean(F.relu(1 - ratio), negative)


def _moments(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    mean = _mean(values, mask)
    return mean, _mean((values - mean) ** 2, mask)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean under the mask, 0 where it is empty."""
    return (values * mask).sum() / mask.sum().clamp(min=1)

"""The triplet losses of TFeat, on descriptors of any length."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses.batch import LossModule, on_pairs, option


@dataclass(kw_only=True, eq=False, repr=False)
class TFeatLoss(LossModule):
    """Mean over triplets (a_i, p_i, p_j) of a hinge or a squared ratio; d is the L2 distance.

    - margin: max(0, margin + d+ - d-).
    - ratio: r+^2 + (1 - r-)^2 with r+ = exp(d+) / (exp(d+) + exp(d-)) and r- = 1 - r+, that is 2 sigmoid(d+ - d-)^2.

    Descriptors are taken as they come, since the network of TFeat does not normalise them.

    Options:
        form: margin or ratio.
        margin: of the first form, 0 or more.
        swap: d- is the smaller of d(a_i, p_j) and d(p_i, p_j): the star of TFeat-margin*.
        negatives: shift: j = i + 1, as random as the batch's order; hardest: the j of the smallest d-.
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Pairs without another negative contribute zero; the mean is over all pairs.

    Source: Balntas et al., Learning local feature descriptors with triplets and shallow convolutional neural networks,
    BMVC 2016; margin and swap as in the authors' training notebook.
    """

    form: Literal["margin", "ratio"] = "margin"
    margin: float = option(2.0, "[0, inf)")
    swap: bool = True
    negatives: Literal["shift", "hardest"] = "shift"
    duplicate_threshold: float = option(0.0, "[0, inf)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs, scalar float32; `progress` is not used."""
        row = torch.arange(len(anchor), device=anchor.device)
        other = self._hardest(anchor, positive) if self.negatives == "hardest" else row.roll(-1)
        rival = positive[other]
        near, far = (anchor - positive).norm(dim=1), (anchor - rival).norm(dim=1)  # whose gradients at zero are zero
        if self.swap:
            far = torch.minimum(far, (positive - rival).norm(dim=1))
        loss: Tensor = F.relu(self.margin + near - far) if self.form == "margin" else 2 * torch.sigmoid(near - far) ** 2
        counted: Tensor = (other != row) & ~(far < self.duplicate_threshold)
        return (loss * counted).mean()

    @torch.no_grad()
    def _hardest(self, anchor: Tensor, positive: Tensor) -> Tensor:
        """Row of the hardest negative (n,); where all are ignored, the row itself or one of them."""
        distance = _distances(anchor, positive)
        if self.swap:
            distance = torch.minimum(distance, _distances(positive, positive))
        distance.fill_diagonal_(torch.inf)
        return distance.masked_fill(distance < self.duplicate_threshold, torch.inf).argmin(dim=1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # Not by the matrix product, which rounds the tiny distances that are compared with the threshold of duplicates.
    distance: Tensor = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return distance

"""The hardest negative of each pair: the triplet family, with HardNet, SOSNet and HyNet as settings, and RAL-Net's."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses import regularizers
from tiepoint.losses.batch import LossModule, on_pairs, option
from tiepoint.losses.mining import Candidates, hardest, similarity_at


@dataclass(kw_only=True, eq=False, repr=False)
class Triplet(LossModule):
    """Each pair against its hardest negative: L = reduce_i form(d+_i, d-_i) + regularizers.

    Options, the vocabulary in which the published systems differ:
        measure: l2, sqrt(2 - 2s + eps); squared_l2, 2 - 2s; angle, acos s; hybrid, alpha (1 - s) + l2 (HyNet).
        form: hinge, max(0, margin + d+ - d-); squared_hinge, its square; softmin, log(1 + exp(d+ - d-));
            contrastive, d+ + max(0, margin - d-).
        candidates: cross or all, see `tiepoint.losses.mining.hardest`.
        duplicate_threshold: candidates closer than this L2 distance count as the same point and are ignored; 0: off.
        reduction: mean or sum over pairs.
        second_order, neighbours, norm, spread_out, correlation: weights of the terms in
            `tiepoint.losses.regularizers`; correlation is that of anchors plus that of positives.
        eps: under the root of l2.

    With `norm` the loss takes the network's output before its L2 normalisation (`takes_unnormalized` is True), else
    unit vectors.
    Pairs whose candidates are all duplicates contribute zero; the mean is over all pairs.

    Source: Mishchuk et al., HardNet, NIPS 2017; Tian et al., SOSNet, CVPR 2019, and HyNet, NeurIPS 2020.
    """

    measure: Literal["l2", "squared_l2", "angle", "hybrid"] = "l2"
    form: Literal["hinge", "squared_hinge", "softmin", "contrastive"] = "hinge"
    margin: float = option(1.0, "[0, inf)")
    alpha: float = option(2.0, "[0, inf)")
    candidates: Candidates = "cross"
    duplicate_threshold: float = option(0.008, "[0, 2)")
    reduction: Literal["mean", "sum"] = "mean"
    second_order: float = 0.0
    neighbours: int = option(8, "[1, inf)")
    norm: float = 0.0
    spread_out: float = 0.0
    correlation: float = 0.0
    eps: float = option(1e-6, "[0, 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.takes_unnormalized = self.norm > 0

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs, scalar float32; `progress` is not used."""
        norms = regularizers.norm_difference(anchor, positive) if self.norm else 0.0
        if self.takes_unnormalized:
            anchor, positive = F.normalize(anchor, dim=1), F.normalize(positive, dim=1)
        negatives = hardest(anchor, positive, self.candidates, similarity_at(self.duplicate_threshold))
        near = self._distance((anchor * positive).sum(dim=1))
        loss = (self._form(near, self._distance(negatives.similarity)) * negatives.valid).sum()
        loss = loss / len(anchor) if self.reduction == "mean" else loss
        if self.second_order:
            loss = loss + self.second_order * regularizers.second_order(anchor, positive, self.neighbours)
        if self.spread_out:
            loss = loss + self.spread_out * regularizers.spread_out(anchor, positive)
        if self.correlation:
            both = regularizers.correlation(anchor) + regularizers.correlation(positive)
            loss = loss + self.correlation * both
        return loss + self.norm * norms

    def _distance(self, similarity: Tensor) -> Tensor:
        if self.measure == "angle":
            return similarity.clamp(-1 + 1e-5, 1 - 1e-5).acos()
        if self.measure == "squared_l2":
            return 2 - 2 * similarity
        distance = regularizers.l2(similarity, self.eps)
        return distance + self.alpha * (1 - similarity) if self.measure == "hybrid" else distance

    def _form(self, near: Tensor, far: Tensor) -> Tensor:
        if self.form == "softmin":
            return F.softplus(near - far)
        if self.form == "contrastive":
            return near + F.relu(self.margin - far)
        hinge = F.relu(self.margin + near - far)
        return hinge.square() if self.form == "squared_hinge" else hinge


@dataclass(kw_only=True, eq=False, repr=False)
class RobustAngular(LossModule):
    """L = mean_i of 1 - tanh(scale (s+_i - s-_i)), s- the cosine of the pair's hardest negative.

    Established of RAL-Net: it compares by cosine instead of L2 distance, and its penalty flattens where the negative
    is the more similar, since many such triplets are false correspondences. Assumed: that the function is 1 - tanh
    with scale 1, and that the choice of negatives and the threshold of duplicates are HardNet's.

    Options:
        scale: steepness, above 0.
        candidates: cross or all, see `tiepoint.losses.mining.hardest`.
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Pairs whose candidates are all duplicates contribute zero; the mean is over all pairs.

    Source: Xu et al., Robust Angular Local Descriptor Learning, ACCV 2018.
    """

    scale: float = option(1.0, "(0, inf)")
    candidates: Candidates = "cross"
    duplicate_threshold: float = option(0.008, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match = (anchor * positive).sum(dim=1)
        rival, valid = hardest(anchor, positive, self.candidates, similarity_at(self.duplicate_threshold))
        return ((1 - torch.tanh(self.scale * (match - rival))) * valid).mean()

"""KGL-Net's loss: a descriptor finds hard pairs for a metric network, and their features guide each other."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses import regularizers
from tiepoint.losses.batch import LossModule, option
from tiepoint.losses.relational.labelled import Codes, Patches, Relate, check_batch
from tiepoint.losses.triplet import Triplet

EPS = 1e-6  # under the root of all distances


@dataclass(kw_only=True, eq=False, repr=False)
class GuidedLoss(LossModule):
    """L = triplet + norm * lengths + metric * BCE + guidance * features, on N matching pairs.

    - triplet: sum_i max(0, margin + d+ + d+^2 - d- - d-^2) at alpha = 2, which is HyNet's alpha (1 - s) + d; d is the
      L2 distance of the unit descriptors, sqrt(2 - 2s + 1e-6), d- that of the hardest of the negatives of pair i within
      and across the spectra, see `tiepoint.losses.triplet.Triplet`.
    - lengths: sum_i (|v_i| - |n_i|)^2 of the descriptors before their normalisation.
    - BCE: mean over the logits of the N matching pairs and of N hard ones, (vis i, nir j), where j is the other point
      whose nir descriptor is nearest to that of vis i. The network relates their codes.
    - features: MSE(common, private) of vis plus that of nir; the gradient flows into both.

    Options:
        margin, alpha: of the triplet.
        duplicate_threshold: distance d up to which a negative counts as the same point. The triplet ignores it; in the
            search for hard pairs it counts as farther away by 2, as released. A matching pair is never a hard one.
        norm, metric, guidance: weights of the terms.

    Source: Yu et al., KGL-Net, arXiv 2412.11161, 2024, and its released code; the triplet is HyNet's, Tian et al.,
    NeurIPS 2020.
    """

    matching_only = True

    margin: float = 1.2
    alpha: float = 2.0
    duplicate_threshold: float = option(0.008, "[0, 2)")
    norm: float = option(0.1, "[0, inf)")
    metric: float = option(1.0, "[0, inf)")
    guidance: float = option(1.0, "[0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        without_eps = math.sqrt(max(self.duplicate_threshold**2 - EPS, 0))  # the same limit, for distances without EPS
        self.triplet = Triplet(
            measure="hybrid", form="hinge", margin=self.margin, alpha=self.alpha, candidates="all", reduction="sum",
            eps=EPS, duplicate_threshold=without_eps,
        )  # fmt: skip

    def forward(self, output: Any, labels: Tensor, patches: Patches, relate: Relate, progress: float = 0.0) -> Tensor:
        """Loss of a batch of N >= 2 matching pairs, scalar float32, of what KGL-Net returned.

        `relate` is the network's and gives the logits of the hard pairs; `patches` and `progress` are not used. Raises
        InputError for a pruned network's output, ValueError for a batch that does not fit.
        """
        labels = check_batch(self, output, labels, patches, "descriptors", "common", "codes")
        if len(labels) < 2:
            raise ValueError("GuidedLoss takes 2 pairs or more: the non-matches of a pair come from the other pairs")
        raw = [x.float() for x in output.descriptors]
        first, second = (F.normalize(x, dim=1) for x in raw)
        hard = self._relate(relate, output.codes, self._nearest(first, second)).float()
        logits = torch.cat([output.main.float(), hard])
        bce = F.binary_cross_entropy_with_logits(logits, torch.cat([labels, torch.zeros_like(hard)]))
        private = (codes[0] for codes in output.codes)
        errors = [F.mse_loss(a.float(), b.float()) for a, b in zip(output.common, private, strict=True)]
        loss: Tensor = self.triplet(first, second) + self.norm * regularizers.norm_difference(*raw)
        return loss + self.metric * bce + self.guidance * torch.stack(errors).sum()

    @torch.no_grad()
    def _nearest(self, first: Tensor, second: Tensor) -> Tensor:
        """For each vis descriptor the row (N,) of the nearest nir one of another point."""
        with torch.autocast(first.device.type, enabled=False):
            distance = (2 - 2 * (first @ second.T)).abs().add(EPS).sqrt()
        distance = torch.where(distance <= self.duplicate_threshold, distance + 2, distance)
        return distance.fill_diagonal_(torch.inf).argmin(dim=1)

    @staticmethod
    def _relate(relate: Relate, codes: tuple[Codes, Codes], rows: Tensor) -> Tensor:
        """Logits (N,) of each vis patch and the nir patch of `rows`, in the precision in which the codes were made."""
        first, second = codes[0], tuple(part[rows] for part in codes[1])
        kind = first[0].dtype
        if kind in (torch.float16, torch.bfloat16):
            with torch.autocast(first[0].device.type, dtype=kind):
                return relate(first, second)
        return relate(first, second)

"""The robust angular loss of RAL-Net."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tiepoint.losses.batch import LossModule, on_pairs, option
from tiepoint.losses.mining import Candidates, hardest, similarity_at


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

"""The robust angular loss of RAL-Net."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tiepoint.losses.all_negatives.candidates import check_candidates
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import Candidates, hardest, similarity_at


class RobustAngular(nn.Module):
    """L = mean_i of 1 - tanh(scale (s+_i - s-_i)), s- the cosine of the pair's hardest negative.

    Established of RAL-Net: it compares by cosine instead of L2 distance, and its penalty flattens where the negative
    is the more similar, since many such triplets are false correspondences. Assumed: that the function is 1 - tanh
    with scale 1, and that negatives and guard are HardNet's.

    Options:
        scale: steepness, above 0.
        candidates: cross or four, see `tiepoint.losses.mining.hardest`.
        guard: L2 distance under which a negative is a duplicate of the point and passed over; 0 switches it off.

    Pairs whose candidates are all duplicates count for nothing; the mean is over all pairs.

    Source: Xu et al., Robust Angular Local Descriptor Learning, ACCV 2018.
    """

    raw = False

    def __init__(self, *, scale: float = 1.0, candidates: Candidates = "cross", guard: float = 0.008) -> None:
        super().__init__()
        within("scale", scale, 0, math.inf, "()")
        check_candidates(candidates, guard)
        self.scale, self.candidates, self.guard = scale, candidates, similarity_at(guard)

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match = (anchor * positive).sum(dim=1)
        rival, exists = hardest(anchor, positive, self.candidates, self.guard)
        return ((1 - torch.tanh(self.scale * (match - rival))) * exists).mean()

"""SoftPN: the losses of PN-Net, on triplets, and of Q-Net, on quadruplets."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tiepoint.losses.batch import LossModule
from tiepoint.losses.relational.labelled import Patches, Relate, check_batch


@dataclass(kw_only=True, eq=False, repr=False)
class SoftPN(LossModule):
    """Softmax of [smallest negative distance d-, largest positive distance d+], mean squared error to [1, 0].

    Both entries err by 1 / (1 + exp(d- - d+)), so the loss is the mean over the batch of its square. Distances are L2,
    of descriptors as they come. With j = i + 1 as the other point of pair i, the last pair's being the first:

    - triplet (v_i, n_i, x): d+ = |v_i - n_i|, d- = min(|v_i - x|, |n_i - x|), where x is v_j or n_j.
    - quadruplet (v_i, n_i, v_j, n_j): d+ = max(|v_i - n_i|, |v_j - n_j|), d- = min(|v_i - v_j|, |v_i - n_j|,
      |n_i - v_j|, |n_i - n_j|).

    The next row is as random as the batch's order, and needs no random numbers here. The releases draw the other point
    once, for a whole run, from the whole set.

    Options:
        form: triplet (PN-Net) or quadruplet (Q-Net).
        negatives: of triplets: first, second (the slots), or either, which alternates second and first from row to row.

    Source: Balntas et al., PN-Net, 2016; Aguilera et al., Q-Net, Sensors 17:873, 2017, and their released code, which
    trains PN-Net on two spectra with each of the three kinds of negatives.
    """

    matching_only = True

    form: Literal["triplet", "quadruplet"] = "triplet"
    negatives: Literal["first", "second", "either"] = "either"

    def forward(self, output: Any, labels: Tensor, patches: Patches, relate: Relate, progress: float = 0.0) -> Tensor:
        """Loss of a batch of N >= 2 matching pairs, scalar float32 in 0..1, of what PN-Net or Q-Net returned.

        Raises InputError for another network's output, ValueError for a batch that does not fit.
        """
        labels = check_batch(self, output, labels, patches, "first", "second")
        if len(labels) < 2:
            raise ValueError("SoftPN takes 2 pairs or more: the non-matches of a pair come from the other pairs")
        first, second = output.first.float().flatten(1), output.second.float().flatten(1)
        near = torch.linalg.vector_norm(first - second, dim=1)  # whose gradient at zero is zero
        other_first, other_second = first.roll(-1, dims=0), second.roll(-1, dims=0)
        if self.form == "triplet":
            rivals = [self._choose(other_first, other_second)]
        else:
            near, rivals = torch.maximum(near, near.roll(-1)), [other_first, other_second]
        far = [torch.linalg.vector_norm(own - rival, dim=1) for own in (first, second) for rival in rivals]
        return torch.sigmoid(near - torch.stack(far).amin(dim=0)).square().mean()

    def _choose(self, first: Tensor, second: Tensor) -> Tensor:
        if self.negatives == "either":
            odd = torch.arange(len(first), device=first.device)[:, None] % 2 == 1
            return torch.where(odd, first, second)
        return first if self.negatives == "first" else second

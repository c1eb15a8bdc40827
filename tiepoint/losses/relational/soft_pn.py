"""SoftPN: the losses of PN-Net, on triplets, and of Q-Net, on quadruplets."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from tiepoint.losses.batch import one_of
from tiepoint.losses.relational.labelled import Patches, Relate, check_batch

Form = Literal["triplet", "quadruplet"]
Negatives = Literal["vis", "nir", "either"]


class SoftPN(nn.Module):
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
        negatives: of triplets: vis, nir, or either, which alternates nir and vis from row to row.

    Source: Balntas et al., PN-Net, 2016; Aguilera et al., Q-Net, Sensors 17:873, 2017, and their released code, which
    trains PN-Net on two spectra with each of the three kinds of negatives.
    """

    matching_only = True

    def __init__(self, *, form: Form = "triplet", negatives: Negatives = "either") -> None:
        super().__init__()
        one_of("form", form, get_args(Form))
        one_of("negatives", negatives, get_args(Negatives))
        self.form, self.negatives = form, negatives

    def forward(self, output: Any, labels: Tensor, patches: Patches, relate: Relate, progress: float = 0.0) -> Tensor:
        """Loss of a batch, scalar float32 in 0..1.

        Args:
            output: `tiepoint.nets.relational.pnnet.Described`.
            labels: (N,), all 1; N at least 2.
            patches, relate, progress: not used.

        Raises InputError for another network's output, ValueError for a batch that does not fit.
        """
        labels = check_batch(self, output, labels, patches, "vis", "nir")
        if len(labels) < 2:
            raise ValueError("SoftPN takes 2 pairs or more: the non-matches of a pair are in the other ones")
        vis, nir = output.vis.float().flatten(1), output.nir.float().flatten(1)
        near = _distance(vis, nir)
        other_vis, other_nir = vis.roll(-1, dims=0), nir.roll(-1, dims=0)
        if self.form == "triplet":
            rivals = [self._choose(other_vis, other_nir)]
        else:
            near, rivals = torch.maximum(near, near.roll(-1)), [other_vis, other_nir]
        far = torch.stack([_distance(own, rival) for own in (vis, nir) for rival in rivals]).amin(dim=0)
        return torch.sigmoid(near - far).square().mean()

    def _choose(self, vis: Tensor, nir: Tensor) -> Tensor:
        if self.negatives == "either":
            odd = torch.arange(len(vis), device=vis.device)[:, None] % 2 == 1
            return torch.where(odd, vis, nir)
        return vis if self.negatives == "vis" else nir


def _distance(a: Tensor, b: Tensor) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=1)  # its gradient at zero is zero
    return distance

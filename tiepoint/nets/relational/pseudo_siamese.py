"""The Pseudo-Siamese network for patches of two spectra: a tower for each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiepoint.nets.relation import KEYS, Codes, MultiLossRelater
from tiepoint.nets.relational.siamese import centred, head, tower


class PseudoSiamese(MultiLossRelater):
    """The Siamese network with a tower for each spectrum, which share no weights. 2,080,001 parameters.

    Input, output and initialisation are those of `tiepoint.nets.relational.siamese.Siamese`.

    Source: Aguilera et al., CVPR workshops 2016, after Zagoruyko and Komodakis, CVPR 2015.
    """

    input_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleDict({"vis": tower(1), "nir": tower(1)})
        self.head = head()

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Patches (N, 1, 64, 64), float in 0..1, of the slot "first" or "second" -> the feature (N, 256)."""
        return (self.towers[KEYS[slot]](centred(patches)),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Features of N first and N second patches -> match logit (N,)."""
        logit: Tensor = self.head(torch.cat([*first, *second], dim=1))
        return logit[:, 0].float()

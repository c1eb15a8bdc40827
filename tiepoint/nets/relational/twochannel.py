"""The 2-channel network: both patches enter one tower."""

import torch
from torch import Tensor, nn

from tiepoint.nets.relation import Codes, MultiLossRelater
from tiepoint.nets.relational.siamese import centred, tower


class TwoChannel(MultiLossRelater):
    """The tower of the Siamese network on both patches at once, as two channels, and one dense layer.

    913,377 parameters. Each patch enters minus its own mean. It mixes the patches in its first layer, so nothing can be
    computed for one patch alone. What `Siamese` says of output and initialisation holds here.

    Source: Aguilera et al., CVPR workshops 2016; the released code has one dense layer, where Zagoruyko and Komodakis,
    CVPR 2015, have two.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tower = tower(2)
        self.head = nn.Linear(256, 1)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Patches (N, 1, 64, 64), float in 0..1, minus their means; both spectra are treated alike."""
        return (centred(patches),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Centred patches of both slots -> match logit (N,)."""
        logit: Tensor = self.head(self.tower(torch.cat([*first, *second], dim=1)))
        return logit[:, 0].float()

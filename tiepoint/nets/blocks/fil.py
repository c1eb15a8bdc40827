"""Feature interaction learning."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.keras import conv_norm


class Interaction(NamedTuple):
    """What two feature maps (N, C, H, W) have in common and what each has for itself."""

    common: Tensor
    """(N, C, H, W): goes to a module head"""
    private: Tensor
    """(N, 2C, H, W), the first before the second: goes to the aggregation"""


class FIL(nn.Module):
    """Splits the features of two spectra into common and private ones, gating each by the other.

    With values A = LeakyReLU(BN(conv 1x1)) and gates S = sigmoid(BN(conv 1x1)) of each spectrum, no weights shared:

        c_vis = A_vis * S_nir            what the other spectrum confirms
        c_nir = A_nir * S_vis
        p     = |c - A| of each          what it does not
        common = c_vis + c_nir,  private = [p_vis, p_nir]

    4 (C^2 + 5 C) parameters, batch-norm statistics included.

    Source: Yu et al., FIL-Net, IEEE TIP 2023, which RRL-Net takes over.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value_vis = conv_norm(channels, channels, 1)
        self.value_nir = conv_norm(channels, channels, 1)
        self.gate_vis = conv_norm(channels, channels, 1, nn.Sigmoid())
        self.gate_nir = conv_norm(channels, channels, 1, nn.Sigmoid())

    def forward(self, first: Tensor, second: Tensor) -> Interaction:
        """Relate `first` and `second`, each (N, C, H, W)."""
        value_vis, value_nir = self.value_vis(first), self.value_nir(second)
        common_vis = value_vis * self.gate_nir(second)
        common_nir = value_nir * self.gate_vis(first)
        private = torch.cat([common_vis - value_vis, common_nir - value_nir], dim=1).abs()
        return Interaction(common_vis + common_nir, private)

"""The SDGMNet describer, whose topology is HyNet's."""

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import FRN, TLU, Stage, frn_block


class SDGMNet(nn.Module):
    """Seven convolutions, each but the last followed by FRN and TLU.

    Patches (N, 1, 32, 32), float in 0..1, to unit vectors (N, 128). 1,336,355 parameters, 39.1 million
    multiply-accumulates a patch. Layer names are those of the released checkpoints (layer1 .. layer7), so that
    SDGMNet, HyNet and kornia's HyNet load without renaming.

    Source: Deng and Ma, SDGMNet, AAAI 2024; Tian et al., HyNet, NeurIPS 2020, figure 2.
    """

    input_size = 32
    dimension = 128
    normalized = True

    def __init__(self, dropout: float = 0.3, bias: bool = True) -> None:
        super().__init__()
        self.layer1 = Stage(FRN(1), TLU(1), *frn_block(1, 32, 1, bias))
        self.layer2 = Stage(*frn_block(32, 32, 1, bias))
        self.layer3 = Stage(*frn_block(32, 64, 2, bias))
        self.layer4 = Stage(*frn_block(64, 64, 1, bias))
        self.layer5 = Stage(*frn_block(64, 128, 2, bias))
        self.layer6 = Stage(*frn_block(128, 128, 1, bias))
        last = nn.Conv2d(128, self.dimension, 8, bias=False)
        self.layer7 = nn.Sequential(nn.Dropout(dropout), last, nn.BatchNorm2d(self.dimension, affine=False))

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 32, 32), float in 0..1, as (N, 128), float32; `normalize` scales to length 1."""
        x = patches
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4, self.layer5, self.layer6, self.layer7):
            x = layer(x)
        x = x.flatten(1).float()
        return F.normalize(x, dim=1) if normalize else x

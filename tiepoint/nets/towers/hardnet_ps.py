"""HardNet-PS: the tower that was trained on the PhotoSync patches."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import initialise_orthogonally, l2net_trunk, unit_length, z_normalise


class HardNetPS(nn.Module):
    """L2-Net's tower with biases and affine batch norms, of which none follows the last convolution.

    Patches (N, 1, 32, 32), of any range, to unit vectors (N, 128). 1,336,032 parameters. Layer names are those of the
    released checkpoint, which has no dropout layer; here dropout acts before the last convolution.

    Source: Mitra et al., A Large Dataset for Improving Patch Matching, arXiv 1801.01466; the released HardNet-PS.
    """

    input_size = 32
    dimension = 128
    normalized = True

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.dropout = dropout
        self.features = nn.Sequential(*l2net_trunk(bias=True), nn.Conv2d(128, self.dimension, 8))
        initialise_orthogonally(self)

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 32, 32), float, as unit vectors (N, 128) in float32.

        Without `normalize` the vectors have the length that the network gave them.
        """
        *trunk, last = self.features
        x = z_normalise(patches)
        for layer in trunk:
            x = layer(x)
        x = last(F.dropout(x, self.dropout, self.training)).flatten(1).float()
        return unit_length(x) if normalize else x

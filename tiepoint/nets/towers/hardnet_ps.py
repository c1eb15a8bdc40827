"""HardNet-PS: L2-Net's tower with biases."""

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import l2net_trunk
from tiepoint.nets.towers.l2net import L2Net


class HardNetPS(L2Net):
    """L2-Net's tower with biases and affine batch norms, of which none follows the last convolution.

    Patches (N, 1, 32, 32), of any range, to unit vectors (N, 128). 1,336,032 parameters. Layer names are those of the
    released checkpoint, which has no dropout layer; here dropout acts before the last convolution.

    Source: Mitra et al., A Large Dataset for Improving Patch Matching, arXiv 1801.01466; the released HardNet-PS.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.dropout = dropout

    def _layers(self, dropout: float) -> list[nn.Module]:
        return [*l2net_trunk(bias=True), nn.Conv2d(128, self.dimension, 8)]

    def _embed(self, x: Tensor) -> Tensor:
        x = F.dropout(self.features[:-1](x), self.dropout, self.training)
        vectors: Tensor = self.features[-1](x).flatten(1).float()
        return vectors

"""HardNet8: an eighth layer, wider ends, and a projection by principal components."""

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import convolution_block, l2net_trunk, unit_length
from tiepoint.nets.towers.l2net import L2Net


class HardNet8(L2Net):
    """L2-Net's six blocks, one more of 256 channels, and a last convolution to 512.

    Patches (N, 1, 32, 32), of any range, to unit vectors (N, 512), or (N, `projection`) where principal components
    follow: subtract `mean` from the unit vector, multiply by `components`, normalise again. The network is trained
    without them; released checkpoints bring those of 128. 8,969,504 parameters.

    Source: Pultar, Improving the HardNet Descriptor, 2020; layer names as in kornia's HardNet8.
    """

    components: Tensor
    mean: Tensor

    def __init__(self, dropout: float = 0.3, projection: int = 0) -> None:
        super().__init__(dropout)
        self.dimension = projection or 512
        self.projection = projection
        if projection:
            self.register_buffer("components", torch.eye(512, projection))
            self.register_buffer("mean", torch.zeros(512))

    def _layers(self, dropout: float) -> list[nn.Module]:
        last = [nn.Conv2d(256, 512, 8, bias=False), nn.BatchNorm2d(512, affine=False)]
        return [*l2net_trunk(), *convolution_block(128, 256), nn.Dropout(dropout), *last]

    def _embed(self, x: Tensor) -> Tensor:
        x = super()._embed(x)
        if self.projection:
            with torch.autocast(x.device.type, enabled=False):
                x = (unit_length(x) - self.mean) @ self.components
        return x

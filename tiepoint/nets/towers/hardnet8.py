"""HardNet8: an eighth layer, wider ends, and a projection by principal components."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import (
    convolution_block,
    initialise_orthogonally,
    l2net_trunk,
    unit_length,
    z_normalise,
)


class HardNet8(nn.Module):
    """L2-Net's six blocks, one more of 256 channels, and a last convolution to 512.

    Patches (N, 1, 32, 32), of any range, to unit vectors (N, 512), or (N, `projection`) where principal components
    follow: subtract `mean` from the unit vector, multiply by `components`, normalise again. The network is trained
    without them; released checkpoints bring those of 128. 8,969,504 parameters.

    Source: Pultar, Improving the HardNet Descriptor, 2020; layer names as in kornia's HardNet8.
    """

    input_size = 32
    normalized = True
    components: Tensor
    mean: Tensor

    def __init__(self, dropout: float = 0.3, projection: int = 0) -> None:
        super().__init__()
        self.dimension = projection or 512
        self.projection = projection
        self.features = nn.Sequential(
            *l2net_trunk(),
            *convolution_block(128, 256),
            nn.Dropout(dropout),
            nn.Conv2d(256, 512, 8, bias=False),
            nn.BatchNorm2d(512, affine=False),
        )
        initialise_orthogonally(self)
        if projection:
            self.register_buffer("components", torch.eye(512, projection))
            self.register_buffer("mean", torch.zeros(512))

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 32, 32), float, as unit vectors (N, dimension) in float32.

        Without `normalize` the last normalisation is left out.
        """
        x = self.features(z_normalise(patches)).flatten(1).float()
        if self.projection:
            with torch.autocast(x.device.type, enabled=False):
                x = (unit_length(x) - self.mean) @ self.components
        return unit_length(x) if normalize else x

"""L2-Net's central and surrounding towers."""

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import unit_length
from tiepoint.nets.inputs import resize
from tiepoint.nets.towers.l2net import L2Net


class L2NetCS(nn.Module):
    """Two L2-Nets that share no weights: on the patch reduced to 32x32, and on its central 32x32 pixels.

    Patches (N, 1, 64, 64), of any range, to unit vectors (N, 256): the two unit vectors of the towers beside each
    other, over sqrt(2). 2,669,120 parameters. The released weights are MATLAB files with pixel means and are not read.

    Source: Tian et al., L2-Net, CVPR 2017, section 3.1.
    """

    input_size = 64
    dimension = 256
    normalized = True

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.whole = L2Net(dropout)
        self.centre = L2Net(dropout)

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 64, 64), float, as unit vectors (N, 256) in float32.

        Without `normalize` the vectors keep their direction and are as long as the towers' raw outputs together.
        """
        whole = self.whole(resize(patches, 32), normalize=False)
        centre = self.centre(patches[:, :, 16:48, 16:48], normalize=False)
        pair: Tensor = torch.cat([unit_length(whole), unit_length(centre)], dim=1) / 2**0.5
        length = torch.linalg.vector_norm(torch.cat([whole, centre], dim=1), dim=1, keepdim=True)
        return pair if normalize else pair * length

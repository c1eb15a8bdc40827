"""L2-Net's tower, which HardNet and many others train with losses of their own, and the towers made from it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import (
    convolution_block,
    initialise_orthogonally,
    l2net_tower,
    l2net_trunk,
    unit_length,
    z_normalise,
)
from tiepoint.nets.inputs import resize


class L2Net(nn.Module):
    """Seven convolutions without bias, each followed by batch norm without affine part, all but the last by ReLU.

    Patches (N, 1, 32, 32), of any range since each is z-normalised, to unit vectors (N, 128). 1,334,560 parameters.
    Layer names are those of HardNet's released checkpoints and of kornia's HardNet, which load without renaming.

    Source: Tian et al., L2-Net, CVPR 2017; Mishchuk et al., HardNet, NIPS 2017, from which dropout (0.1 in the paper,
    0.3 in the release), initialisation and L2 normalisation in place of local response normalisation are taken.
    """

    input_size = 32
    dimension = 128
    normalized = True

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(*self._layers(dropout))
        initialise_orthogonally(self)

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 32, 32), float, as (N, dimension), float32; `normalize` scales to length 1."""
        x = self._embed(z_normalise(patches))
        return unit_length(x) if normalize else x

    def _layers(self, dropout: float) -> list[nn.Module]:
        return l2net_tower(dropout, self.dimension)

    def _embed(self, x: Tensor) -> Tensor:
        """Vectors before their normalisation of patches after theirs."""
        vectors: Tensor = self.features(x).flatten(1).float()
        return vectors


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


class SOSNet(nn.Module):
    """L2-Net's tower, whose input is normalised with eps 1e-5 inside the square root of the variance.

    Patches (N, 1, 32, 32), float in 0..1, to unit vectors (N, 128). 1,334,560 parameters. Layer names are those of
    the released checkpoints and of kornia's SOSNet, which load without renaming. The released local response
    normalisation over 256 channels is an L2 normalisation here: a window that wide covers all 128 of them.

    Source: Tian et al., SOSNet, CVPR 2019.
    """

    input_size = 32
    dimension = 128
    normalized = True

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.InstanceNorm2d(1), *l2net_tower(dropout, self.dimension))
        initialise_orthogonally(self)

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 32, 32), float in 0..1, as (N, 128), float32; `normalize` scales to length 1."""
        x = self.layers(patches).flatten(1).float() + 1e-10  # the release's guard: zero becomes uniform
        return unit_length(x, eps=0.0) if normalize else x

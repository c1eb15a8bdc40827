"""L2-Net's tower, which HardNet and many others train with losses of their own."""

from torch import Tensor, nn

from tiepoint.nets.blocks.layers import initialise_orthogonally, l2net_tower, unit_length, z_normalise


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

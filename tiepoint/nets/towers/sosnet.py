"""SOSNet: L2-Net's tower with instance normalisation."""

from torch import Tensor, nn

from tiepoint.nets.blocks.layers import initialise_orthogonally, l2net_tower, unit_length


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

"""TFeat: two convolutions, small enough for any machine."""

import torch.nn.functional as F
from torch import Tensor, nn


class TFeat(nn.Module):
    """Convolutions 7x7 and 6x6 and a dense layer, all with tanh, behind instance normalisation (eps 1e-5).

    Patches (N, 1, 32, 32), float in 0..1, to vectors (N, 128) with entries in -1..1, which are compared by their L2
    distance and never normalised. 599,808 parameters. Layer names are those of the released checkpoints and of
    kornia's TFeat. The release has no dropout; here it acts before the dense layer.

    Source: Balntas et al., TFeat, BMVC 2016.
    """

    input_size = 32
    dimension = 128
    normalized = False

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.features = nn.Sequential(
            nn.InstanceNorm2d(1),
            nn.Conv2d(1, 32, 7),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 6),
            nn.Tanh(),
        )
        self.descr = nn.Sequential(nn.Linear(64 * 8 * 8, self.dimension), nn.Tanh())

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 32, 32), float in 0..1, as (N, 128) in float32; `normalize` changes nothing."""
        x = F.dropout(self.features(patches).flatten(1), self.dropout, self.training)
        descriptors: Tensor = self.descr(x)
        return descriptors.float()

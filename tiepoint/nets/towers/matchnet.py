"""MatchNet's feature tower as a describer."""

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.layers import unit_length


class MatchNet(nn.Module):
    """Five convolutions with ReLU, three of them followed by 3x3 maximum pooling of stride 2 (Caffe's rounding up).

    Patches (N, 1, 64, 64), float in 0..1, to unit vectors (N, 4096), or (N, `bottleneck`) through a dense layer.
    233,456 parameters without it. Layer sizes and the input scaling (x - 128) / 160 of grey levels 0..255 are those of
    the released network definition. The metric network that follows in the paper is left out: descriptors are
    normalised and compared as all others. Assumed, since the release lacks them: the bottleneck is linear, dropout
    (none in the paper) acts before it, and weights start as PyTorch's do.

    Source: Han et al., MatchNet, CVPR 2015, table 1.
    """

    input_size = 64
    normalized = True

    def __init__(self, dropout: float = 0.0, bottleneck: int = 0) -> None:
        super().__init__()
        self.dimension = bottleneck or 64 * 8 * 8
        self.dropout = dropout
        self.conv0 = nn.Conv2d(1, 24, 7, padding=3)
        self.conv1 = nn.Conv2d(24, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 96, 3, padding=1)
        self.conv3 = nn.Conv2d(96, 96, 3, padding=1)
        self.conv4 = nn.Conv2d(96, 64, 3, padding=1)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.bottleneck = nn.Linear(64 * 8 * 8, bottleneck) if bottleneck else nn.Identity()

    def forward(self, patches: Tensor, normalize: bool = True) -> Tensor:
        """Describe `patches` (N, 1, 64, 64), float in 0..1, as (N, dimension); `normalize` scales to length 1."""
        x = (patches * 255 - 128) / 160
        x = self.pool(F.relu(self.conv0(x), inplace=True))
        x = self.pool(F.relu(self.conv1(x), inplace=True))
        x = F.relu(self.conv2(x), inplace=True)
        x = F.relu(self.conv3(x), inplace=True)
        x = self.pool(F.relu(self.conv4(x), inplace=True))
        x = self.bottleneck(F.dropout(x.flatten(1), self.dropout, self.training)).float()
        return unit_length(x) if normalize else x

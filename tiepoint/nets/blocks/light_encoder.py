"""Attention-based light encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tiepoint.nets.blocks.keras import conv_norm
from tiepoint.nets.blocks.mgla import MGLA


class LightEncoder(nn.Module):
    """One convolution a scale: 3x3 convolution, batch norm, LeakyReLU, 2x2 maximum pooling (not in the first), MGLA.

    Patches (N, 1, size, size) to features (N, widths[s], size / 2^s, size / 2^s) of each scale s, each made from the
    one before. 394,364 parameters by default, batch-norm statistics included. `attention` False leaves MGLA out.

    Source: RRL-Net, Information Fusion 2025.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128, 256), size: int = 64, attention: bool = True) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        channels = 1
        for scale, width in enumerate(widths):
            side = size >> scale
            pooling = [nn.MaxPool2d(2)] if scale else []
            gates = [MGLA(width, side, side)] if attention else []
            self.stages.append(nn.Sequential(conv_norm(channels, width), *pooling, *gates))
            channels = width

    def forward(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Give the features of every scale of `patches` (N, 1, size, size), the finest first."""
        features = [patches]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return tuple(features[1:])

"""The decoder that makes an encoder keep what the patch looks like."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tiepoint.nets.blocks.keras import conv_norm
from tiepoint.nets.blocks.mgla import MGLA


class Decoder(nn.Module):
    """Per scale 3x3 convolution, batch norm, LeakyReLU, bilinear doubling, MGLA; last a 3x3 convolution and sigmoid.

    Features (N, channels, size, size) to a patch (N, 1, S, S) in 0..1 with S = size * 2^len(widths). 393,075
    parameters by default, batch-norm statistics included. Only training needs it. `attention` False leaves MGLA out.

    Source: RRL-Net, Information Fusion 2025. The doubling takes half-pixel centres (0.25, 0.75); the TensorFlow 1
    of the release sampled at 0 and 0.5, which shifts its reconstructions by a quarter pixel and is not followed.
    """

    def __init__(
        self, channels: int = 256, widths: Sequence[int] = (128, 64, 32, 16), size: int = 4, attention: bool = True
    ) -> None:
        super().__init__()
        self.stages = nn.Sequential()
        for width in widths:
            size *= 2
            doubling = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            gates = [MGLA(width, size, size)] if attention else []
            self.stages.append(nn.Sequential(conv_norm(channels, width), doubling, *gates))
            channels = width
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct the patch (N, 1, S, S) of `features` (N, channels, size, size), in float32."""
        patch: Tensor = self.last(self.stages(features))
        return patch.float().sigmoid()

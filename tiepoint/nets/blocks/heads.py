"""Heads that turn feature maps into a match logit."""

from torch import Tensor, nn

from tiepoint.nets.blocks.keras import conv_norm


class Head(nn.Module):
    """Global average, then dense layers of 512, 256 and 1 (or `outputs`), with ReLU between them.

    Features (N, channels, H, W) to logits (N,) in float32. The published network ends in a sigmoid of this logit.

    Source: stage heads of FIL-Net and RRL-Net.
    """

    def __init__(self, channels: int, outputs: int = 1) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            *(nn.Linear(channels, 512), nn.ReLU(inplace=True)),
            *(nn.Linear(512, 256), nn.ReLU(inplace=True), nn.Linear(256, outputs)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits (N,) of `x` (N, channels, H, W)."""
        logits: Tensor = self.dense(x.mean(dim=(2, 3)))
        return logits.flatten().float()


class ModuleHead(nn.Module):
    """A `Head` behind two 3x3 convolutions, which judges a pair by the common features of one FIL module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(conv_norm(channels, channels), conv_norm(channels, channels))
        self.head = Head(channels)

    def forward(self, common: Tensor) -> Tensor:
        """Give the logits (N,) of `common` (N, channels, H, W)."""
        logits: Tensor = self.head(self.convolutions(common))
        return logits

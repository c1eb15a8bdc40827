"""Layers that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FRN(nn.Module):
    """Filter response normalization: y = weight * x / sqrt(mean(x^2) + |eps|) + bias.

    The mean runs over height and width of each channel of each sample; nothing depends on the batch.
    The statistic is taken in float32 whatever the precision of `x`.
    Input and output (N, C, H, W). Source: Singh and Krishnan, CVPR 2020, equation 1.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, inplace: bool = False) -> Tensor:
        """Normalise each channel of each sample; `inplace` overwrites `x`."""
        power = x.float().square().mean(dim=(2, 3), keepdim=True)
        gain = self.weight * torch.rsqrt(power + abs(self.eps))
        return torch.addcmul(self.bias.to(x.dtype), x, gain.to(x.dtype), out=x if inplace else None)


class TLU(nn.Module):
    """Thresholded linear unit: max(x, tau) with one learned tau a channel.

    Input and output (N, C, H, W). Source: Singh and Krishnan, CVPR 2020, equation 3.
    """

    def __init__(self, channels: int, tau: float = -1.0) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.full((1, channels, 1, 1), tau))

    def forward(self, x: Tensor, inplace: bool = False) -> Tensor:
        """Clamp from below; `inplace` overwrites `x`."""
        return torch.maximum(x, self.tau.to(x.dtype), out=x if inplace else None)


class Stage(nn.Sequential):
    """Layers in order. Without gradients FRN and TLU overwrite what the layer before them made, which saves memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers; the input itself is never changed."""
        for index, layer in enumerate(self):
            if isinstance(layer, FRN | TLU):
                x = layer(x, inplace=index > 0 and not torch.is_grad_enabled())
            else:
                x = layer(x)
        return x

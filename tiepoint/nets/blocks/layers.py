"""Layers that several networks share."""

import torch
from torch import Tensor, nn


class FRN(nn.Module):
    """Filter response normalization of (N, C, H, W): y = weight * x / sqrt(mean(x^2) + |eps|) + bias.

    The mean runs over height and width of each channel of each sample, in float32 whatever the precision of `x`.
    Source: Singh and Krishnan, CVPR 2020, equation 1.
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
    """Thresholded linear unit of (N, C, H, W): max(x, tau), tau learned a channel (Singh and Krishnan, CVPR 2020)."""

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


def frn_block(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> list[nn.Module]:
    """Convolution 3x3, FRN and TLU."""
    return [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias), FRN(outputs), TLU(outputs)]


def z_normalise(patches: Tensor, eps: float = 1e-7) -> Tensor:
    """Patches (N, 1, S, S) minus their mean, over their standard deviation (unbiased) + eps, each by itself.

    Statistics in float32, result in the precision of `patches`; a constant patch becomes about zero.
    Source: Tian et al., L2-Net, CVPR 2017; eps as in the released HardNet.
    """
    x = patches.float()
    std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return ((x - mean) / (std + eps)).to(patches.dtype)


def unit_length(x: Tensor, eps: float = 1e-10) -> Tensor:
    """Rows of `x` (N, D) over sqrt(sum of squares + eps), as in the released HardNet; zero stays zero."""
    return x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + eps)


def convolution_block(inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> list[nn.Module]:
    """Convolution 3x3, batch norm and ReLU; `bias` gives the convolution a bias and the norm an affine part."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs, affine=bias), nn.ReLU(inplace=True)]


def l2net_trunk(bias: bool = False) -> list[nn.Module]:
    """The first six blocks of L2-Net, (N, 1, 32, 32) -> (N, 128, 8, 8), which many descriptors start with."""
    return [
        *convolution_block(1, 32, 1, bias),
        *convolution_block(32, 32, 1, bias),
        *convolution_block(32, 64, 2, bias),
        *convolution_block(64, 64, 1, bias),
        *convolution_block(64, 128, 2, bias),
        *convolution_block(128, 128, 1, bias),
    ]


def l2net_tower(dropout: float, dimension: int) -> list[nn.Module]:
    """The whole of L2-Net behind its input's normalisation, (N, 1, 32, 32) -> (N, dimension, 1, 1)."""
    last = nn.Conv2d(128, dimension, 8, bias=False)
    return [*l2net_trunk(), nn.Dropout(dropout), last, nn.BatchNorm2d(dimension, affine=False)]


def initialise_orthogonally(net: nn.Module, gain: float = 0.6) -> None:
    """Give every convolution of `net` orthogonal weights. Source: the released HardNet, which takes 0.6."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.orthogonal_(module.weight, gain)

"""Layers with Keras's constants and first weights, for networks that were published in it."""

import math

import torch
from torch import nn

EPS = 1e-3  # of batch norm
MOMENTUM = 0.01  # of batch norm; Keras counts the other way round and says 0.99
SLOPE = 0.1  # of LeakyReLU in FIL-Net, EFR-Net and RRL-Net
TRUNCATED = 0.87962566103423978  # standard deviation of a unit normal cut at -2 and 2


def conv_norm(inputs: int, outputs: int, kernel: int = 3, activation: nn.Module | None = None) -> nn.Sequential:
    """Convolution with bias, batch norm and `activation`, LeakyReLU(0.1) by default; (N, inputs, H, W) keeps H and W.

    `kernel` is odd. The bias does nothing before batch norm, and is there because the published networks count it.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
        nn.BatchNorm2d(outputs, eps=EPS, momentum=MOMENTUM),
        nn.LeakyReLU(SLOPE, inplace=True) if activation is None else activation,
    )


@torch.no_grad()
def initialise(net: nn.Module) -> None:
    """Draw the first weights of `net` as Keras does, from PyTorch's generator.

    Two-dimensional convolutions get he_normal: a normal cut at two standard deviations and stretched to the variance
    2 / fan_in. Dense layers and one-dimensional convolutions get Keras's default, glorot_uniform. Biases are 0.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            std = math.sqrt(2 / module.weight[0].numel()) / TRUNCATED
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        elif isinstance(module, nn.Conv1d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""Multi-dimensional global-to-local attention against its formula, position by position."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tiepoint.nets.blocks.mgla import MGLA, kernel_size


@pytest.mark.parametrize(
    ("length", "kernel"), [(4, 1), (8, 3), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5)]
)
def test_kernel_sizes(length: int, kernel: int) -> None:
    assert kernel_size(length) == kernel


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [((16, 64, 64), 12), ((32, 32, 32), 12), ((64, 16, 16), 12), ((128, 8, 8), 14), ((256, 4, 4), 10)],
)
def test_parameters_are_those_of_the_published_table(shape: tuple[int, int, int], parameters: int) -> None:
    assert sum(p.numel() for p in MGLA(*shape).parameters()) == parameters


@pytest.mark.parametrize("shape", [(128, 4, 6), (3, 8, 5), (1, 1, 1)])
def test_each_gate_is_its_formula(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    layer = MGLA(*shape)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, *shape)
    expected = x.clone()
    for sample, out in zip(x.double(), expected, strict=True):
        for dimension, gate in enumerate((layer.over_channels, layer.over_height, layer.over_width)):
            slices = sample.movedim(dimension, 0).flatten(1)  # one row for each entry of this dimension
            saliency = slices.mean(dim=0)
            weights = [math.exp(m) for m in saliency.tolist()]
            vector = [sum(w * v for w, v in zip(weights, row, strict=True)) / sum(weights) for row in slices.tolist()]
            kernel, bias = gate[0].weight.flatten().tolist(), gate[0].bias.item()
            reach = len(kernel) // 2
            padded = [0.0] * reach + vector + [0.0] * reach
            for index in range(len(vector)):
                local = sum(k * padded[index + j] for j, k in enumerate(kernel)) + bias
                out.select(dimension, index).mul_(1 / (1 + math.exp(-local)))
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_other_sizes_pass_with_the_same_weights() -> None:
    layer = MGLA(16, 64, 64)
    assert layer(torch.rand(2, 16, 48, 80)).shape == (2, 16, 48, 80)

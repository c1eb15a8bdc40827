"""Keras's constants and first weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tiepoint.nets.blocks.keras import conv_norm, initialise


def test_first_weights_follow_he_and_glorot() -> None:
    torch.manual_seed(0)
    convolution, dense, line = nn.Conv2d(64, 128, 3), nn.Linear(300, 500), nn.Conv1d(1, 1, 5)
    free = nn.Conv2d(4, 4, 3, bias=False)
    initialise(nn.ModuleList([convolution, dense, line, free]))
    std = math.sqrt(2 / (64 * 9))
    cut = 2 * std / 0.8796256610342398
    assert convolution.weight.std().item() == pytest.approx(std, rel=0.01)
    assert cut * 0.99 < convolution.weight.abs().max().item() <= cut * (1 + 1e-6)
    bound = math.sqrt(6 / 800)
    assert bound * 0.999 < dense.weight.abs().max().item() <= bound
    assert dense.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert line.weight.abs().max().item() <= math.sqrt(6 / 10)
    for layer in (convolution, dense, line):
        assert layer.bias is not None
        assert not layer.bias.any()


def test_batch_norm_has_keras_constants() -> None:
    torch.manual_seed(0)
    layer = conv_norm(3, 5)
    x = torch.randn(4, 3, 6, 6)
    before = layer[0](x)
    layer(x)
    mean, var = before.mean((0, 2, 3)), before.var((0, 2, 3))
    torch.testing.assert_close(layer[1].running_mean, 0.01 * mean)
    torch.testing.assert_close(layer[1].running_var, 0.99 + 0.01 * var)
    normal = (before - layer[1].running_mean[:, None, None]) / (layer[1].running_var[:, None, None] + 1e-3).sqrt()
    torch.testing.assert_close(layer.eval()(x), torch.where(normal > 0, normal, 0.1 * normal))


def test_kernels_keep_the_size_and_activations_are_taken() -> None:
    gate = conv_norm(3, 2, kernel=5, activation=nn.Sigmoid())
    out = gate(torch.randn(2, 3, 7, 9))
    assert out.shape == (2, 2, 7, 9)
    assert 0 < out.min() < out.max() < 1

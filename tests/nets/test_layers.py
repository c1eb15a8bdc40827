"""Layers against their formulas."""

from __future__ import annotations

import torch
from torch import nn

from tiepoint.nets.blocks.layers import FRN, unit_length, z_normalise
from tiepoint.nets.towers.l2net import L2Net


def test_normalisations_are_their_formulas() -> None:
    patches = torch.rand(3, 1, 8, 8)
    for patch, normal in zip(patches.double(), z_normalise(patches).double(), strict=True):
        torch.testing.assert_close(normal, (patch - patch.mean()) / (patch.std() + 1e-7), rtol=0, atol=1e-5)
    assert z_normalise(patches.half()).dtype == torch.float16
    assert torch.isfinite(z_normalise(torch.full((1, 1, 32, 32), 0.3, dtype=torch.float16))).all()
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(unit_length(vectors), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_frn_is_its_formula() -> None:
    layer = FRN(3)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 4, 5)
    expected = layer.weight * x / torch.sqrt((x**2).mean((2, 3), keepdim=True) + 1e-6) + layer.bias
    torch.testing.assert_close(layer(x), expected)


def test_the_first_weights_of_l2net_are_orthogonal() -> None:
    torch.manual_seed(0)
    for layer in L2Net().modules():
        if isinstance(layer, nn.Conv2d):
            rows = layer.weight.detach().flatten(1)
            gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
            torch.testing.assert_close(gram, 0.36 * torch.eye(len(gram)), rtol=0, atol=1e-5)

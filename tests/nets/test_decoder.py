"""The decoder's grid and its shapes."""

from __future__ import annotations

import torch
from torch import nn

from tiepoint.nets.relational.rrlnet import Decoder


def test_patches_come_back_at_their_size() -> None:
    torch.manual_seed(0)
    decoder = Decoder(8, (6, 4, 2), size=2)
    patch = decoder(torch.randn(3, 8, 2, 2))
    assert patch.shape == (3, 1, 16, 16)
    assert 0 < patch.min() < patch.max() < 1


def test_doubling_takes_half_pixel_centres() -> None:
    doubling = next(module for module in Decoder().modules() if isinstance(module, nn.Upsample))
    ramp = torch.arange(4.0).expand(1, 1, 1, 4)
    expected = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    torch.testing.assert_close(doubling(ramp)[0, 0, 0], expected)

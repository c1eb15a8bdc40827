"""The trunk that gathers what the two spectra differ in, from fine to coarse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.keras import conv_norm


class Aggregation(nn.Module):
    """One stage for each scale: x_s = convolutions([pooled x_(s-1), private features of scale s]).

    Each stage is two 3x3 convolutions to `widths[s]` channels; between stages stands 2x2 maximum pooling, after the
    last there is none. `inputs` are the channels of the private features at each scale.

    Source: FIL-Net (widths 64 to 1024) and RRL-Net (32 to 512). The figure of RRL-Net draws a pooling after the last
    stage too; the released code has none.
    """

    def __init__(self, inputs: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        before = (0, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(conv_norm(pooled + private, width), conv_norm(width, width))
            for pooled, private, width in zip(before, inputs, widths, strict=True)
        )

    def forward(self, privates: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Give x_s (N, widths[s], H_s, W_s) of each stage, before pooling, for `privates` (N, inputs[s], H_s, W_s)."""
        first, *others = self.stages
        outputs = [first(privates[0])]
        for stage, private in zip(others, privates[1:], strict=True):
            outputs.append(stage(torch.cat([F.max_pool2d(outputs[-1], 2), private], dim=1)))
        return tuple(outputs)

"""What FIL-Net and RRL-Net share: feature interaction learning, from features at five scales to match logits."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.nets.blocks.heads import Head, ModuleHead
from tiepoint.nets.blocks.keras import conv_norm
from tiepoint.nets.relation import Codes


class Interaction(NamedTuple):
    """What two feature maps (N, C, H, W) have in common and what each has for itself."""

    common: Tensor
    """(N, C, H, W): goes to a module head"""
    private: Tensor
    """(N, 2C, H, W), the first before the second: goes to the aggregation"""


class FIL(nn.Module):
    """Splits the features of two spectra into common and private ones, gating each by the other.

    With values A = LeakyReLU(BN(conv 1x1)) and gates S = sigmoid(BN(conv 1x1)) of each spectrum, no weights shared:

        c_vis = A_vis * S_nir            what the other spectrum confirms
        c_nir = A_nir * S_vis
        p     = |c - A| of each          what it does not
        common = c_vis + c_nir,  private = [p_vis, p_nir]

    4 (C^2 + 5 C) parameters, batch-norm statistics included.

    Source: Yu et al., FIL-Net, IEEE TIP 2023, which RRL-Net takes over.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value_vis = conv_norm(channels, channels, 1)
        self.value_nir = conv_norm(channels, channels, 1)
        self.gate_vis = conv_norm(channels, channels, 1, nn.Sigmoid())
        self.gate_nir = conv_norm(channels, channels, 1, nn.Sigmoid())

    def forward(self, first: Tensor, second: Tensor) -> Interaction:
        """Relate `first` and `second`, each (N, C, H, W)."""
        value_vis, value_nir = self.value_vis(first), self.value_nir(second)
        common_vis = value_vis * self.gate_nir(second)
        common_nir = value_nir * self.gate_vis(first)
        private = torch.cat([common_vis - value_vis, common_nir - value_nir], dim=1).abs()
        return Interaction(common_vis + common_nir, private)


class InteractionNetwork(nn.Module):
    """A FIL module at each scale, the aggregation of their private features, and heads.

        F_s(vis), F_s(nir) -> FIL s -+-> private features -> aggregation -> stage heads, the last one the main, "stage5"
                                     +-> common features --> module heads

    `widths` are the channels of each F_s, `trunk` those of the aggregation's stages. `aux_stages`, among 1 to
    len(widths), get a module head and, but for the last, a stage head for training. Raises InputError for others.

    Source: Yu et al., FIL-Net, IEEE TIP 2023, and RRL-Net, Information Fusion 2025.
    """

    def __init__(self, widths: Sequence[int], trunk: Sequence[int], aux_stages: Collection[int]) -> None:
        super().__init__()
        last = len(widths)
        if not set(aux_stages) <= set(range(1, last + 1)):
            raise InputError(f"aux_stages {list(aux_stages)}: stages are 1 to {last}")
        helped = sorted(set(aux_stages), reverse=True)
        self.fils = nn.ModuleList(FIL(width) for width in widths)
        self.aggregation = Aggregation([2 * width for width in widths], trunk)
        self.head = Head(trunk[-1])
        self.stage_heads = nn.ModuleDict({str(s): Head(trunk[s - 1]) for s in helped if s < last})
        self.module_heads = nn.ModuleDict({str(s): ModuleHead(widths[s - 1]) for s in helped})

    def forward(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        _, stages = self._gather(first, second)
        logits: Tensor = self.head(stages[-1])
        return logits

    def all_logits(self, first: Codes, second: Codes) -> dict[str, Tensor]:
        """Give the logits (N,) of every head that is there, in either mode, of N coded pairs; the main head's first."""
        interactions, stages = self._gather(first, second)
        logits = {f"stage{len(stages)}": self.head(stages[-1])}
        logits |= {f"stage{s}": head(stages[int(s) - 1]) for s, head in self.stage_heads.items()}
        return logits | {f"module{s}": head(interactions[int(s) - 1].common) for s, head in self.module_heads.items()}

    def _gather(self, first: Codes, second: Codes) -> tuple[list[Interaction], tuple[Tensor, ...]]:
        """Interactions of every scale, and the aggregation's stages."""
        interactions = [fil(a, b) for fil, a, b in zip(self.fils, first, second, strict=True)]
        return interactions, self.aggregation([interaction.private for interaction in interactions])


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

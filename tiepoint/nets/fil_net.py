"""FIL-Net: feature interaction learning."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.aggregation import Aggregation
from tiepoint.nets.fil import FIL, Interaction
from tiepoint.nets.heads import Head, ModuleHead
from tiepoint.nets.keras import SLOPE, conv_norm, initialise
from tiepoint.nets.relation import Codes, Relation

WIDTHS = (32, 32, 64, 128, 256)  # channels of each scale, in a feature network
TRUNK = (64, 128, 256, 512, 1024)  # and in the aggregation
HELPED = (3, 4, 5)  # stages with a module head and, but for the last, a stage head for training


class FILNet(nn.Module):
    """Features of each patch, their interaction at five scales, and what they differ in, gathered.

        vis -> features F1 .. F5
                        |     |
                       FIL .. FIL   -> common features  -> module heads
                        |     |
        nir -> features F1 .. F5
                        |     |
                       aggregation  -> stage heads, of which the last, "stage5", is the main one

    RRL-Net without decoders and attention, with residual features and a trunk twice as wide. The features share no
    weights. Codes are F1 .. F5. 33,068,742 parameters, batch-norm statistics included, 30,232,897 after
    `tiepoint.nets.relation.deploy`.

    Source: Yu et al., FIL-Net, IEEE TIP 2023, and its released code.
    """

    input_size = 64
    training_only = ("stage_heads", "module_heads")

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({"vis": Features(), "nir": Features()})
        self.interactions = nn.ModuleList(FIL(width) for width in WIDTHS)
        self.aggregation = Aggregation([2 * width for width in WIDTHS], TRUNK)
        self.head = Head(TRUNK[-1])
        self.stage_heads = nn.ModuleDict({str(s): Head(TRUNK[s - 1]) for s in reversed(HELPED[:-1])})
        self.module_heads = nn.ModuleDict({str(s): ModuleHead(WIDTHS[s - 1]) for s in reversed(HELPED)})
        initialise(self)

    def forward(self, vis: Tensor, nir: Tensor) -> Relation | Tensor:
        """Relate `vis` and `nir`, each (N, 1, 64, 64): see `tiepoint.nets.relation.Relater`."""
        codes = self.encode(vis, "vis"), self.encode(nir, "nir")
        return self.relate_all(*codes) if self.training else self.relate(*codes)

    def encode(self, patches: Tensor, spectrum: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of "vis" or "nir": F1 (N, 32, 64, 64) to F5 (N, 256, 4, 4)."""
        codes: Codes = self.features[spectrum](patches)
        return codes

    def relate(self, vis: Codes, nir: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        _, stages = self._gather(vis, nir)
        logits: Tensor = self.head(stages[-1])
        return logits

    def relate_all(self, vis: Codes, nir: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N coded pairs."""
        interactions, stages = self._gather(vis, nir)
        logits = {"stage5": self.head(stages[-1])}
        logits |= {f"stage{s}": head(stages[int(s) - 1]) for s, head in self.stage_heads.items()}
        logits |= {f"module{s}": head(interactions[int(s) - 1].common) for s, head in self.module_heads.items()}
        return Relation(logits)

    def _gather(self, vis: Codes, nir: Codes) -> tuple[list[Interaction], tuple[Tensor, ...]]:
        """Interactions of every scale, and the aggregation's stages."""
        interactions = [fil(a, b) for fil, a, b in zip(self.interactions, vis, nir, strict=True)]
        return interactions, self.aggregation([interaction.private for interaction in interactions])


class Features(nn.Module):
    """Two convolutions, then four residual blocks that halve the size each: (N, 1, 64, 64) to F1 .. F5."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(conv_norm(1, WIDTHS[0]), conv_norm(WIDTHS[0], WIDTHS[0]))
        self.blocks = nn.ModuleList(Residual(a, b) for a, b in pairwise(WIDTHS))

    def forward(self, patches: Tensor) -> Codes:
        """Give the features of every scale, the finest first."""
        features = [self.first(patches)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return tuple(features)


class Residual(nn.Module):
    """LeakyReLU(main + shortcut), (N, inputs, H, W) -> (N, outputs, H / 2, W / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(conv_norm(inputs, outputs), nn.MaxPool2d(2)),
            *(conv_norm(outputs, outputs), conv_norm(outputs, outputs, activation=nn.Identity())),
        )
        self.shortcut = nn.Sequential(conv_norm(inputs, outputs, 1), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x`."""
        return F.leaky_relu(self.main(x) + self.shortcut(x), SLOPE)

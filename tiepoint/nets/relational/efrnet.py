"""EFR-Net: features of their own for each relation."""

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.heads import Head
from tiepoint.nets.blocks.keras import conv_norm, initialise
from tiepoint.nets.blocks.mgla import MGLA
from tiepoint.nets.relation import KEYS, Codes, MultiLossRelater, Relation

WIDTHS = (32, 64, 128, 256)


class EFRNet(MultiLossRelater):
    """Two relations of the pair, each from two feature networks of its own; no weights are shared.

        vis, nir -> features -> |F_vis - F_nir| -> convolution -+-> head, training only, "difference"
                                                                |-> [., .] -> convolution -> head, "both", the main one
        vis, nir -> features ->  F_vis * F_nir  -> convolution -+-> head, training only, "product"

    Codes are the two features of a patch, (N, 256, 4, 4) each, first the difference's. 9,166,915 parameters,
    batch-norm statistics included, 8,640,577 after `tiepoint.nets.relation.deploy`. Assumed: the difference
    comes before the product where the two are joined.

    Source: Yu et al., EFR-Net, IEEE TGRS 2023, and its released code.
    """

    training_only = ("relation_heads",)

    def __init__(self) -> None:
        super().__init__()
        self.for_difference = nn.ModuleDict({"vis": features(), "nir": features()})
        self.for_product = nn.ModuleDict({"vis": features(), "nir": features()})
        self.difference = conv_norm(256, 256)
        self.product = conv_norm(256, 256)
        self.both = conv_norm(512, 512)
        self.head = Head(512)
        self.relation_heads = nn.ModuleDict({"difference": Head(256), "product": Head(256)})
        initialise(self)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of the slot "first" or "second": two features (N, 256, 4, 4)."""
        return self.for_difference[KEYS[slot]](patches), self.for_product[KEYS[slot]](patches)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        return self._judge(*self._relations(first, second).values())

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N coded pairs."""
        relations = self._relations(first, second)
        others = {name: head(relations[name]) for name, head in self.relation_heads.items()}
        return Relation({"both": self._judge(*relations.values())} | others)

    def _relations(self, first: Codes, second: Codes) -> dict[str, Tensor]:
        """Difference and product, each (N, 256, 4, 4)."""
        difference = self.difference((first[0] - second[0]).abs())
        return {"difference": difference, "product": self.product(first[1] * second[1])}

    def _judge(self, difference: Tensor, product: Tensor) -> Tensor:
        logits: Tensor = self.head(self.both(torch.cat([difference, product], dim=1)))
        return logits


def features() -> nn.Sequential:
    """Four scales of two 3x3 convolutions, pooling and attention: (N, 1, 64, 64) -> (N, 256, 4, 4)."""
    sizes = zip((1, *WIDTHS), WIDTHS, (32, 16, 8, 4), strict=False)
    return nn.Sequential(*(
        nn.Sequential(conv_norm(before, c), conv_norm(c, c), nn.MaxPool2d(2), AverageAttention(c, side, side))
        for before, c, side in sizes
    ))  # fmt: skip


class AverageAttention(MGLA):
    """Weighs features (N, C, H, W) along channels, height and width, each by its averages over the other two.

    As in ECA-Net, averages pass a convolution and a sigmoid; MGLA passes weighted averages through the same ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x` (N, C, H, W)."""
        n, c, h, w = x.shape
        channels = self.over_channels(x.mean(dim=(2, 3)).unsqueeze(1)).view(n, c, 1, 1)
        height = self.over_height(x.mean(dim=(1, 3)).unsqueeze(1)).view(n, 1, h, 1)
        width = self.over_width(x.mean(dim=(1, 2)).unsqueeze(1)).view(n, 1, 1, w)
        gated: Tensor = x * channels * (height * width)
        return gated

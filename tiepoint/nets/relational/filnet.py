"""FIL-Net: feature interaction learning."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.interaction import InteractionNetwork
from tiepoint.nets.blocks.keras import SLOPE, conv_norm, initialise
from tiepoint.nets.relation import KEYS, Codes, MultiLossRelater, Relation, scales

WIDTHS = (32, 32, 64, 128, 256)  # channels of each scale, in a feature network
TRUNK = (64, 128, 256, 512, 1024)  # and in the aggregation
AUX_STAGES = (3, 4, 5)  # with heads for training


class FILNet(MultiLossRelater):
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

    training_only = ("interaction.stage_heads", "interaction.module_heads")
    trunk = "interaction.aggregation"  # most of the work, and the part that suffers least from rounding

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({"vis": Features(), "nir": Features()})
        self.interaction = InteractionNetwork(WIDTHS, TRUNK, AUX_STAGES)
        initialise(self)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of the slot "first" or "second": F1 (N, 32, 64, 64) to F5 (N, 256, 4, 4)."""
        codes: Codes = self.features[KEYS[slot]](patches)
        return codes

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        logits: Tensor = self.interaction(first, second)
        return logits

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N coded pairs."""
        return Relation(self.interaction.all_logits(first, second))


class Features(nn.Module):
    """Two convolutions, then four residual blocks that halve the size each: (N, 1, 64, 64) to F1 .. F5."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(conv_norm(1, WIDTHS[0]), conv_norm(WIDTHS[0], WIDTHS[0]))
        self.blocks = nn.ModuleList(Residual(a, b) for a, b in pairwise(WIDTHS))

    def forward(self, patches: Tensor) -> Codes:
        """Give the features of every scale, the finest first."""
        return scales([self.first, *self.blocks], patches)


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

"""MFD-Net: multibranch feature difference learning."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.nets.blocks.keras import EPS, MOMENTUM, conv_norm, initialise
from tiepoint.nets.relation import KEYS, Codes, MultiLossRelater, Relation, scales

TAPS = 6


class MFDNet(MultiLossRelater):
    """Several units look at the same pair, each with two feature networks of its own; a fusion gathers what they see.

        vis -> features --- six differences -> unit 1 -> X_1 -> dense layers, training only, "unit1"
        nir -> features --/                              X_1 .. X_n -> fusion -> dense layers, the main head, "fusion"
        vis -> features --- six differences -> unit 2 -> X_2 -> ..
        nir -> features --/

    `branches` counts feature networks: 2, 4 .. 12, two a unit; the paper proposes 8. No weights are shared. With two
    branches the only unit has no head of its own. Codes are the six maps of each unit in turn. Parameters, batch-norm
    statistics included: 34,709,761, 81,305,475, 116,272,260, 151,239,045, 186,205,830 and 221,172,615 for 2 to 12
    branches; the eight branches keep 104,723,329 after `tiepoint.nets.relation.deploy`.

    Source: Yu et al., MFD-Net, IEEE TGRS 2022, and its released code.
    """

    training_only = ("unit_heads",)

    def __init__(self, branches: int = 8) -> None:
        super().__init__()
        if branches not in range(2, 13, 2):
            raise InputError(f"branches {branches}: MFD-Net has 2, 4, 6, 8, 10 or 12")
        count = branches // 2
        self.features = nn.ModuleDict({s: nn.ModuleList(Features() for _ in range(count)) for s in ("vis", "nir")})
        self.units = nn.ModuleList(Differences() for _ in range(count))
        self.fusion = conv_norm(1056 * count, 1024, activation=nn.ReLU())
        self.head = dense_head(1024)
        heads = {f"unit{i + 1}": dense_head(1056) for i in range(count)} if count > 1 else {}
        self.unit_heads = nn.ModuleDict(heads)
        initialise(self)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of the slot "first" or "second": six maps of each unit, see `Features`."""
        units = cast(nn.ModuleList, self.features[KEYS[slot]])
        return tuple(tap for features in units for tap in features(patches))

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        return self._judge(self._differences(first, second))

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N coded pairs."""
        units = self._differences(first, second)
        others = {name: head(units[i])[:, 0].float() for i, (name, head) in enumerate(self.unit_heads.items())}
        return Relation({"fusion": self._judge(units)} | others)

    def _differences(self, first: Codes, second: Codes) -> list[Tensor]:
        """X_u (N, 1056, 4, 4) of every unit."""
        differences = [(a - b).abs() for a, b in zip(first, second, strict=True)]
        return [unit(differences[i * TAPS : (i + 1) * TAPS]) for i, unit in enumerate(self.units)]

    def _judge(self, units: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(self.fusion(torch.cat(units, dim=1)))
        return logits[:, 0].float()


class Features(nn.Module):
    """Five 3x3 convolutions with batch norm and ReLU, all but the first pooled.

    Patches (N, 1, 64, 64) to six maps: convolutions 1 and 2 before batch norm, (N, 32, 64, 64) and (N, 64, 64, 64),
    and the pooled outputs of 2 to 5, (N, 64, 32, 32), (N, 128, 16, 16), (N, 256, 8, 8) and (N, 512, 4, 4).
    """

    def __init__(self) -> None:
        super().__init__()
        norms = [nn.BatchNorm2d(width, eps=EPS, momentum=MOMENTUM) for width in (32, 64)]
        self.taps = nn.ModuleList(
            [
                nn.Conv2d(1, 32, 3, padding=1),
                nn.Sequential(norms[0], nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1)),
                nn.Sequential(norms[1], nn.ReLU(), nn.MaxPool2d(2)),
                *(
                    nn.Sequential(conv_norm(width // 2, width, activation=nn.ReLU()), nn.MaxPool2d(2))
                    for width in (128, 256, 512)
                ),
            ]
        )

    def forward(self, patches: Tensor) -> Codes:
        """Give the six maps, the finest first."""
        return scales(self.taps, patches)


class Differences(nn.Module):
    """Gathers six differences from fine to coarse: each joins what came before, and a convolution mixes the two."""

    def __init__(self) -> None:
        super().__init__()
        widths = (96, 160, 288, 544)  # of a difference and of what came before together
        self.first = conv_norm(32, 32, 1, nn.ReLU())
        self.middle = nn.ModuleList(
            nn.Sequential(conv_norm(width, width, 1, nn.ReLU()), nn.MaxPool2d(2)) for width in widths
        )
        self.last = conv_norm(1056, 1056, 3, nn.ReLU())

    def forward(self, differences: list[Tensor]) -> Tensor:
        """Give X (N, 1056, 4, 4) of the differences of a unit's maps."""
        x: Tensor = self.first(differences[0])
        for stage, difference in zip([*self.middle, self.last], differences[1:], strict=True):
            x = stage(torch.cat([difference, x], dim=1))
        return x


def dense_head(channels: int) -> nn.Sequential:
    """Maximum pooling of (N, channels, 4, 4), seven dense layers with ReLU, and one to a logit (N, 1)."""
    widths = (channels * 2 * 2, 2048, 1024, 512, 512, 128, 128, 64)
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), *layers, nn.Linear(64, 1))

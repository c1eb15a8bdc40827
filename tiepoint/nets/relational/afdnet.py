"""AFD-Net: aggregated feature difference learning."""

import torch
from torch import Tensor, nn

from tiepoint.nets.blocks.heads import Head
from tiepoint.nets.blocks.keras import EPS, MOMENTUM, conv_norm, initialise
from tiepoint.nets.relation import KEYS, Codes, MultiLossRelater, Relation, scales


class AFDNet(MultiLossRelater):
    """Features of five scales from a network for each spectrum, and their differences, gathered from fine to coarse.

        vis -> features F1 .. F5                     d_s = |F_s(vis) - F_s(nir)|
        nir -> features F1 .. F5                     d1 -> stage 1 -> [., d2] -> stage 2 .. [., d5] -> stage 5
        stage 5 -> head, the main one, "aggregated"
        d5      -> convolution -> head, training only, "difference5"

    The features share no weights, so the slots are not exchangeable. Heads have two classes; their logits are
    returned as differences. 8,255,628 parameters, batch-norm statistics included, 6,678,922 after
    `tiepoint.nets.relation.deploy`.

    Source: Quan et al., AFD-Net, ICCV 2019, in the layers that the authors of RRL-Net released for their comparison.
    They train it with cross-entropy where the paper has a large-margin cosine loss.
    """

    training_only = ("auxiliary_heads",)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({"vis": Features(), "nir": Features()})
        self.stages = nn.ModuleList(
            nn.Sequential(conv_norm(width, width, activation=nn.ReLU()), halving(width, width))
            for width in (32, 64, 128, 256)
        )
        self.stages.append(conv_norm(512, 512, activation=nn.ReLU()))
        self.head = TwoClassHead(512)
        helper = nn.Sequential(conv_norm(256, 512, activation=nn.ReLU()), TwoClassHead(512))
        self.auxiliary_heads = nn.ModuleDict({"difference5": helper})
        initialise(self)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of the slot "first" or "second": F1 (N, 32, 64, 64) to F5 (N, 256, 4, 4)."""
        codes: Codes = self.features[KEYS[slot]](patches)
        return codes

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the main head's logit (N,) of N coded pairs."""
        return self._judge(differences(first, second))

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N coded pairs."""
        found = differences(first, second)
        others = {name: head(found[-1]) for name, head in self.auxiliary_heads.items()}
        return Relation({"aggregated": self._judge(found)} | others)

    def _judge(self, found: list[Tensor]) -> Tensor:
        first, *others = self.stages
        x = first(found[0])
        for stage, difference in zip(others, found[1:], strict=True):
            x = stage(torch.cat([x, difference], dim=1))
        logits: Tensor = self.head(x)
        return logits


def differences(first: Codes, second: Codes) -> list[Tensor]:
    """|first - second| of each feature map."""
    return [(a - b).abs() for a, b in zip(first, second, strict=True)]


class Features(nn.Module):
    """Eight 3x3 convolutions with batch norm and ReLU, every second one of stride 2, the first two of these normed.

    Patches (N, 1, 64, 64) to the outputs of convolutions 1, 2, 4, 6 and 8: (N, 32, 64, 64), (N, 32, 32, 32),
    (N, 64, 16, 16), (N, 128, 8, 8) and (N, 256, 4, 4). 1,175,524 parameters, batch-norm statistics included.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            [
                conv_norm(1, 32, activation=nn.ReLU()),
                nn.Sequential(halving(32, 32), JointNorm(), nn.ReLU()),
                nn.Sequential(conv_norm(32, 64, activation=nn.ReLU()), halving(64, 64), JointNorm(), nn.ReLU()),
                nn.Sequential(conv_norm(64, 128, activation=nn.ReLU()), halving(128, 128)),
                nn.Sequential(conv_norm(128, 256, activation=nn.ReLU()), halving(256, 256)),
            ]
        )

    def forward(self, patches: Tensor) -> Codes:
        """Give the features of every scale, the finest first."""
        return scales(self.scales, patches)


class JointNorm(nn.Module):
    """Each sample (C, H, W) minus its mean, over its standard deviation + 1e-3, with one scale and one shift.

    The release calls it instance normalisation, but builds it without an axis, so that channels are not kept apart.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (N, C, H, W), with statistics in float32; a constant sample becomes the shift."""
        var, mean = torch.var_mean(x.float(), dim=(1, 2, 3), correction=0, keepdim=True)
        std = var.clamp(min=1e-12).sqrt()  # whose gradient at 0 would be infinite
        return ((x - mean) / (std + self.eps) * self.weight + self.bias).to(x.dtype)


class TwoClassHead(Head):
    """A `Head` of two classes: features (N, channels, 4, 4) to logits (N,) in float32, match minus no match."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits (N,) of `x` (N, channels, 4, 4)."""
        classes: Tensor = self.dense(x.mean(dim=(2, 3))).float()
        return classes[:, 1] - classes[:, 0]


def halving(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution 3x3 of stride 2, batch norm and ReLU, padded below and on the right alone, as TensorFlow does."""
    return nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(inputs, outputs, 3, stride=2),
        nn.BatchNorm2d(outputs, eps=EPS, momentum=MOMENTUM),
        nn.ReLU(),
    )

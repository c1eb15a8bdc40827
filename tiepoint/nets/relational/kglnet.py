"""KGL-Net: a descriptor and a metric network that guide each other."""

from typing import NamedTuple

from torch import Tensor, nn

from tiepoint.nets.blocks.heads import Head
from tiepoint.nets.blocks.layers import FRN, TLU, Stage, frn_block
from tiepoint.nets.relation import KEYS, Codes


class Guided(NamedTuple):
    """What KGL-Net returns in training mode; a pruned network has neither descriptors nor common features."""

    logits: dict[str, Tensor]
    """match logit (N,) of the metric network, as "metric" """
    codes: tuple[Codes, Codes]
    """private features, (N, 256, 8, 8), of the first and of the second patches"""
    common: tuple[Tensor, ...] = ()
    """features of the descriptor, (N, 256, 8, 8) of each: a loss pulls them and the codes together"""
    descriptors: tuple[Tensor, ...] = ()
    """(N, 128) of each, before normalisation"""

    @property
    def main(self) -> Tensor:
        """Match logit (N,)."""
        return self.logits["metric"]


class KGLNet(nn.Module):
    """Low features of each spectrum, and from them a descriptor and a metric network.

        vis -> low(vis) -+-> common, shared -> tail, shared -> descriptor       training only
                         +-> private(vis) --+
                                            +-> |difference| -> convolution -> head, the main one, "metric"
                         +-> private(nir) --+
        nir -> low(nir) -+-> common, shared -> tail, shared -> descriptor       training only

    Codes are the private features, (N, 256, 8, 8). 6,409,713 parameters, 3,203,175 after
    `tiepoint.nets.relation.deploy`, batch-norm statistics (of the tail) not counted, as published. Convolutions start
    normal with fan out; biases and dense layers are assumed to start as PyTorch's do.

    Source: Yu et al., KGL-Net, arXiv 2412.11161, 2024, and its released code.
    """

    input_size = 64
    training_only = ("descriptor",)

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.ModuleDict({"vis": low(), "nir": low()})
        self.private = nn.ModuleDict({"vis": high(), "nir": high()})
        self.metric = nn.Sequential(Stage(*frn_block(256, 256)), Head(256))
        tail = nn.Sequential(nn.Conv2d(256, 128, 8), nn.BatchNorm2d(128), nn.Flatten())
        self.descriptor = nn.ModuleDict({"common": high(), "tail": tail})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")

    def forward(self, first: Tensor, second: Tensor) -> Guided | Tensor:
        """Relate `first` and `second`, each (N, 1, 64, 64): see `tiepoint.nets.relation.Relater`."""
        lows = self.low["vis"](first), self.low["nir"](second)
        codes = (self.private["vis"](lows[0]),), (self.private["nir"](lows[1]),)
        logit = self.relate(*codes)
        if not self.training:
            return logit
        if not self.descriptor:
            return Guided({"metric": logit}, codes)
        common = tuple(self.descriptor["common"](x) for x in lows)
        return Guided({"metric": logit}, codes, common, tuple(self.descriptor["tail"](x).float() for x in common))

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Encode `patches` (N, 1, 64, 64) of the slot "first" or "second": the private feature (N, 256, 8, 8)."""
        return (self.private[KEYS[slot]](self.low[KEYS[slot]](patches)),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Give the logit (N,) of N coded pairs."""
        logits: Tensor = self.metric((first[0] - second[0]).abs())
        return logits


def low() -> Stage:
    """Features near the pixels: (N, 1, 64, 64) -> (N, 64, 32, 32). 65,577 parameters."""
    return Stage(
        *(FRN(1), TLU(1)),
        *(*frn_block(1, 32), *frn_block(32, 32), ECA(3)),
        *(*frn_block(32, 64, stride=2), *frn_block(64, 64), ECA(3)),
    )


def high() -> Stage:
    """Features far from the pixels: (N, 64, 32, 32) -> (N, 256, 8, 8). 1,109,002 parameters."""
    return Stage(
        *(*frn_block(64, 128, stride=2), *frn_block(128, 128), ECA(5)),
        *(*frn_block(128, 256, stride=2), *frn_block(256, 256), ECA(5)),
    )


class ECA(nn.Module):
    """Weighs channels by their averages, through a convolution along them and a sigmoid (Wang et al., CVPR 2020)."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x` (N, C, H, W)."""
        means = x.mean(dim=(2, 3))
        gates: Tensor = self.convolution(means.unsqueeze(1)).sigmoid()
        return x * gates.view(*means.shape, 1, 1)

"""A describer and a relater without training, quick, that know a patch again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiepoint.models.describer import Describer
from tiepoint.models.relater import LearnedRelater
from tiepoint.nets.relation import Codes


def reduced(patches: Tensor, side: int) -> Tensor:
    """Patches (N, 1, S, S) as unit vectors (N, side * side) that do not depend on brightness and contrast."""
    small = torch.nn.functional.adaptive_avg_pool2d(patches.float(), side).flatten(1)
    return torch.nn.functional.normalize(small - small.mean(dim=1, keepdim=True), dim=1)


class Upright(Describer):
    """A describer of upright patches, 48 px wide: the patch itself, reduced to 8x8."""

    name, dimension, upright_width = "upright", 64, 48.0

    def describe(self, patches: Tensor) -> Tensor:
        return reduced(patches, 8)


class Shared(dict[str, int]):
    """Counts that the copies of a network keep together."""

    def __deepcopy__(self, _: object) -> Shared:
        return self


class Correlation(nn.Module):
    """The logit of two patches rises with their correlation, and with how much brighter the first is."""

    input_size = 64
    training_only = ()

    def __init__(self, brightness: float = 0.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(12.0))
        self.brightness = brightness
        self.encoded = Shared(first=0, second=0)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        self.encoded[slot] += len(patches)
        return reduced(patches, 16), patches.mean(dim=(1, 2, 3)).float()

    def relate(self, first: Codes, second: Codes) -> Tensor:
        alike = (first[0] * second[0]).sum(dim=1)
        return self.scale * (alike - 0.6) + self.brightness * (first[1] - second[1])


def correlation(brightness: float = 0.0) -> tuple[LearnedRelater, Correlation]:
    """A relater of opt and sar, and its network, which counts what it encodes."""
    relater = LearnedRelater(Correlation(brightness), "correlation", {"spectra": ["opt", "sar"]})
    net = relater.net
    assert isinstance(net, Correlation)
    return relater, net

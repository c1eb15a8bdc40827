"""Networks by name: a plain dict is the registry."""

from __future__ import annotations

from typing import Any

from torch import nn

from tiepoint.errors import InputError
from tiepoint.nets.hardnet8 import HardNet8
from tiepoint.nets.hardnet_ps import HardNetPS
from tiepoint.nets.l2net import L2Net
from tiepoint.nets.l2net_cs import L2NetCS
from tiepoint.nets.matchnet import MatchNet
from tiepoint.nets.sdgmnet import SDGMNet
from tiepoint.nets.sosnet import SOSNet
from tiepoint.nets.tfeat import TFeat

# Each maps patches (N, 1, input_size, input_size) to (N, dimension) by `net(patches, normalize=True)`, takes `dropout`
# at construction, and says with `unit` whether its descriptors have length 1.
NETS: dict[str, type[nn.Module]] = {
    "hardnet": L2Net,
    "hardnet-ps": HardNetPS,
    "hardnet8": HardNet8,
    "hynet": SDGMNet,
    "l2net": L2Net,
    "l2net-cs": L2NetCS,
    "matchnet": MatchNet,
    "sdgmnet": SDGMNet,
    "sosnet": SOSNet,
    "tfeat": TFeat,
}


def names() -> list[str]:
    """Names that `create` takes."""
    return sorted(NETS)


def create(name: str, **options: Any) -> nn.Module:
    """Make a network with fresh weights. Raises InputError for a name or an option that is not there."""
    if name not in NETS:
        raise InputError(f"no network {name!r}: there are {', '.join(names())}")
    try:
        return NETS[name](**options)
    except TypeError as error:
        raise InputError(f"network {name}: {error}") from None

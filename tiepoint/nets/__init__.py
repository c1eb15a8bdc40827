"""Networks by name: a plain dict is the registry."""

from __future__ import annotations

from typing import Any

from torch import nn

from tiepoint.errors import InputError
from tiepoint.nets.afd_net import AFDNet
from tiepoint.nets.efr_net import EFRNet
from tiepoint.nets.fil_net import FILNet
from tiepoint.nets.hardnet8 import HardNet8
from tiepoint.nets.hardnet_ps import HardNetPS
from tiepoint.nets.kgl_net import KGLNet
from tiepoint.nets.l2net import L2Net
from tiepoint.nets.l2net_cs import L2NetCS
from tiepoint.nets.matchnet import MatchNet
from tiepoint.nets.matchnet_metric import MatchNetMetric
from tiepoint.nets.mfd_net import MFDNet
from tiepoint.nets.pn_net import PNNet
from tiepoint.nets.pseudo_siamese import PseudoSiamese
from tiepoint.nets.q_net import QNet
from tiepoint.nets.rrlnet import RRLNet
from tiepoint.nets.scfdm import SCFDM
from tiepoint.nets.sdgmnet import SDGMNet
from tiepoint.nets.siamese import Siamese
from tiepoint.nets.sosnet import SOSNet
from tiepoint.nets.spimnet import SPIMNet
from tiepoint.nets.tfeat import TFeat
from tiepoint.nets.two_channel import TwoChannel

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
# Each relates patches across spectra, see `tiepoint.nets.relation.Relater`.
RELATERS: dict[str, type[nn.Module]] = {
    "2-channel": TwoChannel,
    "afd-net": AFDNet,
    "efr-net": EFRNet,
    "fil-net": FILNet,
    "kgl-net": KGLNet,
    "matchnet-metric": MatchNetMetric,
    "mfd-net": MFDNet,
    "pn-net": PNNet,
    "pseudo-siamese": PseudoSiamese,
    "q-net": QNet,
    "rrlnet": RRLNet,
    "scfdm": SCFDM,
    "siamese": Siamese,
    "spimnet": SPIMNet,
}


def names() -> list[str]:
    """Names of describers that `create` takes."""
    return sorted(NETS)


def relaters() -> list[str]:
    """Names of relaters that `create` takes."""
    return sorted(RELATERS)


def create(name: str, **options: Any) -> nn.Module:
    """Make a network with fresh weights. Raises InputError for a name or an option that is not there."""
    network = NETS.get(name) or RELATERS.get(name)
    if network is None:
        raise InputError(f"no network {name!r}: there are {', '.join([*names(), *relaters()])}")
    try:
        return network(**options)
    except TypeError as error:
        raise InputError(f"network {name}: {error}") from None

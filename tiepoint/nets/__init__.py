"""Networks by name: a plain dict is the registry."""

from typing import Any

from torch import nn

from tiepoint.errors import InputError
from tiepoint.nets.relational.afdnet import AFDNet
from tiepoint.nets.relational.efrnet import EFRNet
from tiepoint.nets.relational.filnet import FILNet
from tiepoint.nets.relational.kglnet import KGLNet
from tiepoint.nets.relational.matchnet_metric import MatchNetMetric
from tiepoint.nets.relational.mfdnet import MFDNet
from tiepoint.nets.relational.pnnet import PNNet
from tiepoint.nets.relational.pseudo_siamese import PseudoSiamese
from tiepoint.nets.relational.qnet import QNet
from tiepoint.nets.relational.rrlnet import RRLNet
from tiepoint.nets.relational.scfdm import SCFDM
from tiepoint.nets.relational.siamese import Siamese
from tiepoint.nets.relational.spimnet import SPIMNet
from tiepoint.nets.relational.twochannel import TwoChannel
from tiepoint.nets.towers.hardnet8 import HardNet8
from tiepoint.nets.towers.hardnet_ps import HardNetPS
from tiepoint.nets.towers.l2net import L2Net
from tiepoint.nets.towers.l2net_cs import L2NetCS
from tiepoint.nets.towers.matchnet import MatchNet
from tiepoint.nets.towers.sdgmnet import SDGMNet
from tiepoint.nets.towers.sosnet import SOSNet
from tiepoint.nets.towers.tfeat import TFeat

MAX_OPTION = 1 << 14  # of a network: of more channels its weights would fill the memory
# Each maps patches (N, 1, input_size, input_size) to (N, dimension) by `net(patches, normalize=True)`, takes `dropout`
# at construction, and says with `normalized` whether its descriptors have length 1.
DESCRIBERS: dict[str, type[nn.Module]] = {
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
    "2channel": TwoChannel,
    "afdnet": AFDNet,
    "efrnet": EFRNet,
    "filnet": FILNet,
    "kglnet": KGLNet,
    "matchnet-metric": MatchNetMetric,
    "mfdnet": MFDNet,
    "pnnet": PNNet,
    "pseudo-siamese": PseudoSiamese,
    "qnet": QNet,
    "rrlnet": RRLNet,
    "scfdm": SCFDM,
    "siamese": Siamese,
    "spimnet": SPIMNet,
}


def names() -> list[str]:
    """Names of all networks that `create` takes."""
    return sorted(DESCRIBERS | RELATERS)


def describers() -> list[str]:
    """Names of the networks that describe one patch."""
    return sorted(DESCRIBERS)


def relaters() -> list[str]:
    """Names of the networks that relate patches of two spectra."""
    return sorted(RELATERS)


def create(name: str, **options: Any) -> nn.Module:
    """Make a network with fresh weights. Raises InputError for a name or an option that is not there."""
    network = DESCRIBERS.get(name) or RELATERS.get(name)
    if network is None:
        raise InputError(f"no network {name!r}: there are {', '.join(names())}")
    largest = max((v for v in options.values() if isinstance(v, int | float)), default=0)
    if largest > MAX_OPTION:
        raise InputError(f"network {name}: an option is {largest:g}: must be at most {MAX_OPTION}")
    try:
        return network(**options)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(f"network {name}: {' '.join(str(error).split())}") from None

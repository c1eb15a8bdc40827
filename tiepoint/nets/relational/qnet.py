"""Q-Net: PN-Net, trained on quadruplets."""

from tiepoint.nets.relational.pnnet import PNNet


class QNet(PNNet):
    """PN-Net under another loss, which is no part of a network; see `SoftPN`. 1,124,224 parameters.

    Source: Aguilera et al., Cross-spectral local descriptors via quadruplet network, Sensors 17:873, 2017.
    """

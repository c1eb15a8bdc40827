"""Q-Net: PN-Net's layers, trained on quadruplets."""

from __future__ import annotations

from tiepoint.nets.relational.pnnet import PNNet


class QNet(PNNet):
    """PN-Net under another loss, which is no part of a network; see docs/relation_networks.md. 1,124,224 parameters.

    A quadruplet is two matching pairs of two points. The loss takes the smallest of four distances between the points
    and the largest of two distances within them, where PN-Net's triplet has two and one.

    Source: Aguilera et al., Cross-spectral local descriptors via quadruplet network, Sensors 17:873, 2017.
    """

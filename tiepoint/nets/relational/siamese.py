"""The Siamese network for patches of two spectra, and the tower that its peers share."""

import torch
from torch import Tensor, nn

from tiepoint.nets.relation import Codes, MultiLossRelater


def centred(patches: Tensor) -> Tensor:
    """Patches (N, 1, S, S), each minus its own mean."""
    return patches - patches.mean(dim=(1, 2, 3), keepdim=True)


def tower(channels: int) -> nn.Sequential:
    """Three convolutions with ReLU, unpadded, two of them pooled: (N, channels, 64, 64) -> (N, 256)."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 96, 7, stride=3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(96, 192, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(192, 256, 3), nn.ReLU(), nn.Flatten()),
    )


def head() -> nn.Sequential:
    """Two features beside each other, (N, 512), to a logit, (N, 1)."""
    return nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1))


class Siamese(MultiLossRelater):
    """One tower describes both patches, and two dense layers judge the features beside each other.

    1,171,585 parameters. Each patch enters minus its mean. The authors train the output as a margin with the hinge
    loss, so that its sign says match or not; as a logit it ranks pairs, but is calibrated by other losses only.
    Weights start as PyTorch's do, which are Torch7's as well.

    Source: Aguilera et al., Learning cross-spectral similarity measures with deep convolutional neural networks,
    CVPR workshops 2016, after Zagoruyko and Komodakis, CVPR 2015.
    """

    def __init__(self) -> None:
        super().__init__()
        self._add_towers()
        self.head = head()

    def _add_towers(self) -> None:
        self.tower = tower(1)

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Patches (N, 1, 64, 64), float in 0..1 -> the feature (N, 256); both spectra are treated alike."""
        return (self.tower(centred(patches)),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Features of N first and N second patches -> match logit (N,)."""
        logit: Tensor = self.head(torch.cat([*first, *second], dim=1))
        return logit[:, 0].float()

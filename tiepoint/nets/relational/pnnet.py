"""PN-Net: a shallow descriptor, trained on triplets."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tiepoint.nets.relation import Codes
from tiepoint.nets.relational.siamese import centred


class Described(NamedTuple):
    """What a descriptor that relates by distance returns in training mode; its losses start from the descriptors."""

    logits: dict[str, Tensor]
    """minus the distance, (N,), as "distance" """
    first: Tensor
    """descriptors (N, D)"""
    second: Tensor
    """descriptors (N, D)"""

    @property
    def main(self) -> Tensor:
        """Minus the distance, (N,)."""
        return self.logits["distance"]


class PNNet(nn.Module):
    """Convolutions 7x7 and 6x6 and a dense layer, all with tanh, the same for both spectra.

    Patches (N, 1, 32, 32) become vectors (N, 256) with entries in -1..1, compared by their L2 distance. 1,124,224
    parameters, as the released training script makes it; `dimension` = 128 gives the 599,808 of its documentation.
    Each patch enters minus its mean, and larger ones are reduced to 32x32 first, by the caller. The logit is minus the
    distance: it ranks pairs, and probabilities need a calibration. Weights start as PyTorch's do.

    Source: Balntas et al., PN-Net: conjoined triple deep network for learning local image descriptors, 2016.
    """

    input_size = 32
    training_only: tuple[str, ...] = ()

    def __init__(self, dimension: int = 256) -> None:
        super().__init__()
        self.dimension = dimension
        self.tower = nn.Sequential(
            *(nn.Conv2d(1, 32, 7), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 6), nn.Tanh(), nn.Flatten()),
            *(nn.Linear(64 * 8 * 8, dimension), nn.Tanh()),
        )

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Patches (N, 1, 32, 32), float in 0..1 -> descriptors (N, dimension); both spectra are treated alike."""
        return (self.tower(centred(patches)),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Descriptors of N first and N second patches -> minus their distance (N,), >= -2 sqrt(dimension)."""
        distances: Tensor = torch.linalg.vector_norm((first[0] - second[0]).float(), dim=1)
        return -distances

    def forward(self, first: Tensor, second: Tensor) -> Described | Tensor:
        """Relate patches (N, 1, 32, 32), float in 0..1, one by one: see `Relater.forward`."""
        codes = self.encode(first, "first"), self.encode(second, "second")
        logit = self.relate(*codes)
        return Described({"distance": logit}, *codes[0], *codes[1]) if self.training else logit

"""The Pseudo-Siamese network: a tower for each spectrum."""

from torch import Tensor, nn

from tiepoint.nets.relation import KEYS, Codes
from tiepoint.nets.relational.siamese import Siamese, centred, tower


class PseudoSiamese(Siamese):
    """The `Siamese` network with a tower for each spectrum, which share no weights. 2,080,001 parameters."""

    def _add_towers(self) -> None:
        self.towers = nn.ModuleDict({"vis": tower(1), "nir": tower(1)})

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Patches (N, 1, 64, 64), float in 0..1, of the slot "first" or "second" -> the feature (N, 256)."""
        return (self.towers[KEYS[slot]](centred(patches)),)

"""What every relater offers, and its pruning for deployment."""

import copy
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

SLOTS = ("first", "second")  # of a pair; which spectrum takes which is on the card of the weights
KEYS = {"first": "vis", "second": "nir"}  # what figures and state dicts call the modules of a slot, as the papers do
# What a relater keeps of each patch: tensors (N, ...), so that `tensor[index]` picks patches.
Codes = tuple[Tensor, ...]


class Relation(NamedTuple):
    """What a relater returns in training mode: one loss term for each entry.

    A network whose losses need more returns a NamedTuple of its own that has at least `logits` and `main`.
    """

    logits: dict[str, Tensor]
    """match logit (N,) of each head by name, the main head first; a head of two classes gives l1 - l0, so that the
    binary cross-entropy of the logit is the cross-entropy of its softmax"""
    reconstructions: tuple[Tensor, ...] = ()
    """what the decoders made of the two patches, each (N, 1, S, S) in 0..1"""

    @property
    def main(self) -> Tensor:
        """Logit (N,) of the head that is deployed."""
        return next(iter(self.logits.values()))


class Relater(Protocol):
    """A network that says whether two patches of different spectra match. It is an nn.Module besides.

    Patches are (N, 1, input_size, input_size), float in 0..1. A logit x is the match probability 1 / (1 + exp(-x)).
    A network that takes RGB patches too names their slots in `colour`, see `tiepoint.nets.inputs.channels_for`.
    Where the papers say vis and nir, any two spectra may stand, such as optical and SAR.
    """

    input_size: int
    training_only: tuple[str, ...]
    """paths of submodules, each an nn.ModuleDict, that the main head does not need: see `deploy`"""

    def forward(self, first: Tensor, second: Tensor) -> Relation | Tensor:
        """In training mode all heads' outputs, in evaluation mode the main head's logit (N,) in float32."""
        ...

    def encode(self, patches: Tensor, slot: str) -> Codes:
        """Do all that depends on one patch alone, which may be nothing; `slot` is "first" or "second"."""
        ...

    def relate(self, first: Codes, second: Codes) -> Tensor:
        """Do the rest: codes of N first and N second patches -> the main head's logit (N,) in float32."""
        ...


class MultiLossRelater(nn.Module, Relater):
    """A relater: in training mode every head gives its output, in evaluation mode the main head alone."""

    input_size = 64
    training_only: tuple[str, ...] = ()

    def forward(self, first: Tensor, second: Tensor) -> Relation | Tensor:
        """Relate `first` and `second`, each (N, 1, input_size, input_size): see `Relater`."""
        codes = self.encode(first, "first"), self.encode(second, "second")
        return self.relate_all(*codes) if self.training else self.relate(*codes)

    def relate_all(self, first: Codes, second: Codes) -> Relation:
        """Give the outputs of every head that is there, in either mode, of N coded pairs; of one head as "match"."""
        return Relation({"match": self.relate(first, second)})


def scales(stages: Iterable[nn.Module], patches: Tensor) -> Codes:
    """Outputs of stages of which each takes what the one before made, in their order."""
    features = [patches]
    for stage in stages:
        features.append(stage(features[-1]))
    return tuple(features[1:])


def trunk_of(net: nn.Module) -> str | None:
    """Path of the submodule that can be rounded by itself, where a network names one as `trunk`; else None."""
    trunk = getattr(net, "trunk", None)
    return trunk if isinstance(trunk, str) else None


Network = TypeVar("Network", bound=nn.Module)


def deploy(net: Network) -> Network:
    """Prune `net` to what its main head needs: a copy in evaluation mode, with `net.training_only` emptied.

    The copy's state dict is a subset of the network's, and its logits are the same bit for bit. In training mode it
    trains its main head alone. Weights of a pruned network are loaded into `deploy(create(name))`.

    Source: the multi-loss post-pruning of RRL-Net, Information Fusion 2025.
    """
    names: tuple[str, ...] = net.training_only  # type: ignore[assignment]  # nn.Module types attributes as modules
    emptied: dict[int, object] = {id(net.get_submodule(name)): nn.ModuleDict() for name in names}
    return copy.deepcopy(net, emptied).eval()

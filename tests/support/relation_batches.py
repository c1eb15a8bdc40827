"""Batches for the losses of relaters: outputs of networks as leaves that gradients can be asked of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tiepoint.nets.relation import Codes, Relation
from tiepoint.nets.relational.kglnet import Guided
from tiepoint.nets.relational.pnnet import Described
from tiepoint.nets.relational.spimnet import Translated

HEADS = ("stage5", "stage4", "stage3", "module5", "module4")


class Batch(NamedTuple):
    output: Any
    labels: Tensor
    patches: tuple[Tensor, Tensor]

    def leaves(self) -> Iterator[Tensor]:
        """Tensors of the output, those of nested tuples and dicts too."""
        yield from _leaves(self.output)


def relate(vis: Codes, nir: Codes) -> Tensor:
    """A network's way from codes to logits, not symmetric, with a gradient to both."""
    return (vis[0].flatten(1) * nir[0].flatten(1)).mean(dim=1) + vis[0].flatten(1).mean(dim=1)


def relation(n: int = 6, seed: int = 0, heads: tuple[str, ...] = HEADS, decoders: bool = True) -> Batch:
    random = torch.Generator().manual_seed(seed)
    patches = torch.rand(n, 1, 8, 8, generator=random), torch.rand(n, 1, 8, 8, generator=random)
    made = tuple(torch.rand(n, 1, 8, 8, generator=random).requires_grad_() for _ in range(2 * decoders))
    logits = {name: (2 * torch.randn(n, generator=random)).requires_grad_() for name in heads}
    return Batch(Relation(logits, made[:2]), mixed(n), patches)


def guided(n: int = 6, seed: int = 0, dimension: int = 8) -> Batch:
    random = torch.Generator().manual_seed(seed)
    vis = 3 * torch.randn(n, dimension, generator=random)
    nir = vis + 1.5 * torch.randn(n, dimension, generator=random)
    common, private = torch.randn(2, 2, n, 4, 3, 3, generator=random)
    output = Guided(
        {"metric": torch.randn(n, generator=random).requires_grad_()},
        ((private[0].clone().requires_grad_(),), (private[1].clone().requires_grad_(),)),
        (common[0].clone().requires_grad_(), common[1].clone().requires_grad_()),
        (vis.requires_grad_(), nir.detach().requires_grad_()),
    )
    return Batch(output, torch.ones(n), (torch.rand(n, 1, 8, 8), torch.rand(n, 1, 8, 8)))


def described(n: int = 6, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    vis, nir = (torch.randn(n, 5, generator=random).tanh().requires_grad_() for _ in range(2))
    distance = torch.linalg.vector_norm((vis - nir).detach(), dim=1)
    return Batch(Described({"distance": -distance}, vis, nir), torch.ones(n), (torch.rand(n, 1, 8, 8),) * 2)


def translated(n: int = 6, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    logits = {"match": torch.randn(n, generator=random).requires_grad_()}
    nir, vis = (torch.rand(n, channels, 8, 8, generator=random).requires_grad_() for channels in (1, 3))
    patches = torch.rand(n, 1, 8, 8, generator=random), torch.rand(n, 1, 8, 8, generator=random)
    return Batch(Translated(logits, nir, vis), mixed(n), patches)


BATCHES = {
    "bce": relation, "hinge": relation, "rrlnet": relation, "kglnet": guided, "pnnet": described, "qnet": described,
    "spimnet": translated,
}  # fmt: skip


def mixed(n: int) -> Tensor:
    """Labels, about half of which are 1."""
    return (torch.arange(n) % 2 == 0).float()


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _leaves(tuple(value.values()))
    else:
        for part in value:
            yield from _leaves(part)

"""Deployment: what only training needs goes, the main head's output stays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiepoint.nets.relation import Codes, Relation, deploy


class Small(nn.Module):
    """A relater of one layer, with a head and a decoder that only training needs."""

    input_size = 4
    training_only = ("heads", "decoders")

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 5)
        self.heads = nn.ModuleDict({"other": nn.Linear(5, 1)})
        self.decoders = nn.ModuleDict({"vis": nn.Linear(5, 16), "nir": nn.Linear(5, 16)})

    def forward(self, first: Tensor, second: Tensor) -> Relation | Tensor:
        a, b = self.encode(first, "first"), self.encode(second, "second")
        if not self.training:
            return self.relate(a, b)
        logits = {"main": self.relate(a, b)}
        logits |= {name: head(a[0] * b[0]).flatten() for name, head in self.heads.items()}
        return Relation(logits, tuple(decoder(a[0]) for decoder in self.decoders.values()))

    def encode(self, patches: Tensor, slot: str) -> Codes:
        return (self.layer(patches.flatten(1)),)

    def relate(self, first: Codes, second: Codes) -> Tensor:
        return (first[0] - second[0]).square().sum(dim=1)


def test_deploy_keeps_what_the_main_head_needs() -> None:
    net = Small()
    vis, nir = torch.rand(2, 3, 1, 4, 4)
    full = net(vis, nir)
    pruned = deploy(net)
    assert set(pruned.state_dict()) == {"layer.weight", "layer.bias"}
    assert not pruned.training
    assert torch.equal(pruned(vis, nir), full.main)
    assert set(full.logits) == {"main", "other"}
    assert len(full.reconstructions) == 2


def test_the_network_itself_is_left_alone() -> None:
    net = Small()
    pruned = deploy(net)
    assert len(net.state_dict()) == 8
    assert net.training
    with torch.no_grad():
        pruned.layer.weight.zero_()
    assert net.layer.weight.any(), "the copy has weights of its own"


def test_a_pruned_network_trains_its_main_head() -> None:
    relation = deploy(Small()).train()(*torch.rand(2, 3, 1, 4, 4))
    assert list(relation.logits) == ["main"]
    assert relation.reconstructions == ()
    relation.main.sum().backward()


def test_weights_of_a_pruned_network_load_into_a_pruned_one() -> None:
    pruned = deploy(Small())
    with torch.device("meta"):
        fresh = deploy(Small())
    fresh.load_state_dict(pruned.state_dict(), assign=True)
    vis, nir = torch.rand(2, 3, 1, 4, 4)
    assert torch.equal(fresh(vis, nir), pruned(vis, nir))

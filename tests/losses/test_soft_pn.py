"""SoftPN against its formula written as loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from relation_batches import described, relate

from tiepoint import nets
from tiepoint.losses.relational.soft_pn import SoftPN


def by_loops(vis: list[list[float]], nir: list[list[float]], form: str, negatives: str) -> float:
    total = 0.0
    for i in range(len(vis)):
        j = (i + 1) % len(vis)
        if form == "quadruplet":
            positive = max(math.dist(vis[i], nir[i]), math.dist(vis[j], nir[j]))
            negative = min(math.dist(a, b) for a in (vis[i], nir[i]) for b in (vis[j], nir[j]))
        else:
            other = {"first": vis, "second": nir, "either": vis if i % 2 else nir}[negatives][j]
            positive = math.dist(vis[i], nir[i])
            negative = min(math.dist(vis[i], other), math.dist(nir[i], other))
        sum_ = math.exp(negative) + math.exp(positive)
        total += (math.exp(negative) / sum_ - 1) ** 2 + (math.exp(positive) / sum_) ** 2
    return total / (2 * len(vis))


@pytest.mark.parametrize("n", [2, 3, 11])
@pytest.mark.parametrize(
    ("form", "negatives"),
    [("triplet", "first"), ("triplet", "second"), ("triplet", "either"), ("quadruplet", "either")],
)
def test_equals_loops(form: str, negatives: str, n: int) -> None:
    batch = described(n, seed=n)
    vis, nir = (x.detach().double().tolist() for x in (batch.output.first, batch.output.second))
    found = SoftPN(form=form, negatives=negatives)(*batch, relate)
    assert found.item() == pytest.approx(by_loops(vis, nir, form, negatives), rel=1e-6)


@pytest.mark.parametrize("form", ["triplet", "quadruplet"])
def test_a_step_against_the_gradient_helps(form: str) -> None:
    batch = described(8)
    loss = SoftPN(form=form)
    before = loss(*batch, relate)
    before.backward()
    with torch.no_grad():
        for side in (batch.output.first, batch.output.second):
            side -= 0.1 * side.grad
    assert loss(*batch, relate).item() < before.item()


@pytest.mark.parametrize("form", ["triplet", "quadruplet"])
def test_a_collapsed_network_gives_a_quarter_and_no_nan(form: str) -> None:
    batch = described(4)
    with torch.no_grad():
        batch.output.first.fill_(0.5)
        batch.output.second.fill_(0.5)
    loss = SoftPN(form=form)(*batch, relate)
    loss.backward()
    assert loss.item() == 0.25
    assert torch.isfinite(batch.output.first.grad).all()


@pytest.mark.parametrize("form", ["triplet", "quadruplet"])
def test_the_network_gets_gradients(form: str) -> None:
    torch.manual_seed(0)
    net = nets.create("pnnet").train()
    vis, nir = torch.rand(2, 3, 1, 32, 32)
    SoftPN(form=form)(net(vis, nir), torch.ones(3), (vis, nir), net.relate).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())

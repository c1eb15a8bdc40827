"""KGL-Net's loss against its formula written as loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from relation_batches import Batch, guided, relate
from torch import Tensor

from tiepoint import nets
from tiepoint.losses.relational.guided import GuidedLoss
from tiepoint.nets.relation import Codes


def distance(a: list[float], b: list[float]) -> float:
    cosine = sum(x * y for x, y in zip(a, b, strict=True)) / (norm(a) * norm(b))
    return math.sqrt(abs(2 - 2 * cosine) + 1e-6)


def norm(a: list[float]) -> float:
    return math.sqrt(sum(x * x for x in a))


def pushed(i: int, j: int, d: float) -> float:
    """A distance of the search for negatives: points themselves and duplicates are further away by 2."""
    return d + 2 if i == j or d <= 8e-3 else d


def nearest(vis: list[list[float]], nir: list[list[float]]) -> list[int]:
    """For each vis the row of the nearest other nir."""
    rows = range(len(vis))
    return [min((j for j in rows if j != i), key=lambda j: pushed(i, j, distance(vis[i], nir[j]))) for i in rows]


def parts(batch: Batch) -> dict[str, float]:
    """The four terms, without weights, by the published formula."""
    vis, nir = (x.detach().double().tolist() for x in batch.output.descriptors)
    rows = range(len(vis))
    triplet = lengths = 0.0
    for i in rows:
        negative = min(
            pushed(i, j, distance(a, b))
            for j in rows
            for a, b in ((vis[i], vis[j]), (nir[i], nir[j]), (vis[i], nir[j]), (vis[j], nir[i]))
        )
        positive = distance(vis[i], nir[i])
        triplet += max(0.0, 1.2 + positive + positive**2 - negative - negative**2)
        lengths += (norm(vis[i]) - norm(nir[i])) ** 2
    codes = [code[0].detach().double() for code in batch.output.codes]
    hard = [relate((codes[0][i : i + 1],), (codes[1][j : j + 1],)).item() for i, j in enumerate(nearest(vis, nir))]
    matching = batch.output.main.detach().double().tolist()
    bce = sum(math.log1p(math.exp(-x)) for x in matching) + sum(math.log1p(math.exp(x)) for x in hard)
    common = [x.detach().double() for x in batch.output.common]
    guidance = sum(float((a - b).square().mean()) for a, b in zip(common, codes, strict=True))
    return {"triplet": triplet, "norm": lengths, "metric": bce / (2 * len(vis)), "guidance": guidance}


@pytest.mark.parametrize("n", [2, 3, 20])
def test_equals_loops(n: int) -> None:
    batch = guided(n, seed=n)
    terms = parts(batch)
    wanted = terms["triplet"] + 0.1 * terms["norm"] + terms["metric"] + terms["guidance"]
    assert min(terms.values()) > 1e-2  # else there would be nothing to compare
    assert GuidedLoss()(*batch, relate).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["norm", "metric", "guidance"])
def test_each_weight_is_of_its_term(name: str) -> None:
    batch = guided(9)
    terms = parts(batch)
    none = {"norm": 0.0, "metric": 0.0, "guidance": 0.0}
    assert GuidedLoss(**none)(*batch, relate).item() == pytest.approx(terms["triplet"], rel=1e-5)
    found = GuidedLoss(**{**none, name: 3.0})(*batch, relate).item()
    assert found == pytest.approx(terms["triplet"] + 3 * terms[name], rel=1e-5)


def with_duplicates(batch: Batch, rows: list[int], noise: float) -> Batch:
    """The points `rows` look like the first of them in both spectra, up to `noise`."""
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        first = batch.output.descriptors[0][rows[0]].clone()
        for side in batch.output.descriptors:
            for row in rows:
                side[row] = first + noise * torch.randn(len(first), generator=random)
    return batch


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.05])
def test_duplicates_are_passed_over_as_in_the_formula(noise: float) -> None:
    batch = with_duplicates(guided(8), [1, 4, 6], noise)
    terms = parts(batch)
    wanted = terms["triplet"] + 0.1 * terms["norm"] + terms["metric"] + terms["guidance"]
    # Near zero a distance takes the root of the last bits of a similarity: 1e-4 for each of three points.
    assert GuidedLoss()(*batch, relate).item() == pytest.approx(wanted, abs=5e-4)


class Recorder:
    """`relate` that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Codes, Codes]] = []

    def __call__(self, vis: Codes, nir: Codes) -> Tensor:
        self.asked.append((vis, nir))
        return relate(vis, nir)


@pytest.mark.parametrize("seed", range(5))
def test_hard_pairs_are_the_nearest_other_points(seed: int) -> None:
    batch = with_duplicates(guided(15, seed), [2, 9], 1e-4)
    recorder = Recorder()
    GuidedLoss()(*batch, recorder)
    ((vis, nir),) = recorder.asked
    rows = nearest(*(x.detach().double().tolist() for x in batch.output.descriptors))
    assert torch.equal(vis[0], batch.output.codes[0][0])
    assert torch.equal(nir[0], batch.output.codes[1][0][rows])


def test_a_collapsed_descriptor_never_makes_a_match_a_hard_pair() -> None:
    batch = with_duplicates(guided(5), [0, 1, 2, 3, 4], 0.0)
    loss = GuidedLoss()
    same = torch.ones(5, 8) / math.sqrt(8)
    assert loss._nearest(same, same).tolist() == [1, 0, 0, 0, 0]
    value = loss(*batch, relate)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(x.grad).all() for x in batch.output.descriptors)


def gradients(loss: GuidedLoss) -> list[bool]:
    """Whether each tensor of the output gets a gradient: logit, two codes, two common features, two descriptors."""
    batch = guided(9)
    loss(*batch, relate).backward()
    return [leaf.grad is not None and bool(leaf.grad.any()) for leaf in batch.leaves()]


def test_gradients_flow_into_all_that_guide_each_other() -> None:
    none = {"norm": 0.0, "metric": 0.0, "guidance": 0.0}
    assert gradients(GuidedLoss()) == [True] * 7
    assert gradients(GuidedLoss(**none)) == [False, False, False, False, False, True, True]
    assert gradients(GuidedLoss(**{**none, "guidance": 1.0})) == [False, True, True, True, True, True, True]
    assert gradients(GuidedLoss(**{**none, "metric": 1.0})) == [True, True, True, False, False, True, True]


def test_takes_the_network_under_mixed_precision() -> None:
    torch.manual_seed(0)
    net = nets.create("kglnet").train()
    vis, nir = torch.rand(2, 2, 1, 64, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(vis, nir)
    assert output.codes[0][0].dtype == torch.bfloat16
    loss = GuidedLoss()(output, torch.ones(2), (vis, nir), net.relate)  # outside of autocast, as losses are called
    loss.backward()
    assert loss.dtype == torch.float32
    missing = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert not missing

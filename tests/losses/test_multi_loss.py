"""The loss of several heads against loops in float64, and what its ablations leave out."""

from __future__ import annotations

import math

import pytest
import torch
from relation_batches import Batch, relate, relation
from torch import Tensor, nn

from tiepoint.losses.relational.relation import MultiLoss


def bce(logit: float, label: float) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability) if label else -math.log(1 - probability)


def hinge(logit: float, label: float) -> float:
    return max(0.0, 1 - (logit if label else -logit))


FORMS = {"bce": bce, "hinge": hinge}


def head(batch: Batch, name: str, form: str = "bce") -> float:
    logits = batch.output.logits[name].double().tolist()
    return sum(FORMS[form](x, y) for x, y in zip(logits, batch.labels.tolist(), strict=True)) / len(logits)


def squared_error(a: Tensor, b: Tensor) -> float:
    pairs = list(zip(a.double().flatten().tolist(), b.double().flatten().tolist(), strict=True))
    return sum((x - y) ** 2 for x, y in pairs) / len(pairs)


def pixel_errors(batch: Batch) -> float:
    return sum(squared_error(x, y) for x, y in zip(batch.output.reconstructions, batch.patches, strict=True))


def value(loss: MultiLoss, batch: Batch) -> Tensor:
    return loss(*batch, relate)


class Features(nn.Module):
    """Something frozen that is not linear, and counts its calls with a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3).requires_grad_(False)
        self.graphs: list[bool] = []

    def forward(self, patches: Tensor) -> Tensor:
        maps: Tensor = self.convolution(patches).square()
        self.graphs.append(maps.requires_grad)
        return maps


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("heads", [("match",), ("difference", "cosine"), ("stage5", "stage3", "module4")])
def test_equals_the_sum_over_heads(form: str, heads: tuple[str, ...]) -> None:
    batch = relation(7, heads=heads, decoders=False)
    found = value(MultiLoss(form=form), batch).item()
    assert found == pytest.approx(sum(head(batch, name, form) for name in heads), rel=1e-6)


def test_extreme_logits_stay_finite() -> None:
    batch = relation(4, heads=("match",), decoders=False)
    logits = torch.tensor([200.0, 200.0, -200.0, -200.0]).requires_grad_()
    loss = value(MultiLoss(), batch._replace(output=batch.output._replace(logits={"match": logits})))
    assert loss.item() == pytest.approx(100.0)  # labels 1, 0, 1, 0: two right, two wrong by 200
    loss.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([0.0, 0.25, -0.25, 0.0]))


def test_reconstructions_count_in_both_spectra() -> None:
    batch = relation()
    heads = sum(head(batch, name) for name in batch.output.logits)
    assert value(MultiLoss(), batch).item() == pytest.approx(heads + 0.1 * pixel_errors(batch), rel=1e-6)


def test_features_join_the_pixels() -> None:
    batch, features = relation(), Features()
    loss = MultiLoss(pixel=0.3, perceptual=2.0, reconstruction=0.7)
    loss.features = features
    maps = [
        squared_error(features(x).detach(), features(y))
        for x, y in zip(batch.output.reconstructions, batch.patches, strict=True)
    ]
    heads = sum(head(batch, name) for name in batch.output.logits)
    wanted = heads + 0.7 * (0.3 * pixel_errors(batch) + 2 * sum(maps))
    assert value(loss, batch).item() == pytest.approx(wanted, rel=1e-5)


def test_gradients_reach_what_the_network_made_and_nothing_else() -> None:
    batch, features = relation(), Features()
    for patch in batch.patches:
        patch.requires_grad_()
    loss = MultiLoss(pixel=0.0)
    loss.features = features
    value(loss, batch).backward()
    assert sorted(features.graphs) == [False, False, True, True]  # the targets' branch has no graph
    for made in batch.output.reconstructions:  # through the features alone, since the pixels weigh nothing
        assert made.grad is not None
        assert made.grad.abs().max() > 0
    assert all(patch.grad is None for patch in batch.patches)
    assert all(parameter.grad is None for parameter in features.parameters())


def test_features_of_the_target_have_no_graph_even_if_unfrozen() -> None:
    features, loss = Features().requires_grad_(), MultiLoss()
    loss.features = features
    value(loss, relation())
    assert sorted(features.graphs) == [False, False, True, True]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, ["stage5", "stage4", "stage3", "module5", "module4"]),
        ({"modules": False}, ["stage5", "stage4", "stage3"]),
        ({"stages": False}, ["stage5", "module5", "module4"]),
        ({"stages": False, "modules": False}, ["stage5"]),
    ],
)
def test_ablations_leave_heads_out(options: dict[str, bool], left: list[str]) -> None:
    batch = relation()
    loss = value(MultiLoss(reconstruction=0.0, **options), batch)
    assert loss.item() == pytest.approx(sum(head(batch, name) for name in left), rel=1e-6)
    loss.backward()
    assert [name for name, logit in batch.output.logits.items() if logit.grad is not None] == left


def test_other_heads_are_no_stages_or_modules() -> None:
    batch = relation(heads=("both", "difference", "product"))
    with_all = value(MultiLoss(), batch)
    assert value(MultiLoss(stages=False, modules=False), batch).item() == with_all.item()


def test_without_reconstruction_no_decoder_is_asked() -> None:
    batch, features = relation(), Features()
    loss = MultiLoss(reconstruction=0.0)
    loss.features = features
    value(loss, batch).backward()
    assert not features.graphs
    assert all(made.grad is None for made in batch.output.reconstructions)


def test_a_reconstruction_of_another_shape_is_named() -> None:
    batch = relation()
    colour = tuple(patch.expand(-1, 3, -1, -1) for patch in batch.patches)
    with pytest.raises(ValueError, match=r"a reconstruction is \(6, 1, 8, 8\), its patch \(6, 3, 8, 8\)"):
        value(MultiLoss(), batch._replace(patches=colour))

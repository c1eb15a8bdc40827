"""SPIMNet's loss against its formula written as loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from relation_batches import Batch, relate, translated
from torch import Tensor

from tiepoint.losses.relational.translation import TranslationLoss

MATCHING, OTHERS = torch.tensor([True, False, True, False, True, False, True]), slice(1, None, 2)


def features(patches: Tensor) -> Tensor:
    """Not linear, and different for images in -1..1 and in 0..1."""
    return (patches.mean(dim=1, keepdim=True) + 0.3).square()[..., ::2]


def bce(logits: list[float], label: float) -> float:
    total = 0.0
    for x in logits:
        probability = 1 / (1 + math.exp(-x))
        total -= label * math.log(probability) + (1 - label) * math.log(1 - probability)
    return total / len(logits)


def cross_entropies(batch: Batch, smoothing: float) -> float:
    logits = batch.output.main.detach().double().tolist()
    return bce(logits[::2], 1 - smoothing / 2) + bce(logits[1::2], smoothing / 2)


def errors(batch: Batch, signed: bool) -> tuple[float, float]:
    """Absolute errors of the matching pairs' translations and squared ones of their features."""
    absolute = squared = 0.0
    for made, patch in ((batch.output.vis, batch.patches[0]), (batch.output.nir, batch.patches[1])):
        x, y = made.detach().double()[::2], patch.double()[::2].expand(-1, made.shape[1], -1, -1)
        x, y = (2 * x - 1, 2 * y - 1) if signed else (x, y)
        absolute += float((x - y).abs().mean())
        squared += float((features(x) - features(y)).square().mean())
    return absolute, squared


@pytest.mark.parametrize("signed", [True, False])
def test_equals_the_formula(signed: bool) -> None:
    batch = translated(7)
    absolute, squared = errors(batch, signed)
    loss = TranslationLoss(signed=signed)
    without = cross_entropies(batch, 0.01) + 0.1 * absolute
    assert loss(*batch, relate).item() == pytest.approx(without, rel=1e-6)
    loss.features = features
    assert loss(*batch, relate).item() == pytest.approx(without + 30 * squared, rel=1e-5)


def test_weights_are_of_their_terms() -> None:
    batch = translated(7)
    absolute, squared = errors(batch, True)
    loss = TranslationLoss(smoothing=0.2, perceptual=2.0, translation=0.5)
    loss.features = features
    wanted = cross_entropies(batch, 0.2) + 0.5 * absolute + 2 * squared
    assert loss(*batch, relate).item() == pytest.approx(wanted, rel=1e-5)


def test_translations_of_other_pairs_are_not_judged() -> None:
    batch = translated(7)
    loss = TranslationLoss()
    loss.features = features
    loss(*batch, relate).backward()
    for made in (batch.output.vis, batch.output.nir):
        assert not made.grad[OTHERS].any()
        assert made.grad[MATCHING].flatten(1).any(dim=1).all()
    assert batch.output.main.grad.all()


def test_colour_patches_are_compared_in_colour() -> None:
    batch = translated(7)
    colour = torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    batch = batch._replace(patches=(colour, batch.patches[1]))
    wanted = cross_entropies(batch, 0.01) + 0.1 * errors(batch, True)[0]
    assert TranslationLoss()(*batch, relate).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("label", "target"), [(1.0, 0.995), (0.0, 0.005)])
def test_a_batch_of_one_kind_has_the_terms_of_that_kind(label: float, target: float) -> None:
    batch = translated(4)._replace(labels=torch.full((4,), label))
    loss = TranslationLoss(translation=0.0)
    wanted = bce(batch.output.main.detach().double().tolist(), target)
    found = loss(*batch, relate)
    assert found.item() == pytest.approx(wanted, rel=1e-6)
    found.backward()
    assert torch.isfinite(batch.output.main.grad).all()

"""What holds for every loss of relaters: its place in the registry, what it refuses, float32 inside."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from relation_batches import BATCHES, Batch, described, guided, relate, relation
from torch import Tensor, nn

from tiepoint import losses
from tiepoint.errors import InputError
from tiepoint.losses.relational.labelled import FeatureLoss
from tiepoint.nets.relational.kglnet import Guided

EVERY = pytest.mark.parametrize("name", losses.relation_names())


def value(loss: nn.Module, batch: Batch, **changes: Any) -> Tensor:
    output, labels, patches = batch._replace(**changes)
    result: Tensor = loss(output, labels, patches, relate)
    return result


def test_the_registry_holds_every_batch_of_these_tests() -> None:
    assert sorted(BATCHES) == losses.relation_names()


def test_the_two_registries_share_no_name() -> None:
    assert not set(losses.names()) & set(losses.relation_names())


@EVERY
def test_options_make_the_preset(name: str) -> None:
    options = {key: default for key, _, default in losses.options(name)}
    made, preset = losses.create(name, **options), losses.create(name)
    assert type(made) is losses.RELATION_LOSSES[name].loss
    assert value(made, BATCHES[name]()).item() == value(preset, BATCHES[name]()).item()


@EVERY
def test_values_and_gradients_are_finite(name: str) -> None:
    batch = BATCHES[name](7)
    loss = value(losses.create(name), batch)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    loss.backward()
    found = [leaf.grad for leaf in batch.leaves() if leaf.grad is not None]
    assert found
    assert all(torch.isfinite(gradient).all() for gradient in found)


@EVERY
@pytest.mark.parametrize("wrong", [-1.0, 0.5, math.nan])
def test_a_label_that_is_neither_0_nor_1_is_named(name: str, wrong: float) -> None:
    batch = BATCHES[name]()
    labels = batch.labels.clone()
    labels[2] = wrong
    with pytest.raises(ValueError, match=f"a label is {wrong:g}: give 1 for a match"):
        value(losses.create(name), batch, labels=labels)


@EVERY
def test_labels_of_any_type_are_understood(name: str) -> None:
    batch = BATCHES[name]()
    loss = losses.create(name)
    assert value(loss, batch, labels=batch.labels.bool()).item() == value(loss, batch).item()


@EVERY
def test_lengths_that_differ_are_named(name: str) -> None:
    batch = BATCHES[name](6)
    with pytest.raises(ValueError, match=r"labels \(5,\) do not fit .*6"):
        value(losses.create(name), batch, labels=batch.labels[:5])
    with pytest.raises(ValueError, match=r"lengths \[.*6, 5\]"):
        value(losses.create(name), batch, patches=(batch.patches[0], batch.patches[1][:5]))


@EVERY
def test_the_output_of_evaluation_mode_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="in training mode, not a Tensor"):
        value(losses.create(name), BATCHES[name](), output=torch.zeros(6))


@pytest.mark.parametrize("name", ["kglnet", "pnnet", "qnet", "spimnet"])
def test_the_output_of_another_network_is_refused(name: str) -> None:
    labels = torch.ones(6)
    with pytest.raises(InputError, match="needs the network's"):
        value(losses.create(name), relation(), labels=labels)
    other = described() if name == "spimnet" else guided() if name != "kglnet" else described()
    with pytest.raises(InputError, match="needs the network's"):
        value(losses.create(name), other, labels=labels)


@pytest.mark.parametrize("name", ["kglnet", "pnnet", "qnet"])
def test_losses_that_mine_take_matching_pairs_alone(name: str) -> None:
    loss, batch = losses.create(name), BATCHES[name]()
    assert loss.matching_only
    labels = batch.labels.clone()
    labels[4] = 0
    with pytest.raises(ValueError, match="a label is 0: it takes matching pairs alone"):
        value(loss, batch, labels=labels)
    with pytest.raises(ValueError, match="2 pairs or more"):
        value(loss, BATCHES[name](1))


@pytest.mark.parametrize("name", ["bce", "hinge", "rrlnet", "spimnet"])
def test_the_others_take_a_single_pair_too(name: str) -> None:
    loss = losses.create(name)
    assert not loss.matching_only
    assert torch.isfinite(value(loss, BATCHES[name](1)))
    with pytest.raises(ValueError, match=r"labels \(0,\) do not fit"):
        value(loss, BATCHES[name](0))


@EVERY
def test_half_precision_is_computed_in_float32(name: str) -> None:
    def converted(x: Any, dtype: torch.dtype) -> Any:
        if isinstance(x, Tensor):
            return x.detach().to(torch.bfloat16).to(dtype)
        if isinstance(x, dict):
            return {key: converted(part, dtype) for key, part in x.items()}
        parts = [converted(part, dtype) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)

    batch = BATCHES[name](16)
    half, full = (batch._replace(output=converted(batch.output, t)) for t in (torch.bfloat16, torch.float32))
    found = value(losses.create(name), half)
    assert found.dtype == torch.float32
    # `relate` itself runs in half precision; the rest must not.
    tolerance = 1e-3 if name == "kglnet" else 1e-6
    assert found.item() == pytest.approx(value(losses.create(name), full).item(), rel=tolerance)


@EVERY
def test_nan_is_not_hidden(name: str) -> None:
    batch = BATCHES[name]()
    for leaf in batch.leaves():
        with torch.no_grad():
            leaf[0] = math.nan
    assert torch.isnan(value(losses.create(name), batch))


def test_a_pruned_network_has_nothing_to_guide() -> None:
    batch = guided()
    pruned = Guided(batch.output.logits, batch.output.codes)
    with pytest.raises(InputError, match=r"GuidedLoss needs the network's descriptors: .* pruned"):
        value(losses.create("kglnet"), batch, output=pruned)


@pytest.mark.parametrize("name", ["rrlnet", "spimnet"])
def test_the_network_of_features_is_no_part_of_the_loss(name: str) -> None:
    loss = losses.create(name)
    assert isinstance(loss, FeatureLoss)
    assert loss.features is None
    loss.features = nn.Conv2d(1, 2, 3)
    assert not loss.state_dict()
    assert not list(loss.parameters())
    assert not list(loss.children())
    assert isinstance(copy.deepcopy(loss).features, nn.Conv2d)
    loss.features = None
    assert loss.features is None


@pytest.mark.parametrize(
    ("name", "option", "wrong"),
    [
        ("rrlnet", "pixel", -1.0),
        ("rrlnet", "perceptual", math.inf),
        ("rrlnet", "reconstruction", -0.1),
        ("kglnet", "duplicate_threshold", 2.0),
        ("kglnet", "norm", -1.0),
        ("kglnet", "margin", -1.0),
        ("spimnet", "smoothing", 1.5),
        ("spimnet", "translation", -1.0),
    ],
)
def test_options_out_of_range_are_named(name: str, option: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=f"{option} is .*must lie in"):
        losses.create(name, **{option: wrong})


@pytest.mark.parametrize(("name", "option"), [("bce", "form"), ("qnet", "form"), ("pnnet", "negatives")])
def test_an_unknown_choice_is_named(name: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 'none of them'"):
        losses.create(name, **{option: "none of them"})


def test_an_unknown_name_lists_both_kinds() -> None:
    with pytest.raises(InputError, match=r"no loss 'rrl': there are .*hardnet.*rrlnet"):
        losses.create("rrl")

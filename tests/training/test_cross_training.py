"""Training across two spectra: splits, pairs, test data, describers, what networks see, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cross_set import cross_set
from light_spimnet import LightSPIMNet
from relation_runs import CPU, card_of, recipe_for, spy_on_loss, trainer
from safetensors.torch import load_file
from synthetic import small_patch_set
from torch import nn

from tiepoint import nets
from tiepoint.data.crop import central_crop
from tiepoint.data.pair_augmentation import PairAugmentation
from tiepoint.errors import InputError
from tiepoint.evaluation.provenance import selection_of, statement
from tiepoint.evaluation.verification import as_float
from tiepoint.models.weights import read_weights
from tiepoint.nets.inputs import channels_for, luma, resize
from tiepoint.patches import PatchSet
from tiepoint.training import setup
from tiepoint.training.loop import train
from tiepoint.training.recipe import Optimizer, Recipe, Validation, loss_options
from tiepoint.training.validation import CrossSpectralValidation

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("quick_weights")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return cross_set(tmp_path_factory.mktemp("data") / "set")


@pytest.mark.parametrize("by", ["scenes", "points"])
@pytest.mark.parametrize("network", ["2channel", "pnnet", "hardnet"])
def test_training_and_validation_share_no_scene_or_no_point(by: Any, network: str, data: PatchSet) -> None:
    recipe = recipe_for(data, network, validation=Validation(fraction=0.25, by=by, pairs=50))
    sampler, validator = setup.split(recipe, data)
    validation = validator(32, CPU)
    assert isinstance(validation, CrossSpectralValidation)
    batches = [sampler(step) for step in range(60)]
    trained, held = np.concatenate([batch.rows for batch in batches]).ravel(), validation.rows.ravel()
    assert not np.isin(data.points[trained], data.points[held]).any()
    assert np.isin(data.images[trained], data.images[held]).any() == (by == "points")
    assert len(np.unique(data.points[trained])) == 36
    assert (validation.count, len(validation.labels)) == (12, 24)
    assert validation.statement == f"12 matches and 12 non-matches of held-out {by}"
    assert {float(batch.labels.sum()) for batch in batches} == {2.0 if network == "2channel" else 4.0}


def test_the_pairs_of_a_set_are_trained_and_validated_on(tmp_path: Path) -> None:
    matches = [(2 * k, 2 * k + 1, 1) for k in range(0, 48, 2)]
    others = [(2 * k, 2 * k + 3, 0) for k in range(0, 48, 2)]  # 100 px apart, or within 64 px for all that it matters
    data = cross_set(tmp_path / "set", pairs=[*matches, *others])
    recipe = recipe_for(data, "2channel")
    sampler, validator = setup.split(recipe, data)
    drawn = {
        (*row, int(label))
        for batch in map(sampler, range(40))
        for row, label in zip(batch.rows.tolist(), batch.labels, strict=True)
    }
    validation = validator(64, CPU)
    assert isinstance(validation, CrossSpectralValidation)
    held = {(*row, int(label)) for row, label in zip(validation.rows.tolist(), validation.labels, strict=True)}
    assert drawn | held == {*matches, *others}
    assert not drawn & held
    assert len(held) == 12
    assert train(recipe, tmp_path / "run")["validation"] == "6 matches and 6 non-matches of held-out scenes"
    only = [sampler_of(data, "pnnet")(step) for step in range(10)]
    assert all(batch.labels.all() for batch in only)
    assert {tuple(row) for batch in only for row in batch.rows.tolist()} <= {pair[:2] for pair in matches}


def sampler_of(data: PatchSet, network: str) -> Any:
    return setup.split(recipe_for(data, network), data)[0]


def test_weights_chosen_on_test_data_say_so(data: PatchSet, tmp_path: Path) -> None:
    test = cross_set(tmp_path / "test", ["field/9", "water/9"], points=10, seed=5)
    settings = Validation(every=0.5, pairs=20, test_data=str(test.directory))
    recipe = recipe_for(data, selection="paper", validation=settings)
    assert len(setup.split(recipe, data)[0]) == 48  # type: ignore[arg-type]  # nothing is held out
    result = train(recipe, tmp_path / "run")
    assert (result["selection"], result["validation"]) == ("paper", "20 matches and 20 non-matches of test data")
    card = card_of(tmp_path / "run")
    assert card["calibration"]["pairs"] == result["validation"]
    assert card["recipe"]["validation"]["test_data"] == "test"
    selection = selection_of(SimpleNamespace(card=card))
    assert selection == "best on test"
    assert statement("cross-spectral", variant="", split="", selection=selection)["test_selected"] is True
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert result["validation_fpr95"] == min(e["validation_fpr95"] for e in lines if "validation_fpr95" in e)


# Describers


def test_a_describer_trains_across_two_spectra(data: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_for(data, "hardnet", batch=6)
    result = train(recipe, tmp_path / "run")
    card = card_of(tmp_path / "run")
    assert (card["spectra"], card["support"]) == (["vis", "nir"], 12.0)
    assert not {"temperature", "calibration", "deployed"} & set(card)
    net, _ = read_weights(tmp_path / "run" / "model.safetensors")
    validation = setup.split(recipe, data)[1](32, CPU)
    assert result["validation_fpr95"] == validation.fpr95(net)
    plain = trainer(replace(recipe, pair_augmentation=PairAugmentation()), data)
    assert plain.step(0) != trainer(recipe, data).step(0)


@pytest.mark.slow
def test_training_across_spectra_separates_held_out_scenes(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", [f"a/{k}" for k in range(10)], points=20, noise=80.0)
    optimizer, validation = Optimizer("sgd", 1.0, weight_decay=0.0, schedule="linear"), Validation(fraction=0.3)
    recipe = recipe_for(data, batch=64, steps=30, optimizer=optimizer, pair_augmentation=PairAugmentation())
    train(replace(recipe, validation=replace(validation, every=0.1)), tmp_path / "run")
    lines = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    first, *_, last = [e["validation_fpr95"] for e in lines if "validation_fpr95" in e]
    assert last < 0.8 * first


# What networks see


@pytest.mark.parametrize("margin", [1.0, 1.5])
def test_networks_see_in_training_what_they_see_in_validation(margin: float, tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", channels=3, dtype=np.uint16, margin=margin)
    run = trainer(recipe_for(data, pair_augmentation=PairAugmentation()), data)
    seen = spy_on_loss(run)
    run.step(0)
    rows = run.sampler(0).rows
    (_, labels, patches), *_ = seen
    assert labels.tolist() == [1, 1, 1, 1]
    for side in (0, 1):
        stored = as_float(np.asarray(data.patches[rows[:, side]]))
        expected = resize(luma(central_crop(stored, margin)), 32)
        assert patches[side].allclose(expected, atol=1e-6)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nets.RELATERS, "spimnet", LightSPIMNet)
    monkeypatch.setattr(
        "tiepoint.nets.relational.spimnet.nn.Linear.reset_parameters", lambda layer: layer.weight.data.fill_(1e-5)
    )


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("channels", [1, 3])
def test_spimnet_sees_vis_in_colour_and_nir_in_grey(channels: int, tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", points=2, channels=channels)
    recipe = recipe_for(data, "spimnet", loss=loss_options("spimnet")(), batch=2)
    run = trainer(recipe, data)
    seen = spy_on_loss(run)
    assert np.isfinite(run.step(0))
    output, labels, (vis, nir) = seen[0]
    assert (vis.shape, nir.shape) == ((2, channels, 64, 64), (2, 1, 64, 64))
    assert (output.vis.shape, output.nir.shape) == ((2, 3, 64, 64), (2, 1, 64, 64))
    assert labels.tolist() == [1, 0]
    validation = setup.split(recipe, data)[1](64, CPU)
    assert isinstance(validation, CrossSpectralValidation)
    assert np.isfinite(validation.scores(run.net)).all()


@pytest.mark.usefixtures("light")
def test_spimnets_perceptual_term_with_features_of_grey_patches_ends_before_the_run(
    data: PatchSet, tmp_path: Path
) -> None:
    recipe = recipe_for(data, "spimnet", loss=loss_options("spimnet")(), perceptual="sdgmnet")
    with pytest.raises(InputError, match="perceptual is sdgmnet, whose features are of grey patches"):
        train(recipe, tmp_path / "run")
    with pytest.raises(InputError, match=r"nosuch\.pth"):
        train(replace(recipe, perceptual=str(tmp_path / "nosuch.pth")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("network", ["2channel", "hardnet"])
def test_networks_of_grey_patches_train_on_colour(network: str, tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", channels=3)
    train(recipe_for(data, network), tmp_path / "run")
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_channels_are_those_that_a_network_takes() -> None:
    grey, rgb = torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)
    colour, plain = SimpleNamespace(colour=("first",)), nn.Identity()
    for net, slot, expected in ((colour, "first", rgb), (colour, "second", luma(rgb)), (plain, "first", luma(rgb))):
        assert torch.equal(channels_for(rgb, net, slot), expected)  # type: ignore[arg-type]
        assert channels_for(grey, net, slot) is grey  # type: ignore[arg-type]
    assert luma(rgb).shape == (2, 1, 4, 4)
    with pytest.raises(InputError, match=r"patches \(2, 2, 4, 4\): Identity takes \(N, 1, S, S\), or RGB"):
        channels_for(torch.rand(2, 2, 4, 4), plain, "first")


# What is refused


def test_what_cannot_be_trained_is_refused_before_anything_is_written(data: PatchSet, tmp_path: Path) -> None:
    single = small_patch_set(tmp_path / "single", points=20)
    turned = cross_set(tmp_path / "turned", spectra=("nir", "vis"))
    train(recipe_for(data, "hardnet", steps=1), tmp_path / "hardnet")
    train(recipe_for(data, "pnnet", steps=1), tmp_path / "pnnet")
    good = recipe_for(data)
    cases = [
        (recipe_for(single), r"single: has the spectrum vis alone, and pnnet relates patches of two.*tiepoint data"),
        (replace(good, loss=loss_options("hardnet")()), r"loss\.name is 'hardnet', which does not train pnnet"),
        (replace(good, network="hardnet"), r"loss\.name is 'pnnet', which does not train hardnet"),
        (replace(good, optimizer=Optimizer("adam", rates={"metric": 0.1})), r"rates names metric: the network has tow"),
        (replace(good, options={"width": 1}), r"network pnnet: .*unexpected keyword argument 'width'"),
        (
            replace(good, start=str(tmp_path / "hardnet")),
            r"key start is .*hardnet: not weights of pnnet \(.* is in one",
        ),
        (
            replace(good, network="2channel", loss=loss_options("bce")(), start=str(tmp_path / "pnnet")),
            "not weights of",
        ),
        (
            replace(good, options={"dimension": 8}, start=str(tmp_path / "pnnet")),
            r"not weights of pnnet \(size mismatch",
        ),
        (replace(good, start=str(tmp_path / "nosuch")), r"nosuch.*is missing"),
        (replace(good, selection="paper"), r"the selection paper needs test data"),
        (with_test_data(good, tmp_path / "nosuch"), "nosuch is not a PatchSet"),
        (with_test_data(good, single.directory), "single: test data of the spectra vis, but the run's are vis and nir"),
        (with_test_data(good, turned.directory), "turned: test data of the spectra nir and vis, but"),
        (
            with_test_data(recipe_for(single, "hardnet"), data.directory),
            "the selection `paper` is for sets across two spectra",
        ),
        (replace(good, batch=37), r"36 pairs across spectra, fewer than a batch of 37: lower `batch`"),
        (replace(good, validation=Validation(fraction=0.1)), r"0\.1 of 4 scenes leaves none.*validation\.fraction"),
        (replace(good, validation=Validation(fraction=0.01, by="points")), "no point has a patch in both"),
    ]
    for recipe, message in cases:
        with pytest.raises(InputError, match=message):
            train(recipe, tmp_path / "run")
        assert not (tmp_path / "run").exists(), message


def with_test_data(recipe: Recipe, directory: Path) -> Recipe:
    return replace(recipe, selection="paper", validation=Validation(test_data=str(directory)))


def test_validation_pairs_of_one_kind_are_refused_before_the_run(tmp_path: Path) -> None:
    pairs = [(2 * k, 2 * k + 1, 1) for k in range(12, 24)] + [(2 * k, 2 * k + 3, 0) for k in range(12, 22)]
    test = [(2 * k, 2 * k + 1, 1) for k in range(10)]
    data, alike = cross_set(tmp_path / "set", pairs=pairs), cross_set(tmp_path / "test", pairs=test)
    with pytest.raises(InputError, match=r"test: 10 matches and 0 non-matches to validate on, both are needed"):
        train(with_test_data(recipe_for(data), alike.directory), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_needs_another_networks_output_says_so(data: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_for(data, "2channel", loss=loss_options("kglnet")())
    with pytest.raises(InputError, match="GuidedLoss needs the network's descriptors: another network"):
        train(recipe, tmp_path / "run")

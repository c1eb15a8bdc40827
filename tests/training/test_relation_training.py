"""Training of relaters: the run folder, resumption, the published recipes, rates, features and first weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cross_set import cross_set
from relation_runs import CPU, card_of, recipe_for, trainer
from safetensors.torch import load_file
from torch import nn

from tiepoint import nets
from tiepoint.evaluation.calibration import expected_calibration_error, fit_temperature, sigmoid
from tiepoint.models.weights import read_weights, save_weights
from tiepoint.nets.relation import deploy
from tiepoint.patches import PatchSet
from tiepoint.training import setup
from tiepoint.training.loop import Status, train
from tiepoint.training.recipe import Optimizer, loss_options
from tiepoint.training.recipe_file import load_recipe
from tiepoint.version import __version__

# MFD-Net and SPIMNet would take gigabytes; a light SPIMNet is tried in test_cross_training.py.
TRAINABLE = [*(n for n in nets.relaters() if n not in ("mfdnet", "spimnet")), "visnir/rrlnet-without-attention"]
pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("quick_weights")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return cross_set(tmp_path_factory.mktemp("data") / "set")


@pytest.mark.slow
@pytest.mark.parametrize("network", ["2channel", "pnnet", "kglnet", "rrlnet"])
def test_a_run_keeps_the_main_head_of_the_network_and_its_calibration(
    network: str, data: PatchSet, tmp_path: Path
) -> None:
    recipe, run = recipe_for(data, network, perceptual="sdgmnet", steps=2), tmp_path / "run"
    result = train(recipe, run)
    assert {path.name for path in run.iterdir()} == {
        "recipe.yaml", "run.json", "log.jsonl", "checkpoint.pt", "model.safetensors", "model.json", "result.json",
    }  # fmt: skip
    assert load_recipe(run / "recipe.yaml") == recipe
    assert {"tiepoint": __version__, **result} == json.loads((run / "result.json").read_text())
    assert result["validation"] == "10 matches and 10 non-matches of held-out scenes"

    state = torch.load(run / "checkpoint.pt", weights_only=True)
    whole = nets.create(network).eval()
    whole.load_state_dict(state["best_net"])  # the heads and decoders of the training too
    assert state["net"].keys() == whole.state_dict().keys()
    weights, (_, card) = load_file(run / "model.safetensors"), read_weights(run / "model.safetensors")
    pruned = deploy(nets.create(network))
    pruned.load_state_dict(weights)  # a copy: where memory begins changes the last bit of sums
    names: tuple[str, ...] = whole.training_only  # type: ignore[assignment]
    kept = {key for key in whole.state_dict() if not key.startswith(tuple(f"{name}." for name in names))}
    assert set(weights) == kept
    assert (len(kept) < len(whole.state_dict())) == bool(names)
    vis, nir = torch.rand(2, 5, 1, whole.input_size, whole.input_size)  # type: ignore[arg-type]
    with torch.no_grad():
        assert torch.equal(pruned(vis, nir), whole(vis, nir))

    assert card["network"] == network
    assert card["deployed"] is True
    assert card["spectra"] == ["vis", "nir"]
    assert card["result"] == result
    assert "support" not in card
    assert card["recipe"]["data"] == "set"
    validation = setup.split(recipe, data)[1](recipe_size(network), CPU)
    labels, logits = validation.labels, validation.scores(whole)  # type: ignore[union-attr]
    assert card["temperature"] == fit_temperature(labels, logits)
    assert card["calibration"] == {
        "pairs": result["validation"],
        "error": {
            "before": expected_calibration_error(labels, sigmoid(logits)),
            "after": expected_calibration_error(labels, sigmoid(logits / card["temperature"])),
        },
    }
    assert result["validation_fpr95"] == validation.fpr95(whole)


def recipe_size(network: str) -> int:
    size: int = nets.RELATERS[network].input_size  # type: ignore[assignment]
    return size


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [
        ("2channel", Optimizer("sgd", 0.01, schedule="cosine")),
        ("pnnet", Optimizer("nadam", 1e-3, eps=1e-7, schedule="one-cycle")),
        ("siamese", Optimizer("adam", 1e-3, rates={"head": 1e-4}, schedule="linear")),
    ],
)
def test_an_interrupted_run_ends_with_the_same_bits(
    network: str, optimizer: Optimizer, data: PatchSet, tmp_path: Path
) -> None:
    recipe = recipe_for(data, network, optimizer=optimizer, steps=4)

    def report(status: Status) -> None:
        if status.step == 2:
            raise Stop

    train(recipe, tmp_path / "whole")
    with pytest.raises(Stop):
        train(recipe, tmp_path / "broken", report)
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    train(recipe, tmp_path / "broken")
    one, again = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(one[key], again[key]) for key in {**one, **again})
    one, again = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["net"] for name in ("whole", "broken")
    )
    assert all(torch.equal(one[key], again[key]) for key in {**one, **again})
    assert card_of(tmp_path / "whole")["temperature"] == card_of(tmp_path / "broken")["temperature"]
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "broken" / "log.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINABLE)
def test_the_recipes_of_relaters_train(name: str, data: PatchSet) -> None:
    shortened = {"data": str(data.directory), "steps": 2, "minutes": None, "batch": 4, "compile": "off"}
    recipe = replace(load_recipe(name), **shortened)
    recipe = replace(recipe, validation=replace(recipe.validation, fraction=0.25))
    run = trainer(recipe, data)
    before = {key: value.clone() for key, value in run.net.named_parameters()}
    assert np.isfinite(run.step(0))
    moved = {key for key, value in run.net.named_parameters() if not torch.equal(value, before[key])}
    assert moved
    assert all(torch.isfinite(value).all() for value in run.net.parameters())


def test_submodules_have_rates_of_their_own(data: PatchSet) -> None:
    rates = {"metric": 1e-2}
    recipe = recipe_for(data, "kglnet", optimizer=Optimizer("sgd", 1e-4, momentum=0.0, rates=rates, stages=2), steps=2)
    run = trainer(recipe, data)
    of_metric = {id(parameter) for parameter in run.net.metric.parameters()}  # type: ignore[operator]
    for step, factor in ((0, 1), (1, 0.5)):
        run.step(step)
        others, metric = run.optimizer.param_groups
        assert (others["lr"], metric["lr"], run.lr) == (1e-4 * factor, 1e-2 * factor, 1e-4 * factor)
    assert {id(parameter) for parameter in metric["params"]} == of_metric
    both = [id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]]
    assert sorted(both) == sorted(id(parameter) for parameter in run.net.parameters())


def test_batch_norms_momentum_is_the_recipes_if_it_names_one(data: PatchSet) -> None:
    for momentum in (None, 0.5):
        run = trainer(recipe_for(data, "kglnet", norm_momentum=momentum), data)
        (found,) = {m.momentum for m in run.net.modules() if isinstance(m, nn.BatchNorm2d)}
        assert found == (momentum or 0.1)


def test_reconstructions_are_compared_by_the_features_that_the_recipe_names(data: PatchSet) -> None:
    losses = {}
    for perceptual in ("none", "sdgmnet"):
        run = trainer(recipe_for(data, "rrlnet", perceptual=perceptual), data)
        losses[perceptual] = run.step(0)
        assert not run.loss.state_dict()
    assert losses["sdgmnet"] > losses["none"]
    off = loss_options("rrlnet")(reconstruction=0.0)
    assert setup.perceptual(recipe_for(data, "rrlnet", loss=off, perceptual="sdgmnet"), CPU) is None


def test_a_relater_starts_from_pruned_weights(data: PatchSet, tmp_path: Path) -> None:
    source, net = (nets.create("kglnet") for _ in range(2))
    path = tmp_path / "first.safetensors"
    save_weights(path, deploy(source), {"network": "kglnet", "deployed": True})
    before = {key: value.clone() for key, value in net.state_dict().items()}
    setup.start(net, recipe_for(data, "kglnet", start=str(path)))
    for key, value in net.state_dict().items():
        assert torch.equal(value, (before if key.startswith("descriptor.") else source.state_dict())[key]), key


def test_a_describer_starts_from_weights_of_a_run_or_a_shipped_one(data: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_for(data, "sdgmnet", steps=1, start="sdgmnet")
    run = trainer(recipe, data)
    fresh = next(run.net.parameters()).clone()
    setup.start(run.net, recipe)
    assert not torch.equal(fresh, next(run.net.parameters()))
    torch.save(run.net.state_dict(), tmp_path / "net.pth")
    other = nets.create("sdgmnet")
    setup.start(other, replace(recipe, start=str(tmp_path / "net.pth")))
    own = run.net.state_dict()
    train(recipe, tmp_path / "run")
    assert card_of(tmp_path / "run")["recipe"]["start"] == "sdgmnet"
    trained = load_file(tmp_path / "run" / "model.safetensors")
    assert float((trained["layer1.0.weight"] - own["layer1.0.weight"]).abs().max()) < 0.01  # one step of Adam
    assert all(torch.equal(value, own[key]) for key, value in other.state_dict().items())

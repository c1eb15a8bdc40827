"""Recipes: strict keys, ranges, round trips, and the recipes of the repository."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.training.recipe import Recipe, build_loss, loss_options
from tiepoint.training.recipe_file import check, dump_recipe, load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"


def write(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_of_the_repository_loads_and_is_in_range(path: Path) -> None:
    assert check(load_recipe(path)).network in nets.describers()


def test_the_published_recipe_is_the_published_one() -> None:
    recipe = load_recipe(RECIPES / "sdgmnet.yaml")
    assert (recipe.steps, recipe.batch, recipe.optimizer.lr, recipe.optimizer.schedule) == (
        200_000,
        1024,
        1.0,
        "step",
    )
    assert recipe.steps is not None
    assert 1 - 1 / (recipe.loss.memory * recipe.steps) == pytest.approx(0.999)
    assert pytest.approx(10_000) == recipe.loss.initial_power * recipe.batch
    assert (recipe.augmentation.dihedral, recipe.augmentation.rotation, recipe.dropout) == ("published", 5.0, 0.3)


def test_a_loss_takes_its_presets_defaults_and_the_runs_time_constant() -> None:
    hynet = loss_options("hynet")()
    assert (hynet.measure, hynet.margin, hynet.norm, hynet.candidates) == ("hybrid", 1.2, 0.1, "four")
    assert build_loss(hynet, 10).raw
    assert build_loss(loss_options("sdgm")(memory=0.005), 200_000).momentum == pytest.approx(0.999)
    assert build_loss(loss_options("soft-margin")(), 100_000).momentum == pytest.approx(0.99)
    assert build_loss(loss_options("soft-margin")(memory=0.0), 100).momentum == 0.0


def test_a_dumped_recipe_loads_as_itself(tmp_path: Path) -> None:
    recipe = dataclasses.replace(Recipe(data="x"), steps=None, minutes=2.5, compile="off")
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stps: 3", "unknown key stps: did you mean steps"),
        ("optimizer: {learning: 1}", r"unknown key optimizer\.learning"),
        ("optimizer: {lrr: 1}", r"did you mean optimizer\.lr\?"),
        ("steps: many", "steps is 'many': give int"),
        ("steps: 1.5", "steps is 1.5"),
        ("batch: true", "batch is True"),
        ("precision: fp8", "precision is 'fp8': choose one of fp32, bf16"),
        ("augmentation: {crop_area: 0.9}", r"augmentation\.crop_area is 0.9: give 2 numbers"),
        ("loss: 3", "loss is a table of keys"),
        ("loss: {name: hardnett}", "loss.name is 'hardnett': choose one of"),
        ("loss: {name: hardnet, alfa: 1}", r"unknown key loss\.alfa: did you mean loss\.alpha"),
        ("loss: {name: hardnet, measure: l1}", "loss.measure is 'l1': choose one of l2,"),
        ("loss: {momentum: 0.9}", r"unknown key loss\.momentum: there are name, alpha, .*memory"),
        ("- a", "a recipe is a table"),
        ("a: [", "is no YAML"),
    ],
)
def test_wrong_keys_and_types_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(write(tmp_path, text))
    assert str(tmp_path / "r.yaml") in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch\.yaml: no such recipe"):
        load_recipe(tmp_path / "nosuch.yaml")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("steps: 0", "steps"),
        ("batch: 1", "batch"),
        ("dropout: 1.0", "dropout"),
        ("steps: null\nminutes: 0", "minutes"),
        ("optimizer: {lr: -1}", "optimizer.lr"),
        ("optimizer: {momentum: 1.0}", "optimizer.momentum"),
        ("optimizer: {lr: .nan}", "optimizer.lr"),
        ("loss: {margin_probability: 1}", "loss.margin_probability"),
        ("loss: {memory: 2}", "loss.memory"),
        ("loss: {name: sosnet, neighbours: 0}", "loss.neighbours"),
        ("optimizer: {dampening: 1}", "optimizer.dampening"),
        ("optimizer: {stages: 0}", "optimizer.stages"),
        ("validation: {fraction: 0}", "validation.fraction"),
        ("augmentation: {crop_area: [0, 1]}", "augmentation.crop_area"),
        ("augmentation: {crop_area: [0.9, 0.5]}", "augmentation.crop_area"),
        ("minutes: 3", "steps and minutes"),
        ("data: ''", "data"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, text: str, key: str) -> None:
    data = "" if "data" in text else "data: x\n"
    with pytest.raises(InputError, match=f"keys? {key.replace('.', chr(92) + '.')}"):
        check(load_recipe(write(tmp_path, data + text)))


@pytest.mark.parametrize("network", ["nosuch", *nets.relaters()])
def test_networks_that_describe_nothing_are_refused(network: str) -> None:
    with pytest.raises(InputError, match=f"network is '{network}': a recipe trains describers, hardnet, .*tfeat$"):
        check(Recipe(data="x", network=network))


def test_yaml_forms_that_mislead_are_read_as_meant(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "compile: off\noptimizer: {weight_decay: 1e-4}\ncheckpoint_seconds: 5"))
    assert recipe.compile == "off"
    assert recipe.optimizer.weight_decay == 1e-4
    assert recipe.checkpoint_seconds == 5.0

"""Recipes: strict keys, ranges, round trips, and the recipes of the repository."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from tiepoint import losses, nets
from tiepoint.data.pair_augmentation import PairAugmentation
from tiepoint.errors import InputError
from tiepoint.training.recipe import Optimizer, Recipe, build_loss, loss_options, network_options
from tiepoint.training.recipe_file import RECIPES, check, dump_recipe, load_recipe, recipe_names
from tiepoint.training.schedule import make_optimizer

PAIRS = 277_504  # of the country of the VIS-NIR patches, half of them matches


def write(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_recipe_of_the_repository_makes_a_network_a_loss_and_an_optimiser(path: Path) -> None:
    recipe = check(load_recipe(path))
    with torch.device("meta"):
        net = nets.create(recipe.network, **network_options(recipe))
    rates = {group["lr"] for group in make_optimizer(net, recipe.optimizer).param_groups}
    assert rates == {recipe.optimizer.lr, *recipe.optimizer.rates.values()}
    assert hasattr(build_loss(recipe.loss, recipe.steps or 100), "matching_only") == (recipe.network in nets.RELATERS)
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("network", nets.relaters())
def test_every_relater_has_its_published_recipe(network: str) -> None:
    recipe = load_recipe(network)
    assert (recipe.network, recipe.precision, recipe.selection) == (network, "fp32", "best")
    others = {
        "2channel": 25, "siamese": 25, "pseudo-siamese": 25, "pnnet": 100, "qnet": 100, "kglnet": 100, "spimnet": 35,
    }  # fmt: skip
    pairs = PAIRS // 2 if build_loss(recipe.loss, 1).matching_only else PAIRS
    assert recipe.steps == others.get(network, 40) * (pairs // recipe.batch)


def test_the_published_recipes_of_the_relaters_are_the_published_ones() -> None:
    rrlnet, kglnet = (load_recipe(name) for name in ("rrlnet", "kglnet"))
    assert (rrlnet.steps, rrlnet.batch) == (173_440, 64)
    assert rrlnet.optimizer == Optimizer("nadam", 2e-4, eps=1e-7, weight_decay=0.0, schedule="constant")
    assert (rrlnet.loss.pixel, rrlnet.loss.perceptual, rrlnet.loss.reconstruction) == (0.1, 1.0, 1.0)  # type: ignore[attr-defined]
    assert rrlnet.pair_augmentation == PairAugmentation("published")
    assert kglnet.optimizer == Optimizer("adam", 5e-3, weight_decay=0.0, rates={"metric": 5e-5}, schedule="constant")
    assert kglnet.pair_augmentation == PairAugmentation("published", (0.95, 1.1), 0.1)
    assert (kglnet.steps, kglnet.batch) == (54_200, 256)


def test_the_published_recipe_is_the_published_one() -> None:
    recipe = load_recipe("sdgmnet")
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
    assert (hynet.measure, hynet.margin, hynet.norm, hynet.candidates) == ("hybrid", 1.2, 0.1, "all")
    assert build_loss(hynet, 10).takes_unnormalized
    assert build_loss(loss_options("sdgm")(memory=0.005), 200_000).momentum == pytest.approx(0.999)
    assert build_loss(loss_options("soft-margin")(), 100_000).momentum == pytest.approx(0.99)
    assert build_loss(loss_options("soft-margin")(memory=0.0), 100).momentum == 0.0


@pytest.mark.parametrize("name", ["sdgm", "soft-margin"])
def test_a_time_constant_in_batches_does_not_shrink_with_the_run(name: str) -> None:
    for steps in (300, 200_000):
        loss = build_loss(loss_options(name)(batches=100), steps)
        assert (loss.momentum, loss.unbiased) == (pytest.approx(0.99), True)
    assert not build_loss(loss_options(name)(), 300).unbiased


def test_a_dumped_recipe_loads_as_itself(tmp_path: Path) -> None:
    recipe = dataclasses.replace(Recipe(data="x"), steps=None, minutes=2.5, compile="off")
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


def test_tables_and_presets_of_relaters_survive_a_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(
        data="x", network="rrlnet", options={"attention": False, "aux_stages": [1, 2]}, norm_momentum=0.1,
        loss=loss_options("rrlnet")(modules=False), optimizer=Optimizer(rates={"decoders": 1e-3}),
        pair_augmentation=PairAugmentation("corrected", (0.9, 1.1), 0.05),
    )  # fmt: skip
    again = load_recipe(write(tmp_path, dump_recipe(recipe)))
    assert again == recipe
    assert isinstance(again.pair_augmentation.scale, tuple)
    assert not build_loss(again.loss, 1).with_modules


@pytest.mark.parametrize("network", nets.relaters())
def test_a_relaters_options_are_its_own(network: str) -> None:
    assert network_options(Recipe(network=network, options={"a": 1})) == {"a": 1}
    assert network_options(Recipe(network="hardnet", options={"a": 1}, dropout=0.2)) == {"dropout": 0.2, "a": 1}


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
        ("options: 3", "options is a table of keys, not 3"),
        ("options: [a]", r"options is a table of keys, not \['a'\]"),
        ("optimizer: {rates: 1e-3}", r"optimizer\.rates is a table of keys, not '1e-3'"),
        ("optimizer: {rates: {metric: fast}}", r"optimizer\.rates\.metric is 'fast': give a number"),
        ("optimizer: {rates: {metric: true}}", r"optimizer\.rates\.metric is True: give a number"),
        ("optimizer: {name: adamw}", r"optimizer\.name is 'adamw': choose one of sgd, adam, nadam"),
        ("norm_momentum: low", "norm_momentum is 'low': give a number"),
        ("selection: test", "selection is 'test': choose one of best, last, paper"),
        ("validation: {by: images}", r"validation\.by is 'images': choose one of scenes, points"),
        ("pair_augmentation: {preset: both}", r"pair_augmentation\.preset is 'both': choose one of none, published"),
        ("pair_augmentation: {scale: 1.05}", r"pair_augmentation\.scale is 1\.05: give 2 numbers"),
        ("pair_augmentation: {scale: [1.1, 0.9]}", r"r\.yaml: pair_augmentation\.scale is \(1\.1, 0\.9\): give two"),
        ("pair_augmentation: {crop: 0.5}", r"r\.yaml: pair_augmentation\.crop is 0\.5: give a share"),
        ("loss: {name: rrlnet, stage: false}", r"unknown key loss\.stage: did you mean loss\.stages\?"),
        ("loss: {name: rrlnet, modules: 1}", r"loss\.modules is 1: give bool"),
        ("- a", "a recipe is a table"),
        ("a: [", "is not YAML"),
    ],
)
def test_wrong_keys_and_types_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(write(tmp_path, text))
    assert str(tmp_path / "r.yaml") in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch\.yaml: no such file, and no such recipe"):
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
        ("seed: -1", "seed"),
        ("norm_momentum: 0", "norm_momentum"),
        ("norm_momentum: 1.5", "norm_momentum"),
        ("optimizer: {eps: 0}", "optimizer.eps"),
        ("optimizer: {rates: {layer1: 0}}", "optimizer.rates.layer1"),
        ("optimizer: {rates: {layer1: .nan}}", "optimizer.rates.layer1"),
        ("selection: paper", "selection and validation.test_data"),
        ("validation: {test_data: y}", "selection and validation.test_data"),
        ("network: rrlnet\nloss: {name: rrlnet, pixel: -1}", "loss.pixel"),
        ("network: spimnet\nloss: {name: spimnet}", "perceptual"),
        ("network: nosuch", "network"),
        ("minutes: 3", "steps and minutes"),
        ("data: ''", "data"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, text: str, key: str) -> None:
    data = "" if "data" in text else "data: x\n"
    with pytest.raises(InputError, match=f"keys? {key.replace('.', chr(92) + '.')}"):
        check(load_recipe(write(tmp_path, data + text)))


@pytest.mark.parametrize(
    ("networks", "names"), [(nets.relaters(), losses.names()), (nets.describers(), losses.relation_names())]
)
def test_losses_of_the_other_kind_are_refused(networks: list[str], names: list[str]) -> None:
    fitting = losses.names() if names == losses.relation_names() else losses.relation_names()
    for network in networks:
        for name in names:
            with pytest.raises(InputError) as caught:
                check(Recipe(data="x", network=network, loss=loss_options(name)()))
            assert str(caught.value) == (
                f"recipe key loss.name is '{name}', which does not train {network}: choose one of {', '.join(fitting)}"
            )


def test_a_network_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"network is 'nosuch': there are 2channel, .*rrlnet, .*tfeat$"):
        check(Recipe(data="x", network="nosuch"))


@pytest.mark.parametrize(("perceptual", "weight"), [("none", 30.0), ("vgg19.pth", 30.0), ("sdgmnet", 0.0)])
def test_spimnets_loss_compares_colour_by_vgg19_or_not_at_all(perceptual: str, weight: float) -> None:
    loss = loss_options("spimnet")(perceptual=weight)
    assert check(Recipe(data="x", network="spimnet", loss=loss, perceptual=perceptual)).perceptual == perceptual
    with pytest.raises(
        InputError, match=r"perceptual is sdgmnet, .* of grey patches, but the loss spimnet compares RGB"
    ):
        check(Recipe(data="x", network="spimnet", loss=loss_options("spimnet")()))


def test_yaml_forms_that_mislead_are_read_as_meant(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "compile: off\noptimizer: {weight_decay: 1e-4}\ncheckpoint_seconds: 5"))
    assert recipe.compile == "off"
    assert recipe.optimizer.weight_decay == 1e-4
    assert recipe.checkpoint_seconds == 5.0


def test_recipes_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    shutil.copy(RECIPES / "scenes" / "hardnet.yaml", copy)
    assert load_recipe("scenes/hardnet") == load_recipe(copy) == load_recipe(str(copy))
    assert load_recipe("hardnet") == load_recipe(RECIPES / "hardnet.yaml") != load_recipe("scenes/hardnet")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("hardnt", "hardnet"), ("scene/hardnet", "scenes/hardnet"), ("hardnet.yaml", "hardnet"), ("zzz", "2channel")],
)
def test_a_wrong_name_lists_the_recipes_with_the_nearest_first(name: str, nearest: str) -> None:
    with pytest.raises(InputError) as raised:
        load_recipe(name)
    head, _, listed = str(raised.value).partition(": there are ")
    assert head == f"{name}: no such file, and no such recipe"
    assert listed.split(", ")[0] == nearest
    assert sorted(listed.split(", ")) == recipe_names()

"""Comparisons: one budget for all, runs that are there are kept, mean and spread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
from synthetic import colmap_project, small_patch_set

from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.models.describer import Describer
from tiepoint.patches import PatchSet
from tiepoint.training.compare import Trained, combine, compare, in_percent, summarise
from tiepoint.training.recipe import Augmentation, Optimizer, Recipe, Validation, loss_options
from tiepoint.training.recipe_file import dump_recipe

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return small_patch_set(tmp_path_factory.mktemp("data") / "set", points=60, per_point=3, margin=1.5)


@pytest.fixture
def base(data: PatchSet) -> Recipe:
    return Recipe(
        data=str(data.directory), network="hardnet", steps=3, batch=8, compile="off", log_every=1,
        validation=Validation(fraction=0.2, every=0.5), augmentation=Augmentation(noise="easy"),
    )  # fmt: skip


def systems() -> dict[str, Recipe]:
    return {
        "hynet": Recipe(network="hardnet", loss=loss_options("hynet")(), optimizer=Optimizer(name="adam", lr=0.002)),
        "sdgmnet": Recipe(network="hardnet", steps=999, batch=999),
    }


def test_combine_takes_the_system_from_the_recipe_and_the_budget_from_the_base(base: Recipe) -> None:
    recipe = replace(systems()["hynet"], steps=1, augmentation=Augmentation(noise="tough"), options={"a": 1})
    base = replace(base, optimizer=Optimizer(schedule="linear", lr=7.0), options={"b": 2})
    combined = combine(recipe, base, 5)
    assert (combined.network, combined.options, combined.loss) == ("hardnet", {"a": 1}, recipe.loss)
    assert combined.seed == 5
    assert combined.optimizer == replace(recipe.optimizer, schedule="linear")
    assert (combined.steps, combined.batch, combined.data) == (base.steps, base.batch, base.data)
    assert combined.augmentation == base.augmentation


def test_every_recipe_is_trained_with_every_seed_and_measured_once(base: Recipe, tmp_path: Path) -> None:
    seen: list[str] = []

    def measure(describers: Mapping[str, Describer]) -> dict[str, dict[str, float]]:
        seen.extend(describers)
        patches = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        return {name: {"first": float(describer(patches)[0, 0])} for name, describer in describers.items()}

    runs = compare(systems(), base, [1, 2], tmp_path / "out", measure)
    assert [(run.name, run.seed) for run in runs] == [("hynet", 1), ("sdgmnet", 1), ("hynet", 2), ("sdgmnet", 2)]
    assert seen == ["hynet-1", "sdgmnet-1", "hynet-2", "sdgmnet-2"]
    assert len({run.figures["first"] for run in runs}) == 4

    steps: list[str] = []
    again = compare(systems(), base, [1, 2], tmp_path / "out", measure, lambda run, status: steps.append(run))
    assert not steps  # nothing is trained a second time
    assert [run.figures for run in again] == [run.figures for run in runs]


def test_another_budget_in_the_same_folder_is_refused(base: Recipe, tmp_path: Path) -> None:
    def measure(describers: Mapping[str, Describer]) -> dict[str, dict[str, float]]:
        return {name: {"figure": 0.0} for name in describers}

    compare(systems(), base, [1], tmp_path, measure)
    with pytest.raises(InputError, match="holds a run of another recipe"):
        compare(systems(), replace(base, batch=9), [1], tmp_path, measure)


@pytest.mark.parametrize(("names", "seeds"), [((), [1]), (("sdgmnet",), [])])
def test_nothing_to_compare_is_refused(names: tuple[str, ...], seeds: list[int], base: Recipe, tmp_path: Path) -> None:
    chosen = {name: systems()[name] for name in names}
    with pytest.raises(InputError, match="at least one recipe and one seed"):
        compare(chosen, base, seeds, tmp_path, lambda describers: {})


def test_summary_is_mean_and_sample_deviation_in_the_order_of_the_recipes() -> None:
    values = np.random.default_rng(0).normal(size=6).tolist()
    runs = [Trained(name, seed, 0.0, 1.0, {"x": values.pop()}) for seed in (1, 2, 3) for name in ("b", "a")]
    first, second = summarise(runs)
    own = [run.figures["x"] for run in runs if run.name == "b"]
    assert (first.name, second.name, first.seeds) == ("b", "a", 3)
    assert first.mean["x"] == mean(own)
    assert first.spread["x"] == stdev(own)
    assert summarise(runs[:1])[0].spread == {"x": None}


def test_numbers_are_written_with_their_spread() -> None:
    assert in_percent(0.01234, 0.00056) == "1.23 ± 0.06"
    assert in_percent(0.01234, None) == "1.23"


@pytest.mark.slow
def test_the_command_writes_table_figure_and_result(
    base: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = colmap_project(tmp_path / "scene", points=40, cameras=3)
    for name, recipe in (*systems().items(), ("base", base)):
        (tmp_path / f"{name}.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    words = [
        "compare",
        str(tmp_path / "hynet.yaml"),
        str(tmp_path / "sdgmnet.yaml"),
        "--base",
        str(tmp_path / "base.yaml"),
    ]
    out = tmp_path / "out"
    assert main([*words, "--seeds", "2", "--scenes", str(scene.directory), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert result["selection"] == "best on validation"
    assert [summary["name"] for summary in result["summary"]] == ["hynet", "sdgmnet"]
    assert len(result["runs"]) == 4
    for level in ("none", "easy", "hard", "tough"):
        figures = [run["figures"][f"scenes, {level}: FPR95"] for run in result["runs"] if run["name"] == "hynet"]
        assert result["summary"][0]["mean"][f"scenes, {level}: FPR95"] == mean(figures)
        assert all(0 <= figure <= 1 for figure in figures)
    table = (out / "comparison.md").read_text(encoding="utf-8").splitlines()
    assert [row.split("|")[1].strip() for row in table] == ["recipe", "---", "hynet", "sdgmnet"]
    first, spread = (result["summary"][0][key]["scenes, none: FPR95"] for key in ("mean", "spread"))
    assert [row.split("|")[2].strip() for row in table][::2] == ["scenes, none: FPR95 (%)", in_percent(first, spread)]
    assert (out / "comparison.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.yaml"], "a.yaml: no such file, and no such recipe"),
        (["{0}/hynet.yaml", "{0}/hynet.yaml", "--scenes", "x"], "a second recipe called hynet"),
        (["{0}/hynet.yaml"], "name something to measure on"),
    ],
)
def test_what_cannot_be_compared_is_named(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hynet.yaml").write_text(dump_recipe(systems()["hynet"]), encoding="utf-8")
    assert main(["compare", *(word.format(tmp_path) for word in words)]) == 2
    assert message in capsys.readouterr().err

"""`tiepoint train`: keys of any loss can be changed on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cross_set import cross_set
from synthetic import small_patch_set

from tiepoint.cli import main
from tiepoint.training.recipe_file import load_recipe

pytestmark = pytest.mark.whole
SHORT = ["--steps", "2", "--batch", "6", "--compile", "off", "--precision", "fp32", "--validation.fraction", "0.2"]


def train(tmp_path: Path, *words: str) -> int:
    data = tmp_path / "set"
    if not data.exists():
        small_patch_set(data, points=30)
    common = ["--data", str(data), "--out", str(tmp_path / "run"), *SHORT]
    return main(["train", "hardnet", *common, *words])


def test_an_option_of_the_recipes_loss(tmp_path: Path) -> None:
    assert train(tmp_path, "--loss.margin", "0.5", "--loss.form", "softmin") == 0
    loss = load_recipe(tmp_path / "run" / "recipe.yaml").loss
    assert (loss.name, loss.margin, loss.form) == ("hardnet", 0.5, "softmin")  # type: ignore[attr-defined]


def test_the_validation_error_is_a_share_for_programs_and_in_percent_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path) == 0
    said = capsys.readouterr().out
    assert train(tmp_path, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    logged = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    share = min(line["validation_fpr95"] for line in logged if "validation_fpr95" in line)
    assert 0 < share < 1
    assert share == result["validation_fpr95"] == card["result"]["validation_fpr95"]
    assert share == json.loads((tmp_path / "run" / "result.json").read_text())["validation_fpr95"]
    assert f"{100 * share:.2f} %" in said


def test_another_loss_brings_its_own_options_and_presets(tmp_path: Path) -> None:
    assert train(tmp_path, "--loss.name", "sosnet", "--loss.neighbours", "3") == 0
    loss = load_recipe(tmp_path / "run" / "recipe.yaml").loss
    assert (loss.name, loss.neighbours, loss.form) == ("sosnet", 3, "squared_hinge")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--options.dimension", "16"), {"dimension": 16}),
        (("--options.dimension=16",), {"dimension": 16}),
        ((), {}),
    ],
)
def test_a_relaters_options_and_rates_need_not_be_in_its_recipe(
    words: tuple[str, ...], expected: dict[str, int], tmp_path: Path
) -> None:
    cross_set(tmp_path / "set")
    command = ["train", "pnnet", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run")]
    assert main([*command, *SHORT, "--optimizer.rates.tower", "1e-3", *words]) == 0
    recipe = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert recipe.options == expected
    assert recipe.optimizer.rates == {"tower": 1e-3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--options.dimension",), "--options.dimension: give a value"),
        (("--options.dimension", "--json"), "--options.dimension: give a value"),
        (("--options.dimension", "[1"), "recipe key options.dimension is '[1': not YAML"),
        (("--options.width", "3"), "network hardnet: L2Net.__init__() got an unexpected keyword argument 'width'"),
        (("--optimizer.rates.layer1", "fast"), "command line: optimizer.rates.layer1 is 'fast': give a number"),
        (("--optimizer.rates.nosuch", "1"), "recipe key optimizer.rates names nosuch"),
        (("--loss.name", "nosuch"), "no loss 'nosuch'"),
        (("--loss.bins", "5"), "loss.bins"),
        (("--loss.margin", "-1"), "recipe key loss.margin is -1"),
        (("--loss.name",), "loss.name"),
    ],
)
def test_what_a_loss_does_not_take_is_named(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

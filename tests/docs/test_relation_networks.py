"""docs/relation_networks.md: its Python runs, its names exist, and it says of every relater how it was trained."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from aligned_images import write_pair
from page_code import commands

from tiepoint import losses, nets
from tiepoint.cli import main
from tiepoint.training.recipe import Recipe, loss_options
from tiepoint.training.recipe_file import recipe_names

ROOT = Path(__file__).parents[2]
SHORT = ["--steps", "1", "--batch", "4", "--compile", "off", "--validation.fraction", "0.2", "--validation.pairs", "8"]
PAGE = (ROOT / "docs" / "relation_networks.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick_weights")
def test_the_python_of_the_page_runs() -> None:
    parts = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(parts) == 5
    names: dict[str, object] = {}
    for part in parts:  # in the page's order: each goes on with the names of those before
        exec(part, names)
    assert isinstance(names["same"], torch.Tensor)
    assert torch.equal(names["same"], names["probabilities"])


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.usefixtures("quick_weights")
def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, seeds in (("my-images", range(5)), ("my-test-images", range(5, 7))):
        for seed in seeds:
            write_pair(tmp_path / folder, f"{seed:04d}", seed)
    monkeypatch.chdir(tmp_path)
    found = commands(ROOT / "docs" / "relation_networks.md")
    assert [command.split()[1] for command in found] == ["data", "data", "train", "evaluate", "train"]
    for command in found:
        assert main([*shlex.split(command)[1:], *(SHORT if " train " in command else [])]) == 0
    result = json.loads((tmp_path / "runs" / "rrlnet" / "result.json").read_text(encoding="utf-8"))
    assert result["selection"] == "paper"
    assert result["validation"].endswith("of test data")


@pytest.mark.parametrize("section", ["Sizes", "Training"])
def test_every_relater_has_its_row(section: str) -> None:
    assert sorted(re.findall(r"`([^`]+)`", " ".join(row[0] for row in rows(section)))) == nets.relaters()


def test_every_loss_of_relaters_has_its_row_and_options() -> None:
    found: set[str] = set()
    for row in rows("Losses"):
        of_row = re.findall(r"`([^`]+)`", row[0])
        found |= set(of_row)
        known = {key for name in of_row for key in vars(loss_options(name)())}
        named = set(re.findall(r"`([^`]+)`", row[-1])) - {"bce"}
        assert named <= known
    assert sorted(found) == losses.relation_names()


@pytest.mark.usefixtures("quick_weights")
def test_recipes_and_keys_of_the_page_exist() -> None:
    named = {*re.findall(r"recipes? `([\w/-]+)`", PAGE), *re.findall(r"tiepoint train ([\w/-]+)", PAGE)}
    assert named == {"rrlnet-visnir", "visnir/sdgmnet", "rrlnet"}
    assert named <= {*recipe_names()}
    for key in re.findall(r"`(pair_augmentation|validation|optimizer)\.(\w+)", PAGE):
        assert hasattr(getattr(Recipe(), key[0]), key[1])
    for key in re.findall(r"`loss\.(\w+): ", PAGE):
        assert key in vars(loss_options("rrlnet")())
    for key in re.findall(r"`options\.(\w+): ", PAGE):
        nets.create("rrlnet", **{key: (3, 4) if key == "aux_stages" else False})


def rows(section: str) -> list[list[str]]:
    """Cells of the table's rows that begin with a name in code."""
    text = PAGE.split(f"## {section}\n")[1].split("## ")[0]
    return [row.strip("| ").split(" | ") for row in re.findall(r"^\| `.*", text, re.MULTILINE)]

"""docs/relation_networks.md: its Python runs, and it says of every relater how it was trained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tiepoint import nets

PAGE = (Path(__file__).parents[1] / "docs" / "relation_networks.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("quick_weights")
def test_the_python_of_the_page_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["same"], torch.Tensor)
    assert torch.equal(names["same"], names["probabilities"])


@pytest.mark.parametrize("section", ["Sizes", "Training"])
def test_every_relater_has_its_row(section: str) -> None:
    text = PAGE.split(f"## {section}\n")[1].split("## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", " ".join(rows))) == nets.relaters()

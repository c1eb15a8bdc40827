"""docs/architecture.md against the code: the rooms, their order, what each does, and the paths that it names."""

from __future__ import annotations

import ast
import re

from page_code import ROOT
from rooms import ROOMS

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def does(room: str) -> str:
    """First line of the docstring of a room, which is a module or a package."""
    package = ROOT / "tiepoint" / room
    path = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]


def test_the_table_is_the_house() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \| ([\w ]+) \|$", PAGE, re.MULTILINE)
    assert [row[1] for row in rows] == list(ROOMS)
    for number, (room, row) in enumerate(zip(ROOMS, rows, strict=True), start=1):
        may_import = "nothing" if number == 1 else "1" if number == 2 else f"1 to {number - 1}"
        assert row == (str(number), room, does(room), may_import)


def test_every_path_of_the_page_exists() -> None:
    named = re.findall(r"`((?:tiepoint|tests)/[\w/.]*)`", PAGE)
    linked = [f"docs/{link}" for link in re.findall(r"\]\(([\w/.]+)\)", PAGE)]
    assert len(named) > 10
    assert not [path for path in named + linked if not (ROOT / path).exists()]

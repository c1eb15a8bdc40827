"""docs/exit_codes.md says of every code what the command does."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from tiepoint.cli import VERBS, main
from tiepoint.cli.data import info
from tiepoint.errors import InputError

PAGE = (Path(__file__).parents[2] / "docs" / "exit_codes.md").read_text(encoding="utf-8")


def test_the_page_lists_every_code_and_no_other() -> None:
    code = inspect.getsource(importlib.import_module("tiepoint.cli"))
    returned = {int(number) for number in re.findall(r"return (?:0 if .* else )?(\d+)$", code, re.MULTILINE)}
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == returned | {1}


def test_the_page_lists_every_verb_that_can_return_1() -> None:
    sources = {
        verb: inspect.getsource(importlib.import_module(f"tiepoint.cli.{name}")) for verb, (name, _) in VERBS.items()
    }
    can = {verb for verb, source in sources.items() if re.search(r"return (1 if|0 if .* else 1)", source)}
    assert set(re.findall(r"^\| `([\w -]+)` \|", PAGE, re.MULTILINE)) == can


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (None, 0, ""),
        (InputError("two  \n words"), 2, "tiepoint: error: two words\n"),
        (PermissionError(13, "Permission denied", "x.png"), 2, "tiepoint: error: x.png: Permission denied: free space"),
        (KeyboardInterrupt(), 130, "tiepoint: interrupted\n"),
    ],
)
def test_what_stops_a_verb_gives_its_code(
    raised: BaseException | None,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def verb(*, json: bool = False) -> int:
        """Stop."""
        if raised is not None:
            raise raised
        return 0

    monkeypatch.setattr(info, "main", verb)
    assert main(["data", "info"]) == code
    assert capsys.readouterr().err.startswith(said)

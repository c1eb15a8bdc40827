from __future__ import annotations

from types import SimpleNamespace

import pytest

import tiepoint
from tiepoint.errors import InputError
from tiepoint.evaluation.provenance import SELECTIONS, selection_of, statement
from tiepoint.models.load import load


def test_a_statement_holds_the_version_and_what_is_added() -> None:
    found = statement("phototour", variant="hardnet", split="liberty -> notredame", pairs=100_000)
    assert found == {
        "protocol": "phototour",
        "variant": "hardnet",
        "split": "liberty -> notredame",
        "version": tiepoint.__version__,
        "selection": None,
        "pairs": 100_000,
    }


@pytest.mark.parametrize("selection", SELECTIONS)
def test_weights_chosen_on_the_test_data_are_marked(selection: str) -> None:
    found = statement("hpatches", variant="python", split="a", selection=selection)
    assert found["selection"] == selection
    assert found.get("test_selected", False) is (selection == "best on test")


def test_other_rules_are_refused() -> None:
    with pytest.raises(InputError, match="selection 'best': there are last, mean of last 10, best on validation"):
        statement("hpatches", variant="python", split="a", selection="best")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("best", "best on validation"),
        ("last", "last"),
        ("paper", "best on test"),
        ("best on test", "best on test"),
        ("mean of last 10", "mean of last 10"),
        ("luck", None),
        (None, None),
    ],
)
def test_the_card_says_how_weights_were_chosen(stated: str | None, expected: str | None) -> None:
    assert selection_of(SimpleNamespace(card={"result": {"selection": stated}})) == expected


def test_without_a_card_nothing_is_known() -> None:
    assert selection_of(load("sift")) is None
    assert selection_of(SimpleNamespace(card={"result": None})) is None

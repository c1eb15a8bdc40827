"""What a result has to say about itself, so that two numbers are compared only where they are comparable."""

from typing import Any, Literal, get_args

from tiepoint.errors import InputError
from tiepoint.version import __version__

Selection = Literal["last", "mean of last 10", "best on validation", "best on test"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
# What a recipe calls its choice of weights.
RULE_OF_RECIPE: dict[str, Selection] = {"best": "best on validation", "last": "last", "paper": "best on test"}


def statement(protocol: str, *, variant: str, split: str, selection: str | None = None, **more: Any) -> dict[str, Any]:
    """State a result: protocol, variant, split, the code's version, which epoch was measured, and `more`.

    `protocol` is such as "hpatches" or "phototour", `variant` one of it, such as "python" or "article", and `split`
    that of the data, such as "full" or "liberty -> notredame". `selection` is how the measured weights were chosen
    among those of a training run; None where that is unknown or nothing was trained. Nothing of `more` is copied or
    checked.

    Returns a dict ready for JSON where `more` is. Weights chosen on the test data carry `"test_selected": True`: their
    numbers flatter. Raises InputError for a `selection` that is not one of SELECTIONS.
    """
    if selection is not None and selection not in SELECTIONS:
        raise InputError(f"selection {selection!r}: there are {', '.join(SELECTIONS)}")
    stated = {"protocol": protocol, "variant": variant, "split": split, "version": __version__, "selection": selection}
    flatters = {"test_selected": True} if selection == "best on test" else {}
    return {**stated, **flatters, **more}


def selection_of(describer: Any) -> str | None:
    """How a describer's weights were chosen, read from its card; None where it has none or says nothing known."""
    stated = str((getattr(describer, "card", {}).get("result") or {}).get("selection"))
    chosen = RULE_OF_RECIPE.get(stated, stated)
    return chosen if chosen in SELECTIONS else None

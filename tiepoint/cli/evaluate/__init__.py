"""The verbs of `tiepoint evaluate`, and what they say alike."""


def selection_line(name: str, selection: str | None) -> str:
    """How the weights of a model were chosen, and a warning where that was done on the test data."""
    flatters = ": chosen on the test data, these figures flatter" if selection == "best on test" else ""
    return f"{name}: weights {selection or 'of unknown selection'}{flatters}"

"""PhotoTour's custom: train on each of the three sets, test on the other two, print six columns and their mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tiepoint.errors import InputError
from tiepoint.evaluation.provenance import selection_of
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer

SETS = ("liberty", "notredame", "yosemite")
SHORT = {"liberty": "LIB", "notredame": "ND", "yosemite": "YOS"}
COLUMNS = (
    ("notredame", "liberty"), ("yosemite", "liberty"),
    ("liberty", "notredame"), ("yosemite", "notredame"),
    ("liberty", "yosemite"), ("notredame", "yosemite"),
)  # fmt: skip
HEADER = (*(f"{SHORT[training]}→{SHORT[test]}" for training, test in COLUMNS), "mean")
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Model:
    """A describer with the set that it was trained on, None if on none of the three."""

    name: str  # as the user gave it
    training: str | None
    describer: Describer
    selection: str | None  # of tiepoint.evaluation.provenance.SELECTIONS, None where unknown


@dataclass(frozen=True)
class Row:
    """A line of the table: one system."""

    name: str
    models: dict[str, list[str]]  # training set -> names of the models, whose mean counts; ELSEWHERE for other data
    selection: str | None

    @property
    def trained(self) -> bool:
        """Whether on the three sets, not elsewhere."""
        return ELSEWHERE not in self.models

    def values(self, measured: Mapping[tuple[str, str], float]) -> list[float | None]:
        """Figures in the order of HEADER from those of (model, test set); None where there is none.

        A system trained elsewhere has one figure a test set, in the set's first column. The mean is over all columns of
        the system, None if one of them lacks.
        """
        columns: list[float | None] = []
        for index, (training, test) in enumerate(COLUMNS):
            names = self.models.get(training if self.trained or index % 2 else ELSEWHERE, [])
            figures = [measured[name, test] for name in names if (name, test) in measured]
            columns.append(float(np.mean(figures)) if figures else None)
        own = columns if self.trained else columns[::2]
        present = [value for value in own if value is not None]
        return [*columns, float(np.mean(present)) if len(present) == len(own) else None]


def read_models(words: Sequence[str], device: torch.device, selection: str | None = None) -> list[Model]:
    """Load describers given as SET=PATH, such as "liberty=runs/a", or as a name or path alone.

    Alone, a run's card may name its training set; one whose card names none of the three was trained elsewhere.
    `selection` says how the weights trained on the three sets were chosen; None: as their cards say. Raises InputError
    for no describer, one given twice or for another set than its card names, or one that cannot be loaded.
    """
    if not words:
        raise InputError("no model: give names or paths of describers")
    models: list[Model] = []
    for word in words:
        given, sign, name = word.partition("=")
        if given not in SETS or not name:
            if sign and not Path(word).exists():
                raise InputError(f"model {word}: write SET=PATH with one of {', '.join(SETS)}, or a name or path alone")
            given, name = "", word
        if name in (model.name for model in models):
            raise InputError(f"model {name} is given twice: give each once")
        describer = load_describer(name, device)
        known = set_of(describer.card.get("data"))
        if given and known and given != known:
            raise InputError(f"model {word}: its card says that it was trained on {known}: write {known}={name}")
        training = given or known
        stated = selection if training and selection else selection_of(describer)
        models.append(Model(name, training, describer, stated))
    return models


def set_of(manifest: Any) -> str | None:
    """Which of the three sets a PatchSet's manifest, or the `data` of a card, names; None for another."""
    provenance = (manifest or {}).get("provenance") or {}
    name = str(provenance.get("name")).removesuffix("_harris")  # the same scenes, other keypoints
    return name if name in SETS else None


def make_rows(models: Sequence[Model]) -> list[Row]:
    """One row for all models trained on the three sets, and one for each trained elsewhere.

    Several models of one training set, such as the last ten epochs or several seeds, count as their mean. Raises
    InputError for models chosen by different rules, or a number of models that contradicts "mean of last 10".
    """
    rows = [Row(model.name, {ELSEWHERE: [model.name]}, model.selection) for model in models if not model.training]
    trained = [model for model in models if model.training]
    if not trained:
        return rows
    rules = {model.selection or "unknown": model.name for model in trained}
    if len(rules) > 1:
        stated = ", ".join(f"{name} is {rule!r}" for rule, name in rules.items())
        raise InputError(f"one row, one rule of selection, but {stated}: measure them apart or state --selection")
    groups = {name: [m.name for m in trained if m.training == name] for name in SETS}
    groups = {name: group for name, group in groups.items() if group}
    selection = trained[0].selection
    if selection == "mean of last 10" and any(len(group) != 10 for group in groups.values()):
        counts = ", ".join(f"{len(group)} of {name}" for name, group in groups.items())
        raise InputError(f"mean of last 10 wants ten models of each training set, there are {counts}")
    kinds = {model.describer.name for model in trained}
    kind = kinds.pop() if len(kinds) == 1 else "models"
    return [Row(f"{kind} trained on PhotoTour", groups, selection), *rows]


def make_tables(
    rows: Sequence[Row], figures: Mapping[tuple[str, str], Mapping[str, float]]
) -> dict[str, list[list[float | None]]]:
    """Of every figure by name a table (rows, HEADER), from the figures of each (model, test set)."""
    names = next(iter(figures.values()))
    return {name: [row.values({key: own[name] for key, own in figures.items()}) for row in rows] for name in names}

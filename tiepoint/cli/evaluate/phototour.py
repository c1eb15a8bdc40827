"""`tiepoint evaluate phototour`: the PhotoTour sets, trained on one and tested on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tiepoint.cli.evaluate import selection_line
from tiepoint.cli.output import progress_bar, publish
from tiepoint.evaluation.options import Resize
from tiepoint.evaluation.provenance import Selection, statement

if TYPE_CHECKING:
    from tiepoint.evaluation.phototour.table import Model
    from tiepoint.patches import PatchSet

Protocol = Literal["fpr95", "revisited"]
FIGURES = {
    "fpr95_hardnet": "FPR95 (%), rule of HardNet and SDGMNet",
    "fpr95_hynet": "FPR95 (%), rule of HyNet",
    "fpr95_interpolate": "FPR95 (%), interpolated ROC curve",
    "fdr95": "FDR95 (%), a false discovery rate: compare it with no FPR95",
    "mean_ap": "Mean AP over images (%), brown_phototour_revisited, repaired",
    "mean_ap_released": "Mean AP over images (%), brown_phototour_revisited, as released",
}

EXAMPLES = {
    "--model sift --liberty phototour-liberty": "Measure SIFT on one set.",
    "--model liberty=runs/a --notredame phototour-notredame --json": "Measure a model trained on another set.",
}


def main(
    *,
    model: tuple[str, ...] = ("sift", "rootsift"),
    liberty: Path | None = None,
    notredame: Path | None = None,
    yosemite: Path | None = None,
    protocol: Protocol = "fpr95",
    resize: Resize = "antialias",
    selection: Selection | None = None,
    device: str = "auto",
    json: bool = False,
) -> None:
    """Measure describers on PhotoTour sets: FPR95 on the official pairs, or mean average precision over images.

    Args:
        model: Describers, each as SET=PATH with the set that it was trained on, such as liberty=runs/a. A name or path
            alone will do if its card names the set, or if it was trained elsewhere. Several of one set count as their
            mean.
        liberty: PatchSet of `tiepoint data phototour` to test on. Its hashes are verified.
        notredame: PatchSet of Notre Dame to test on.
        yosemite: PatchSet of Yosemite to test on.
        protocol: The error at 95 % recall on the official pairs (fpr95), or the mean average precision of
            brown_phototour_revisited, repaired and as released (revisited).
        resize: How patches are reduced: with antialiasing, or as the releases of HardNet and HyNet do, without (cv2).
        selection: How the weights trained on the sets were chosen (default: what their cards say).
        json: Print one JSON object, with rates as fractions.
    """
    from tiepoint.errors import InputError
    from tiepoint.evaluation.phototour.table import HEADER, SETS, make_rows, make_tables, read_models, set_of
    from tiepoint.models.device import choose_device
    from tiepoint.patches import PatchSet
    from tiepoint.version import __version__

    folders = {name: path for name, path in zip(SETS, (liberty, notredame, yosemite), strict=True) if path}
    if not folders:
        raise InputError("no set to test on: give --liberty, --notredame or --yosemite and the folder of a PatchSet")
    models = read_models(model, choose_device(device), selection)
    rows = make_rows(models)
    alone = next((m for m in models if set(folders) == {m.training}), None)
    if alone:
        raise InputError(f"model {alone.name}: was trained on {alone.training}, the only set to test on: give another")
    sets = {name: PatchSet.open(path, verify=True) for name, path in folders.items()}
    for name, patch_set in sets.items():
        if set_of(patch_set.manifest) not in (None, name):
            raise InputError(f"{patch_set.directory}: holds {set_of(patch_set.manifest)}, but is given as --{name}")
    scores = _measure(sets, models, protocol, resize)
    tables = make_tables(rows, {key: score.figures() for key, score in scores.items()})
    settings: dict[str, Any] = {"variant": protocol, "resize": resize}
    by_name = {model.name: model for model in models}
    report = {
        "protocol": "phototour",
        **settings,
        "version": __version__,
        "data": {name: str(path) for name, path in folders.items()},
        "columns": HEADER,
        "systems": [
            statement("phototour", split="train -> test", selection=row.selection, **settings)
            | {"system": row.name, "models": row.models, "figures": {name: table[i] for name, table in tables.items()}}
            for i, row in enumerate(rows)
        ],
        "results": [
            statement("phototour", split=f"{m.training or 'elsewhere'} -> {test}", selection=m.selection, **settings)
            | {"model": m.name, **score.numbers()}
            for m, test, score in ((by_name[name], test, score) for (name, test), score in scores.items())
        ],
    }
    shown = []
    for name, table in tables.items():
        percent = [["–" if value is None else f"{100 * value:.3f}" for value in values] for values in table]
        cells = [(row.name, *values) for row, values in zip(rows, percent, strict=True)]
        shown.append((FIGURES[name], ("train → test", *HEADER), cells))
    lines = [selection_line(row.name, row.selection) for row in rows if row.selection or row.trained]
    lines.append(f"PhotoTour, {protocol}, patches resized by {resize}, tiepoint {__version__}")
    publish(report, json, shown, lines)


def _measure(
    sets: Mapping[str, PatchSet], models: Sequence[Model], protocol: Protocol, resize: Resize
) -> dict[tuple[str, str], Any]:
    """Scores by (model, test set); no model is tested on the set that it was trained on."""
    from tiepoint.evaluation.phototour.fpr95 import evaluate_phototour, official_pairs
    from tiepoint.evaluation.phototour.revisited import evaluate_revisited

    # All lists are read before the first set is measured, which takes minutes.
    pairs = {test: official_pairs(data) for test, data in sets.items()} if protocol == "fpr95" else {}
    scores: dict[tuple[str, str], Any] = {}
    for test, data in sets.items():
        describers = {m.name: m.describer for m in models if m.training != test}
        with progress_bar(f"describing {test}") as advance:
            found: Mapping[str, Any]
            if protocol == "fpr95":
                found = evaluate_phototour(data, describers, pairs=pairs[test], resize=resize, progress=advance)
            else:
                found = evaluate_revisited(data, describers, resize=resize, progress=advance)
        scores |= {(name, test): score for name, score in found.items()}
    return scores

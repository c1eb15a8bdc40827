"""`tiepoint evaluate cross-spectral`: patch matching across two spectra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from tiepoint.cli.evaluate import selection_line
from tiepoint.cli.output import Table, note, progress_bar, publish
from tiepoint.evaluation.options import CrossSpectralOptions

if TYPE_CHECKING:
    from tiepoint.evaluation.cross_spectral import CrossScore

EXAMPLES = {
    "visnir-test --model rrlnet-visnir rootsift": "Compare a relater and a describer.",
    "visnir-test --model runs/mine --page errors.html": "Show the worst errors of a model as a page.",
}


def main(
    data: Positional[Path],
    /,
    *,
    model: tuple[str, ...] = ("rootsift",),
    plot: Path | None = None,
    page: Path | None = None,
    device: str = "auto",
    json: bool = False,
    protocol: CrossSpectralOptions = CrossSpectralOptions(),
) -> None:
    """Measure relaters and describers on pairs of two spectra: the error at 95 % recall of each category.

    Args:
        data: PatchSet of two spectra. Its hashes are verified.
        model: Names or paths of relaters and describers, all measured on the same pairs.
        plot: File (.png, .pdf or .svg) for the ROC curves of all categories together.
        page: File (.html) for a page of the worst false matches and misses.
        json: Print one JSON object, with rates as fractions.
        protocol: Which pairs are measured, and how.
    """
    from tiepoint.errors import InputError
    from tiepoint.evaluation.cross_spectral import evaluate_cross_spectral
    from tiepoint.evaluation.metrics import fpr95, roc
    from tiepoint.evaluation.plots import Curve, check_suffix, plot_roc
    from tiepoint.evaluation.provenance import selection_of, statement
    from tiepoint.files import write_text
    from tiepoint.models.device import choose_device
    from tiepoint.models.load import load
    from tiepoint.patches import PatchSet
    from tiepoint.report.failures import failures_page
    from tiepoint.version import __version__

    if plot:
        check_suffix(plot)
    if page and page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{page}: is not the name of a page: use .html")
    on = choose_device(device)
    models: dict[str, Any] = {name: load(name, on) for name in model}
    patch_set = PatchSet.open(data, verify=True)
    with progress_bar("measuring") as advance:
        scores = evaluate_cross_spectral(patch_set, models, protocol, progress=advance)
    origin = f"seed {protocol.seed}" if patch_set.pairs is None else "its own pairs"
    if plot:
        curves = [
            Curve(name, *roc(score.pairs.labels, score.scores)[:2], fpr95(score.pairs.labels, score.scores))
            for name, score in scores.items()
        ]
        plot_roc(curves, plot, f"{data.resolve().name}: all categories together, {origin}")
    if page:
        write_text(page, failures_page(patch_set, scores))
    selections = {name: selection_of(found) for name, found in models.items()}
    spectra = " and ".join(patch_set.manifest["spectra"])
    lines = [
        *(selection_line(name, selection) for name, selection in selections.items() if selection),
        f"{data}: {spectra}, {origin}, rule {protocol.rule}, tiepoint {__version__}",
    ]
    rates = "FDR95 %, compare it with no FPR95" if protocol.rule == "fdr" else "FPR95 %"
    own = patch_set.pairs is not None
    settings: dict[str, Any] = {
        "variant": "pairs of the data set" if own else "seeded pairs",
        "split": patch_set.directory.resolve().name,
    }
    report = statement(
        "cross-spectral",
        **settings,
        data=str(patch_set.directory),
        spectra=patch_set.manifest["spectra"],
        count=None if own else protocol.count,
        seed=None if own else protocol.seed,
        rule=protocol.rule,
        any_spectra=protocol.any_spectra,
        models=list(scores),
        results=[  # what each model's figures say, since some may be chosen on the test data
            statement("cross-spectral", **settings, selection=selections[name], model=name, **score.numbers())
            for name, score in scores.items()
        ],
    )
    publish(report, json, _tables(scores, rates), lines)
    note(plot, page)


def _tables(scores: Mapping[str, CrossScore], title: str) -> list[Table]:
    """One row a model: the errors of the categories and their mean; for relaters a second table, of calibration."""
    categories = list(next(iter(scores.values())).errors) if scores else []
    rows = [
        (name, *(f"{100 * error:.2f}" for error in (*score.errors.values(), score.mean, score.average_precision)))
        for name, score in scores.items()
    ]
    tables: list[Table] = [(title, ("model", *categories, "mean", "AP %"), rows)]
    relaters = {name: score for name, score in scores.items() if score.temperature is not None}
    if relaters:
        known = [(name, score.temperature, score.ece, score.ece_uncalibrated) for name, score in relaters.items()]
        header = ("model", "temperature", "ECE", "at T = 1")
        tables.append(("Calibration error of match probabilities", header, known))
    return tables

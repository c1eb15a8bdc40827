"""`tiepoint evaluate cross-spectral`: patch matching across two spectra."""

from __future__ import annotations

import json as json_lib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.evaluation.options import CrossSpectralOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiepoint.evaluation.cross_spectral import CrossScore
    from tiepoint.patches import PatchSet


EXAMPLES = (
    (
        "tiepoint evaluate cross-spectral visnir-test --model rrlnet-visnir rootsift",
        "Compare a relater and a describer.",
    ),
    (
        "tiepoint evaluate cross-spectral visnir-test --model runs/mine --page errors.html",
        "Show the worst errors of a model as a page.",
    ),
)


def main(
    data: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    model: tuple[str, ...] = ("rootsift",),
    plot: Path | None = None,
    page: Path | None = None,
    device: str = "auto",
    json: bool = False,
    protocol: CrossSpectralOptions = CrossSpectralOptions(),
) -> int:
    """Measure relaters and describers on pairs of two spectra: the error at 95 % recall of each category.

    Args:
        data: a PatchSet of two spectra; its hashes are verified
        model: relaters and describers, names or paths, all measured on the same pairs
        plot: where to draw the ROC curves of all categories together (.png, .pdf, .svg)
        page: where to write the worst false matches and misses as a page (.html)
        device: auto, cpu, cuda ...
        json: print one JSON object, rates as fractions
        protocol: which pairs are measured, and how
    """
    from tiepoint.errors import InputError
    from tiepoint.evaluation.cross_spectral import evaluate_cross_spectral
    from tiepoint.evaluation.plots import check_suffix
    from tiepoint.evaluation.provenance import selection_of
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
    with progress_bar("measuring", quiet=json) as advance:
        scores = evaluate_cross_spectral(patch_set, models, protocol, progress=advance)
    origin = f"seed {protocol.seed}" if patch_set.pairs is None else "its own pairs"
    if plot:
        _plot(scores, plot, f"{data.resolve().name}: all categories together, {origin}")
    if page:
        write_text(page, failures_page(patch_set, scores))
    selections = {name: selection_of(found) for name, found in models.items()}
    if json:
        report = _report(patch_set, scores, selections, protocol)
        print(json_lib.dumps(report, allow_nan=False))
        return 0
    _print_tables(scores, "FDR95 %, compare it with no FPR95" if protocol.rule == "fdr" else "FPR95 %")
    for name, selection in selections.items():
        if selection:
            flatters = ": chosen on the test data, these figures flatter" if selection == "best on test" else ""
            print(f"{name}: weights {selection}{flatters}")
    spectra = " and ".join(patch_set.manifest["spectra"])
    print(f"{data}: {spectra}, {origin}, rule {protocol.rule}, tiepoint {__version__}")
    return 0


def _print_tables(scores: Mapping[str, CrossScore], title: str) -> None:
    """One row a model: the errors of the categories and their mean; for relaters a second table, of calibration."""
    categories = list(next(iter(scores.values())).errors) if scores else []
    rows = [
        (name, *(f"{100 * error:.2f}" for error in (*score.errors.values(), score.mean, score.average_precision)))
        for name, score in scores.items()
    ]
    emit_table(title, ("model", *categories, "mean", "AP %"), rows)
    calibrated = [
        (name, score.temperature, score.ece, score.ece_uncalibrated)
        for name, score in scores.items()
        if score.temperature is not None
    ]
    if calibrated:
        emit_table("Calibration error of match probabilities", ("model", "temperature", "ECE", "at T = 1"), calibrated)


def _plot(scores: Mapping[str, CrossScore], path: Path, title: str) -> None:
    from tiepoint.evaluation.metrics import fpr95, roc
    from tiepoint.evaluation.plots import Curve, plot_roc

    curves = [
        Curve(name, *roc(score.pairs.labels, score.scores)[:2], fpr95(score.pairs.labels, score.scores))
        for name, score in scores.items()
    ]
    plot_roc(curves, path, title)


def _report(
    patch_set: PatchSet,
    scores: Mapping[str, CrossScore],
    selections: Mapping[str, str | None],
    protocol: CrossSpectralOptions,
) -> dict[str, Any]:
    """What the run says of itself, and what each model's figures say, since some may be chosen on the test data."""
    from tiepoint.evaluation.provenance import statement

    own = patch_set.pairs is not None
    settings: dict[str, Any] = {
        "variant": "pairs of the data set" if own else "seeded pairs",
        "split": patch_set.directory.resolve().name,
    }
    return statement(
        "cross-spectral",
        **settings,
        data=str(patch_set.directory),
        spectra=patch_set.manifest["spectra"],
        count=None if own else protocol.count,
        seed=None if own else protocol.seed,
        rule=protocol.rule,
        any_spectra=protocol.any_spectra,
        models=list(scores),
        results=[
            statement("cross-spectral", **settings, selection=selections[name], model=name, **score.numbers())
            for name, score in scores.items()
        ],
    )

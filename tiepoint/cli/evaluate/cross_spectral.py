"""`tiepoint evaluate cross-spectral`: patch matching across two spectra."""

from __future__ import annotations

import json as json_lib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tiepoint.cli.output import emit_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiepoint.evaluation.cross_spectral import CrossScore
    from tiepoint.patches import PatchSet

Rule = Literal["interpolate", "hardnet", "hynet", "nearest", "fdr"]


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
    count: int = 2500,
    seed: int = 0,
    rule: Rule = "interpolate",
    plot: Path | None = None,
    page: Path | None = None,
    any_spectra: bool = False,
    device: str = "auto",
    json: bool = False,
) -> int:
    """Measure relaters and describers on pairs of two spectra: the error at 95 % recall of each category.

    Args:
        data: a PatchSet of two spectra; its hashes are verified
        model: relaters and describers, names or paths, all measured on the same pairs
        count: matches a category, and as many non-matches; sets with pairs of their own are measured on those
        seed: of the pairs
        rule: of the error at 95 % recall; fdr is a false discovery rate, to be compared with no FPR95
        plot: where to draw the ROC curves of all categories together (.png, .pdf, .svg)
        page: where to write the worst false matches and misses as a page (.html)
        any_spectra: measure relaters of other spectra, too
        device: auto, cpu, cuda ...
        json: print one JSON object, rates as fractions
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
        raise InputError(f"{page}: is no name of a page: use .html")
    on = choose_device(device)
    models: dict[str, Any] = {name: load(name, on) for name in model}
    patch_set = PatchSet.open(data, verify=True)
    with progress_bar("measuring", quiet=json) as advance:
        scores = evaluate_cross_spectral(
            patch_set, models, count=count, seed=seed, rule=rule, any_spectra=any_spectra, progress=advance
        )
    origin = f"seed {seed}" if patch_set.pairs is None else "its own pairs"
    if plot:
        _plot(scores, plot, f"{data.resolve().name}: all categories together, {origin}")
    if page:
        write_text(page, failures_page(patch_set, scores))
    selections = {name: selection_of(found) for name, found in models.items()}
    if json:
        report = _report(patch_set, scores, selections, count=count, seed=seed, rule=rule, any_spectra=any_spectra)
        print(json_lib.dumps(report, allow_nan=False))
        return 0
    _print_tables(scores, "FDR95 %, compare it with no FPR95" if rule == "fdr" else "FPR95 %")
    for name, selection in selections.items():
        if selection:
            flatters = ": chosen on the test data, these figures flatter" if selection == "best on test" else ""
            print(f"{name}: weights {selection}{flatters}")
    spectra = " and ".join(patch_set.manifest["spectra"])
    print(f"{data}: {spectra}, {origin}, rule {rule}, tiepoint {__version__}")
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
    *,
    count: int,
    seed: int,
    rule: Rule,
    any_spectra: bool,
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
        count=None if own else count,
        seed=None if own else seed,
        rule=rule,
        any_spectra=any_spectra,
        models=list(scores),
        results=[
            statement("cross-spectral", **settings, selection=selections[name], model=name, **score.numbers())
            for name, score in scores.items()
        ],
    )

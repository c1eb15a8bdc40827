"""`tiepoint evaluate verification`: patch verification on a PatchSet."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import note, progress_bar, publish

EXAMPLES = {
    "patches --model sdgmnet rootsift": "Compare two describers on one PatchSet.",
    "patches --model runs/mine --plot roc.png": "Draw the ROC curves of a model of one's own.",
}


def main(
    data: Positional[Path],
    /,
    *,
    model: tuple[str, ...] = ("sdgmnet", "sift", "rootsift"),
    count: int = 10_000,
    seed: int = 0,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Measure describers on seeded, balanced pairs of a PatchSet: FPR95, average precision, ROC AUC.

    Args:
        data: PatchSet to measure on. Its hashes are verified.
        model: Names or paths of describers, all measured on the same pairs.
        count: Number of matches, and of non-matches of each kind.
        seed: Seed of the pairs.
        plot: File (.png, .pdf or .svg) for the ROC curves.
        json: Print one JSON object, with rates as fractions.
    """
    from tiepoint.evaluation.metrics import roc
    from tiepoint.evaluation.plots import Curve, check_suffix, plot_roc
    from tiepoint.evaluation.verification import evaluate_pairs
    from tiepoint.models.load import load_describer
    from tiepoint.patches import PatchSet
    from tiepoint.version import __version__

    if plot:
        check_suffix(plot)
    describers = {name: load_describer(name) for name in model}
    patch_set = PatchSet.open(data, verify=True)
    with progress_bar("describing") as advance:
        results = evaluate_pairs(patch_set, describers, count=count, seed=seed, progress=advance)
    each = [(name, kind, v) for name, kinds in results.items() for kind, v in kinds.items()]
    if plot:
        curves = [Curve(f"{name}, {kind}", *roc(v.labels, v.scores)[:2], v.fpr95) for name, kind, v in each]
        plot_roc(curves, plot, f"{data.resolve().name}: {count:,} matches, seed {seed}")
    report = {
        "protocol": "verification",
        "version": __version__,
        "data": str(data),
        "counts": patch_set.manifest["counts"],
        "count": count,
        "seed": seed,
        "models": list(describers),
        "results": {name: {kind: v.numbers() for kind, v in kinds.items()} for name, kinds in results.items()},
    }
    rows = [
        (name, kind, v.pairs, *(f"{100 * x:.2f}" for x in (v.fpr95, v.average_precision, v.roc_auc)))
        for name, kind, v in each
    ]
    title = f"Pairs of {data}: {count:,} matches, seed {seed}, tiepoint {__version__}"
    publish(report, json, [(title, ("model", "non-matches", "pairs", "FPR95 %", "AP %", "ROC AUC %"), rows)])
    note(plot)

"""`tiepoint evaluate scenes`: the scene protocol on COLMAP projects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from tiepoint.cli.output import note, progress_bar, publish

if TYPE_CHECKING:
    from tiepoint.evaluation.scenes import SceneScore

Level = Literal["none", "easy", "hard", "tough"]
MEASURES = {"fpr95": "FPR95 (%)", "fpr95_same_image": "FPR95 within the same image (%)", "top1": "Top-1 (%)"}

EXAMPLES = {
    "my-project --model sdgmnet rootsift": "Compare two describers on one scene.",
    "scenes/* --levels none hard --plot scenes.png": "Measure on several scenes and draw their mean.",
}


def main(
    projects: Positional[tuple[Path, ...]],
    /,
    *,
    model: tuple[str, ...] = ("sdgmnet", "sift", "rootsift"),
    levels: tuple[Level, ...] = ("none", "easy", "hard", "tough"),
    points: int = 2500,
    seed: int = 0,
    plot: Path | None = None,
    json: bool = False,
) -> None:
    """Measure describers by the scene protocol: each track's widest pair, with noise on the second keypoint's frame.

    Args:
        projects: COLMAP projects: folders with images/, sparse/ and database.db.
        model: Names or paths of describers, all measured on the same patches.
        levels: Levels of noise on the keypoint's frame.
        points: Number of points of each scene.
        seed: Seed of the points and of the noise.
        plot: File (.png, .pdf or .svg) for the ROC curves, averaged over the scenes.
        json: Print one JSON object, with rates as fractions.
    """
    from tiepoint.evaluation.plots import Curve, check_suffix, plot_roc
    from tiepoint.evaluation.provenance import selection_of, statement
    from tiepoint.evaluation.scenes import RECALLS, SUPPORT, evaluate_scenes, mean_scores
    from tiepoint.models.load import load_describer
    from tiepoint.version import __version__

    if plot:
        check_suffix(plot)
    describers = {name: load_describer(name) for name in model}
    with progress_bar("measuring") as advance:
        scores = evaluate_scenes(projects, describers, levels=levels, points=points, seed=seed, progress=advance)
    means = mean_scores(scores)
    if plot:
        curves = [Curve(f"{s.model}, {s.level}", s.curve, RECALLS, s.fpr95) for s in means]
        plot_roc(curves, plot, f"Mean of {len(projects)} scenes, {points:,} points a scene, seed {seed}")
    report = statement(
        "scenes",
        variant="widest pair of each track",
        split=", ".join(project.name for project in projects),
        projects=[str(project) for project in projects],
        points=points,
        seed=seed,
        support=SUPPORT,
        models=list(describers),
        selections={name: selection_of(describer) for name, describer in describers.items()},
        levels=list(levels),
        results=[score.numbers() for score in scores],
        mean=[score.numbers() for score in means],
    )
    header = ("scene", "model", *levels)
    tables = [(title, header, _rows([*scores, *means], measure)) for measure, title in MEASURES.items()]
    counts = {score.scene: score.points for score in scores}
    lines = (
        "Points: " + ", ".join(f"{scene} {count:,}" for scene, count in counts.items()),
        f"Scene protocol, seed {seed}, patches of {SUPPORT:g} sigmas, tiepoint {__version__}",
    )
    publish(report, json, tables, lines)
    note(plot)


def _rows(scores: Sequence[SceneScore], measure: str) -> list[tuple[str, ...]]:
    """One row for each scene and model, one column for each level."""
    scenes = list(dict.fromkeys(score.scene for score in scores))
    rows: dict[tuple[str, str], list[str]] = {}
    for score in sorted(scores, key=lambda score: scenes.index(score.scene)):
        rows.setdefault((score.scene, score.model), []).append(f"{100 * getattr(score, measure):.2f}")
    return [(*key, *cells) for key, cells in rows.items()]

"""`tiepoint compare`: several recipes under one budget, measured alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from tiepoint.cli.output import LOG, note, publish
from tiepoint.errors import InputError

if TYPE_CHECKING:
    from tiepoint.models.describer import Describer
    from tiepoint.training.compare import Summary
    from tiepoint.training.recipe import Recipe

EXAMPLES = {
    "scenes/hardnet scenes/sdgmnet --data patches --scenes my-project": "Train two recipes and measure on a scene.",
    "hardnet sosnet --steps 2000 --seeds 3 --patches strips": "Train each recipe three times for 2,000 steps.",
}


def main(
    recipes: Positional[tuple[str, ...]],
    /,
    *,
    base: str | None = None,
    seeds: int = 1,
    steps: int | None = None,
    data: Path | None = None,
    scenes: tuple[Path, ...] = (),
    patches: Path | None = None,
    out: Path = Path("runs/comparison"),
    json: bool = False,
) -> int:
    """Train several recipes under one budget, measure all alike, and print mean and spread over the seeds.

    Args:
        recipes: Names or files of recipes; each gives its network, loss, optimiser and learning rate.
        base: The recipe that gives all the rest: data, steps, batch, augmentation, schedule (default: the first).
        seeds: Number of trainings of each recipe, with the seeds 1, 2 and so on.
        steps: Number of steps, in place of the base's.
        data: Folder of the PatchSet, in place of the base's.
        scenes: COLMAP projects on which to measure the scene protocol.
        patches: Folder in the layout of HPatches on which to measure verification, matching and retrieval.
        out: Folder for the runs, comparison.json, comparison.md and comparison.png. A comparison that is there goes on.
        json: Print one JSON object., rates as fractions
    """
    from tiepoint.data.readers.hpatches import HPatches
    from tiepoint.evaluation.hpatches.run import evaluate_hpatches
    from tiepoint.evaluation.plots import plot_comparison
    from tiepoint.evaluation.provenance import RULE_OF_RECIPE, statement
    from tiepoint.evaluation.scenes import evaluate_scenes, mean_scores
    from tiepoint.files import check_outputs, locked, write_json, write_text
    from tiepoint.training.compare import compare, summarise
    from tiepoint.training.loop import Status
    from tiepoint.training.recipe_file import load_recipe
    from tiepoint.version import __version__

    named = _by_name(recipes)
    shared = load_recipe(base) if base else next(iter(named.values()))
    if steps is not None:
        shared = replace(shared, steps=steps, minutes=None)
    if data is not None:
        shared = replace(shared, data=str(data))
    if not scenes and patches is None:
        raise InputError("name something to measure on: --scenes PROJECT... or --patches FOLDER, or both")

    written = [out / f"comparison.{kind}" for kind in ("json", "md", "png")]
    check_outputs(*written)

    def report(run: str, status: Status) -> None:
        LOG.info("%s  step %d/%d  loss %.4f", run, status.step, status.steps, status.loss)

    def measure(describers: Mapping[str, Describer]) -> dict[str, dict[str, float]]:
        figures: dict[str, dict[str, float]] = {name: {} for name in describers}
        for score in mean_scores(evaluate_scenes(scenes, describers)) if scenes else ():
            own = f"scenes, {score.level}"
            figures[score.model] |= {f"{own}: FPR95": score.fpr95, f"{own}: top-1": score.top1}
        for found in evaluate_hpatches(HPatches.open(patches), describers) if patches else ():
            figures[found["describer"]] |= {f"patches: {task}": ap for task, ap in found["mean_ap"].items()}
        return figures

    runs = compare(named, shared, range(1, seeds + 1), out, measure, report)
    summaries = summarise(runs)
    result = statement(
        "comparison",
        variant=f"{shared.steps} steps of {shared.batch} pairs, {seeds} seeds",
        split="test",
        selection=RULE_OF_RECIPE[shared.selection],
        tiepoint=__version__,
        runs=[asdict(run) for run in runs],
        summary=[asdict(summary) for summary in summaries],
    )
    with locked(out):
        write_json(written[0], result)
        write_text(written[1], _markdown(summaries))
        plot_comparison({s.name: (s.mean, s.spread) for s in summaries}, written[2])
    publish(result, json, [(f"mean ± standard deviation of {seeds} seeds", *_table(summaries))])
    note(*written)
    return 0


def _by_name(recipes: tuple[str, ...]) -> dict[str, Recipe]:
    from tiepoint.training.recipe_file import load_recipe

    named: dict[str, Recipe] = {}
    for recipe in recipes:
        if (name := Path(recipe).stem) in named:
            raise InputError(f"{recipe}: is a second recipe called {name}: give a copy of it under another name")
        named[name] = load_recipe(recipe)
    if not named:
        raise InputError("name two recipes or more: tiepoint compare RECIPE RECIPE ...")
    return named


def _table(summaries: list[Summary]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    from tiepoint.training.compare import in_percent

    keys = tuple(summaries[0].mean)
    rows = [(s.name, *(in_percent(s.mean[key], s.spread[key]) for key in keys)) for s in summaries]
    return ("recipe", *(f"{key} (%)" for key in keys)), rows


def _markdown(summaries: list[Summary]) -> str:
    header, rows = _table(summaries)
    lines: list[Any] = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

"""Several recipes under one budget: every one trained with every seed, all measured alike."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from tiepoint.errors import InputError
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer
from tiepoint.training.loop import Status, train
from tiepoint.training.recipe import Recipe

Measure = Callable[[Mapping[str, Describer]], dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Trained:
    """One recipe trained with one seed, and what was measured; rates in 0..1."""

    name: str
    seed: int
    validation_fpr95: float
    seconds: float
    figures: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """One recipe over its seeds: each figure's mean and sample standard deviation (None for one seed), in 0..1."""

    name: str
    seeds: int
    mean: dict[str, float]
    spread: dict[str, float | None]


def combine(recipe: Recipe, base: Recipe, seed: int) -> Recipe:
    """Network, loss, optimiser and rates of `recipe`; everything else, the schedule's shape too, of `base`."""
    shape = {key: getattr(base.optimizer, key) for key in ("schedule", "stages", "decay")}
    optimizer = replace(recipe.optimizer, **shape)
    base = replace(base, optimizer=optimizer, seed=seed)
    return replace(base, network=recipe.network, options=recipe.options, loss=recipe.loss)


def compare(
    recipes: Mapping[str, Recipe],
    base: Recipe,
    seeds: Sequence[int],
    out: Path,
    measure: Measure,
    report: Callable[[str, Status], None] = lambda run, status: None,
) -> list[Trained]:
    """Train and measure every recipe with every seed.

    Runs lie in `out`/NAME-SEED. One that is complete is not trained again and one that was interrupted goes on, so a
    comparison may be stopped at any time and new recipes may join it. Seeds are the outer loop: an interrupted
    comparison has as many seeds of every recipe as it can.

    `base` gives budget and data, see `combine`; `measure` maps describers by name to figures of each by name; `report`
    is called with a run's name and status. Raises InputError without recipes or seeds, or for what `train` refuses.
    """
    if not recipes or not seeds:
        raise InputError("a comparison needs at least one recipe and one seed")
    results = {}
    for seed in seeds:
        for name, recipe in recipes.items():
            run = f"{name}-{seed}"
            results[name, seed] = train(combine(recipe, base, seed), out / run, functools.partial(report, run))
    figures = measure({f"{name}-{seed}": load_describer(out / f"{name}-{seed}") for name, seed in results})
    return [
        Trained(name, seed, result["validation_fpr95"], result["seconds"], figures[f"{name}-{seed}"])
        for (name, seed), result in results.items()
    ]


def summarise(runs: Sequence[Trained]) -> list[Summary]:
    """Mean and spread over the seeds of each recipe, in the order of the recipes."""
    summaries = []
    for name in dict.fromkeys(run.name for run in runs):
        own = [run.figures for run in runs if run.name == name]
        columns = {key: [figures[key] for figures in own] for key in own[0]}
        spread = {key: stdev(values) if len(values) > 1 else None for key, values in columns.items()}
        summaries.append(Summary(name, len(own), {key: mean(values) for key, values in columns.items()}, spread))
    return summaries


def in_percent(share: float, spread: float | None) -> str:
    """A share with its spread, both in 0..1, as text in percent, without the sign."""
    return f"{100 * share:.2f}" if spread is None else f"{100 * share:.2f} ± {100 * spread:.2f}"

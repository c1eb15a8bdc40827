"""The three tasks of HPatches on one describer's descriptors, and what the result says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import NOISES
from tiepoint.evaluation.hpatches.descriptors import Descriptors
from tiepoint.evaluation.hpatches.matching import match, summarize
from tiepoint.evaluation.hpatches.retrieval import POOLS, retrieve
from tiepoint.evaluation.hpatches.tasks import RetrievalTask, VerificationTask
from tiepoint.evaluation.hpatches.verification import VerificationScore, verify
from tiepoint.evaluation.options import HPatchesOptions, Resize
from tiepoint.evaluation.provenance import statement


def evaluate(
    descriptors: Descriptors,
    verification: VerificationTask,
    retrieval: RetrievalTask,
    *,
    describer: str,
    options: HPatchesOptions,
    selection: str | None = None,
    resize: Resize | None = None,
) -> dict[str, Any]:
    """Run the three tasks and state the result.

    Args:
        descriptors: of the test list's sequences, in its order.
        verification: pairs.
        retrieval: queries and distractors.
        describer: its name.
        options: how the descriptors came about, and how they are measured.
        selection: how the weights were chosen, as `statement` takes it.
        resize: how the patches were reduced; None for descriptor files.

    Returns:
        `statement` with "verification", "matching", "retrieval" and "mean_ap" of the three; rates in 0..1.

    Raises:
        InputError: as the tasks, or an unknown selection rule.
    """
    metric, rule, averaging = options.metric, options.average_precision, options.averaging
    stated = statement(
        "hpatches",
        variant=averaging,
        split=options.split,
        selection=selection,
        describer=describer,
        dimension=next(iter(descriptors.values())).shape[2],
        distance=metric,
        average_precision=rule,
        sequences=len(descriptors),
        tasks={"verification": verification.origin, "retrieval": retrieval.origin},
        normalization=options.normalization,
        resize=resize,
    )
    results = {
        "verification": _verification(verify(descriptors, verification, metric=metric, rule=rule)),
        "matching": _matching(summarize(match(descriptors, metric=metric, rule=rule), averaging)),
        "retrieval": _retrieval(retrieve(descriptors, retrieval, metric=metric, rule=rule)),
    }
    return {**stated, **results, "mean_ap": {task: result["mean_ap"] for task, result in results.items()}}


def _verification(scores: list[VerificationScore]) -> dict[str, Any]:
    cases: Mapping[str, dict[str, Any]] = {noise: {} for noise in NOISES}
    for score in scores:
        cases[score.noise][score.negatives] = {"ap": score.ap, "auc": score.auc}
    means = {f"mean_{name}": float(np.mean([getattr(s, name) for s in scores])) for name in ("ap", "auc")}
    return {**cases, **means}


def _matching(table: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {**table, "mean_ap": float(np.mean([row["ap"] for row in table.values()]))}


def _retrieval(table: NDArray[np.float64]) -> dict[str, Any]:
    rows = {
        noise: dict(zip(map(str, POOLS), row.tolist(), strict=True)) for noise, row in zip(NOISES, table, strict=True)
    }
    return {**rows, "mean_ap": float(table.mean())}

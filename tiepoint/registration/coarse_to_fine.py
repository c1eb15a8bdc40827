"""From the registration of two reduced images to that of the full ones.

1. Both images were averaged to about `overview` px a side, and registered so. A pair that was refused is refused.
2. The transform is carried over to larger sizes, the full one at last. At each of them the structure of both images is
   correlated in up to 20 x 20 windows spread over the overlap, each read alone, and the transform is fitted anew to
   what all of them say.
3. What speaks for the transform at full size makes the confidence, as of images that are compared whole.

Each pixel is read about three times, and no more of the images is held than the reduced ones and one block.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tiepoint.features.frames import carry
from tiepoint.geometry.robust import apply, residuals
from tiepoint.geometry.select_model import select_model
from tiepoint.images.downsampled import Downsampled
from tiepoint.matching.match import Matches
from tiepoint.registration.decide import Decision, judge, select_tie_points
from tiepoint.registration.large import ReducedPair
from tiepoint.registration.result import Registration
from tiepoint.registration.task import Task
from tiepoint.registration.verdict import Evidence, gathered
from tiepoint.registration.windows import RADIUS, WINDOW, Pair, compare, compare_at, plan, relate
from tiepoint.structure.align import coverage, independent_windows
from tiepoint.structure.local_search import Refined, weights_of
from tiepoint.types import Matrix, Points, Progress

MAX_STEP = 4  # between sizes: 4 px of the smaller size, to which a transform is surely good, are RADIUS px
LAST_RADIUS = 8  # px, of the comparison that the verdict rests on, as of images that are compared whole


def levels(factor: int) -> tuple[int, ...]:
    """Factors of the sizes at which images are compared that were reduced by `factor`; the last one twice."""
    smaller = -(-factor // MAX_STEP)
    return (smaller, *levels(smaller)) if smaller > 1 else (1, 1)


def refine_at_full_size(
    reduced: Registration, pair: ReducedPair, task: Task, steps: Sequence[Progress | None]
) -> Registration:
    """The registration at full size.

    Args:
        reduced: the registration of the reduced images; refused if it is.
        pair: the images, as they were reduced.
        task: of the reduced images; its relater judges the tie points of the full ones.
        steps: one for each of `levels`, and one for the way back.
    """
    a, b = pair.a, pair.b
    assert task.a.raster is not None
    assert task.b.raster is not None
    full = _enlarged(task, pair)
    agreement = None if reduced.agreement is None else reduced.agreement.mapped(b.up)
    reduced = replace(reduced, agreement=agreement)
    first, second = (
        replace(info, size=image.reader.shape[::-1], geo=image.reader.geo, factor=image.factor)
        for info, image in ((task.a.info, a), (task.b.info, b))
    )
    if reduced.matrix is None:
        sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in (a, b))
        points = np.hstack([apply(a.up, reduced.points[:, :2]), apply(b.up, reduced.points[:, 2:])])
        reasons = (f"refused when reduced to {sizes} px", *reduced.reasons)
        return replace(reduced, a=first, b=second, matches=full.matches.points, points=points, reasons=reasons)
    factors = levels(b.factor)
    border = math.ceil((WINDOW // 2 + RADIUS) * factors[0] / b.factor)
    cells = plan(task.a.raster, task.b.raster, reduced.matrix, b.up, border)
    matrix = np.asarray(b.up @ reduced.matrix @ np.linalg.inv(a.up))
    estimation = task.options.estimation
    for number, factor in enumerate(factors):
        sides = Pair(_alike(a, factor, matrix), replace(b, factor=factor), matrix)
        last = number == len(factors) - 1
        shifts = compare(sides, cells, LAST_RADIUS if last else RADIUS, steps[number])
        fit, model = select_model(
            shifts.a, shifts.b, task.models, threshold=estimation.max_residual * factor, seed=estimation.seed,
            size=a.reader.shape[::-1], weights=weights_of(shifts.scores),
        )  # fmt: skip
        points = np.hstack([shifts.a, shifts.b])
        lead = Decision(fit.matrix, model, points, shifts.scores, fit.inliers, fit.residuals, agreement=agreement)
        if fit.matrix is None:
            reason = f"no transform fits the structure of the images at 1/{factor} of their size ({fit.reason})"
            return replace(select_tie_points(full, lead._replace(reasons=(reason,))), a=first, b=second)
        matrix = fit.matrix
    sides = replace(sides, matrix=matrix)
    decision = _judge(full, shifts, sides, lead, b.factor, reduced.evidence, steps[-1])
    relater, spectra = task.relater, task.options.matching.spectra
    ask = None if relater is None else lambda _, points: relate(sides, points, relater, spectra)
    return replace(select_tie_points(full, decision, ask), a=first, b=second)


def _judge(
    task: Task,
    shifts: Refined,
    pair: Pair,
    lead: Decision,
    factor: int,
    reduced: Evidence,
    progress: Progress | None,
) -> Decision:
    """The verdict; matches are good to pixels of b reduced by `factor`, and what windows say is taken from there."""
    matrix, limit, points = pair.matrix, task.options.estimation.max_residual, task.matches.points
    match_limit = max(limit * factor, task.max_match_residual)
    distances = residuals(matrix, shifts.a, shifts.b)
    inliers = distances <= limit
    evidence = gathered(
        residuals(matrix, points[:, :2], points[:, 2:]) <= match_limit,
        inliers, distances, shifts.scores, windows=independent_windows(shifts.b[inliers], pair.b.reader.shape),
        support=float(inliers.sum() / max(shifts.tried, 1)),
        coverage=coverage(shifts.b[inliers], matrix, pair.a.reader.shape, pair.b.reader.shape),
        roundtrip=_roundtrip(pair, shifts.a[inliers], progress),
    )  # fmt: skip
    evidence = replace(evidence, asked=reduced.asked, recognised=reduced.recognised, margin=reduced.margin)
    lead = lead._replace(matrix=matrix, inliers=inliers, residuals=distances)
    decision = judge(lead, evidence, task.options.verdict.min_confidence)
    more = ("that is at full size: reduced, the images register",) if decision.reasons else ()
    return decision._replace(reasons=(*decision.reasons, *more))


def _roundtrip(pair: Pair, places: Points, progress: Progress | None) -> float:
    """Median distance, px of this a, by which places (N, 2) of the full a miss themselves on the way to b and back."""
    back = Pair(pair.b, pair.a, np.asarray(np.linalg.inv(pair.matrix)))
    shifts = compare_at(back, places, LAST_RADIUS, progress)
    return float(np.median(residuals(back.matrix, shifts.a, shifts.b))) / pair.a.factor if len(shifts) else math.inf


def _alike(a: Downsampled, factor: int, matrix: Matrix) -> Downsampled:
    """Image a reduced so that its pixels show as much as those of b, reduced by `factor`; it is not enlarged."""
    height, width = a.reader.shape
    depth = float(matrix[2] @ ((width - 1) / 2, (height - 1) / 2, 1))
    scale = math.sqrt(float(np.linalg.det(matrix)) / depth**3)  # px of b for one of a, at its middle
    return replace(a, factor=max(1, round(factor / scale)))


def _enlarged(task: Task, pair: ReducedPair) -> Task:
    """The task with its keypoint matches in pixels of the full images, which are not at hand."""
    first, second = (
        replace(
            known,
            frames=carry(known.frames, image.up),
            size=image.reader.shape[::-1],
            geo=image.reader.geo,
            spacing=known.spacing * image.factor,
        )
        for known, image in ((task.matches.a, pair.a), (task.matches.b, pair.b))
    )
    a, b = replace(task.a, raster=None, features=first), replace(task.b, raster=None, features=second)
    return replace(task, a=a, b=b, matches=Matches(first, second, task.matches.rows))

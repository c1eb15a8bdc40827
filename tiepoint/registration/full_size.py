"""From the registration of reduced images to that of the full ones, by places read one by one, and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tiepoint.features.describe import Features
from tiepoint.features.frames import carry
from tiepoint.geometry.robust import Model, apply, residuals
from tiepoint.geometry.select_model import select_model
from tiepoint.images.downsampled import Downsampled
from tiepoint.images.raster import Raster
from tiepoint.matching.match import MatchResult
from tiepoint.models.relater import LearnedRelater
from tiepoint.registration.decide import likely, too_few
from tiepoint.registration.grid import plan
from tiepoint.registration.result import Registration, refused
from tiepoint.registration.verdict import NOTHING, confidence, doubts, gathered
from tiepoint.registration.windows import RADIUS, WINDOW, Pair, compare, compare_at, relate
from tiepoint.structure.align import coverage, independent_windows
from tiepoint.structure.local_search import Refined
from tiepoint.types import Points, Progress

FASTER = 4  # largest step between sizes: 4 px of the smaller size, to which it is surely good, are RADIUS px
LAST_RADIUS = 8  # px, of the comparison that the verdict rests on, as of images that are compared whole


@dataclass(frozen=True)
class Settings:
    """What `tiepoint.registration.large.register_large` was told, see there; the models simplest first."""

    models: tuple[Model, ...]
    threshold: float
    least_confidence: float
    seed: int
    relater: LearnedRelater | None
    spectra: tuple[str, str] | None


def levels(factor: int) -> tuple[int, ...]:
    """Factors of the sizes at which images are compared that were reduced by `factor`; the last one twice."""
    found: list[int] = []
    while not found or found[-1] > 1:
        found.append(-(-(found[-1] if found else factor) // FASTER))
    return (*found, 1)


def carried_over(
    first: Registration, a: Downsampled, b: Downsampled, rasters: tuple[Raster, Raster], settings: Settings,
    steps: Sequence[Progress | None],
) -> Registration:  # fmt: skip
    """The registration at full size.

    Args:
        first: the registration of the reduced images; refused if it is.
        a, b: the images, as they were reduced.
        rasters: the reduced images.
        settings: of the estimation and the verdict.
        steps: called with what is done, one for each of `levels`, and one for the way back.
    """
    matches = MatchResult(_enlarged(first.matches.a, a), _enlarged(first.matches.b, b), first.matches.matches)
    if first.matrix is None:
        sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in (a, b))
        points = np.hstack([apply(a.up, first.points[:, :2]), apply(b.up, first.points[:, 2:])])
        return replace(
            first, matches=matches, points=points, reasons=(f"refused when reduced to {sizes} px", *first.reasons)
        )
    sizes_of_b = levels(b.factor)
    border = math.ceil((WINDOW // 2 + RADIUS) * sizes_of_b[0] / b.factor)
    cells = plan(*rasters, first.matrix, b.up, border)
    matrix = np.asarray(b.up @ first.matrix @ np.linalg.inv(a.up))
    size = a.reader.shape[::-1]
    for number, factor in enumerate(sizes_of_b):
        pair = Pair(_alike(a, factor, matrix), replace(b, factor=factor), matrix)
        last = number == len(sizes_of_b) - 1
        shifts = compare(pair, cells, LAST_RADIUS if last else RADIUS, steps[number])
        fit, model = select_model(
            shifts.a, shifts.b, settings.models, threshold=settings.threshold * factor, seed=settings.seed, size=size,
            weights=shifts.weights,
        )  # fmt: skip
        if fit.matrix is None:
            reason = f"no transform fits the structure of the images at 1/{factor} of their size ({fit.reason})"
            return refused(matches, _points(shifts), shifts.scores, (reason,), 0.0, NOTHING, model)
        matrix = fit.matrix
    return _judged(matches, shifts, replace(pair, matrix=matrix), model, settings, b.factor, steps[-1])


def _judged(
    matches: MatchResult, shifts: Refined, pair: Pair, model: Model, settings: Settings, factor: int,
    progress: Progress | None,
) -> Registration:  # fmt: skip
    """The verdict; the keypoint matches are good to pixels of b reduced by `factor`."""
    matrix = pair.matrix
    distances = residuals(matrix, shifts.a, shifts.b)
    inliers = distances <= settings.threshold
    agree = residuals(matrix, matches.points[:, :2], matches.points[:, 2:]) <= settings.threshold * factor
    evidence = gathered(
        agree, inliers, distances, shifts.scores, windows=independent_windows(shifts.b[inliers], pair.b.reader.shape),
        support=float(inliers.sum() / max(shifts.tried, 1)),
        coverage=coverage(shifts.b[inliers], matrix, pair.a.reader.shape, pair.b.reader.shape),
        roundtrip=_roundtrip(pair, shifts.a[inliers], progress),
    )  # fmt: skip
    trust, reasons = confidence(evidence), doubts(evidence, settings.least_confidence)
    if reasons:
        reasons = (*reasons, "that is at full size: reduced, the images register")
    chances: NDArray[np.float64] | None = None
    if settings.relater is not None and not reasons:
        inliers, chances = likely(inliers, relate(pair, shifts.b[inliers], settings.relater, settings.spectra))
        reasons = too_few(inliers)
    if reasons:
        return refused(matches, _points(shifts), shifts.scores, reasons, trust, evidence, model)
    return Registration(
        matrix, matches, _points(shifts), shifts.scores, inliers, distances[inliers], True, (), trust,
        evidence, model, chances,
    )  # fmt: skip


def _roundtrip(pair: Pair, places: Points, progress: Progress | None) -> float:
    """Median distance, px of this a, by which places (N, 2) of the full a miss themselves on the way to b and back."""
    back = Pair(pair.b, pair.a, np.asarray(np.linalg.inv(pair.matrix)))
    shifts = compare_at(back, places, LAST_RADIUS, progress)
    return float(np.median(residuals(back.matrix, shifts.a, shifts.b))) / pair.a.factor if len(shifts) else math.inf


def _alike(a: Downsampled, factor: int, matrix: Points) -> Downsampled:
    """Image a reduced so that its pixels show as much as those of b, reduced by `factor`; it is not enlarged."""
    height, width = a.reader.shape
    depth = float(matrix[2] @ ((width - 1) / 2, (height - 1) / 2, 1))
    scale = math.sqrt(float(np.linalg.det(matrix)) / depth**3)  # px of b for one of a, at its middle
    return replace(a, factor=max(1, round(factor / scale)))


def _enlarged(features: Features, image: Downsampled) -> Features:
    """Features of a reduced image, in pixels of the full one, which is not at hand."""
    height, width = image.reader.shape
    return replace(
        features,
        frames=carry(features.frames, image.up),
        size=(width, height),
        image=None,
        mask=None,
        geo=image.reader.geo,
    )


def _points(shifts: Refined) -> Points:
    return np.hstack([shifts.a, shifts.b])

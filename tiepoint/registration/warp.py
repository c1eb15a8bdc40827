"""A registration bent by a warp, where tie points held out say that this is better than its transform."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.view import View
from tiepoint.geometry.robust import residuals
from tiepoint.geometry.warps import WARPS, Warp, WarpTrial, held_out
from tiepoint.images.raster import Raster
from tiepoint.matching.relate import relate_places
from tiepoint.models.relater import LearnedRelater
from tiepoint.options import MIN_CORRESPONDENCES
from tiepoint.registration.decide import keep_probable
from tiepoint.registration.result import Registration
from tiepoint.types import Points

MAX_BENT = 4.0  # times max_residual from the transform: correspondences that a warp may explain
LIMITS = (2.0, 1.5, 1.0, 1.0, 1.0)  # times max_residual from where the others take a point; beyond it is left out
MAX_SHARE_OF_RESIDUAL = 0.7  # of the transform's median residual, that the warp's has to stay under
MIN_TIE_POINTS = 20  # so that 5 folds have some to hold out


def apply_if_better(
    registration: Registration, views: tuple[View, View], relater: LearnedRelater | None
) -> Registration:
    """Fit the warp of the options to the correspondences near the transform, and take it if it is better.

    Of those within 4 `max_residual` of the transform the ones that stand out are left out: those further than a
    `max_residual` from where a warp of the others takes them, the furthest first. The warp is taken if their median
    distance, held out, stays under 0.7 of the transform's median residual at the same points, and it folds nowhere. The
    tie points are then those it was fitted to, and with a relater of these the ones that it takes for matches where the
    warp puts a.

    The registration is returned with its `trial`, and where the warp was taken with the warp; as it is unless it was
    accepted, by a transform, with options that name a warp. The relater needs the images; None takes all tie points.
    """
    options = registration.options
    kind, limit = options.estimation.warp, options.estimation.max_residual
    if registration.transform is None or kind is None:
        return registration
    matrix, size = registration.transform, registration.a.size
    a, b = registration.points[:, :2], registration.points[:, 2:]
    straight = residuals(matrix, a, b)
    kept, away = _agreeing(kind, a, b, matrix, straight <= MAX_BENT * limit, size, limit)
    count = int(kept.sum())
    if count < MIN_TIE_POINTS:
        few = f"{count} tie points, fewer than {MIN_TIE_POINTS}"
        return replace(registration, trial=WarpTrial(kind, count, reason=few))
    before, after = float(np.median(straight[kept])), float(np.median(away[kept]))
    warp = WARPS[kind].fit(a[kept], b[kept], matrix, size=size)
    tied, probabilities = kept, None
    if relater is not None:
        probabilities = _related(views, b[kept], warp, relater, options.matching.spectra)
    if probabilities is not None:
        tied, probabilities = keep_probable(kept, probabilities, options.matching.min_probability)
    reason = None
    if not after < MAX_SHARE_OF_RESIDUAL * before:
        reason = f"held out, tie points miss it by {after:.2f} px and the transform by {before:.2f} px"
    elif warp.folded > 0:
        reason = f"it folds {warp.folded:.2%} of the image"
    elif tied.sum() < MIN_CORRESPONDENCES:
        reason = f"the relater takes {int(tied.sum())} of its tie points for matches"
    registration = replace(registration, trial=WarpTrial(kind, count, before, after, reason))
    if reason is not None:
        return registration
    return replace(registration, inliers=tied, residuals=away[tied], probabilities=probabilities, warp=warp)


def _agreeing(
    kind: str, a: Points, b: Points, matrix: Points, near: NDArray[np.bool_], size: tuple[int, int], threshold: float
) -> tuple[NDArray[np.bool_], Points]:
    """Which points agree with a warp of the others, begun with the `near`, and how far away (M,) it takes them.

    A wrong point draws its neighbours away too: the limit narrows, and those left out, or that only a warp explains,
    may come back.
    """
    kept, away = near, np.full(len(a), np.inf)
    for limit in LIMITS:
        if kept.sum() < MIN_TIE_POINTS:
            break
        away = np.full(len(a), np.inf)
        try:
            away[kept] = held_out(kind, a[kept], b[kept], matrix, size=size)
            if not kept.all():
                fitted = WARPS[kind].fit(a[kept], b[kept], matrix, size=size)
                away[~kept] = np.linalg.norm(fitted.map(a[~kept]) - b[~kept], axis=1)
        except InputError:  # a part of the points lies on a line
            return np.zeros(len(a), dtype=bool), away
        narrower = away <= limit * threshold
        if limit == LIMITS[-1] and np.array_equal(narrower, kept):
            break
        kept = narrower
    return kept, away


def _related(
    views: tuple[View, View], points: Points, warp: Warp, relater: LearnedRelater, spectra: tuple[str, str] | None
) -> NDArray[np.float64] | None:
    """Match probabilities (T,) of points (T, 2) of b with a as it is warped; None without images, or if it folds."""
    first, second = views[0].raster, views[1].raster
    if warp.folded > 0 or first is None or second is None:
        return None
    image = Raster(first.pixels, None, (0, 1))  # pixels that are not valid hold its median
    moved, _ = warp.warp(image, second.pixels.shape, fill=float(np.median(first.pixels)))
    return relate_places(moved, second.pixels, np.eye(3), points, relater, spectra)

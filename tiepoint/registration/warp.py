"""A registration bent by a warp, where tie points held out say that this is better than its transform."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.geometry.robust import MIN_MATCHES, residuals
from tiepoint.geometry.warps import WARPS, Warp, held_out
from tiepoint.images.raster import Raster
from tiepoint.matching.relate import relate_places
from tiepoint.models.relater import LearnedRelater
from tiepoint.registration.decide import likely
from tiepoint.registration.result import Registration, WarpTrial
from tiepoint.types import Points

WIDE = 4.0  # thresholds from the transform: correspondences that a warp may explain
LIMITS = (2.0, 1.5, 1.0, 1.0, 1.0)  # thresholds from where the others take a point: what lies beyond is left out
BETTER = 0.7  # of the transform's median residual, that the warp's has to stay under
LEAST = 20  # tie points, so that 5 folds have some to hold out


def bend(
    found: Registration,
    kind: str,
    threshold: float,
    relater: LearnedRelater | None = None,
    spectra: tuple[str, str] | None = None,
) -> Registration:
    """Fit a warp to the correspondences near the transform, and take it if it is better.

    Of those within 4 thresholds of the transform the ones that stand out are left out: those further than a threshold
    from where a warp of the others takes them, the furthest first. The warp is taken if their median distance, held
    out, stays under 0.7 of the transform's median residual at the same points, and it folds nowhere. The tie points are
    then those it was fitted to, and with a relater of these the ones that it takes for matches where the warp puts a.

    Args:
        found: accepted, by a transform; another is returned as it is.
        kind: "thin-plate" or "piecewise", see `tiepoint.geometry.warps`.
        threshold: largest distance of a tie point, pixels of b.
        relater: a loaded one; the images have to be at hand.
        spectra: see `relate_places`.

    Returns:
        The registration with its `trial`, and where the warp was taken with the warp.
    """
    if found.transform is None:
        return found
    matrix, size = found.transform, found.matches.a.size
    a, b = found.points[:, :2], found.points[:, 2:]
    straight = residuals(matrix, a, b)
    kept, away = _agreeing(kind, a, b, matrix, straight <= WIDE * threshold, size, threshold)
    count = int(kept.sum())
    if count < LEAST:
        return replace(found, trial=WarpTrial(kind, count, reason=f"{count} tie points, fewer than {LEAST}"))
    before, after = float(np.median(straight[kept])), float(np.median(away[kept]))
    warp = WARPS[kind].fit(a[kept], b[kept], matrix, size=size)
    tied, chances = kept, None if relater is None else _related(found, kept, warp, relater, spectra)
    if chances is not None:
        tied, chances = likely(kept, chances)
    reason = None
    if not after < BETTER * before:
        reason = f"held out, tie points miss it by {after:.2f} px and the transform by {before:.2f} px"
    elif warp.folded > 0:
        reason = f"it folds {warp.folded:.2%} of the image"
    elif tied.sum() < MIN_MATCHES:
        reason = f"the relater takes {int(tied.sum())} of its tie points for matches"
    trial = WarpTrial(kind, count, before, after, reason)
    if reason is not None:
        return replace(found, trial=trial)
    return replace(
        found, inliers=tied, residuals=away[tied], probabilities=chances, warp=warp, trial=trial,
    )  # fmt: skip


def _agreeing(
    kind: str, a: Points, b: Points, matrix: Points, near: NDArray[np.bool_], size: tuple[int, int], threshold: float
) -> tuple[NDArray[np.bool_], Points]:
    """Which points agree with a warp of the others, begun with the `near`, and the distances (M,) from where it takes
    them.

    A wrong point draws its neighbours away too: the limit narrows, and those that were left out may come back, as may
    those that only a warp explains.
    """
    kept, away = near, np.full(len(a), np.inf)
    for limit in LIMITS:
        if kept.sum() < LEAST:
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
    found: Registration,
    kept: NDArray[np.bool_],
    warp: Warp,
    relater: LearnedRelater,
    spectra: tuple[str, str] | None,
) -> NDArray[np.float64] | None:
    """Match probabilities (T,) of the points `kept` (M,) with image a where the warp puts it; None for one that folds,
    or without the images.
    """
    first, second = found.matches.a.image, found.matches.b.image
    if warp.folded > 0 or first is None or second is None:
        return None
    image = Raster(first, None, (0, 1))  # pixels that are not valid hold its median
    moved, _ = warp.warp(image, second.shape, fill=float(np.median(first)))
    return relate_places(moved, second, np.eye(3), found.points[kept, 2:], relater, spectra)

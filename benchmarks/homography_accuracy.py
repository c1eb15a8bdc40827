"""Matches between images of a known homography: how many of them are right, and what transform they give.

Two measures of the field. Mean matching accuracy at t pixels: the share of a pair's matches that the true homography
takes to within t pixels of their partner in image b, averaged over pairs (Mikolajczyk and Schmid, PAMI 2005, for the
share; Dusmanu et al., CVPR 2019, for the mean). Homography accuracy at t pixels: the share of pairs whose estimated
homography maps the corners of image a to within t pixels of their true positions, on average (DeTone et al., CVPRW
2018).

A share says nothing of how many matches there are: state their number beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.geometry.robust import corner_error, estimate, residuals

THRESHOLDS_PX = tuple(float(t) for t in range(1, 11))
CORNER_LIMITS_PX = (1.0, 3.0, 5.0, 10.0)
RIGHT_PX = 3.0  # px, of the number of right matches


@dataclass(frozen=True)
class PairAccuracy:
    """How one pair's matches stand to the truth.

    Attributes:
        matches: their number.
        right: of them within RIGHT_PX pixels.
        shares: (T,) share of the matches within each of the thresholds, in 0..1; all 0 without matches.
        corner_error: of the homography estimated from them, px of b; infinite without an estimate.
    """

    matches: int
    right: int
    shares: NDArray[np.float64]
    corner_error: float


@dataclass(frozen=True)
class MeanAccuracy:
    """Of several pairs, each counted alike, however many matches it has.

    Attributes:
        pairs: their number.
        matches: mean number.
        right: mean number within RIGHT_PX pixels.
        matching: (T,) mean matching accuracy at each of the thresholds, in 0..1.
        homography: (C,) share of pairs whose corner error is at most each of the limits, in 0..1.
    """

    pairs: int
    matches: float
    right: float
    matching: NDArray[np.float64]
    homography: NDArray[np.float64]


def matching_accuracy(
    points: ArrayLike, truth: ArrayLike, thresholds: Sequence[float] = THRESHOLDS_PX
) -> NDArray[np.float64]:
    """Share of matches (T,), in 0..1, within each of `thresholds` pixels of b; 0 where there are no matches.

    Args:
        points: (M, 4) xa, ya, xb, yb in pixels.
        truth: (3, 3), maps a pixel (x, y, 1) of a to b, the third coordinate positive on image a.
        thresholds: pixels.

    Raises:
        InputError: points that are not (M, 4) and finite, or a matrix that is not (3, 3) and finite.
    """
    matches, matrix = _checked(points, truth)
    if not len(matches):
        return np.zeros(len(thresholds))
    errors = residuals(matrix, matches[:, :2], matches[:, 2:])
    return np.asarray((errors[:, None] <= np.asarray(thresholds, dtype=np.float64)).mean(axis=0))


def homography_accuracy(errors: ArrayLike, limits: Sequence[float] = CORNER_LIMITS_PX) -> NDArray[np.float64]:
    """Share of pairs (C,), in 0..1, whose corner error is at most each of `limits` pixels.

    Args:
        errors: (N,) mean corner errors in pixels; infinite where no homography was estimated.
        limits: pixels.

    Raises:
        InputError: no errors, or NaN among them.
    """
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 1 or not len(values) or np.isnan(values).any():
        raise InputError("corner errors are missing or NaN: give one for each pair, infinite without an estimate")
    return np.asarray((values[:, None] <= np.asarray(limits, dtype=np.float64)).mean(axis=0))


def pair_accuracy(
    points: ArrayLike,
    truth: ArrayLike,
    size: tuple[int, int],
    *,
    thresholds: Sequence[float] = THRESHOLDS_PX,
    seed: int = 0,
) -> PairAccuracy:
    """Compare a pair's matches with the truth.

    The homography is that of `tiepoint.geometry.robust.estimate` (MAGSAC++, inliers within 3 px), however the matches
    were made.

    Args:
        points: (M, 4) xa, ya, xb, yb in pixels.
        truth: (3, 3), maps a pixel (x, y, 1) of a to b.
        size: width and height of image a.
        thresholds: pixels of b.
        seed: of the robust estimation.

    Raises:
        InputError: as `matching_accuracy`.
    """
    matches, matrix = _checked(points, truth)
    estimated = estimate(matches[:, :2], matches[:, 2:], "homography", seed=seed, size=size).matrix
    return PairAccuracy(
        len(matches),
        round(float(matching_accuracy(matches, matrix, (RIGHT_PX,))[0]) * len(matches)),
        matching_accuracy(matches, matrix, thresholds),
        np.inf if estimated is None else corner_error(estimated, matrix, *size),
    )


def mean_accuracy(pairs: Sequence[PairAccuracy], limits: Sequence[float] = CORNER_LIMITS_PX) -> MeanAccuracy:
    """Average over pairs. Raises InputError for no pairs."""
    accuracy = homography_accuracy([pair.corner_error for pair in pairs], limits)
    return MeanAccuracy(
        len(pairs),
        float(np.mean([pair.matches for pair in pairs])),
        float(np.mean([pair.right for pair in pairs])),
        np.mean([pair.shares for pair in pairs], axis=0),
        accuracy,
    )


def _checked(points: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    matches, matrix = np.asarray(points, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if matches.ndim != 2 or matches.shape[1] != 4 or not np.isfinite(matches).all():
        raise InputError(f"matches have shape {matches.shape}: give finite (M, 4), xa, ya, xb, yb")
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputError(f"truth has shape {matrix.shape}: give a finite (3, 3) homography")
    return matches, matrix

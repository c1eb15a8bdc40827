"""Registrations of scenes that no single transform explains: by a fundamental or an essential matrix."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.geometry.epipolar import estimate_essential, estimate_fundamental
from tiepoint.geometry.robust import Estimate
from tiepoint.matching.match import MatchResult
from tiepoint.registration.decide import by_matches
from tiepoint.registration.result import Pose, Registration, TwoViews

Cameras = tuple[ArrayLike, ArrayLike]


def by_two_views(
    found: MatchResult,
    model: TwoViews,
    cameras: Cameras | None,
    threshold: float,
    min_inliers: int,
    seed: int,
    weights: NDArray[np.float64] | None = None,
) -> Registration:
    """Judge by the keypoint matches that two views of a rigid scene allow, held against chance.

    Args:
        found: the matches.
        model: "fundamental", or "essential", which needs the cameras.
        cameras: (3, 3) intrinsics of a and of b, see `tiepoint.geometry.epipolar.estimate_essential`.
        threshold: largest Sampson distance of a tie point, pixels.
        min_inliers: tie points that a registration needs.
        seed: of the robust estimation.
        weights: (M,) match probabilities; None takes all matches alike.

    Raises:
        InputError: what `tiepoint.geometry.epipolar` refuses of the arguments.
    """
    a, b, sizes = found.points[:, :2], found.points[:, 2:], (found.a.size, found.b.size)
    if model == "fundamental" or cameras is None:
        view = estimate_fundamental(a, b, threshold=threshold, seed=seed, weights=weights, sizes=sizes)
        matrix = view.matrix
    else:
        view = estimate_essential(a, b, *cameras, threshold=threshold, seed=seed, weights=weights, sizes=sizes)
        matrix = None if view.matrix is None else _in_pixels(view.matrix, *cameras)
    fit = Estimate(matrix, view.inliers, view.residuals, view.reason)
    result = by_matches(found, fit, model, min_inliers, weights)
    if not result.accepted or view.rotation is None or view.translation is None:
        return result
    return replace(result, pose=Pose(view.rotation, view.translation))


def _in_pixels(essential: NDArray[np.float64], camera_a: ArrayLike, camera_b: ArrayLike) -> NDArray[np.float64]:
    """F of E: K_b^-T E K_a^-1, of norm 1."""
    inverse_a, inverse_b = (np.linalg.inv(np.asarray(camera, dtype=np.float64)) for camera in (camera_a, camera_b))
    matrix = inverse_b.T @ essential @ inverse_a
    return np.asarray(matrix / np.linalg.norm(matrix))

"""Registrations of scenes that no single transform explains: by a fundamental or an essential matrix."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.geometry.epipolar import estimate_essential, estimate_fundamental
from tiepoint.geometry.pose import Pose
from tiepoint.geometry.robust import Estimate
from tiepoint.registration.decide import from_matches, select_tie_points
from tiepoint.registration.result import Registration
from tiepoint.registration.task import Task


def register_epipolar(task: Task) -> Registration:
    """Judge by the keypoint matches that two views of a rigid scene allow, held against chance.

    The model is "fundamental", or "essential", which needs the cameras of the options; see
    `tiepoint.geometry.epipolar`. Raises InputError for what that refuses of the options.
    """
    estimation, points, weights = task.options.estimation, task.matches.points, task.weights
    a, b, sizes = points[:, :2], points[:, 2:], (task.matches.a.size, task.matches.b.size)
    limit, seed = estimation.max_residual, estimation.seed
    if estimation.cameras is None:
        view = estimate_fundamental(a, b, threshold=limit, seed=seed, weights=weights, sizes=sizes)
        matrix = view.matrix
    else:
        cameras = estimation.cameras
        view = estimate_essential(a, b, *cameras, threshold=limit, seed=seed, weights=weights, sizes=sizes)
        matrix = None if view.matrix is None else _in_pixels(view.matrix, *cameras)
    fit = Estimate(matrix, view.inliers, view.residuals, view.reason)
    registration = select_tie_points(task, from_matches(task, fit, estimation.model, weights))
    if not registration.accepted or view.rotation is None or view.translation is None:
        return registration
    return replace(registration, pose=Pose(view.rotation, view.translation))


def _in_pixels(essential: NDArray[np.float64], camera_a: ArrayLike, camera_b: ArrayLike) -> NDArray[np.float64]:
    """F of E: K_b^-T E K_a^-1, of norm 1."""
    inverse_a, inverse_b = (np.linalg.inv(np.asarray(camera, dtype=np.float64)) for camera in (camera_a, camera_b))
    matrix = inverse_b.T @ essential @ inverse_a
    return np.asarray(matrix / np.linalg.norm(matrix))

"""The relative pose of two cameras from an essential matrix and matched directions."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.types import Matrix, Points

TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
MAX_ROUNDS = 5


class Pose(NamedTuple):
    """Of camera b relative to a: a point x of camera a lies at rotation x + s translation in camera b, s > 0."""

    rotation: Matrix  # (3, 3)
    translation: NDArray[np.float64]  # (3,), of length 1


def relative_pose(essential: Points, rays_a: Points, rays_b: Points, still: float) -> tuple[Points, Points]:
    """The rotation (3, 3) and unit translation (3,), of the four an essential matrix has, that most points face.

    Source: Hartley and Zisserman, Multiple View Geometry, 2nd edition, 9.6.2. The essential matrix is (3, 3), with
    b^T E a = 0 for the unit directions `rays_a` and `rays_b` (N, 3) of the matches; below the angle `still`, radians, a
    parallax is noise, and such points have no say.
    """
    u, _, vt = np.linalg.svd(essential)
    u, vt = u * np.sign(np.linalg.det(u)), vt * np.sign(np.linalg.det(vt))
    poses = [(u @ turn @ vt, sign * u[:, 2]) for turn in (TURN, TURN.T) for sign in (1, -1)]
    votes = [_in_front(*pose, rays_a, rays_b) & ~_parallel(pose[0], rays_a, rays_b, still) for pose in poses]
    return poses[int(np.argmax([vote.sum() for vote in votes]))]


def in_front_or_far(
    rotation: Points, translation: Points, rays_a: Points, rays_b: Points, still: float
) -> NDArray[np.bool_]:
    """Which matches (N,) meet in front of both cameras, or so far away that they differ less than `still` radians."""
    return _in_front(rotation, translation, rays_a, rays_b) | _parallel(rotation, rays_a, rays_b, still)


def fit_rotation(rays_a: Points, rays_b: Points, width: float) -> Points:
    """The rotation (3, 3) of directions (N, 3) of a to those of b: least squares over those within `width` radians.

    Source: Kabsch, Acta Crystallographica A32, 1976.
    """
    kept = np.ones(len(rays_a), dtype=bool)
    rotation = np.eye(3)
    for _ in range(MAX_ROUNDS):
        u, _, vt = np.linalg.svd(rays_b[kept].T @ rays_a[kept])
        rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        near = np.linalg.norm(rays_a @ rotation.T - rays_b, axis=1) <= width
        if near.sum() < 3 or np.array_equal(near, kept):
            break
        kept = near
    return np.asarray(rotation)


def _in_front(rotation: Points, translation: Points, rays_a: Points, rays_b: Points) -> NDArray[np.bool_]:
    """Whether both depths are positive where two rays come closest: l_b b = l_a R a + t, by the normal equations."""
    turned = rays_a @ rotation.T
    across, along_a, along_b = (turned * rays_b).sum(axis=1), turned @ translation, rays_b @ translation
    return np.asarray((across * along_b > along_a) & (along_b > across * along_a))


def _parallel(rotation: Points, rays_a: Points, rays_b: Points, still: float) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(rays_a @ rotation.T - rays_b, axis=1) <= still)

"""Transforms by least squares, from points without outliers."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.types import Points

Model = Literal["homography", "affine", "similarity"]
MIN_MATCHES = 4
MAX_GAUSS_NEWTON_STEPS = 10  # steps at most


def least_squares(a: Points, b: Points, model: Model, weights: Points | None = None) -> Points | None:
    """The transform (3, 3) that minimises the squared residuals in b of all points (N, 2), N >= 4.

    Each square counts by its weight (N,), if there are weights; fewer than 4 above 0 give None.
    """
    if weights is not None:
        a, b, weights = a[weights > 0], b[weights > 0], weights[weights > 0]
        if len(a) < MIN_MATCHES:
            return None
    if model == "homography":
        matrix = cv2.findHomography(a, b, 0)[0]
        if matrix is None or not np.isfinite(matrix).all():
            return None
        start = np.asarray(matrix, dtype=np.float64)
        return start if weights is None else _weighted_homography(a, b, weights, start)
    w = np.ones(len(a)) if weights is None else weights
    centre_a, centre_b = np.average(a, axis=0, weights=w), np.average(b, axis=0, weights=w)
    if model == "affine":
        root = np.sqrt(w)[:, None]
        linear = np.linalg.lstsq(root * (a - centre_a), root * (b - centre_b), rcond=None)[0].T
    else:
        za, zb = as_complex(a - centre_a), as_complex(b - centre_b)
        linear = similarity_matrix(complex(np.vdot(w * za, zb) / np.vdot(w * za, za).real))
    return from_linear(linear, centre_b - linear @ centre_a)


def apply(matrix: Points, points: ArrayLike) -> Points:
    """Map points (N, 2) by a (3, 3) transform; infinite where the image of a point is at infinity or behind it."""
    homogeneous = np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]
    depth = homogeneous[:, 2:]
    return np.where(depth > 1e-12, homogeneous[:, :2] / np.where(depth > 1e-12, depth, 1), np.inf)


def as_complex(points: Points) -> NDArray[np.complex128]:
    """Points (N, 2) as x + iy (N,)."""
    return points[:, 0] + 1j * points[:, 1]


def similarity_matrix(scale: complex) -> Points:
    """The (2, 2) matrix that multiplies points by a complex number."""
    return np.array([[scale.real, -scale.imag], [scale.imag, scale.real]])


def from_linear(linear: ArrayLike, shift: ArrayLike) -> Points:
    """The transform (3, 3) of a linear part (2, 2) and a shift (2,)."""
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, shift
    return matrix


def _weighted_homography(a: Points, b: Points, weights: Points, start: Points) -> Points:
    """Gauss-Newton from `start`, on coordinates of unit spread; `start` where it leads to infinity."""
    to_unit_a, to_unit_b = _unit(a), _unit(b)
    a, b = apply(to_unit_a, a), apply(to_unit_b, b)
    matrix = to_unit_b @ start @ np.linalg.inv(to_unit_a)
    matrix /= matrix[2, 2]
    root = np.repeat(np.sqrt(weights), 2)[:, None]
    for _ in range(MAX_GAUSS_NEWTON_STEPS):
        mapped = apply(matrix, a)
        if not np.isfinite(mapped).all():
            return start
        slopes = np.zeros((len(a), 2, 8))
        slopes[:, 0, :2] = slopes[:, 1, 3:5] = a
        slopes[:, 0, 2] = slopes[:, 1, 5] = 1
        slopes[:, :, 6:] = -mapped[:, :, None] * a[:, None]
        slopes /= (a @ matrix[2, :2] + 1)[:, None, None]
        step = np.linalg.lstsq(root * slopes.reshape(-1, 8), root[:, 0] * (b - mapped).ravel(), rcond=None)[0]
        matrix = matrix + np.append(step, 0).reshape(3, 3)
        if np.abs(step).max() < 1e-12:
            break
    result = np.linalg.inv(to_unit_b) @ matrix @ to_unit_a
    return np.asarray(result / result[2, 2]) if abs(result[2, 2]) > 1e-12 else start


def _unit(points: Points) -> Points:
    """The transform (3, 3) that moves points to the origin and scales their spread to 1."""
    centre = points.mean(axis=0)
    spread = float(np.sqrt(((points - centre) ** 2).sum(axis=1).mean())) or 1.0
    return from_linear(np.eye(2) / spread, -centre / spread)

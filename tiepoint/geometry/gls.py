"""Transforms by generalised least squares, for correspondences whose errors are correlated nearby.

Nearby correspondences share their error (parallax, lens, moving objects), so they are not independent evidence: thirty
points of one house say little more about the transform than one does, and their agreement does not show that the house
lies in the plane of the rest. An error is modelled as a smooth field plus independent noise, with covariance

    s^2 (SMOOTH exp(-d^2 / 2 l^2) + 1 / w),    l = REACH half diagonals of image a,

for two points at a distance d, of weight w. The transform is then what universal kriging calls the drift (Cressie,
Statistics for Spatial Data, 1993, 3.4), and the marginal likelihood of its parameters says how well the errors support
each model (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, 2.7).

A transform is written about the centre of image a, in half diagonals, with z = x + iy:

    z -> scale (z + a conj(z)) / (1 + p . (x, y)) + shift

where the complex numbers `scale` and `shift` make the similarity, `a` the affine map and `p` the homography.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.features.uniform import select_uniform
from tiepoint.geometry.least_squares import Model, as_complex
from tiepoint.types import Points, Size

SMOOTH, REACH = 3.0, 0.3  # chosen on aligned training pairs, see docs/experiments.md
TYPICAL_BEND = 0.06  # half diagonals by which the affine or projective part moves corners, typically
PARAMETERS: dict[Model, int] = {"similarity": 4, "affine": 6, "homography": 8}
MIN_NOISE_PX = 0.05  # px: the least noise that is assumed
MAX_STEPS = 6
CONVERGED_PX = 1e-3  # px
MIN_CORRESPONDENCES, MAX_CORRESPONDENCES = 8, 400  # correspondences
SEARCH_THRESHOLDS = 2  # thresholds around the first transform within which later inliers are sought

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Transform:
    """A transform of points in half diagonals about the centre of a, see the module."""

    scale: complex
    shift: complex
    bend: Vector  # (4,): real and imaginary part of a, and p

    def mapped(self, places: Points) -> NDArray[np.complex128]:
        """Images of points (N, 2): pixels of b as x + iy (N,)."""
        return self.scale * self._bent(places) + self.shift

    def slopes(self, places: Points) -> NDArray[np.complex128]:
        """Derivatives (N, 8) of `mapped` by scale (2), shift (2) and bend (4)."""
        z, bent = as_complex(places), self._bent(places)
        depth = 1 + places @ self.bend[2:]
        affine, plane = self.scale * z.conj() / depth, -self.scale * bent[:, None] * places / depth[:, None]
        ones = np.ones(len(z))
        return np.column_stack([bent, 1j * bent, ones, 1j * ones, affine, 1j * affine, plane])

    def moved(self, step: Vector) -> Transform:
        """The transform of parameters larger by `step` (8,)."""
        return Transform(self.scale + complex(*step[:2]), self.shift + complex(*step[2:4]), self.bend + step[4:])

    def matrix(self, frame: Points) -> Points:
        """(3, 3) in pixels; `frame` (3, 3) takes pixels of a to half diagonals about the centre."""
        (x, y, p, q), s, t = self.bend, self.scale, self.shift
        similarity = np.array([[s.real, -s.imag, t.real], [s.imag, s.real, t.imag], [0, 0, 1]])
        result = similarity @ np.array([[1 + x, y, 0], [y, 1 - x, 0], [p, q, 1]]) @ frame
        return np.asarray(result / result[2, 2])

    def _bent(self, places: Points) -> NDArray[np.complex128]:
        z = as_complex(places)
        return np.asarray((z + complex(*self.bend[:2]) * z.conj()) / (1 + places @ self.bend[2:]))


def fit_gls(
    a: Points, b: Points, model: Model, start: Points, size: Size, *, threshold: float, weights: Vector | None = None
) -> Points | None:
    """Fit `model` to the correspondences within `threshold` of it, from the inliers of the transform `start` (3, 3).

    At most MAX_CORRESPONDENCES of them are used: a uniform selection that prefers heavy ones. `a` and `b` are (N, 2)
    pixels, `size` is the width and height of image a, `threshold` the largest residual of an inlier in pixels of b, and
    `weights` are (N,), 0 or more; None weighs all equally. Returns (3, 3), a -> b; None where fewer than
    MIN_CORRESPONDENCES correspondences agree.
    """
    current, sample = _sampled(a, b, start, size, SEARCH_THRESHOLDS * threshold, weights)
    count = PARAMETERS[model]
    inliers = sample.missed(current) <= threshold
    current = Transform(current.scale, current.shift, np.where(np.arange(4) < count - 4, current.bend, 0.0))
    used, root = np.zeros_like(inliers), np.empty(0)
    for _ in range(MAX_STEPS):
        if inliers.sum() < MIN_CORRESPONDENCES:
            return None
        if not np.array_equal(inliers, used):
            used, root = inliers, _whitening(sample.take(inliers))
        step = np.linalg.lstsq(*sample.take(used).equations(current, root, count), rcond=None)[0]
        current = current.moved(np.append(step, np.zeros(8 - count)))
        inliers = sample.missed(current) <= threshold
        moves = np.abs(step) * np.where(np.arange(count) < 4, 1, abs(current.scale))
        if moves.max() < CONVERGED_PX and np.array_equal(inliers, used):
            break
    matrix = current.matrix(_frame(size))
    return matrix if inliers.sum() >= MIN_CORRESPONDENCES and np.isfinite(matrix).all() else None


def evidence(
    a: Points, b: Points, model: Model, matrix: Points, size: Size, *, threshold: float, weights: Vector | None = None
) -> dict[Model, float]:
    """The log evidence that the inliers of a transform give for its model and for each simpler one.

    Differences of these are log odds. A model's own parameters are assumed to bend the image by about TYPICAL_BEND, and
    those that it lacks not at all. `matrix` (3, 3) is what `fit_gls` fitted to `model`; for the others see there.
    """
    current, sample = _sampled(a, b, matrix, size, threshold, weights)
    count = PARAMETERS[model]
    design, right = sample.equations(current, _whitening(sample), count)
    step = np.linalg.lstsq(design, right, rcond=None)[0]
    variance = max(float(np.square(right - design @ step).sum()) / (len(right) - count), MIN_NOISE_PX**2)
    bend, noise = current.bend[: count - 4] + step[4:], _noise(design.T @ design / variance)
    found: dict[Model, float] = {}
    for m, parameters in PARAMETERS.items():
        if parameters <= count:
            covariance = noise + np.diag(np.where(np.arange(len(bend)) < parameters - 4, TYPICAL_BEND**2, 0.0))
            found[m] = float(-0.5 * (np.linalg.slogdet(covariance)[1] + bend @ np.linalg.solve(covariance, bend)))
    return found


def _noise(information: Points) -> Points:
    """Covariance (K, K) of the bend, given the information (4 + K, 4 + K) of all parameters, whatever the others."""
    cross, own = information[4:, :4], information[4:, 4:]
    own = own - cross @ np.linalg.solve(information[:4, :4], cross.T)
    return np.asarray(np.linalg.inv(own + 1e-9 * np.trace(own) * np.eye(len(own))))


@dataclass(frozen=True)
class _Sample:
    """Correspondences: points (N, 2) in half diagonals, targets (N,) in pixels as x + iy, and weights (N,)."""

    places: Points
    targets: NDArray[np.complex128]
    weights: Vector

    def take(self, rows: NDArray[Any]) -> _Sample:
        return _Sample(self.places[rows], self.targets[rows], self.weights[rows])

    def missed(self, transform: Transform) -> Vector:
        return np.abs(transform.mapped(self.places) - self.targets)

    def equations(self, transform: Transform, root: Points, count: int) -> tuple[Points, Vector]:
        """Design (2N, count) and right side (2N,) of the step that leads on from a transform, whitened by `root`."""
        design = root @ transform.slopes(self.places)[:, :count]
        right = root @ (self.targets - transform.mapped(self.places))
        return np.vstack([design.real, design.imag]), np.concatenate([right.real, right.imag])


def _sampled(
    a: Points, b: Points, matrix: Points, size: Size, within: float, weights: Vector | None
) -> tuple[Transform, _Sample]:
    """A transform, and at most MAX_CORRESPONDENCES correspondences whose residual is at most `within` pixels."""
    frame = _frame(size)
    transform = _from_matrix(matrix @ np.linalg.inv(frame))
    trust = np.ones(len(a)) if weights is None else weights
    sample = _Sample(a @ frame[:2, :2].T + frame[:2, 2], as_complex(b), trust)
    sample = sample.take((sample.missed(transform) <= within) & (trust > 0))
    return transform, sample.take(select_uniform(sample.places, sample.weights, MAX_CORRESPONDENCES))


def _whitening(sample: _Sample) -> Points:
    """The matrix (N, N) that makes the errors independent and of equal variance."""
    places, weights = sample.places, sample.weights
    distances = np.square(places[:, None] - places[None]).sum(axis=2)
    covariance = SMOOTH * np.exp(-0.5 / REACH**2 * distances) + np.diag(weights.mean() / weights)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))


def _frame(size: Size) -> Points:
    """(3, 3): pixels of an image of width and height `size` to half diagonals about its centre."""
    centre, half = (np.array(size) - 1) / 2, float(np.hypot(*size)) / 2
    return np.array([[1 / half, 0, -centre[0] / half], [0, 1 / half, -centre[1] / half], [0, 0, 1]])


def _from_matrix(matrix: Points) -> Transform:
    """The transform that a matrix (3, 3) makes of points in half diagonals."""
    matrix = matrix / matrix[2, 2]
    plane, shift = matrix[2, :2], matrix[:2, 2]
    (k, m), (n, o) = matrix[:2, :2] - np.outer(shift, plane)
    scale, other = complex(k + o, n - m) / 2, complex(k - o, n + m) / 2
    affine = other / scale
    return Transform(scale, complex(*shift), np.array([affine.real, affine.imag, *plane]))

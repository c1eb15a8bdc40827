"""Geometry of two views of a scene that is not flat: fundamental and essential matrices from matches.

A fundamental matrix bends to 7 matches, and others come to lie near its lines, so a robust estimate alone is no proof:
MAGSAC++ finds 15 inliers among 28 matches at random. Every estimate is therefore held against chance (a contrario), and
against what explains it with less: a plane, or cameras that only turned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.geometry.pose import fit_rotation, in_front_or_far, relative_pose
from tiepoint.geometry.robust import Estimate, checked_points, checked_weights, estimate, is_thin, residuals, usac
from tiepoint.options import Estimation
from tiepoint.types import Points, Size

MAX_EXPECTED_BY_CHANCE = 1e-3  # expected number of geometries in noise, above which one is refused
FUNDAMENTAL, ESSENTIAL = 7, 5  # matches that fix one
SOLUTIONS = {FUNDAMENTAL: 3, ESSENTIAL: 10}
THRESHOLD_HALVINGS, MATCH_HALVINGS = 3, 5  # less one, of the threshold and of the matches, by which chance is tried
PARALLAX_THRESHOLDS = 2.0  # a residual of the plane above so many is parallax, below it may be noise of both images
Sizes = Sequence[Size]


@dataclass(frozen=True)
class Epipolar:
    """A fundamental or essential matrix, or why there is none.

    `matrix` is (3, 3) of norm 1 and rank 2: b^T F a = 0 for pixels (x, y, 1), and b^T E a = 0 for directions
    K^-1 (x, y, 1). `plane` is the homography a -> b over all matches, where it or cameras that only turned explain
    them. A point x of camera a lies at rotation x + s translation of camera b, s > 0.
    """

    matrix: Points | None  # None if refused
    inliers: NDArray[np.bool_]  # (N,), residual at most the threshold and, with cameras, in front of both; else False
    residuals: Points  # (N,) Sampson distances in pixels; infinite if refused
    reason: str | None = None  # why it was refused, in words; None if not
    plane: Estimate | None = None
    rotation: Points | None = None  # (3, 3), of cameras: directions of a to those of b; None of a fundamental matrix
    translation: Points | None = None  # (3,) of length 1, of cameras


def estimate_fundamental(
    points_a: ArrayLike,
    points_b: ArrayLike,
    *,
    threshold: float = Estimation.max_residual,
    seed: int = 0,
    weights: ArrayLike | None = None,
    sizes: Sizes | None = None,
) -> Epipolar:
    """Fit a fundamental matrix robustly, by OpenCV's MAGSAC++ (Barath et al., CVPR 2020). Deterministic for a seed.

    Args:
        points_a, points_b: (N, 2) pixels.
        threshold: largest Sampson distance of an inlier, pixels.
        weights: (N,), 0 or more, as match probabilities: samples are drawn from the likeliest first (PROSAC), which
            finds the matrix where less than a quarter of the matches is right, and chance is tried among the likeliest
            too. None weighs all equally.
        sizes: widths and heights of both images, for the test against chance; the points' bounding boxes if None.

    Refused, not raised: fewer than 8 different matches or inliers, points on a line, as many inliers as chance would
    give, points on a plane (then `plane` says which homography explains them).

    Raises InputError for arrays that are not (N, 2) and finite, a threshold that is not positive, weights that are
    negative, not finite or all 0.
    """
    matches = _Matches.checked(points_a, points_b, threshold, weights, sizes)
    matrix, flaw = matches.solve(cv2.findFundamentalMat, seed, FUNDAMENTAL, "fundamental")
    if matrix is None:
        return matches.refused(flaw)
    distances = sampson_distances(matrix, matches.a, matches.b)
    result = Epipolar(matrix, distances <= threshold, distances)

    def fit_plane(a: Points, b: Points) -> Points | None:
        return estimate(a, b, threshold=threshold, seed=seed, size=matches.sizes[0]).matrix

    return matches.proven(result, FUNDAMENTAL, fit_plane, "the matches lie on a plane")


def estimate_essential(
    points_a: ArrayLike,
    points_b: ArrayLike,
    camera_a: ArrayLike,
    camera_b: ArrayLike,
    *,
    threshold: float = Estimation.max_residual,
    seed: int = 0,
    weights: ArrayLike | None = None,
    sizes: Sizes | None = None,
) -> Epipolar:
    """Fit an essential matrix robustly, by MAGSAC++ over five-point samples, and the pose that puts points in front.

    Args:
        camera_a, camera_b: (3, 3) intrinsics K, [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels, pixel centres at
            integers. A lens's distortion has to be taken out of the points first.

    Other arguments, refusals and errors as `estimate_fundamental`; 6 matches are the fewest. A plane gives a pose (from
    few points of it perhaps the second of the two that it allows); cameras that only turned give none, since the
    translation could have any direction.

    Raises InputError also for intrinsics that are not of this form.
    """
    matches = _Matches.checked(points_a, points_b, threshold, weights, sizes)
    first, second = _intrinsics(camera_a, "camera_a"), _intrinsics(camera_b, "camera_b")

    def find(a: Points, b: Points, settings: Any) -> Any:
        return cv2.findEssentialMat(a, b, first, second, None, None, settings)

    matrix, flaw = matches.solve(find, seed, ESSENTIAL, "essential")
    if matrix is None:
        return matches.refused(flaw)
    from_a, from_b = np.linalg.inv(first), np.linalg.inv(second)
    distances = sampson_distances(from_b.T @ matrix @ from_a, matches.a, matches.b)
    inliers = distances <= threshold
    rays_a, rays_b = _rays(matches.a, from_a), _rays(matches.b, from_b)
    still = threshold / min(first[0, 0], first[1, 1], second[0, 0], second[1, 1])
    rotation, translation = relative_pose(matrix, rays_a[inliers], rays_b[inliers], still)
    inliers &= in_front_or_far(rotation, translation, rays_a, rays_b, still)
    result = Epipolar(matrix, inliers, distances, rotation=rotation, translation=translation)

    def fit_turn(*_: Points) -> Points:
        return np.asarray(second @ fit_rotation(rays_a[inliers], rays_b[inliers], PARALLAX_THRESHOLDS * still) @ from_a)

    return matches.proven(result, ESSENTIAL, fit_turn, "the cameras only turned")


def sampson_distances(fundamental: Points, a: Points, b: Points) -> Points:
    """Sampson distances (N,) in pixels of points (N, 2) of a and b from b^T F a = 0."""
    ones = np.ones((len(a), 1))
    homogeneous_a, homogeneous_b = np.hstack([a, ones]), np.hstack([b, ones])
    lines_b, lines_a = homogeneous_a @ fundamental.T, homogeneous_b @ fundamental
    error = np.abs((homogeneous_b * lines_b).sum(axis=1))
    slope = np.sqrt((lines_a[:, :2] ** 2).sum(axis=1) + (lines_b[:, :2] ** 2).sum(axis=1))
    return np.asarray(error / np.maximum(slope, 1e-30))


def expected_by_chance(
    matches: int,
    inliers: int,
    threshold: float,
    sizes: Sizes,
    *,
    sample: int = FUNDAMENTAL,
    solutions: int = SOLUTIONS[FUNDAMENTAL],
) -> float:
    """Expected number of models with as many inliers among matches at random; more inliers than a sample has.

    Source: Moisan and Stival, IJCV 2004: m (n - s) C(n, k) C(k, s) p^(k - s) for n different `matches`, k `inliers` and
    models that `sample` s matches fix but for m `solutions`, by default those of a fundamental matrix, where p is the
    share of an image that lies within the `threshold`, a Sampson distance in pixels, of a line, here of the smaller
    image of `sizes` (width, height), at its longest.
    """
    # The Sampson distance shares an error between both images: in one of them, sqrt(2) times as large ones pass.
    p = max(2 * math.sqrt(2) * threshold * math.hypot(w, h) / (w * h) for w, h in sizes)
    tests = math.log(solutions * max(matches - sample, 1))
    logarithm = tests + _log_choose(matches, inliers) + _log_choose(inliers, sample)
    return math.exp(min(logarithm + (inliers - sample) * math.log(min(p, 1.0)), 700.0))


@dataclass(frozen=True)
class _Matches:
    """Matched points (N, 2), and inliers among them held against chance."""

    a: Points
    b: Points
    threshold: float
    sizes: Sizes
    weights: Points | None

    @classmethod
    def checked(
        cls, a: ArrayLike, b: ArrayLike, threshold: float, weights: ArrayLike | None, sizes: Sizes | None
    ) -> _Matches:
        a, b = checked_points(a, b, threshold)
        return cls(a, b, threshold, sizes or (_box(a), _box(b)), checked_weights(weights, len(a)))

    def take(self, chosen: NDArray[np.bool_]) -> _Matches:
        weights = None if self.weights is None else self.weights[chosen]
        return replace(self, a=self.a[chosen], b=self.b[chosen], weights=weights)

    def order(self) -> NDArray[np.intp]:
        """Rows, the likeliest first."""
        return np.arange(len(self.a)) if self.weights is None else np.argsort(-self.weights, kind="stable")

    def different(self) -> int:
        """How many are: a keypoint of two orientations may give the same match twice, and proves it once."""
        return len(np.unique(np.hstack([self.a, self.b]), axis=0))

    def solve(self, find: Callable[..., Any], seed: int, sample: int, name: str) -> tuple[Points | None, str]:
        """The matrix (3, 3) of norm 1 that OpenCV finds, or None and the reason."""
        if self.different() < sample + 1:
            return None, f"fewer than {sample + 1} different matches"
        if is_thin(self.a, self.threshold) or is_thin(self.b, self.threshold):
            return None, "the matches lie on a line or at one point"
        order, settings = self.order(), usac(self.threshold, seed, ordered=self.weights is not None)
        try:
            found = find(self.a[order], self.b[order], settings)[0]
        except cv2.error:  # points that span no model
            found = None
        if found is None or found.shape != (3, 3) or not np.isfinite(found).all():
            return None, f"no {name} matrix found"
        return np.asarray(found / np.linalg.norm(found), dtype=np.float64), ""

    def refused(self, reason: str) -> Epipolar:
        return Epipolar(None, np.zeros(len(self.a), dtype=bool), np.full(len(self.a), np.inf), reason)

    def proven(self, found: Epipolar, sample: int, explain: Callable[..., Points | None], words: str) -> Epipolar:
        """Refuse what chance gives, and what a homography of the inliers explains but for some beyond it by chance.

        With the homography H, F = [e] H for some e: two matches fix it, so the others beyond H are the proof.
        """
        inliers = self.take(found.inliers)
        if (count := inliers.different()) <= sample:
            return self.refused(f"fewer than {sample + 1} inliers")
        left = np.where(found.inliers, found.residuals, np.inf)
        if self.chance(left, sample, SOLUTIONS[sample]) > MAX_EXPECTED_BY_CHANCE:
            return self.refused(f"{count} inliers, no more than matches at random may have")
        if (homography := explain(inliers.a, inliers.b)) is None:
            return found
        distances = residuals(homography, self.a, self.b)
        beyond = distances > PARALLAX_THRESHOLDS * self.threshold
        if self.take(beyond).chance(left[beyond], 2, 1) <= MAX_EXPECTED_BY_CHANCE:
            return found
        flat = int((found.inliers & ~beyond).sum())
        reason = f"{words}: a homography explains {flat} of {int(found.inliers.sum())} inliers"
        return replace(self.refused(reason), plane=Estimate(homography, distances <= self.threshold, distances))

    def chance(self, distances: Points, sample: int, solutions: int) -> float:
        """The least number expected by chance: at the threshold and finer ones, among all matches and the likeliest.

        It is multiplied by how many are compared, which keeps it an expected number.
        """
        order = self.order()
        first = np.sort(np.unique(np.hstack([self.a, self.b])[order], axis=0, return_index=True)[1])
        ranked = distances[order][first]
        counts = [len(ranked) >> k for k in range(1 if self.weights is None else MATCH_HALVINGS)]
        tests = [(n, self.threshold / 2**k) for n in counts for k in range(THRESHOLD_HALVINGS)]
        inliers = [int((ranked[:n] <= threshold).sum()) for n, threshold in tests]
        expected = [
            expected_by_chance(n, k, threshold, self.sizes, sample=sample, solutions=solutions)
            for (n, threshold), k in zip(tests, inliers, strict=True)
            if k > sample
        ]
        return min(expected, default=math.inf) * len(tests)


def _box(points: Points) -> tuple[int, int]:
    if not len(points):
        return 1, 1
    width, height = np.ceil(np.ptp(points, axis=0)).astype(int) + 1
    return int(width), int(height)


def _rays(points: Points, inverse: NDArray[np.floating]) -> Points:
    """Unit directions (N, 3) by the inverse (3, 3) of the intrinsics."""
    rays = np.column_stack([points, np.ones(len(points))]) @ inverse.T
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))


def _intrinsics(camera: ArrayLike, name: str) -> Points:
    matrix = np.asarray(camera, dtype=np.float64)
    sound = matrix.shape == (3, 3) and np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not sound or matrix[1, 0] != 0 or matrix[2].tolist() != [0, 0, 1]:
        raise InputError(f"{name} is not [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive focal lengths in pixels")
    return matrix


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

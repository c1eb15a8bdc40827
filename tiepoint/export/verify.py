"""Two-view geometry of matched images, for COLMAP."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.export.colmap import TwoView
from tiepoint.export.folder import MatchedFolder, Pair
from tiepoint.imaging.describe import Features

CHANCE = 1e-3  # expected number of geometries in noise, above which a pair is not verified


def verify(
    a: Features, b: Features, rows: NDArray[np.integer], *, threshold: float = 3.0, min_inliers: int = 15, seed: int = 0
) -> TwoView | None:
    """Fit the fundamental matrix of a pair by MAGSAC++; None if it has too few inliers.

    Too few are less than `min_inliers`, or so few that matches at random would agree as well (see `chance`): a
    fundamental matrix bends to 7 matches, and others come to lie near its lines.

    Args:
        a: features of an image.
        b: of another.
        rows: (M, 2) matches.
        threshold: largest Sampson distance of an inlier, pixels.
        min_inliers: 8 or more are asked for; COLMAP's mapper takes no pair with fewer than 15.
        seed: of the samples.
    """
    if len(rows) < max(min_inliers, 8):
        return None
    points_a, points_b = a.points[rows[:, 0]], b.points[rows[:, 1]]
    usac = cv2.UsacParams()
    usac.threshold, usac.confidence, usac.maxIterations = threshold, 0.9999, 10_000
    usac.randomGeneratorState = seed
    usac.score, usac.loMethod = cv2.SCORE_METHOD_MAGSAC, cv2.LOCAL_OPTIM_SIGMA
    try:
        found = cv2.findFundamentalMat(points_a, points_b, usac)[0]
    except cv2.error:  # points that span no model
        return None
    if found is None or found.shape != (3, 3) or not np.isfinite(found).all():
        return None
    fundamental = np.asarray(found, dtype=np.float64)
    inliers = sampson(fundamental, points_a, points_b) <= threshold
    count = int(inliers.sum())
    if count < max(min_inliers, 8) or chance(len(rows), count, threshold, (a.size, b.size)) > CHANCE:
        return None
    return TwoView(rows[inliers], fundamental)


def chance(matches: int, inliers: int, threshold: float, sizes: Sequence[tuple[int, int]]) -> float:
    """Expected number of fundamental matrices with as many inliers among matches at random; at least 8 inliers.

    Source: Moisan and Stival, IJCV 2004: 3 (n - 7) C(n, k) C(k, 7) p^(k - 7) for n matches and k inliers, where p is
    the share of an image that lies within the threshold of a line, here of the smaller image, at its longest.
    """
    # The Sampson distance shares an error between both images, so in one of them sqrt(2) times as much passes.
    p = max(2 * math.sqrt(2) * threshold * math.hypot(w, h) / (w * h) for w, h in sizes)
    logarithm = math.log(3 * max(matches - 7, 1)) + _log_choose(matches, inliers) + _log_choose(inliers, 7)
    return math.exp(min(logarithm + (inliers - 7) * math.log(min(p, 1.0)), 700.0))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def sampson(fundamental: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sampson distances (N,) in pixels of points (N, 2) of a and b from b^T F a = 0."""
    ones = np.ones((len(a), 1))
    homogeneous_a, homogeneous_b = np.hstack([a, ones]), np.hstack([b, ones])
    lines_b, lines_a = homogeneous_a @ fundamental.T, homogeneous_b @ fundamental
    error = np.abs((homogeneous_b * lines_b).sum(axis=1))
    slope = np.sqrt((lines_a[:, :2] ** 2).sum(axis=1) + (lines_b[:, :2] ** 2).sum(axis=1))
    distances: NDArray[np.float64] = error / np.maximum(slope, 1e-30)
    return distances


def verify_all(
    found: MatchedFolder, *, threshold: float = 3.0, min_inliers: int = 15, seed: int = 0
) -> dict[Pair, TwoView]:
    """The geometries of the pairs that have one: see `verify`."""
    geometries = {}
    for (a, b), matches in found.matches.items():
        geometry = verify(
            found.features[a], found.features[b], matches.indices,
            threshold=threshold, min_inliers=min_inliers, seed=seed,
        )  # fmt: skip
        if geometry is not None:
            geometries[a, b] = geometry
    return geometries

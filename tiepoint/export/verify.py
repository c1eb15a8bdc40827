"""Two-view geometry of matched images, for COLMAP."""

import numpy as np
from numpy.typing import NDArray

from tiepoint.export.colmap import TwoView
from tiepoint.export.folder import MatchedFolder, Pair
from tiepoint.features.describe import Features
from tiepoint.geometry.epipolar import estimate_fundamental
from tiepoint.options import Verification

MIN_INLIERS = 8  # that a fundamental matrix needs


def verify(
    a: Features, b: Features, rows: NDArray[np.integer], options: Verification = Verification()
) -> TwoView | None:
    """Fit the fundamental matrix of a pair by MAGSAC++, or the homography of a flat scene; None for too few inliers.

    Too few are less than `min_inliers` or 8, or so few that matches at random would agree as well (see
    `tiepoint.geometry.epipolar`). Of matches on a plane it is the homography, since they leave the matrix open.
    `rows` (M, 2) are the matches of the features.
    """
    needed = max(options.min_inliers, MIN_INLIERS)
    if len(rows) < needed:
        return None
    points_a, points_b = a.points[rows[:, 0]], b.points[rows[:, 1]]
    sizes = (a.size, b.size)
    found = estimate_fundamental(points_a, points_b, threshold=options.max_residual, seed=options.seed, sizes=sizes)
    inliers = found.inliers if found.plane is None else found.plane.inliers
    if inliers.sum() < needed:
        return None
    return TwoView(rows[inliers], found.matrix, None if found.plane is None else found.plane.matrix)


def verify_all(found: MatchedFolder, options: Verification = Verification()) -> dict[Pair, TwoView]:
    """The geometries of the pairs that have one: see `verify`."""
    each = {
        (a, b): verify(found.features[a], found.features[b], matches.indices, options)
        for (a, b), matches in found.matches.items()
    }
    return {pair: geometry for pair, geometry in each.items() if geometry is not None}
